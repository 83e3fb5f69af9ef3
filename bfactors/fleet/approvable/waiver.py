"""Setting a rule aside for one charger or cohort."""

from bfactors import event as e
from bfactors.approval import Approval
from bfactors.command import RequestWaiver
from bfactors.fleet import waiver
from bfactors.fleet.approvable.kind import ApprovalKind


def _rejected(command: RequestWaiver, approval: Approval) -> tuple[e.FleetEvent, ...]:
    return (
        e.WaiverRejected(
            waiver_id=command.waiver_id,
            charger_id=waiver.charger_of(command.subject),
            purpose=command.purpose,
            reason=f"its approval is {approval.state}: {approval.decision_reason}",
        ),
    )


KIND = ApprovalKind(
    name="waiver",
    commands=(RequestWaiver,),
    subject=lambda command: str(command.subject),
    policy=waiver.policy_at,
    asked=lambda would_be: tuple(one for one in would_be if isinstance(one, e.WaiverRequested)),
    not_given=_rejected,
)
