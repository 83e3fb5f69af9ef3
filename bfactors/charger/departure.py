"""A unit leaves its position: taken out of service, or replaced by another.

At once nobody connects as it any more: its keys are retired, its session is over, its certificates are refused everywhere.
Then the CA revokes what it signed for that unit; the job is done when it has. That is level-triggered: a certificate that
arrives later, from a CA that was asked before, is revoked too. What others issued is only refused here.

The position's own story stays: site, cohort, approvals, logs, security events. What was learned of the unit goes with it.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.charger import approval, key_rotation, operator_call
from bfactors.charger.draft import Draft
from bfactors.charger.state import CertificateRecord, ChargerState, JobState
from bfactors.identity import serial_number_problem
from bfactors.purpose import session_purpose
from bfactors.refusal import Refusal

DECOMMISSION = "decommission"
REPLACE = "replace"
LEAVING = (DECOMMISSION, REPLACE)
REFUSAL_REASON = "charger-decommissioned"
_REVOCATION_REASON = "cessation_of_operation"
_HIGHEST_FIRST_PROFILE = 2
_STAYS_OPEN = ("revoke", *LEAVING)


def decommissioned(draft: Draft, command: c.DecommissionCharger) -> Refusal | str:
    """Take the charger out of service; returns the job's id, of the open one if there is one."""
    state = draft.state
    known = _known_job(state, command.job_id)
    if known is not None:
        return known
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    if state.decommissioned_at is not None:
        return _open_job(state, DECOMMISSION) or out_of_service(state)
    _leave(draft, command.job_id, DECOMMISSION, command.reason)
    draft.record(
        e.ChargerDecommissioned(
            charger_id=state.charger_id,
            job_id=command.job_id,
            reason=command.reason,
            actor=draft.context.actor,
        )
    )
    return command.job_id


def replaced(draft: Draft, command: c.ReplaceUnit) -> Refusal | str:
    """Put another unit where the old one stood, or where none has stood since."""
    state = draft.state
    known = _known_job(state, command.job_id)
    if known is not None:
        return known
    refusal = _problem(draft, command)
    if refusal is not None:
        return refusal
    _leave(draft, command.job_id, REPLACE, command.reason)
    generation = key_rotation.newest_generation(draft.state) + 1
    was_named_by_serial = state.expected_common_name == state.serial_number
    draft.record(
        e.ChargerReplaced(
            charger_id=state.charger_id,
            job_id=command.job_id,
            managed_identity_id=command.managed_identity_id,
            serial_number=command.serial_number,
            former_managed_identity_id=state.managed_identity_id,
            former_serial_number=state.serial_number,
            expected_common_name=command.expected_common_name
            or (command.serial_number if was_named_by_serial else state.expected_common_name),
            security_profile=_first_profile(state, command),
            ocpp_versions=command.ocpp_versions or state.ocpp_versions,
            key=None if command.key is None else replace(command.key, generation=generation),
            key_forms=tuple(replace(key, generation=generation) for key in command.key_forms),
            key_origin=command.key_origin,
            key_weakness=command.key_weakness,
            reason=command.reason,
            actor=draft.context.actor,
        )
    )
    return command.job_id


def first_profile(security_profile: int) -> int:
    """What a unit nobody has seen connects with in a position of this profile, if nothing else is said."""
    return min(security_profile, _HIGHEST_FIRST_PROFILE)


def out_of_service(state: ChargerState) -> Refusal:
    """Why nothing is done for a charger that was taken out of service."""
    at = state.decommissioned_at
    since = f" since {at:%Y-%m-%d %H:%M} UTC" if at is not None else ""
    message = f"the charger is out of service{since} ({state.decommission_reason}); replace puts a unit there"
    return Refusal(REFUSAL_REASON, message, "charger_id", 409)


def is_of_former_unit(state: ChargerState, body: v.SessionOpened) -> bool:
    """Whether a session is of a unit that has left, or of none: it was admitted by a record of the time before."""
    is_other = body.managed_identity_id not in (None, state.managed_identity_id)
    return is_other or state.decommissioned_at is not None


def is_heard(state: ChargerState, session_id: str) -> bool:
    """Whether a CSR of that session can be the present unit's: once another has left, only the live session's is."""
    if state.decommissioned_at is not None:
        return False
    return state.unit_since is None or (state.session is not None and state.session.session_id == session_id)


def is_left_behind(state: ChargerState, certificate: CertificateRecord) -> bool:
    """Whether it belongs to a unit that has left."""
    return state.decommissioned_at is not None or bool(certificate.former_identity_id)


def follow(draft: Draft) -> None:
    """Revoke what a unit left behind, and end the job when the CA has."""
    if not draft.state.leaving_job_id:
        return
    for certificate in list(draft.state.certificates.values()):
        if is_left_behind(draft.state, certificate):
            _end(draft, certificate)
    for job in list(draft.state.jobs.values()):
        if job.action in LEAVING:
            _pursue(draft, job)


