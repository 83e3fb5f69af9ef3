"""What time alone brings in the fleet's partition, and when to look again."""

from collections.abc import Iterator
from datetime import datetime

from bfactors import event as e
from bfactors.fleet import approval, authority, rollover, waiver
from bfactors.fleet.state import FleetState


def rang(state: FleetState, now: datetime) -> tuple[e.FleetEvent, ...]:
    """What is due by now."""
    return (
        *approval.lapsed(state.approvals, now),
        *waiver.rang(state.waivers, state.facts, now),
        *authority.rang(state.facts, now),
        *rollover.rang(state.facts, now),
    )


def next_due(state: FleetState) -> datetime | None:
    """The earliest moment at which time alone changes something."""
    return min(_moments(state), default=None)


def _moments(state: FleetState) -> Iterator[datetime]:
    yield from approval.moments(state.approvals)
    yield from waiver.moments(state.waivers, state.facts)
    yield from authority.moments(state.facts)
    yield from rollover.moments(state.facts)
