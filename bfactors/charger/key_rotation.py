"""A new AuthorizationKey for a charger: made, admitted, told, and proved by a session; only then is the old one refused.

What a charger may be using is never refused: a key counts as possibly in use from the moment the order that carries it is
opened, and one whose job ended without a session stays admitted until another was seen and its grace is over.
Source: OCPP 2.0.1 A01; whitepaper "Improved security for OCPP 1.6-J", A01. A01.FR.03 ends the old key at the Accepted; we
end it when the new one is seen, so that a lost write locks nobody out (ADR 0017).
"""

from datetime import timedelta
from typing import assert_never

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.admission import is_spoken_for
from bfactors.charger import blackout_hold
from bfactors.charger.draft import Draft, back_off
from bfactors.charger.pause import holder
from bfactors.charger.pending_key import ROTATE_KEY, PendingKey
from bfactors.charger.state import ChargerState, InstructionState, JobState
from bfactors.instruction import CloseSession, Reboot, WriteAuthorizationKey
from bfactors.ocpp import Answered, CallFailed, Disconnected, Outcome, Silent
from bfactors.purpose import session_purpose
from bfactors.refusal import Refusal

DEMAND = "demand"
RETURN_FROM_PROFILE_3 = "return-from-profile-3"
AWAITS_PROFILE = "profile-with-password"
"""What a job waits for whose charger connects without a password as yet."""
_CERTIFICATE_PROFILE = 3
_CANNOT = frozenset({"NotSupported", "NotImplemented"})
_GONE = "SecretGone"
_MOST_DECISIONS = 5


def asked_for(draft: Draft, command: c.RotateKey) -> Refusal | str:
    """An operator wants another key; returns the job's id, of the open one if there is one and no key was given."""
    if command.job_id in draft.state.jobs:
        return command.job_id
    if any(ended.job_id == command.job_id for ended in draft.state.ended_jobs):
        return Refusal("job-ended", "a job of this id has ended already", "job_id", 409)
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    return begin(draft, command.job_id, DEMAND, command.reason, is_given=command.is_given)


def begin(draft: Draft, job_id: str, trigger: str, reason: str, *, is_given: bool = False) -> Refusal | str:
    """Open a rotation; an open one is returned instead, unless a key was given that it would not bring."""
    state = draft.state
    present = open_rotation(state)
    if present is not None and is_given:
        message = f"job {present.job_id} is bringing this charger another key; cancel it or wait for its end"
        return Refusal("rotation-open", message, "key", 409)
    if present is not None:
        return present.job_id
    if _needs_none(state, trigger):
        message = (
            "the charger connects with a certificate and has no AuthorizationKey; it gets one with a way back"
        )
        return Refusal("no-key-in-use", message, "charger_id", 409)
    draft.record(
        e.CertificateRequested(
            job_id=job_id,
            managed_identity_id=state.managed_identity_id,
            charger_id=state.charger_id,
            purpose=session_purpose().name,
            variant="default",
            action=ROTATE_KEY,
            reason=reason,
            certificate_id=None,
            deadline_at=draft.now + timedelta(seconds=draft.policy(session_purpose().name).job_deadline_s),
            policy_version=draft.context.facts.policies.version,
        )
    )
    draft.record(
        e.AuthorizationKeyRequested(
            charger_id=state.charger_id,
            job_id=job_id,
            generation=newest_generation(state) + 1,
            trigger=trigger,
            origin="given" if is_given else "generated",
        )
    )
    return job_id


def _needs_none(state: ChargerState, trigger: str) -> bool:
    """It connects with a certificate, and no way back is open to it or about to be."""
    has_way_back = state.way_back is not None or trigger == RETURN_FROM_PROFILE_3
    return state.security_profile >= _CERTIFICATE_PROFILE and not has_way_back


def retire_all(draft: Draft, reason: str) -> None:
    """Refuse every key from now on (decommissioning, the end of a way back): open rotations end, sessions are cut."""
    for job in list(draft.state.jobs.values()):
        if job.action == ROTATE_KEY:
            draft.withdraw_instructions(job.job_id)
            draft.record(e.CertificateJobCancelled(job_id=job.job_id, reason=reason))
    if draft.state.keys or draft.state.pending_keys:
        draft.record(e.AuthorizationKeysRetired(charger_id=draft.state.charger_id, reason=reason))


