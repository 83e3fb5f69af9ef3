"""What needs a second person, and what they said."""

from datetime import datetime

from bfactors.approval import ApprovalState
from bfactors.event.base import LedgerRecord


class ApprovalRequested(LedgerRecord, frozen=True, kw_only=True):
    """Somebody else must agree to this before it is done. `content` is JSON text, bound by its hash."""

    charger_id: str | None
    """None: it is about the fleet."""
    approval_id: str
    kind: str
    job_id: str
    content: str
    content_hash: str
    author: str
    reason: str
    expires_at: datetime


class ApprovalDecided(LedgerRecord, frozen=True, kw_only=True):
    """`state`: approved or rejected by somebody other than its author; expired; withdrawn, by its author or with what it
    was about; stale, when what it was written against has changed.
    """

    charger_id: str | None
    approval_id: str
    job_id: str
    content_hash: str
    state: ApprovalState
    decided_by: str
    reason: str
