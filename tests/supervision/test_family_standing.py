"""Which state a family is shown in, given what every live node says of it."""

from __future__ import annotations

import pytest

from deploy.role.standing import everywhere, family_standings
from gateways.nats.presence import FamilyStanding, Presence
from supervisors.status import Standing, SupervisorStatus

LEDGER = SupervisorStatus("ledger", "ledger", Standing.RUNNING, 16, 0, None)


def node(name: str, *states: str) -> Presence:
    standings = tuple(
        FamilyStanding(name="acme", state=state, children=10, restarts=1, reason="why") for state in states
    )
    return Presence(node=name, incarnation=name, families=standings)


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        (("paused", "paused"), "paused"),
        (("paused", "running"), "running"),
        (("paused", None), "running"),
        (("running", None), "running"),
        (("draining", "draining"), "draining"),
        (("draining", "paused"), "running"),
        (("failed", "paused"), "failed"),
        (("failed", None), "failed"),
    ],
)
def test_a_family_is_paused_only_once_every_live_node_says_so(
    states: tuple[str | None, ...], shown: str
) -> None:
    nodes = [node(f"n{at}", *([state] if state else [])) for at, state in enumerate(states)]
    family, ledger = everywhere(lambda: [LEDGER], lambda: nodes)
    assert (family.kind, family.name, family.state.value) == ("family", "acme", shown)
    assert ledger == LEDGER


def test_children_and_restarts_of_all_nodes_are_counted_together() -> None:
    [family] = everywhere(list, lambda: [node("n1", "paused"), node("n2", "paused")])
    assert (family.children, family.restarts, family.reason) == (20, 2, "why")


def test_a_process_that_is_a_node_itself_counts_its_families_once() -> None:
    own = SupervisorStatus("family", "acme", Standing.RUNNING, 10, 0, None)
    told = Presence(node="n1", incarnation="i", families=family_standings([own, LEDGER]))
    assert everywhere(lambda: [own, LEDGER], lambda: [told]) == [own, LEDGER]
    assert everywhere(lambda: [own, LEDGER], list) == [own, LEDGER], "also while no node is known"
