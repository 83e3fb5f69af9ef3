"""The trust gate at its edges: which confirmation counts, when a CA is too close to its end, and what an attempt costs."""

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from bfactors.charger.state import BundleConfirmation, JobState
from bfactors.charger.trust_gate import CA_MARGIN, is_confirmed
from bfactors.instruction import InstallAnchor, InstallLeaf
from bfactors.ocpp import Answered
from tests.core.test_certificate_rule import P, awaiting_csr, policy
from tests.core.world import World, fleet_facts


def ending(world: World, at: datetime) -> World:
    """The purpose's CA ends then."""
    authority = replace(world.facts.authorities[P], not_after=at)
    world.facts = replace(world.facts, authorities={P: authority})
    return world


def job(world: World) -> JobState:
    [one] = world.charger.jobs.values()
    return one


def to_the_gate(world: World) -> JobState:
    """An order, and a charger that holds every anchor."""
    world.request()
    world.connect()
    world.confirm_trust()
    return job(world)


@pytest.mark.parametrize(
    ("confirmed", "wanted", "counts"),
    [
        ("accepted", "accepted", True),
        ("accepted", "used", False),
        ("accepted", "listed", False),
        ("used", "accepted", True),
        ("used", "listed", False),
        ("listed", "accepted", True),
        ("listed", "listed", True),
    ],
)
def test_a_confirmation_counts_by_its_own_rung_or_a_higher_one(
    confirmed: str, wanted: str, counts: bool
) -> None:
    world = World()
    bundle = world.facts.bundles["backend_server"]
    known = BundleConfirmation(
        bundle_id=bundle.bundle_id, rung=confirmed, confirmed_at=world.now, evidence_ref="e"
    )
    state = replace(world.charger, bundles={bundle.purpose: known})
    assert is_confirmed(state, bundle, wanted) is counts
    assert not is_confirmed(state, replace(bundle, bundle_id="the next"), wanted)
    assert not is_confirmed(world.charger, bundle, wanted)


def test_without_any_ca_the_job_is_held_and_says_so() -> None:
    world = World()
    world.facts = replace(world.facts, authorities={})
    assert to_the_gate(world).held_by == "trust-gate/no-issuing-authority"


@pytest.mark.parametrize(
    ("left", "held_by"),
    [
        (CA_MARGIN, "trust-gate/issuing-authority-expired"),
        (CA_MARGIN + timedelta(seconds=1), "trust-gate/issuing-authority-ends-too-soon"),
        (CA_MARGIN + timedelta(days=20, seconds=-1), "trust-gate/issuing-authority-ends-too-soon"),
        (CA_MARGIN + timedelta(days=20), None),
    ],
)
def test_a_ca_must_outlive_the_shortest_leaf_by_its_margin(left: timedelta, held_by: str | None) -> None:
    world = World(fleet_facts(policy(shortest_validity_days=20)))
    assert to_the_gate(ending(world, world.now + left)).held_by == held_by


def test_a_leaf_that_is_made_is_delivered_although_its_ca_makes_no_more() -> None:
    world = awaiting_csr(World(fleet_facts(policy(shortest_validity_days=20))))
    world.present_csr()
    world.ca_issues()
    ending(world, world.now + timedelta(days=2))
    world.wait(seconds=1)
    assert job(world).stage == "installing"
    assert isinstance(world.orders()[0], InstallLeaf)


def test_an_anchor_goes_over_a_plain_connection_only_where_policy_allows_it() -> None:
    kept_back, sent = (
        World(security_profile=1),
        World(fleet_facts(policy(anchor_over_plain="allowed")), security_profile=1),
    )
    for world in (kept_back, sent):
        world.request()
        world.connect(1)
    assert job(kept_back).reason_code == "insecure-transport"
    assert not [order for order in kept_back.orders() if isinstance(order, InstallAnchor)]
    assert job(sent).reason_code is None
    assert [order for order in sent.orders() if isinstance(order, InstallAnchor)]


@pytest.mark.parametrize(("action", "purpose"), [("issue", P), ("install-anchor", "backend_server")])
def test_an_anchor_that_is_refused_is_tried_as_often_as_policy_says_and_no_more(
    action: str, purpose: str
) -> None:
    world = World(fleet_facts(policy(max_attempts=2)))
    assert world.request(action, job_id="job", purpose=purpose).refusal is None
    world.connect()
    world.carry_out(Answered("Rejected"))
    assert world.jobs["job"].state == "open"
    world.wait_for_order()
    world.carry_out(Answered("Rejected"))
    assert world.jobs["job"].state == "failed"
    assert not [order for order in world.orders() if isinstance(order, InstallAnchor)]
