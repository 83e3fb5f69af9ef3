"""`gateways.admin.ports.Proofs`: what auditors ask of a running core."""

from collections.abc import Awaitable
from typing import TypeVar

from bfactors.errors import LedgerCorrupt
from bfactors.ports import Clock, NoteSigner
from bfactors.refusal import Refusal
from deploy.audit.pack import make_pack
from gateways.admin.ports import Body
from gateways.checkpoint.public_key import pem_of
from persistence.audit import rfc3339
from persistence.proof import ProofReader

T = TypeVar("T")


class AuditDesk:
    """Made and used on the I/O lane. Without a signer there are proofs, and no packs."""

    def __init__(self, proofs: ProofReader, signer: NoteSigner | None, clock: Clock) -> None:
        self._proofs = proofs
        self._signer = signer
        self._clock = clock

    async def checkpoints(
        self, *, partition: int | None = None, limit: int = 100, cursor: str | None = None
    ) -> Body | Refusal:
        return await self._proofs.checkpoints(partition=partition, limit=limit, cursor=cursor)

    async def keys(self) -> Body:
        return {
            "items": [
                {
                    "name": key.name,
                    "key_id": key.key_id.hex(),
                    "algorithm": key.algorithm,
                    "fingerprint_sha256": key.fingerprint_sha256,
                    "public_key_pem": pem_of(key),
                    "verifier": key.verifier,
                    "first_used_at": rfc3339(first_used_at),
                }
                for key, first_used_at in await self._proofs.key_rows()
            ]
        }

    async def inclusion(self, partition: int, sequence: int, size: int | None = None) -> Body | Refusal:
        return await _told(self._proofs.inclusion(partition, sequence, size))

    async def consistency(self, partition: int, first: int, second: int) -> Body | Refusal:
        return await _told(self._proofs.consistency(partition, first, second))

    async def evidence_pack(self, charger_id: str) -> bytes | Refusal:
        if self._signer is None:
            return Refusal(
                "no-checkpoint-key",
                "this core has no key to sign a pack with (BF_CHECKPOINT_KEY_FILE, BF_CHECKPOINT_KMS_KEY_ARNS)",
                None,
                409,
            )
        return await _told(make_pack(charger_id, self._proofs, self._signer, self._clock.now()))


async def _told(asked: Awaitable[T | Refusal]) -> T | Refusal:
    """A ledger that contradicts itself is an answer, and an alarm for whoever asked."""
    try:
        return await asked
    except LedgerCorrupt as problem:
        return Refusal("ledger-corrupt", f"{problem}; run `run.py verify`", None, 409)
