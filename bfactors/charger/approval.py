"""Approvals about one charger: asked for, decided by somebody else, lapsed. What follows is its kind's own affair."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from bfactors import command as c
from bfactors import event as e
from bfactors.approval import Approval, ApprovalState, content_of, problem
from bfactors.charger.draft import Draft
from bfactors.charger.state import ChargerState
from bfactors.purpose import session_purpose
from bfactors.refusal import Refusal


def ask(draft: Draft, approval_id: str, kind: str, job_id: str, content: dict[str, Any], reason: str) -> None:
    """Have somebody else agree before the job goes on."""
    text, digest = content_of(kind, draft.state.charger_id, content)
    hours = draft.policy(session_purpose().name).approval_valid_hours
    draft.record(
        e.ApprovalRequested(
            charger_id=draft.state.charger_id,
            approval_id=approval_id,
            kind=kind,
            job_id=job_id,
            content=text,
            content_hash=digest,
            author=draft.context.actor,
            reason=reason,
            expires_at=draft.now + timedelta(hours=hours),
        )
    )


def decided(draft: Draft, command: c.DecideApproval) -> Refusal | None:
    """Somebody agreed, or did not."""
    approval = draft.state.approvals.get(command.approval_id)
    if approval is None:
        return Refusal("unknown-approval", "there is no such approval", "approval_id", 404)
    if command.verdict == "withdraw":
        return Refusal("held-by-job", "it goes with its job; cancel that", "approval_id", 409)
    refusal = problem(approval, draft.context.actor, command.content_hash, draft.now)
    if refusal is not None:
        return refusal
    end(draft, approval, "approved" if command.verdict == "approve" else "rejected", command.reason)
    return None


def follow(draft: Draft) -> None:
    """One that nobody decided on in time has lapsed; one whose job is over is wanted no more."""
    for approval in list(draft.state.approvals.values()):
        if approval.state != "open":
            continue
        if approval.job_id and approval.job_id not in draft.state.jobs:
            end(draft, approval, "withdrawn", "what it was about was given up")
        elif approval.expires_at <= draft.now:
            end(draft, approval, "expired", "nobody decided on it in time")


def moments(state: ChargerState) -> Iterator[datetime]:
    """When open ones lapse."""
    for approval in state.approvals.values():
        if approval.state == "open":
            yield approval.expires_at


def end(draft: Draft, approval: Approval, state: ApprovalState, reason: str) -> None:
    """It is over, by this decision's actor."""
    draft.record(
        e.ApprovalDecided(
            charger_id=draft.state.charger_id,
            approval_id=approval.approval_id,
            job_id=approval.job_id,
            content_hash=approval.content_hash,
            state=state,
            decided_by=draft.context.actor,
            reason=reason,
        )
    )
