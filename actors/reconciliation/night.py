"""When a CA is compared with the ledger by itself: once a day, at an hour of the night, a minute apart for each purpose."""

import hashlib
from datetime import UTC, datetime, timedelta

from bfactors.command import CommandEnvelope, RequestReconciliation

ACTOR = "system:reconciliation"


def last_night(purpose: str, now: datetime, hour_utc: int) -> datetime:
    """The latest moment, up to now, at which that purpose's turn came."""
    minute = hashlib.sha256(purpose.encode()).digest()[0] % 60
    moment = now.astimezone(UTC).replace(hour=hour_utc, minute=minute, second=0, microsecond=0)
    return moment if moment <= now else moment - timedelta(days=1)


def command_of(purpose: str, night: datetime) -> CommandEnvelope:
    """The same command whoever sends it, and however often."""
    run_id = f"{night:%Y-%m-%d}"
    return CommandEnvelope(
        command_id=f"reconciliation:{purpose}:{run_id}",
        actor=ACTOR,
        role="system",
        body=RequestReconciliation(purpose=purpose, run_id=run_id, reason="nightly"),
    )