def open_rotation(state: ChargerState) -> JobState | None:
    """The open job that brings a key; there is one at most."""
    return next((job for job in state.jobs.values() if job.action == ROTATE_KEY), None)


def pending_of(state: ChargerState, job_id: str | None) -> PendingKey | None:
    """The key that a job brings, until it is active or withdrawn."""
    return next((key for key in state.pending_keys if key.job_id == job_id), None)


def active_generation(state: ChargerState) -> int | None:
    """The generation of the key in use; None for a charger without one."""
    return next((key.generation for key in state.keys if key.state == "active"), None)


def newest_generation(state: ChargerState) -> int:
    """No generation is given out twice, not even one that came to nothing."""
    return max(state.key_generation, *(key.generation for key in state.keys), 0)


# ---------------------------------------------------------------- what was made


def minted(draft: Draft, body: v.KeyMinted) -> None:
    """The key is sealed: it is admitted beside the old one before the charger can be told."""
    job, key = draft.state.jobs.get(body.job_id), pending_of(draft.state, body.job_id)
    if job is None or key is None or key.generation != body.generation or key.prepared_at is not None:
        return
    made = {(one.pepper_id, one.verifier) for one in body.keys}
    same = {one.generation for one in draft.state.keys if (one.pepper_id, one.verifier) in made}
    if active_generation(draft.state) in same:
        draft.fail(job, "key-in-use-already", "the key that was given is the one the charger has already")
        return
    draft.record(
        e.AuthorizationKeyPrepared(
            charger_id=draft.state.charger_id,
            job_id=job.job_id,
            generation=key.generation,
            keys=body.keys,
            weakness=body.weakness,
            evidence_ref=draft.context.cause,
            replaces=tuple(sorted(same)),
        )
    )


def not_minted(draft: Draft, body: v.KeyNotMinted) -> None:
    """There will be no key for this job."""
    job = draft.state.jobs.get(body.job_id)
    if job is not None:
        draft.fail(job, body.code, body.message)


# ---------------------------------------------------------------- what is next


def pursue(draft: Draft, job: JobState) -> None:
    """Bring a rotation to where it can be now."""
    key = pending_of(draft.state, job.job_id)
    if key is None:
        draft.fail(job, "key-withdrawn", "the key it was to bring was withdrawn")
    elif _needs_none(draft.state, key.trigger):
        draft.withdraw_instructions(job.job_id)
        reason = "the charger connects with a certificate now and needs no key"
        draft.record(e.CertificateJobCancelled(job_id=job.job_id, reason=reason))
    elif key.prepared_at is None:
        draft.stage(job, "requested", waiting_for="key")
    elif key.accepted_at is not None:
        _await_proof(draft, job, key)
    else:
        _tell(draft, job, key)


def _tell(draft: Draft, job: JobState, key: PendingKey) -> None:
    reason = (job.reason_code, job.reason_message or "") if job.reason_code and job.failures else None
    if reason is not None and job.failures >= draft.policy(job.purpose).max_attempts:
        draft.fail(job, *reason)
        return
    held = holder(draft, job)
    if held is not None:
        draft.stage(job, "held", held_by=held[0], reason=("paused", held[1]))
        return
    session = draft.state.session
    if session is None:
        draft.stage(job, "awaiting-connection", waiting_for="connection", reason=reason)
        return
    if is_spoken_for(session.flags):
        message = "a local controller speaks for the charger; a key is told to nobody but the charger itself"
        draft.stage(
            job, "awaiting-connection", waiting_for="own-session", reason=("spoken-for-session", message)
        )
        return
    draft.open_instruction(job, WriteAuthorizationKey(secret_id=job.job_id, generation=key.generation))
    draft.stage(job, "installing", waiting_for="charger", reason=reason)


