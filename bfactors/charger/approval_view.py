"""An approval as the API shows it."""

from typing import Any

import msgspec

from bfactors.approval import Approval
from bfactors.charger.state import ChargerState
from bfactors.ledger_row import ApprovalRow

_encode = msgspec.json.Encoder().encode


def body(state: ChargerState, approval: Approval) -> dict[str, Any]:
    """With its content as it is to be approved, and the hash an approver repeats."""
    asked = msgspec.json.decode(approval.content)
    return {
        "approval_id": approval.approval_id,
        "kind": approval.kind,
        "charger_id": state.charger_id,
        "job_id": approval.job_id,
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


def rows(before: ChargerState | None, after: ChargerState) -> list[ApprovalRow]:
    """Those that are new or were decided."""
    known = before.approvals if before is not None else {}
    return [
        ApprovalRow(
            approval_id=approval.approval_id,
            charger_id=after.charger_id,
            kind=approval.kind,
            state=approval.state,
            requested_at=approval.requested_at,
            doc=_encode(body(after, approval)),
        )
        for approval in after.approvals.values()
        if known.get(approval.approval_id) is not approval
    ]
