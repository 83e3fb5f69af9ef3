"""How an approval's events make and end it, wherever it is kept."""

from datetime import datetime

from msgspec.structs import replace

from bfactors import event as e
from bfactors.approval import Approval


def asked(event: e.ApprovalRequested, now: datetime) -> Approval:
    """The open approval."""
    return Approval(
        approval_id=event.approval_id,
        kind=event.kind,
        job_id=event.job_id,
        content=event.content,
        content_hash=event.content_hash,
        author=event.author,
        reason=event.reason,
        requested_at=now,
        expires_at=event.expires_at,
    )


def ended(approval: Approval, event: e.ApprovalDecided, now: datetime) -> Approval:
    """The same with its end."""
    return replace(
        approval,
        state=event.state,
        decided_by=event.decided_by,
        decided_at=now,
        decision_reason=event.reason,
    )