def _await_proof(draft: Draft, job: JobState, key: PendingKey) -> None:
    """The charger has it; a session that shows it is what counts."""
    if not _uses_password(draft.state):
        draft.stage(job, "awaiting-reconnect", waiting_for=AWAITS_PROFILE)
        return
    policy = draft.policy(job.purpose)
    if key.needs_reboot and draft.state.session is not None:
        may = policy.key_reboot == "always" or (
            policy.key_reboot == "when-idle" and draft.state.session.ocpp_version != "1.6"
        )
        if may and draft.outstanding(job.job_id, Reboot) is None and blackout_hold.hold(draft, job):
            return
        if may:
            draft.open_instruction(job, Reboot(when="on-idle"))
    waiting_for = "reboot" if key.needs_reboot else "reconnect"
    due, reason = job.due_at, None
    if job.stage != "awaiting-reconnect" or job.waiting_for != waiting_for:
        own_will_s = 0 if key.needs_reboot else policy.key_close_session_s
        due = draft.now + timedelta(seconds=own_will_s or policy.reconnect_wait_s)
    if key.needs_reboot:
        reason = ("reboot-needed", "the charger uses its new key after a reboot; both keys are admitted")
    draft.stage(job, "awaiting-reconnect", waiting_for=waiting_for, reason=reason, due_at=due)


def _uses_password(state: ChargerState) -> bool:
    profile = state.session.security_profile if state.session is not None else state.security_profile
    return profile in (1, 2)


def nudged(draft: Draft, job: JobState) -> bool:
    """Close the socket of a charger that took its key and did not come back by itself; once for each acceptance."""
    key, session = pending_of(draft.state, job.job_id), draft.state.session
    is_due = job.due_at is not None and job.due_at <= draft.now
    if not is_due or key is None or session is None or key.accepted_at is None or key.nudged_at is not None:
        return False
    policy = draft.policy(job.purpose)
    if key.needs_reboot or not policy.key_close_session_s or session.security_profile not in (1, 2):
        return False
    lifted = blackout_hold.until(draft.state, job, policy, draft.now)
    if lifted is not None:
        draft.stage(job, "awaiting-reconnect", waiting_for="reconnect", due_at=lifted)
        return True
    draft.open_instruction(job, CloseSession(reason="new password"))
    due = draft.now + timedelta(seconds=policy.reconnect_wait_s)
    draft.stage(job, "awaiting-reconnect", waiting_for="reconnect", due_at=due)
    return True


LATE = (
    "not-reconnected-with-new-key",
    "the charger has its new key, but no session has shown it; both keys are admitted",
)


# ---------------------------------------------------------------- what the charger says and shows


def answered(
    draft: Draft,
    instruction: InstructionState,
    body: WriteAuthorizationKey,
    session_id: str,
    outcome: Outcome,
) -> None:
    """What the charger said to its new key: five answers, five different facts."""
    job = draft.state.jobs.get(instruction.job_id or "")
    match outcome:
        case Answered(status="Accepted" | "RebootRequired"):
            draft.settle(instruction, "accepted", outcome.status)
            if job is not None:
                _accepted(draft, job, body, needs_reboot=outcome.status == "RebootRequired")
        case Answered():
            is_conclusive = _is_conclusive(draft.state, instruction, session_id)
            draft.settle(instruction, "rejected", outcome.status)
            _refused(draft, job, outcome.status, is_conclusive=is_conclusive)
        case CallFailed(code=code, description=description):
            is_conclusive = code in _CANNOT and _is_conclusive(draft.state, instruction, session_id)
            said = f"{code} {description}".strip()[:200]
            draft.settle(instruction, "call-error", said)
            if code == _GONE and job is not None:
                draft.fail(
                    job, "key-gone", "the sealed key is not to be had any more; start another rotation"
                )
            else:
                _refused(draft, job, said, is_conclusive=is_conclusive)
        case Silent() if instruction.decision >= _MOST_DECISIONS:
            draft.settle(instruction, "silent", "no answer")
            if job is not None:
                draft.fail(job, "key-unanswered", "the charger never answered the order with its new key")
        case Silent():
            draft.repeat_instruction(instruction, delay=back_off(instruction.decision))
        case Disconnected():
            pass  # outstanding: the same key goes out again with the next session
        case _:
            assert_never(outcome)


