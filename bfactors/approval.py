"""Four eyes: what one person asks for and another must agree to before it is done.

An approval is bound to its content by a hash, is never given by its author, and lapses by itself. It lives in the ledger
beside what it is about - a charger's with its charger, the fleet's in the fleet's partition - and is decided in the same
transaction as what follows from it. `bfactors.fleet.approval` says how a fleet command becomes one that needs it.
"""

import hashlib
from datetime import datetime
from typing import Any, Literal

import msgspec

from bfactors.ledger_row import ApprovalRow
from bfactors.refusal import Refusal

ApprovalState = Literal["open", "approved", "rejected", "expired", "withdrawn", "stale"]
"""`stale`: the state it was written against is another now."""
Verdict = Literal["approve", "reject", "withdraw"]
ROLLBACK = "rollback"
"""The way back to profile 2: needs a second person whatever the policy says."""
KIND_NAMES = (ROLLBACK, "policy", "trust-anchor-bundle", "waiver", "incident", "rollover", "break-glass")
"""What `approvals_needed` may name."""
CONTENT_MAX_CHARS = 131_072
_encode = msgspec.json.Encoder(order="deterministic").encode
_encode_doc = msgspec.json.Encoder().encode


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be approved: `content` is JSON text, `content_hash` what an approver repeats to say which text they read."""

    approval_id: str
    kind: str
    job_id: str
    """Of the job it holds; empty where it holds a command."""
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


def content_of(kind: str, subject: str, content: dict[str, Any], basis: str = "") -> tuple[str, str]:
    """(content, content_hash): the text that is approved, and its SHA-256 in lower hex.

    `basis` names the state it was written against, where there is one; it is bound by the hash too.
    """
    text = _encode(
        {"kind": kind, "subject": subject, "content": content} | ({"basis": basis} if basis else {})
    )
    return text.decode(), hashlib.sha256(text).hexdigest()


def problem(
    approval: Approval, actor: str, content_hash: str, now: datetime, verdict: Verdict = "approve"
) -> Refusal | None:
    """Why this person cannot decide on it now; the author may not even reject it: they withdraw what they asked for."""
    if approval.state != "open" or approval.expires_at <= now:
        state = approval.state if approval.state != "open" else "expired"
        return Refusal("approval-ended", f"the approval is {state}", "approval_id", 409)
    if verdict == "withdraw":
        if approval.author != actor:
            message = "only who asked for it can withdraw it; others reject it"
            return Refusal("not-author", message, "approval_id", 403)
    elif approval.author == actor:
        message = "who asked for it cannot decide on it; somebody else must"
        return Refusal("own-approval", message, "approval_id", 403)
    if approval.content_hash != content_hash:
        message = "this is not the content that is to be approved; read it again"
        return Refusal("content-changed", message, "content_hash", 409)
    return None


def body(approval: Approval, charger_id: str | None) -> dict[str, Any]:
    """As the API shows it: with its content as it is to be approved, and the hash an approver repeats."""
    asked = msgspec.json.decode(approval.content)
    return {
        "approval_id": approval.approval_id,
        "kind": approval.kind,
        "charger_id": charger_id,
        "job_id": approval.job_id or None,
        "subject": asked["subject"],
        "state": approval.state,
        "content": asked["content"],
        "content_hash": approval.content_hash,
        "author": approval.author,
        "reason": approval.reason,
        "requested_at": approval.requested_at,
        "expires_at": approval.expires_at,
        "decided_by": approval.decided_by,
        "decided_at": approval.decided_at,
        "decision_reason": approval.decision_reason,
    }


def row(approval: Approval, charger_id: str | None) -> ApprovalRow:
    """As it is listed."""
    return ApprovalRow(
        approval_id=approval.approval_id,
        charger_id=charger_id,
        kind=approval.kind,
        state=approval.state,
        requested_at=approval.requested_at,
        doc=_encode_doc(body(approval, charger_id)),
    )
