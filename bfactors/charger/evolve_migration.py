"""How the events of a migration case change it. A stage that failed begins at its first step again."""

from datetime import datetime
from typing import assert_never

from msgspec.structs import replace

from bfactors import event as e
from bfactors.charger.state import ChargerState, InstructionState, MigrationPhase, MigrationState
from bfactors.instruction import (
    RaiseSecurityProfile,
    ReadSettings,
    Reboot,
    SetNetworkProfile,
    SetProfilePriority,
    kind_name,
)

ChangeEvent = (
    e.MigrationHeld
    | e.MigrationCertificateWanted
    | e.MigrationStarted
    | e.MigrationSlotsChosen
    | e.MigrationSetBack
    | e.MigrationQuarantined
    | e.MigrationReleased
    | e.MigrationCompleted
)
CLEAR_PRIORITY = "clear-priority"
_STEP_DONE: dict[type, tuple[str, ...]] = {
    # whatever a charger answers, or does not, it has been asked
    ReadSettings: ("accepted", "rejected", "call-error", "silent"),
    SetNetworkProfile: ("accepted",),
    SetProfilePriority: ("accepted",),
    RaiseSecurityProfile: ("accepted",),
    # a charger that resets before its answer is out has done what was wanted
    Reboot: ("accepted", "unknown", "observed"),
}


def migration_changed(
    state: ChargerState, event: e.MigrationOpened | ChangeEvent, now: datetime
) -> ChargerState:
    """The state after one of these events; one of a case that is not under way changes nothing."""
    if isinstance(event, e.MigrationOpened):
        return _opened(state, event, now)
    found = state.migration
    if found is None or found.job_id != event.job_id or not found.is_under_way:
        return state
    return replace(state, migration=_changed(found, event, now))


def _changed(before: MigrationState, event: ChangeEvent, now: datetime) -> MigrationState:
    match event:
        case e.MigrationHeld():
            return replace(
                _afresh(before), missing=event.missing, reason_code=event.reason_code,
                reason_message=event.reason_message,
            )  # fmt: skip
        case e.MigrationCertificateWanted():
            return replace(before, certificate_job_id=event.certificate_job_id)
        case e.MigrationStarted():
            return replace(
                _afresh(before), state="active", missing=(), to_profile=event.to_profile,
                not_before=event.not_before,
            )  # fmt: skip
        case e.MigrationSlotsChosen():
            return replace(before, priority=event.priority, old_slot=event.old_slot, new_slot=event.new_slot)
        case e.MigrationSetBack():
            refused = () if event.refused_slot is None else (event.refused_slot,)
            begun = _afresh(before, state="rollback" if before.state == "rollback" else "pending")
            return replace(
                begun, failures=before.failures + 1, not_before=event.not_before, new_slot=0,
                reason_code=event.reason_code, reason_message=event.reason_message,
                refused_slots=(*before.refused_slots, *refused),
            )  # fmt: skip
        case e.MigrationQuarantined():
            return replace(
                before, state="quarantine", not_before=None,
                reason_code=event.reason_code, reason_message=event.reason_message,
            )  # fmt: skip
        case e.MigrationReleased():
            return replace(
                _afresh(before), failures=0, not_before=None, certificate_job_id=None, new_slot=0,
                refused_slots=(), reason_code=None, reason_message=None,
            )  # fmt: skip
        case e.MigrationCompleted():
            return replace(before, state="completed", ended_at=now, missing=(), not_before=None)
        case _:
            assert_never(event)


def _opened(state: ChargerState, event: e.MigrationOpened, now: datetime) -> ChargerState:
    case = MigrationState(
        job_id=event.job_id,
        step="",
        state="pending",
        from_profile=event.from_profile,
        to_profile=event.to_profile,
        target_profile=event.target_profile,
        opened_at=now,
    )
    return replace(state, migration=case, target_security_profile=event.target_profile)


def _afresh(case: MigrationState, *, state: MigrationPhase = "pending") -> MigrationState:
    return replace(case, state=state, step="", reset_at=None)


def profile_reached(state: ChargerState, event: e.SecurityProfileMigrated) -> ChargerState:
    """The first session with a higher profile. A case that goes further begins its next stage from there."""
    case = state.migration
    if case is not None and case.is_under_way and event.to_profile < case.target_profile:
        begun = case if case.state == "quarantine" else _afresh(case)
        case = replace(
            begun, from_profile=event.to_profile, to_profile=case.target_profile, failures=0,
            not_before=None, old_slot=case.new_slot, new_slot=0, refused_slots=(),
        )  # fmt: skip
    return replace(state, security_profile=event.to_profile, migration=case)


def offered(state: ChargerState, body: object) -> ChargerState:
    """A charger that is (about to be) told of a profile may come back with it, whatever is decided since."""
    if isinstance(body, SetNetworkProfile | RaiseSecurityProfile):
        return replace(state, offered_profile=max(state.offered_profile, body.security_profile))
    return state


def step_settled(state: ChargerState, settled: InstructionState, outcome: str, now: datetime) -> ChargerState:
    """One of the case's instructions came to its end; if that was well, its step is done."""
    case = state.migration
    if (
        case is None
        or case.state not in ("active", "rollback")
        or settled.job_id != case.job_id
        or outcome not in _STEP_DONE.get(type(settled.body), ())
    ):
        return state
    step = kind_name(settled.body)
    if isinstance(settled.body, SetProfilePriority):
        case = replace(case, priority=settled.body.slots)
        step = step if case.new_slot in settled.body.slots else CLEAR_PRIORITY
    if isinstance(settled.body, Reboot):
        case = replace(case, reset_at=now)
    return replace(state, migration=replace(case, step=step))


def job_ended(state: ChargerState, job_id: str, now: datetime) -> ChargerState:
    """The case's job failed or was cancelled, and the case with it; one that is completed stays so."""
    case = state.migration
    if case is None or case.job_id != job_id or not case.is_under_way:
        return state
    return replace(state, migration=replace(case, state="cancelled", ended_at=now, not_before=None))
