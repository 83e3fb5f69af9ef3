"""The policy that holds for one charger now: waivers of its own over its cohort's over every policy, field by field.

Waivers never contradict: one that would, because policies have changed or the charger has moved since it was granted, or that
would loosen a rule of the realm, is passed over together with the charger's others, and its policy alone holds.
"""

from datetime import datetime

import msgspec

from bfactors.fleet.state import FleetFacts
from bfactors.policy import Policy, PolicyOverride, effective, effective_with_origin, problems
from bfactors.purpose import purposes
from bfactors.realm import loosened
from bfactors.waiver import EXEMPTIONS, exemption, waived

TRUST_GATE = "trust-gate"
assert TRUST_GATE in EXEMPTIONS


def policy_for(
    facts: FleetFacts,
    purpose: str,
    *,
    charger_id: str,
    family: str,
    cohort: str,
    now: datetime,
    cannot_list: bool = False,
) -> Policy:
    """Asked in every decision. `cannot_list`: of the charger, for the exemption that speaks of it."""
    if not facts.waivers:
        return effective(facts.policies, purpose=purpose, family=family, cohort=cohort)
    values = sound(facts, purpose, charger_id=charger_id, family=family, cohort=cohort, now=now)
    policy = effective(facts.policies, purpose=purpose, family=family, cohort=cohort, waived=values)
    if cannot_list and exemption(
        facts.waivers, TRUST_GATE, charger_id=charger_id, cohort=cohort, purpose=purpose, now=now
    ):
        return msgspec.structs.replace(policy, confirm_rung="accepted")
    return policy


def policy_with_origin(
    facts: FleetFacts, purpose: str, *, charger_id: str, family: str, cohort: str, now: datetime
) -> tuple[Policy, dict[str, str]]:
    """As `policy_for`, with what each field comes from: a scope, or `waiver:<id>`."""
    values = sound(facts, purpose, charger_id=charger_id, family=family, cohort=cohort, now=now)
    return effective_with_origin(facts.policies, purpose=purpose, family=family, cohort=cohort, waived=values)


def sound(
    facts: FleetFacts, purpose: str, *, charger_id: str, family: str, cohort: str, now: datetime
) -> tuple[PolicyOverride, ...]:
    """The waived values, if the policy they lead to can be used."""
    values = waived(facts.waivers, charger_id=charger_id, cohort=cohort, purpose=purpose, now=now)
    if not values:
        return ()
    policy = effective(facts.policies, purpose=purpose, family=family, cohort=cohort, waived=values)
    return () if problems(policy) or loosened(purposes()[purpose], policy) else values
