"""Idempotency-Keys so old that the ledger has forgotten what it answered to them."""

from datetime import datetime, timedelta

from bfactors.ports import Clock
from gateways.admin.ports import Reader
from gateways.admin.problem import Problem

KEYS_REMEMBERED = timedelta(hours=24)
"""How long the ledger keeps its answer to an Idempotency-Key."""


async def refuse_worn_key(reader: Reader, clock: Clock, job_id: str) -> None:
    """The ledger forgets a key after 24 h, the id made from it would name an ended job a second time. Raises Problem."""
    known = await reader.job(job_id)
    if known is None or known["state"] == "open":
        return
    if clock.now() - datetime.fromisoformat(known["created_at"]) > KEYS_REMEMBERED:
        raise Problem.of_field(
            "Idempotency-Key",
            f"was used for job {job_id} more than 24 hours ago",
            "idempotency-key-reused",
        )
