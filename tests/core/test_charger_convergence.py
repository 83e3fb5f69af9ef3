"""A charger with bad luck ends with one certificate, in a time that the policy bounds: never stranded, never two."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfactors.charger.draft import back_off
from bfactors.policy import Policy
from tests.core.modelled_charger import Luck, ModelledCharger
from tests.core.world import World

POLICY = Policy()
BAD: tuple[Luck, ...] = ("answer-lost", "call-lost", "silent", "drops", "drops-and-asks-again")
LUCK = st.lists(st.sampled_from(("fine", "fine", *BAD)), max_size=14).filter(
    lambda luck: sum(each != "fine" for each in luck) < POLICY.max_attempts
)
ONE_STEP_S = POLICY.csr_wait_s + POLICY.answer_wait_s
"""The longest that one misfortune can cost besides the back-off: a trigger whose CSR never comes."""


def bound(luck: list[Luck]) -> timedelta:
    """What the policy allows this much bad luck to cost."""
    bad = sum(each != "fine" for each in luck)
    return timedelta(seconds=60) + sum(
        (timedelta(seconds=ONE_STEP_S) + back_off(n) for n in range(1, bad + 1)), timedelta(0)
    )


def assert_one_certificate(world: World, charger: ModelledCharger) -> None:
    (slot,) = world.charger.slots.values()
    assert slot.current is not None
    assert world.charger.certificates[slot.current].fingerprint_sha256 == charger.credential
    assert slot.next is None
    assert world.charger.instructions == {}
    assert [job.state for job in world.jobs.values()] == ["succeeded"] * len(world.jobs)


@settings(max_examples=60, deadline=None, database=None)
@given(luck=LUCK, late=st.sampled_from([0, 1, 20]), eager=st.booleans())
def test_a_first_certificate_reaches_a_charger_with_bad_luck_in_bounded_time(
    luck: list[Luck], late: int, eager: bool
) -> None:
    world = World()
    world.request()
    charger = ModelledCharger(world, list(luck), timedelta(seconds=late), eager)
    allowed = bound(luck) + timedelta(seconds=late) * (len(luck) + 2)
    open_job = charger.live(allowed)
    assert open_job is None, open_job
    assert_one_certificate(world, charger)


@settings(max_examples=60, deadline=None, database=None)
@given(luck=LUCK, late=st.sampled_from([0, 1, 20]), eager=st.booleans())
def test_a_renewal_reaches_a_charger_with_bad_luck_in_bounded_time(
    luck: list[Luck], late: int, eager: bool
) -> None:
    world = World()
    old = world.to_active()
    world.request("renew", job_id="renewal")
    charger = ModelledCharger(
        world,
        list(luck),
        timedelta(seconds=late),
        eager,
        credential=old.fingerprint_sha256,
        profile=3,
        may_switch=True,
    )
    allowed = bound(luck) + timedelta(seconds=late) * (len(luck) + 2)
    open_job = charger.live(allowed)
    assert open_job is None, open_job
    assert_one_certificate(world, charger)
    assert charger.credential != old.fingerprint_sha256


@pytest.mark.parametrize("late", [0, 1, 20, 600])
def test_a_leaf_whose_answer_was_lost_and_is_refused_the_second_time_costs_one_more_key(late: int) -> None:
    """The charger took it, the connection broke, it came back on its old credential: another key, at once."""
    world = World()
    world.request()
    luck: list[Luck] = ["fine"] * 4 + ["answer-lost"]
    charger = ModelledCharger(world, luck, timedelta(seconds=late))
    begun = world.now
    assert charger.live(timedelta(hours=1)) is None
    assert_one_certificate(world, charger)
    assert charger.refused == 1
    assert len(world.charger.certificates) == 2
    assert world.now - begun <= back_off(1) + timedelta(seconds=late) * 4
