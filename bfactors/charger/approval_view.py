"""A charger's approvals as the API lists them."""

from bfactors.approval import row
from bfactors.charger.state import ChargerState
from bfactors.ledger_row import ApprovalRow


def rows(before: ChargerState | None, after: ChargerState) -> list[ApprovalRow]:
    """Those that are new or were decided."""
    known = before.approvals if before is not None else {}
    return [
        row(approval, after.charger_id)
        for approval in after.approvals.values()
        if known.get(approval.approval_id) is not approval
    ]
