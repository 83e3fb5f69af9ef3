"""The way back from profile 3 to profile 2: a named case, agreed to by two people, with a fresh key and an end.

While it is in force profile 2 is admitted beside profile 3, with keys made since it began and no other; every key from
before is retired first. It ends at its date, or when a charger that had gone back is seen on profile 3 again: then
profile 2 is refused and its keys are retired. Only a 2.x charger that is known to allow a downgrade is told over OCPP; for
any other the door is open for somebody on site. No certificate is revoked by it. Source: A00.FR.005, errata of 2.0.1.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.charger import approval, key_rotation
from bfactors.charger.draft import Draft
from bfactors.charger.prerequisite import CLIENT_CERTIFICATE_PROFILE, TLS_PROFILE
from bfactors.charger.state import MIGRATE, ChargerState, JobState, MigrationState
from bfactors.purpose import session_purpose
from bfactors.refusal import Refusal

KIND = "rollback"
"""What its approvals are called."""


def opened(draft: Draft, command: c.OpenMigration) -> Refusal | str:
    """Ask for a way back; nothing opens before somebody else has agreed."""
    state = draft.state
    if state.way_back is not None:
        return Refusal("rollback-in-force", "profile 2 is open to this charger already", "charger_id", 409)
    if command.target_profile != TLS_PROFILE or state.security_profile != CLIENT_CERTIFICATE_PROFILE:
        message = "the only way back leads from profile 3 to profile 2"
        return Refusal("profile-lowered", message, "target_profile", 409)
    policy = draft.policy(session_purpose().name)
    if command.ends_at is None or command.approval_id is None:
        return Refusal("end-missing", "a way back needs a date on which it ends", "ends_at")
    if not draft.now < command.ends_at <= draft.now + timedelta(days=policy.rollback_longest_days):
        message = f"must lie within the next {policy.rollback_longest_days} days"
        return Refusal("end-out-of-range", message, "ends_at")
    draft.record(
        e.CertificateRequested(
            job_id=command.job_id,
            managed_identity_id=state.managed_identity_id,
            charger_id=state.charger_id,
            purpose=session_purpose().name,
            variant="default",
            action=MIGRATE,
            reason=command.reason,
            certificate_id=None,
            deadline_at=command.ends_at,
            policy_version=draft.context.facts.policies.version,
        )
    )
    draft.record(
        e.RollbackRequested(
            charger_id=state.charger_id,
            job_id=command.job_id,
            from_profile=state.security_profile,
            to_profile=TLS_PROFILE,
            ends_at=command.ends_at,
            approval_id=command.approval_id,
            reason=command.reason,
        )
    )
    content = {"to_profile": TLS_PROFILE, "ends_at": command.ends_at, "reason": command.reason}
    approval.ask(draft, command.approval_id, KIND, command.job_id, content, command.reason)
    return command.job_id


def pursue(draft: Draft, case: MigrationState, job: JobState) -> bool:
    """Bring the case to where it can be now; whether its steps over OCPP are to be taken."""
    asked = draft.state.approvals.get(case.approval_id or "")
    if draft.state.way_back is None:
        if asked is not None and asked.state == "approved":
            _begin(draft, case, job)
            return pursue(draft, case, job)
        if asked is None or asked.state != "open":
            state = asked.state if asked is not None else "gone"
            draft.fail(job, "approval-not-given", f"the approval it needs is {state}")
            return False
        draft.stage(job, "awaiting-approval", waiting_for="approval")
        return False
    if draft.state.way_back.used_at is not None:
        draft.stage(job, "awaiting-activation", waiting_for="end-of-rollback")
        return False
    if _may_tell(draft.state):
        return True
    message = "profile 2 is open to the charger; somebody must switch it on site"
    draft.stage(job, "awaiting-external", waiting_for="visit", reason=("rollback-on-site", message))
    return False


def _begin(draft: Draft, case: MigrationState, job: JobState) -> None:
    """No key from before opens a session again; a fresh one is made and, if the charger is here, told to it."""
    assert case.ends_at is not None
    key_rotation.retire_all(draft, "a way back to profile 2 begins with a fresh key")
    draft.record(
        e.RollbackStarted(
            charger_id=draft.state.charger_id,
            job_id=job.job_id,
            ends_at=case.ends_at,
            after_generation=key_rotation.newest_generation(draft.state),
        )
    )
    job_id = draft.derived_id("key-for-rollback", job.job_id)
    key_rotation.begin(draft, job_id, key_rotation.RETURN_FROM_PROFILE_3, "for the way back to profile 2")


def _may_tell(state: ChargerState) -> bool:
    """Whether the charger is known to go down when it is told, and holds the key it would need there."""
    session = state.session
    return (
        session is not None
        and session.ocpp_version != "1.6"
        and session.security_profile == CLIENT_CERTIFICATE_PROFILE
        and state.capabilities.allows_downgrade
        and any(key.accepted_at is not None and not key.needs_reboot for key in state.pending_keys)
    )


def seen(draft: Draft, body: v.SessionOpened) -> None:
    """The charger went back, or is back on profile 3 after it had."""
    way = draft.state.way_back
    if way is None:
        return
    if body.security_profile == TLS_PROFILE and way.used_at is None:
        draft.record(
            e.RollbackUsed(
                charger_id=draft.state.charger_id, job_id=way.job_id, evidence_ref=draft.context.cause
            )
        )
    elif body.security_profile >= CLIENT_CERTIFICATE_PROFILE and way.used_at is not None:
        _end(draft, "back-on-profile-3")


def follow(draft: Draft) -> None:
    """It ends at its date, and with its job, unless a migration back to profile 3 has taken that over."""
    way, case = draft.state.way_back, draft.state.migration
    if way is None:
        return
    if way.ends_at <= draft.now:
        _end(draft, "end-date")
    elif way.job_id not in draft.state.jobs and (case is None or not case.is_under_way):
        _end(draft, "cancelled")


def moments(state: ChargerState) -> Iterator[datetime]:
    """When the way back ends."""
    if state.way_back is not None:
        yield state.way_back.ends_at


def _end(draft: Draft, reason: str) -> None:
    way = draft.state.way_back
    assert way is not None
    was_used = way.used_at is not None
    key_rotation.retire_all(draft, "the way back to profile 2 has ended")
    draft.record(e.RollbackEnded(charger_id=draft.state.charger_id, job_id=way.job_id, reason=reason))
    job = draft.state.jobs.get(way.job_id)
    if job is None:
        return
    draft.withdraw_instructions(job.job_id)
    if was_used:
        draft.record(e.CertificateJobSucceeded(job_id=job.job_id, certificate_id=None))
    else:
        draft.record(e.CertificateJobCancelled(job_id=job.job_id, reason="nobody used it while it was open"))
