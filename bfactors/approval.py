"""Four eyes: what one person asks for and another must agree to before it is done.

An approval is bound to its content by a hash, is never given by its author, and lapses by itself. It lives in the ledger
beside what it is about - a charger's with its charger - and is decided in the same transaction as what follows from it.
"""

import hashlib
from datetime import datetime
from typing import Any, Literal

import msgspec

from bfactors.refusal import Refusal

ApprovalState = Literal["open", "approved", "rejected", "expired", "withdrawn"]
Verdict = Literal["approve", "reject"]
_encode = msgspec.json.Encoder(order="deterministic").encode


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be approved: `content` is JSON text, `content_hash` what an approver repeats to say which text they read."""

    approval_id: str
    kind: str
    job_id: str
    content: str
    content_hash: str
    author: str
    reason: str
    requested_at: datetime
    expires_at: datetime
    state: ApprovalState = "open"
    decided_by: str | None = None
    decided_at: datetime | None = None
    decision_reason: str | None = None


def content_of(kind: str, subject: str, content: dict[str, Any]) -> tuple[str, str]:
    """(content, content_hash): the text that is approved, and its SHA-256 in lower hex."""
    text = _encode({"kind": kind, "subject": subject, "content": content})
    return text.decode(), hashlib.sha256(text).hexdigest()


def problem(approval: Approval, actor: str, content_hash: str, now: datetime) -> Refusal | None:
    """Why this person cannot decide on it now; the author may not even reject it: they withdraw what they asked for."""
    if approval.state != "open" or approval.expires_at <= now:
        state = approval.state if approval.state != "open" else "expired"
        return Refusal("approval-ended", f"the approval is {state}", "approval_id", 409)
    if approval.author == actor:
        message = "who asked for it cannot decide on it; somebody else must"
        return Refusal("own-approval", message, "approval_id", 403)
    if approval.content_hash != content_hash:
        message = "this is not the content that is to be approved; read it again"
        return Refusal("content-changed", message, "content_hash", 409)
    return None
