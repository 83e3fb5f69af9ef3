"""The policy of a charger, with what is waived for it, and when that changes by itself."""

from collections.abc import Iterator
from datetime import datetime

from bfactors.charger.state import ChargerState
from bfactors.fleet.charger_policy import policy_for
from bfactors.fleet.state import FleetFacts
from bfactors.policy import Policy
from bfactors.waiver import touching


def policy_of(state: ChargerState, facts: FleetFacts, purpose: str, now: datetime) -> Policy:
    """What holds for the charger and purpose now."""
    return policy_for(
        facts,
        purpose,
        charger_id=state.charger_id,
        family=state.family,
        cohort=state.cohort,
        now=now,
        cannot_list=state.capabilities.cannot_list,
    )


def moments(state: ChargerState, facts: FleetFacts, now: datetime) -> Iterator[datetime]:
    """When waivers that reach the charger end: its policy is another from then on."""
    for waiver in touching(facts.waivers, charger_id=state.charger_id, cohort=state.cohort):
        if waiver.ends_at > now:
            yield waiver.ends_at
