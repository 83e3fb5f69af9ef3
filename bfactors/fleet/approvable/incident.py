"""Revoking, or replacing, many certificates at once."""

from typing import Any

from bfactors.command import OpenIncident
from bfactors.fleet.approvable.kind import ApprovalKind
from bfactors.fleet.state import FleetFacts
from bfactors.policy import Policy, effective


def _policy(facts: FleetFacts, command: Any) -> Policy:
    """Of the purpose, without any family's or cohort's: an incident may reach them all."""
    return effective(facts.policies, purpose=command.selector.purpose, family="", cohort="")


KIND = ApprovalKind(
    name="incident",
    commands=(OpenIncident,),
    subject=lambda command: str(command.name),
    policy=_policy,
    ageing=("agreed",),
)
