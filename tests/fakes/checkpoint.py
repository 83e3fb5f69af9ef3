"""Signed checkpoints for tests: a ledger of made-up rows, and keys that live as long as the test."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from bfactors.audit.checkpoint import Checkpoint, SignedCheckpoint
from bfactors.audit.merkle import CompactRange
from bfactors.audit.note import NoteSignature, SignedNote
from gateways.checkpoint.key_file import FileSigner, new_key

ORIGIN = "fleet.example/ledger"
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def row(number: int) -> bytes:
    return sha256(str(number).encode()).digest()


def signer_in(path: Path, *pems: bytes, name: str = ORIGIN) -> FileSigner:
    """Over a new file with these keys, or with a random one."""
    path.write_bytes(b"".join(pems or (new_key(),)))
    path.chmod(0o600)
    return FileSigner.load(path, name)


def unsigned(
    size: int,
    *,
    partition: int = 3,
    origin: str = ORIGIN,
    at: datetime | None = None,
    fork: bool = False,
    signatures: Sequence[NoteSignature] | None = None,
) -> SignedCheckpoint:
    """A checkpoint of made-up rows under a signature that nobody checks, unless some are given."""
    tree = CompactRange()
    rows = [row(number + 10**6 * fork) for number in range(size)]
    tree.extend(b"".join(rows))
    checkpoint = Checkpoint(
        origin=origin,
        partition=partition,
        size=size,
        root_hash=tree.root().hex(),
        head_hash=rows[-1].hex(),
        made_at=at or AT + timedelta(minutes=size),
    )
    signatures = signatures or [NoteSignature(name=origin, key_id=b"\0\1\2\3", signature=b"sign")]
    return SignedCheckpoint(
        checkpoint=checkpoint, note=SignedNote(text=checkpoint.text, signatures=tuple(signatures))
    )


async def signed(signer: FileSigner, size: int, **fields: object) -> SignedCheckpoint:
    """The same, signed."""
    plain = unsigned(size, **fields)  # type: ignore[arg-type]
    return unsigned(size, **fields, signatures=await signer.sign(plain.checkpoint.text))  # type: ignore[arg-type]
