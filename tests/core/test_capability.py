"""What a charger can do: its family's word, its own, and what its answers have shown - the later ones stronger."""

import pytest

from bfactors import command as c
from bfactors import event as e
from bfactors.capability import NO_CAPABILITIES, Capabilities, learned, merged
from bfactors.charger import outgoing, plan
from bfactors.fleet import decide as fleet
from tests.core.test_fleet_decision import Fleet
from tests.core.world import World, fleet_facts

CRLF = Capabilities(needs_crlf=True)
SMALL = Capabilities(max_chain_chars=4000)
FAMILY = c.SetFamilyFacts(family="acme-one", capabilities=CRLF)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ((), NO_CAPABILITIES),
        ((CRLF, SMALL), Capabilities(needs_crlf=True, max_chain_chars=4000)),
        ((SMALL, Capabilities(max_chain_chars=9000)), Capabilities(max_chain_chars=9000)),
        ((CRLF, NO_CAPABILITIES), CRLF),
    ],
)
def test_the_later_layer_is_the_stronger_one(
    layers: tuple[Capabilities, ...], expected: Capabilities
) -> None:
    assert merged(*layers) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (frozenset(), NO_CAPABILITIES),
        ({"cannot-list", "max-chain-chars=9000"}, Capabilities(cannot_list=True, max_chain_chars=9000)),
        ({"sings-in-the-rain", "needs-crlf"}, CRLF),
        ({"max-chain-chars=plenty"}, NO_CAPABILITIES),
    ],
)
def test_what_answers_have_shown_is_read_and_the_unreadable_passed_over(
    facts: set[str], expected: Capabilities
) -> None:
    assert learned(frozenset(facts)) == expected


def test_a_family_s_capabilities_reach_the_admission_record_of_its_chargers() -> None:
    world = World()
    assert outgoing.admission(world.charger).capabilities == NO_CAPABILITIES
    world.facts = fleet_facts(FAMILY)
    assert plan.is_behind(world.charger, world.facts, world.now)
    world.wait(seconds=1)
    assert outgoing.admission(world.charger).capabilities == CRLF
    assert not plan.is_behind(world.charger, world.facts, world.now)


def test_a_charger_registered_later_has_them_from_the_start() -> None:
    world = World(fleet_facts(FAMILY))
    assert outgoing.admission(world.charger).capabilities == CRLF


def test_another_family_is_not_concerned() -> None:
    world = World(fleet_facts(c.SetFamilyFacts(family="other", capabilities=CRLF)))
    assert outgoing.admission(world.charger).capabilities == NO_CAPABILITIES


def test_what_is_said_of_one_charger_stands_on_top_of_its_family() -> None:
    world = World(fleet_facts(FAMILY))
    said = c.SetChargerCapabilities(charger_id="CP-1", capabilities=SMALL, reason="older board")
    world.command(said)
    assert world.charger.capabilities == merged(CRLF, SMALL)
    before = len(world.events)
    world.command(said)
    assert len(world.events) == before, "said twice, decided once"


def test_a_charger_s_capabilities_need_a_reason() -> None:
    world = World()
    said = c.SetChargerCapabilities(charger_id="CP-1", capabilities=SMALL, reason=" ")
    refusal = world.command(said).refusal
    assert refusal is not None
    assert refusal.code == "reason-missing"


# ---------------------------------------------------------------- the fleet


def test_saying_the_same_of_a_family_again_changes_nothing() -> None:
    fleet_ = Fleet()
    assert [type(event) for event in fleet_.command(FAMILY).events] == [e.FamilyFactsSet]
    again = fleet_.command(FAMILY)
    assert not again.events
    assert again.result["capabilities"]["needs_crlf"] is True


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (c.SetFamilyFacts(family="", capabilities=CRLF), "family"),
        (
            c.SetFamilyFacts(family="a", capabilities=Capabilities(max_chain_chars=0)),
            "capabilities.max_chain_chars",
        ),
        (
            c.SetFamilyFacts(family="a", capabilities=Capabilities(assume_version="3.0")),
            "capabilities.assume_version",
        ),
        (
            c.QualifyFamily(family="", charger_id="CP-1", firmware="1", passed=True, report="[]"),
            "family",
        ),
        (
            c.QualifyFamily(family="a", charger_id="CP-1", firmware="1", passed=True, report="x" * 100_001),
            "report",
        ),
    ],
)
def test_what_cannot_be_said_of_a_family_is_refused_by_its_field(
    command: fleet.FleetCommand, field: str
) -> None:
    refusal = Fleet().command(command).refusal
    assert refusal is not None
    assert refusal.field == field


def test_a_qualification_stands_beside_the_capabilities() -> None:
    fleet_ = Fleet()
    fleet_.command(FAMILY)
    report = '[{"step":"list","outcome":"passed","detail":""}]'
    done = fleet_.command(
        c.QualifyFamily(family="acme-one", charger_id="CP-1", firmware="1.2", passed=True, report=report)
    )
    assert done.result["qualification"]["passed"] is True
    assert done.result["qualification"]["report"][0]["step"] == "list"
    assert done.result["capabilities"]["needs_crlf"] is True
