"""The entries of the list of security events: one each, and in a flood one for many, with a count that grows."""

from datetime import datetime

import msgspec

from bfactors import event as e
from bfactors.charger.state import ChargerState
from bfactors.ledger_row import SecurityEventRow

_encode = msgspec.json.Encoder().encode


def security_event_row(
    event: e.SecurityEventRecorded, cause: str, state: ChargerState | None, now: datetime
) -> SecurityEventRow:
    """The entry to write or to replace. `state` is the charger's after the event; None: a fact about no known charger."""
    first_at, count = now, event.count
    window = state.security_windows.get(event.kind) if state is not None else None
    if event.row_id is not None and window is not None:
        first_at, count = window.first_at or now, window.folded
    evidence_id = event.row_id or cause
    return SecurityEventRow(
        evidence_id=evidence_id,
        charger_id=event.charger_id,
        kind=event.kind,
        observed_at=first_at,
        doc=_encode(
            {
                "evidence_id": evidence_id,
                "charger_id": event.charger_id,
                "kind": event.kind,
                "detail": event.detail,
                "critical": event.critical,
                "count": count,
                "remote_address": event.remote_address,
                "charger_time": event.charger_time,
                "observed_at": first_at,
                "last_observed_at": now,
                "job_id": event.job_id,
            }
        ),
    )
