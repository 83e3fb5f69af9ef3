"""Setting a policy, if policy says that takes two; and always, if it would take a kind out of what takes two."""

from datetime import datetime

from bfactors.command import SetPolicy
from bfactors.fleet import policy
from bfactors.fleet.approvable.kind import ApprovalKind
from bfactors.fleet.reach import reached
from bfactors.fleet.state import FleetFacts
from bfactors.policy import Policy, PolicyOverride, effective
from bfactors.policy_scope import parse_scope


def _policy(facts: FleetFacts, command: SetPolicy) -> Policy:
    scope = parse_scope(command.scope)
    if scope is None:
        return Policy()  # refused for that, soon
    family = scope.name if scope.kind == "family" else ""
    cohort = scope.name if scope.kind == "cohort" else ""
    return effective(facts.policies, purpose=scope.purpose, family=family, cohort=cohort)


def _loosens(facts: FleetFacts, command: SetPolicy, now: datetime) -> bool:
    """Whether somebody's chargers would be without a second person for something, or without one for `policy` itself."""
    scope = parse_scope(command.scope)
    if scope is None:
        return False
    override = PolicyOverride(scope=command.scope, values=command.values)
    after = policy.changed(facts.policies, override, facts.policies.version)
    for family, cohort in {*reached(facts.policies, scope), *reached(after, scope)}:
        was, will = (
            set(effective(each, purpose=scope.purpose, family=family, cohort=cohort).approvals_needed)
            for each in (facts.policies, after)
        )
        if KIND.name in was or was - will:
            return True
    return False


KIND = ApprovalKind(
    name="policy",
    commands=(SetPolicy,),
    subject=lambda command: str(command.scope),
    policy=_policy,
    basis=lambda facts, command: f"policy version {facts.policies.version}",
    is_always_needed=_loosens,
)
