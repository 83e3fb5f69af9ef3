"""Supervisors of the whole system: this process's own, and the families of every connect node that lives.

A family has a supervisor on each node that serves its chargers. It is shown in a state only when every live node says that
state: `paused`, above all, means that no node starts anything new.
"""

from collections.abc import Callable, Iterable, Sequence

from gateways.nats.presence import FamilyStanding, Presence
from supervisors.status import Standing, SupervisorStatus

FAMILY = "family"


def family_standings(statuses: Iterable[SupervisorStatus]) -> tuple[FamilyStanding, ...]:
    """What a connect node says of its families."""
    return tuple(
        FamilyStanding(
            name=each.name,
            state=each.state.value,
            children=each.children,
            restarts=each.restarts,
            reason=each.reason,
        )
        for each in statuses
        if each.kind == FAMILY
    )


def everywhere(
    local: Callable[[], Sequence[SupervisorStatus]], nodes: Callable[[], Sequence[Presence]]
) -> list[SupervisorStatus]:
    """This process's supervisors with the families of all nodes; of this process's own alone if no node is known."""
    own, live = local(), nodes()
    if not live:
        return list(own)
    said: dict[str, list[FamilyStanding]] = {}
    for node in live:
        for standing in node.families:
            said.setdefault(standing.name, []).append(standing)
    families = [_together(standings, len(live)) for _, standings in sorted(said.items())]
    return [*families, *(each for each in own if each.kind != FAMILY)]


def _together(standings: Sequence[FamilyStanding], live: int) -> SupervisorStatus:
    states = {each.state for each in standings}
    if Standing.FAILED.value in states:
        state = Standing.FAILED
    elif len(states) == 1 and len(standings) == live:
        state = Standing(states.pop())
    else:
        state = Standing.RUNNING  # somewhere, as far as anybody knows
    return SupervisorStatus(
        kind=FAMILY,
        name=standings[0].name,
        state=state,
        children=sum(each.children for each in standings),
        restarts=sum(each.restarts for each in standings),
        reason=next((each.reason for each in standings if each.state == state.value and each.reason), None),
    )
