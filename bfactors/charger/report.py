"""What a charger reports unasked: security events, folded in floods and laid to the job they explain."""

from datetime import timedelta

from bfactors import event as e
from bfactors import evidence as v
from bfactors.charger import discard
from bfactors.charger.draft import Draft
from bfactors.charger.evolve_report import ENTRIES_PER_WINDOW, KINDS_COUNTED, is_open, told_before, window_of
from bfactors.charger.state import JobState
from bfactors.purpose import session_purpose
from bfactors.security_event import EXPLANATIONS, OTHER, Explanation, is_critical, is_escalated

_EXPLAINS_WITHIN = timedelta(minutes=10)
"""How long after a job has ended an event may still be about it: chargers often tell the reason last."""


def security_event(draft: Draft, body: v.SecurityEventReported) -> None:
    """Record it, say of which job it speaks, and have somebody look if policy wants that."""
    session = draft.state.session
    version = session.ocpp_version if session is not None else draft.state.ocpp_versions[-1]
    note(
        draft,
        kind=body.event_type,
        detail=body.tech_info or "",
        count=body.count,
        charger_time=body.charger_time,
        critical=is_critical(body.event_type, version),
    )
    discard.reported(draft, body)


def refused_at_the_edge(draft: Draft, body: v.ConnectionRefused) -> None:
    """Somebody was refused under this charger's name."""
    note(
        draft,
        kind=f"ConnectionRefused/{body.reason}",
        detail="",
        count=body.count,
        remote_address=body.remote_address,
    )


def note(
    draft: Draft,
    *,
    kind: str,
    detail: str,
    count: int = 1,
    remote_address: str | None = None,
    charger_time: str | None = None,
    critical: bool = False,
) -> None:
    """Record a security event of this charger, folded in a flood, and escalate it if policy says so."""
    counted = [k for k, window in draft.state.security_windows.items() if is_open(window, draft.now)]
    if kind not in counted and len(counted) >= KINDS_COUNTED:
        kind, detail = OTHER, f"{kind} {detail}".strip()
    if charger_time is not None and count == 1 and told_before(draft.state, kind, charger_time, detail):
        return
    window = window_of(draft.state, kind, draft.now)
    is_folded = window.entries >= ENTRIES_PER_WINDOW
    explanation = EXPLANATIONS.get(kind)
    job_id = _job_explained(draft, explanation) if explanation is not None else None
    draft.record(
        e.SecurityEventRecorded(
            charger_id=draft.state.charger_id,
            kind=kind,
            detail=detail,
            count=count,
            remote_address=remote_address,
            charger_time=charger_time,
            critical=critical,
            job_id=job_id,
            row_id=(window.row_id or draft.context.cause) if is_folded else None,
        )
    )
    job = draft.state.jobs.get(job_id or "")
    if job is not None and explanation is not None:
        _explain(draft, job, explanation, detail)
    policy = draft.policy(session_purpose().name)
    if not is_folded and is_escalated(kind, critical, policy.escalate_security_events):
        draft.record(
            e.SecurityEventEscalated(
                charger_id=draft.state.charger_id,
                kind=kind,
                detail=detail,
                critical=critical,
                policy_version=draft.context.facts.policies.version,
                evidence_ref=draft.context.cause,
            )
        )


def _job_explained(draft: Draft, explanation: Explanation) -> str | None:
    """The job the charger speaks of: one that is at it now, else one that has just ended."""
    name = session_purpose().name
    for job in draft.state.jobs.values():
        if job.purpose != name or job.action not in ("issue", "renew"):
            continue
        if job.stage in explanation.stages or draft.outstanding(job.job_id, explanation.while_wanted):
            return job.job_id
    for ended in reversed(draft.state.ended_jobs):
        if ended.purpose == name and ended.action in ("issue", "renew") and ended.ended_at is not None:
            return ended.job_id if draft.now - ended.ended_at <= _EXPLAINS_WITHIN else None
    return None


def _explain(draft: Draft, job: JobState, explanation: Explanation, detail: str) -> None:
    message = f"{explanation.message}: {detail}" if detail else explanation.message
    draft.stage(
        job,
        job.stage,
        waiting_for=job.waiting_for,
        held_by=job.held_by,
        reason=(explanation.code, message),
        due_at=job.due_at,
    )
