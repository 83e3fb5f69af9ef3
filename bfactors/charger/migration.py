"""The life of a migration case: opened, set back, in quarantine, released, completed. Its steps are `migration_step`'s.

One case per charger, carried by a job of its own; what brings the certificate is another job's work. Whatever becomes of
a case, the profile that last worked stays admitted until a higher one has been seen, and a quarantine refuses nobody: it
only means that nothing more is tried before an operator has looked. Source: A05, B09, B10; 1.6 security whitepaper, A05.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.charger import rollback
from bfactors.charger.draft import Draft
from bfactors.charger.prerequisite import TLS_PROFILE, next_profile
from bfactors.charger.state import MIGRATE, ChargerState, JobState, MigrationState
from bfactors.charger.trust_gate import kept_reason
from bfactors.policy import Policy
from bfactors.purpose import session_purpose
from bfactors.refusal import Refusal

RESTING = "profile-migration"
"""What a job waits for whose charger is not to leave profile 2."""
_LONGEST_PAUSE = timedelta(hours=6)


# ---------------------------------------------------------------- commands


def opened(draft: Draft, command: c.OpenMigration) -> Refusal | str:
    """Open a case, or say why not; a case to the same profile that is under way is the answer to another."""
    state = draft.state
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    case = state.migration
    if case is not None and command.job_id == case.job_id:
        return _answer(draft, command.job_id)
    if any(ended.job_id == command.job_id for ended in state.ended_jobs):
        return Refusal("job-ended", "a job of this id has ended already", "job_id", 409)
    if case is not None and case.is_under_way and not _ends_rollback(state, case, command):
        if case.state == "quarantine":
            message = "the charger's migration is in quarantine; release it first"
            return Refusal("migration-in-quarantine", message, "charger_id", 409)
        if case.target_profile == command.target_profile and case.state != "rollback":
            return case.job_id
        message = f"a migration to profile {case.target_profile} is under way; cancel its job first"
        return Refusal("migration-under-way", message, "target_profile", 409)
    if command.target_profile < state.security_profile:
        return rollback.opened(draft, command)
    has_gone_back = state.way_back is not None and state.way_back.used_at is not None
    if command.target_profile == state.security_profile and not has_gone_back:
        message = f"the charger uses profile {state.security_profile} already"
        return Refusal("profile-in-use", message, "target_profile", 409)
    rolled_back = case.job_id if case is not None and case.state == "rollback" else None
    open_case(draft, command.job_id, command.target_profile, command.reason)
    if rolled_back is not None:
        draft.withdraw_instructions(rolled_back)
        draft.record(e.CertificateJobSucceeded(job_id=rolled_back, certificate_id=None))
    return command.job_id


def _ends_rollback(state: ChargerState, case: MigrationState, command: c.OpenMigration) -> bool:
    """Whether a charger that has gone back to profile 2 is to go up again; the way back stays open until it is seen there."""
    has_gone_back = state.way_back is not None and state.way_back.used_at is not None
    return case.state == "rollback" and has_gone_back and command.target_profile > case.to_profile


def _answer(draft: Draft, job_id: str) -> Refusal | str:
    if job_id in draft.state.jobs:
        return job_id
    return Refusal("job-ended", "a job of this id has ended already", "job_id", 409)


def released(draft: Draft, command: c.ReleaseMigration) -> Refusal | None:
    """An operator looked at a quarantine: the case starts again, or ends."""
    case = draft.state.migration
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    if case is None or case.state != "quarantine":
        return Refusal("not-in-quarantine", "the charger's migration is not in quarantine", "charger_id", 409)
    draft.record(
        e.MigrationReleased(
            charger_id=draft.state.charger_id,
            job_id=case.job_id,
            reason=command.reason,
            actor=draft.context.actor,
        )
    )
    if command.ends:
        draft.withdraw_instructions(case.job_id)
        draft.record(e.CertificateJobCancelled(job_id=case.job_id, reason=command.reason))
    return None


# ---------------------------------------------------------------- opening


def open_case(draft: Draft, job_id: str, target: int, reason: str) -> None:
    """Record the case and the job that carries it."""
    state = draft.state
    name = session_purpose().name
    version = draft.context.facts.policies.version
    draft.record(
        e.CertificateRequested(
            job_id=job_id,
            managed_identity_id=state.managed_identity_id,
            charger_id=state.charger_id,
            purpose=name,
            variant="default",
            action=MIGRATE,
            reason=reason,
            certificate_id=None,
            deadline_at=draft.now + timedelta(seconds=draft.policy(name).job_deadline_s),
            policy_version=version,
        )
    )
    draft.record(
        e.MigrationOpened(
            charger_id=state.charger_id,
            job_id=job_id,
            from_profile=state.security_profile if state.way_back is None else TLS_PROFILE,
            to_profile=next_profile(state, target),
            target_profile=target,
            reason=reason,
        )
    )


def follow(draft: Draft, job: JobState) -> None:
    """A certificate is installed on a charger that is to use it and does not yet: its way there is a case like any other."""
    case = draft.state.migration
    if case is None or not _is_for(draft.state, case, job):
        job_id = draft.derived_id("implied-migration", job.job_id)
        open_case(draft, job_id, draft.state.target_security_profile, "its certificate is installed")
        case = draft.state.migration
    assert case is not None
    waiting_for, reason = _what_holds(case, draft.state.jobs[job.job_id])
    draft.stage(draft.state.jobs[job.job_id], "awaiting-reconnect", waiting_for=waiting_for, reason=reason)
    _be_late_with(draft, case, draft.state.jobs[job.job_id])


def _be_late_with(draft: Draft, case: MigrationState, job: JobState) -> None:
    """Whoever ordered the certificate looks at its job: it is overdue when the way to its use is."""
    carrier = draft.state.jobs.get(case.job_id)
    if carrier is None or not carrier.overdue or job.overdue:
        return
    late = "the certificate is installed, but the charger has not reconnected with it; its old credential keeps working"
    draft.record(
        e.CertificateJobOverdue(
            job_id=job.job_id, reason_code=carrier.reason_code or "not-reconnected", reason_message=late
        )
    )


def _what_holds(case: MigrationState, job: JobState) -> tuple[str, tuple[str, str] | None]:
    """What the certificate's job waits for, and why."""
    if case.state == "quarantine":
        message = f"the charger's migration is in quarantine: {case.reason_message}"
        return "operator", ("migration-in-quarantine", message)
    if not case.is_under_way:
        message = "the charger was to change its security profile; that was given up"
        return "operator", ("migration-cancelled", message)
    kept = (case.reason_code, case.reason_message or "") if case.reason_code else None
    return "migration", kept or kept_reason(job)


