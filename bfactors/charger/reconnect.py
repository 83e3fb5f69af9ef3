"""The ladder for a charger that took its new leaf and stays on a session without it: its socket, then a Reset.

    took the leaf ─ reconnect_close_s ─► socket closed ─ reconnect_reset_s ─► Reset when idle
           └─────── reconnect_wait_s ──► overdue (somebody is told; the ladder goes on)

Each rung is taken once for a leaf, and its seconds count from the last moment at which the charger could have changed by
itself: when it took the leaf, when it connected, when the rung before was taken. Nothing is revoked on the way.
"""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from bfactors import event as e
from bfactors.charger import blackout_hold
from bfactors.charger.draft import Draft
from bfactors.charger.pause import holder_of
from bfactors.charger.state import CertificateRecord, ChargerState, InstructionState, JobState
from bfactors.fleet.state import FleetFacts
from bfactors.instruction import CloseSession, OperationalKind, Reboot
from bfactors.policy import Policy

Step = Literal["close-socket", "reset"]


class Rung(msgspec.Struct, frozen=True):
    """One step of the ladder and when its time comes."""

    step: Step
    at: datetime


_BODY: dict[Step, OperationalKind] = {
    "close-socket": CloseSession(reason="reconnect with the new certificate"),
    # in 1.6 a Soft reset, which ends a running transaction in good order; in 2.x the charger waits for its end
    "reset": Reboot(when="on-idle"),
}
_SAID: dict[Step, tuple[str, str]] = {
    "close-socket": (
        "socket-closed",
        "the charger took its certificate and did not reconnect: its socket was closed so that it does",
    ),
    "reset": (
        "reset-to-reconnect",
        "the charger took its certificate and did not reconnect: it was told to reset when it is idle",
    ),
}


def taken_leaf(state: ChargerState, job: JobState) -> CertificateRecord | None:
    """The leaf that the charger has taken for this job and does not use yet, if it is a matter of reconnecting alone."""
    certificate = state.certificates.get(job.certificate_id or "")
    if certificate is None or certificate.state != "installed" or job.stage != "awaiting-reconnect":
        return None
    return certificate if state.security_profile >= 3 else None


def next_rung(
    state: ChargerState, facts: FleetFacts, policy: Policy, job: JobState, now: datetime
) -> Rung | None:
    """What is to be done next about a charger that stays on its old session, and when; None: nothing, or not now."""
    certificate, session = taken_leaf(state, job), state.session
    if certificate is None or certificate.installed_at is None or session is None:
        return None
    if holder_of(state, facts, policy, job, now) is not None:
        return None
    waits: tuple[tuple[Step, int], ...] = (
        ("close-socket", policy.reconnect_close_s),
        ("reset", policy.reconnect_reset_s),
    )
    since = max(certificate.installed_at, session.connected_at, job.ladder_at or certificate.installed_at)
    for step, seconds in waits:
        if seconds == 0 or step in job.ladder:
            continue
        if step == "reset" and not may_reset(state):
            return None
        at = max(since + timedelta(seconds=seconds), now)
        return Rung(step, blackout_hold.until(state, job, policy, at) or since + timedelta(seconds=seconds))
    return None


def may_reset(state: ChargerState) -> bool:
    """Never two resets in a row: one that was sent on this session has yet to show itself by a reconnect."""
    return state.session is not None and state.session.session_id != state.reset_session


def climb(draft: Draft, job: JobState) -> None:
    """Take the next rung if its time has come."""
    session = draft.state.session
    policy = draft.policy(job.purpose)
    rung = next_rung(draft.state, draft.context.facts, policy, job, draft.now)
    if rung is None or rung.at > draft.now or session is None or job.certificate_id is None:
        return
    draft.record(
        e.ReconnectStepTaken(
            job_id=job.job_id,
            certificate_id=job.certificate_id,
            step=rung.step,
            session_id=session.session_id,
        )
    )
    job = draft.state.jobs[job.job_id]
    draft.open_instruction(job, _BODY[rung.step])
    _say(draft, job, *_SAID[rung.step])


def _say(draft: Draft, job: JobState, code: str, message: str) -> None:
    draft.stage(job, job.stage, waiting_for="reconnect", reason=(code, message), due_at=job.due_at)


def refused(draft: Draft, job: JobState, instruction: InstructionState, detail: str) -> bool:
    """The charger would not do what a rung asks: it is said, and the job goes on waiting. False: it was no rung."""
    if not _is_rung(job, instruction.body) or taken_leaf(draft.state, job) is None:
        return False
    _say(draft, job, "reset-refused", f"the charger has not reconnected and refused to reset: {detail}")
    return True


def reconnected(draft: Draft, instruction: InstructionState) -> bool:
    """The charger has reconnected, so no rung need be carried out any more. False: it was no rung."""
    job = draft.state.jobs.get(instruction.job_id or "")
    if job is None or not _is_rung(job, instruction.body):
        return False
    draft.settle(instruction, "observed", "reconnected")
    return True


def _is_rung(job: JobState, body: OperationalKind) -> bool:
    return any(body == _BODY[step] for step in _BODY if step in job.ladder)
