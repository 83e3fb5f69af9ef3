"""How the events of a log's collection change the charger it is asked of."""

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from bfactors import event as e
from bfactors.charger.state import ChargerState, LogRequest

_KEPT = 8
"""Requests remembered, the open one among them."""

LogEvent = e.LogRequested | e.LogRequestAccepted | e.LogStatusChanged | e.LogStored


def log_changed(state: ChargerState, event: LogEvent, now: datetime) -> ChargerState:
    """The state after one of these events; one about a request long forgotten changes nothing."""
    match event:
        case e.LogRequested():
            logs = (*state.logs, _requested(event, now))[-_KEPT:]
            return replace(state, logs=logs, last_request_id=event.request_id)
        case e.LogRequestAccepted():
            return _with(state, event.request_id, is_accepted=True, file_name=event.file_name)
        case e.LogStatusChanged():
            claimed_at = now if event.status == "Uploaded" else None
            return _with(
                state, event.request_id, status=event.status, is_accepted=True, claimed_at=claimed_at
            )
        case e.LogStored():
            stored: dict[str, Any] = {
                "state": "stored",
                "sha256": event.sha256,
                "size_bytes": event.size_bytes,
                "stored_name": event.stored_name,
                "stored_at": now,
                "file_name": event.file_name,
                "remote_address": event.remote_address,
            }
            return _with(state, event.request_id, **stored)


def _with(charger: ChargerState, request_id: int | None, **fields: Any) -> ChargerState:
    logs = tuple(replace(log, **fields) if log.request_id == request_id else log for log in charger.logs)
    return replace(charger, logs=logs)


def _requested(event: e.LogRequested, now: datetime) -> LogRequest:
    return LogRequest(
        job_id=event.job_id,
        log_id=event.log_id,
        request_id=event.request_id,
        log=event.log,
        oldest=event.oldest,
        latest=event.latest,
        secret_id=event.secret_id,
        ticket_hash=event.ticket_hash,
        credential_hash=event.credential_hash,
        max_bytes=event.max_bytes,
        requested_at=now,
        expires_at=event.expires_at,
    )