def refused_by_ca(draft: Draft, code: str, message: str) -> None:
    """The CA would not revoke what a unit left; it stays refused here, and an operator must look."""
    for job in list(draft.state.jobs.values()):
        if job.action in LEAVING and job.reason_code != code:
            draft.stage(job, "revoking", waiting_for="operator", reason=(code, message))


def _pursue(draft: Draft, job: JobState) -> None:
    is_left = draft.state.recalls_more or any(
        _awaits_ca(draft.state, certificate, draft.now) for certificate in _all(draft.state)
    )
    if not is_left:
        draft.record(e.CertificateJobSucceeded(job_id=job.job_id, certificate_id=None))
    elif job.waiting_for != "operator":
        draft.stage(job, "revoking", waiting_for="ca")


def _all(state: ChargerState) -> tuple[CertificateRecord, ...]:
    return tuple(state.certificates.values())


def _awaits_ca(state: ChargerState, certificate: CertificateRecord, now: datetime) -> bool:
    return (
        is_left_behind(state, certificate)
        and certificate.revocation_requested_at is not None
        and certificate.state not in ("revoked", "expired")
        and certificate.not_after > now
    )


def _end(draft: Draft, certificate: CertificateRecord) -> None:
    has_ended = certificate.state in ("revoked", "expired") or certificate.not_after <= draft.now
    if has_ended or certificate.revocation_requested_at is not None:
        return
    if certificate.mode == "managed":
        draft.record(
            e.CertificateRevocationRequested(
                job_id=draft.state.leaving_job_id,
                certificate_id=certificate.certificate_id,
                reason=_REVOCATION_REASON,
                comment="its unit has left",
            )
        )
    elif certificate.state not in ("inactive", "rejected", "deleted"):
        draft.record(
            e.CertificateDeactivated(
                certificate_id=certificate.certificate_id,
                deactivated_at=draft.now,
                reason="its unit has left",
                actor=draft.context.actor,
            )
        )


def _leave(draft: Draft, job_id: str, action: str, reason: str) -> None:
    """Everything under way for the unit ends; the job that has the rest done is open."""
    state = draft.state
    policy = draft.policy(session_purpose().name)
    operator_call.end_all(draft, "disconnected")
    key_rotation.retire_all(draft, reason)
    for job in list(draft.state.jobs.values()):
        if job.action not in _STAYS_OPEN:
            draft.withdraw_instructions(job.job_id)
            draft.record(e.CertificateJobCancelled(job_id=job.job_id, reason=f"the unit has left: {reason}"))
    for instruction in list(draft.state.instructions.values()):
        draft.settle(instruction, "withdrawn", "the unit has left")
    for asked in list(state.approvals.values()):
        if asked.state == "open" and not asked.job_id:
            approval.end(draft, asked, "stale", "it was about a unit that has left")
    if draft.state.session is not None:
        session_id = draft.state.session.session_id
        draft.record(
            e.ChargerSessionClosed(charger_id=state.charger_id, session_id=session_id, reason=action)
        )
    draft.record(
        e.CertificateRequested(
            job_id=job_id,
            managed_identity_id=state.managed_identity_id,
            charger_id=state.charger_id,
            purpose=session_purpose().name,
            variant="default",
            action=action,
            reason=reason,
            certificate_id=None,
            deadline_at=draft.now + timedelta(seconds=policy.job_deadline_s),
            policy_version=draft.context.facts.policies.version,
        )
    )


def _problem(draft: Draft, command: c.ReplaceUnit) -> Refusal | None:
    state, owner = draft.state, draft.context.serial_owner
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    problem = serial_number_problem(command.serial_number)
    if problem is not None:
        return Refusal("invalid-value", problem, "serial_number")
    if owner is not None and owner != state.charger_id:
        message = f"charger {owner} has this serial number"
        return Refusal("serial-number-in-use", message, "serial_number", 409)
    if command.serial_number == state.serial_number and state.decommissioned_at is None:
        message = "the unit of this serial number stands here already"
        return Refusal("same-unit", message, "serial_number", 409)
    profile = _first_profile(state, command)
    if not 0 <= profile <= state.target_security_profile:
        message = f"must lie between 0 and {state.target_security_profile}, the charger's target"
        return Refusal("invalid-value", message, "security_profile")
    if command.key is None and profile in (1, 2):
        return Refusal("key-missing", "profiles 1 and 2 take a key of the new unit", "authorization_key")
    return None


def _first_profile(state: ChargerState, command: c.ReplaceUnit) -> int:
    said = command.security_profile
    return first_profile(state.security_profile) if said is None else said


def _known_job(state: ChargerState, job_id: str) -> Refusal | str | None:
    if job_id in state.jobs:
        return job_id
    if any(ended.job_id == job_id for ended in state.ended_jobs):
        return Refusal("job-ended", "a job of this id has ended already", "job_id", 409)
    return None


def _open_job(state: ChargerState, action: str) -> str | None:
    return next((job.job_id for job in state.jobs.values() if job.action == action), None)
