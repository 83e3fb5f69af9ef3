"""How approvals and the way back to profile 2 change the charger they are about."""

from datetime import datetime
from typing import assert_never

from msgspec.structs import replace

from bfactors import approval_record
from bfactors import event as e
from bfactors.charger.state import ChargerState, MigrationState, WayBack

RollbackEvent = (
    e.ApprovalRequested
    | e.ApprovalDecided
    | e.RollbackRequested
    | e.RollbackStarted
    | e.RollbackUsed
    | e.RollbackEnded
)
_APPROVALS_KEPT = 8


def rollback_changed(state: ChargerState, event: RollbackEvent, now: datetime) -> ChargerState:
    """The state after one of these events."""
    match event:
        case e.ApprovalRequested():
            return _asked(state, event, now)
        case e.ApprovalDecided():
            return _decided(state, event, now)
        case e.RollbackRequested():
            case = MigrationState(
                job_id=event.job_id,
                step="",
                state="rollback",
                from_profile=event.from_profile,
                to_profile=event.to_profile,
                target_profile=event.to_profile,
                opened_at=now,
                approval_id=event.approval_id,
                ends_at=event.ends_at,
            )
            return replace(state, migration=case)
        case e.RollbackStarted():
            way = WayBack(job_id=event.job_id, after_generation=event.after_generation, ends_at=event.ends_at)
            return replace(state, way_back=way)
        case e.RollbackUsed():
            way_back = state.way_back
            return replace(state, way_back=replace(way_back, used_at=now) if way_back is not None else None)
        case e.RollbackEnded():
            return replace(state, way_back=None, migration=_completed(state, event, now))
        case _:
            assert_never(event)


def _completed(state: ChargerState, event: e.RollbackEnded, now: datetime) -> MigrationState | None:
    case = state.migration
    if case is None or case.job_id != event.job_id or not case.is_under_way:
        return case
    return replace(case, state="completed", ended_at=now, reason_code=None, reason_message=event.reason)


def _asked(state: ChargerState, event: e.ApprovalRequested, now: datetime) -> ChargerState:
    kept = list(state.approvals.items())[1 - _APPROVALS_KEPT :]
    return replace(state, approvals={**dict(kept), event.approval_id: approval_record.asked(event, now)})


def _decided(state: ChargerState, event: e.ApprovalDecided, now: datetime) -> ChargerState:
    approval = state.approvals.get(event.approval_id)
    if approval is None:
        return state
    ended = approval_record.ended(approval, event, now)
    return replace(state, approvals={**state.approvals, event.approval_id: ended})