def _is_conclusive(state: ChargerState, instruction: InstructionState, session_id: str) -> bool:
    """Whether the charger has been told this key only once: else it may have taken it before it refused it."""
    job = state.jobs.get(instruction.job_id or "")
    key = pending_of(state, instruction.job_id)
    return (
        job is not None
        and key is not None
        and job.failures == 0
        and instruction.decision == 1
        and key.offered_session == session_id
    )


def _accepted(draft: Draft, job: JobState, body: WriteAuthorizationKey, *, needs_reboot: bool) -> None:
    draft.record(
        e.AuthorizationKeyAccepted(
            charger_id=draft.state.charger_id,
            job_id=job.job_id,
            generation=body.generation,
            needs_reboot=needs_reboot,
            evidence_ref=draft.context.cause,
        )
    )


def _refused(draft: Draft, job: JobState | None, said: str, *, is_conclusive: bool) -> None:
    if job is None:
        return
    if not is_conclusive:
        draft.retry(job, "key-write-inconclusive", f"the charger did not take its new key this time: {said}")
        return
    _withdraw(draft, pending_of(draft.state, job.job_id), "refused")
    draft.fail(
        job, "key-refused-by-charger", f"the charger refused its new key and goes on with the old one: {said}"
    )


def seen(draft: Draft, body: v.SessionOpened, *, is_reconnect: bool) -> None:
    """A session opened with a key: the proof that a new one is in use, or that an old one still is."""
    generation = body.key_generation
    shown_at = draft.state.key_shown_at
    if generation is None or (shown_at is not None and body.opened_at < shown_at):
        return
    key = next((key for key in draft.state.pending_keys if key.generation == generation), None)
    if key is not None:
        _proved(draft, key)
    elif is_reconnect and generation == active_generation(draft.state):
        _came_back_with_old(draft)


def _proved(draft: Draft, key: PendingKey) -> None:
    draft.record(
        e.AuthorizationKeyActivated(
            charger_id=draft.state.charger_id,
            job_id=key.job_id,
            generation=key.generation,
            evidence_ref=draft.context.cause,
        )
    )
    for instruction in list(draft.state.instructions.values()):
        if instruction.job_id == key.job_id:
            draft.settle(instruction, "observed", "the new key was seen")
    if key.job_id in draft.state.jobs:
        draft.record(e.CertificateJobSucceeded(job_id=key.job_id, certificate_id=None))


def _came_back_with_old(draft: Draft) -> None:
    job = open_rotation(draft.state)
    key = pending_of(draft.state, job.job_id) if job is not None else None
    if job is None or key is None or key.accepted_at is None or key.needs_reboot:
        return
    for instruction in list(draft.state.instructions.values()):
        if instruction.job_id == job.job_id:
            draft.settle(instruction, "observed", "reconnected")
    message = "the charger took its new key and came back with the old one; it is told the same key again"
    draft.retry(job, "reconnected-with-old-key", message)


# ---------------------------------------------------------------- what is left over


def follow(draft: Draft) -> None:
    """No key outlives its job unsettled: one the charger may have stays admitted for a grace, any other is withdrawn."""
    for key in draft.state.pending_keys:
        if key.job_id in draft.state.jobs:
            continue
        if not key.may_be_in_use:
            _withdraw(draft, key, "never-told")
        elif key.doubted_at is None:
            grace = timedelta(days=draft.policy(session_purpose().name).key_doubt_days)
            draft.record(
                e.AuthorizationKeyDoubted(
                    charger_id=draft.state.charger_id,
                    job_id=key.job_id,
                    generation=key.generation,
                    admit_until=draft.now + grace,
                    reason="its rotation ended, and the charger may have it all the same",
                )
            )
        elif key.is_outlived and key.admit_until is not None and key.admit_until <= draft.now:
            _withdraw(draft, key, "never-seen")


def _withdraw(draft: Draft, key: PendingKey | None, reason: str) -> None:
    if key is not None:
        draft.record(
            e.AuthorizationKeyWithdrawn(
                charger_id=draft.state.charger_id,
                job_id=key.job_id,
                generation=key.generation,
                reason=reason,
            )
        )