def _is_for(state: ChargerState, case: MigrationState, job: JobState) -> bool:
    """Whether a case, under way or given up, is the one this job's certificate goes by."""
    if case.is_under_way:
        carrier = state.jobs.get(case.job_id)
        return carrier is not None and carrier.action == MIGRATE  # of older code: another kind carried it
    return case.state == "cancelled" and case.ended_at is not None and case.ended_at >= job.created_at


# ---------------------------------------------------------------- what sessions show


def reached(draft: Draft, profile: int) -> None:
    """The charger was seen on a profile: its case is done by that, or at its next stage."""
    case = draft.state.migration
    if case is None or not case.is_under_way or case.state == "rollback":
        return
    if profile >= case.target_profile:
        draft.withdraw_instructions(case.job_id)
        _complete(draft, case)
    elif case.state == "pending" and profile >= case.from_profile:
        draft.withdraw_instructions(case.job_id)  # of the stage before


def came_back(draft: Draft, body: v.SessionOpened) -> None:
    """The charger reconnected with the profile it had, whatever it was told."""
    case = draft.state.migration
    if case is None or not _fell_back(case, body.security_profile):
        return
    if case.awaits_reconnect:
        message = f"the charger came back with profile {body.security_profile} instead of {case.to_profile}"
        set_back(draft, "fell-back-to-old-profile", message)
    elif case.state == "quarantine" and case.reason_code == "locked-out":
        _quarantine(
            draft, case, "back-on-old-profile", "the charger was away and is back with its old profile"
        )


def _fell_back(case: MigrationState, profile: int) -> bool:
    return profile < case.to_profile if case.to_profile > case.from_profile else profile > case.to_profile


def _complete(draft: Draft, case: MigrationState) -> None:
    draft.record(
        e.MigrationCompleted(
            charger_id=draft.state.charger_id,
            job_id=case.job_id,
            profile=draft.state.security_profile,
            from_state=case.state,
            evidence_ref=draft.context.cause,
        )
    )
    if case.job_id in draft.state.jobs:
        draft.record(e.CertificateJobSucceeded(job_id=case.job_id, certificate_id=None))


# ---------------------------------------------------------------- set-backs


def set_back(draft: Draft, code: str, message: str, *, refused_slot: int | None = None) -> None:
    """The stage did not work: its steps begin again after a pause that grows, and not for ever."""
    case = draft.state.migration
    assert case is not None
    policy = draft.policy(session_purpose().name)
    draft.withdraw_instructions(case.job_id)
    draft.record(
        e.MigrationSetBack(
            charger_id=draft.state.charger_id,
            job_id=case.job_id,
            reason_code=code,
            reason_message=message,
            not_before=draft.now + pause_after(case.failures + 1, policy),
            refused_slot=refused_slot,
        )
    )
    case = draft.state.migration
    assert case is not None
    if case.failures >= policy.max_attempts and case.state != "rollback":
        _quarantine(draft, case, code, message)


def pause_after(failures: int, policy: Policy) -> timedelta:
    """The policy's `migration_retry_s`, four times as long with every further failure, six hours at most."""
    first = timedelta(seconds=policy.migration_retry_s)
    return min(first * int(4 ** min(failures - 1, 12)), _LONGEST_PAUSE)


def quarantine(draft: Draft, code: str, message: str) -> None:
    """Stop trying, and have somebody look."""
    case = draft.state.migration
    assert case is not None
    _quarantine(draft, case, code, message)


def _quarantine(draft: Draft, case: MigrationState, code: str, message: str) -> None:
    is_news = case.state != "quarantine"
    draft.withdraw_instructions(case.job_id)
    draft.record(
        e.MigrationQuarantined(
            charger_id=draft.state.charger_id, job_id=case.job_id, reason_code=code, reason_message=message
        )
    )
    if not is_news:
        return
    kind, detail = "MigrationQuarantined", f"{code}: {message}"
    draft.record(
        e.SecurityEventRecorded(
            charger_id=draft.state.charger_id,
            kind=kind,
            detail=detail,
            count=1,
            remote_address=None,
            critical=True,
            job_id=case.job_id,
        )
    )
    draft.record(
        e.SecurityEventEscalated(
            charger_id=draft.state.charger_id,
            kind=kind,
            detail=detail,
            critical=True,
            policy_version=draft.context.facts.policies.version,
            evidence_ref=draft.context.cause,
        )
    )


# ---------------------------------------------------------------- time


def rang(draft: Draft, policy: Policy) -> None:
    """A charger that nobody has seen since its reset may have locked itself out: stop, and have somebody look."""
    case = draft.state.migration
    ends = locked_out_at(draft.state, policy)
    if case is None or ends is None or ends > draft.now:
        return
    hours = policy.migration_lockout_s / 3600
    _quarantine(
        draft, case, "locked-out", f"not seen on its old or new profile for {hours:g} hours since the reset"
    )


def locked_out_at(state: ChargerState, policy: Policy) -> datetime | None:
    """When a charger that was reset counts as locked out; None while it is connected, or nothing is awaited."""
    case = state.migration
    if (
        case is None
        or case.state != "active"
        or not case.awaits_reconnect
        or state.session is not None
        or case.reset_at is None
    ):
        return None
    since = max(case.reset_at, state.last_seen_at or case.reset_at)
    return since + timedelta(seconds=policy.migration_lockout_s)


def moments(state: ChargerState, policy: Policy) -> Iterator[datetime]:
    """When time alone may move the case on."""
    ends = locked_out_at(state, policy)
    if ends is not None:
        yield ends
