"""Pause, resume and drain: what is held, what goes on, and what an operator reads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from supervisors.child import Lost, Refused
from supervisors.lane import Lane
from supervisors.status import Standing, SupervisorStatus
from tests.patience import PATIENCE_S
from tests.supervision.fleet import Crash, Owner, Parrot, SlowFactory, Wait, Where, World


def is_paused(owner: Owner) -> bool:
    assert owner.answers()  # whatever was submitted to the lane before has happened
    actor = owner.latest.actor
    assert isinstance(actor, Parrot)
    return actor.paused


def test_actors_of_a_paused_supervisor_know_it_and_still_answer(world: World) -> None:
    owner, other = Owner(world.tree.family("acme"), "a"), Owner(world.tree.family("other"), "b")
    assert not is_paused(owner)

    world.tree.apply_pause("family", "acme", True, "firmware recall")

    status = world.wait_now("acme", lambda status: status.state is Standing.PAUSED)
    assert status == SupervisorStatus("family", "acme", Standing.PAUSED, 1, 0, "firmware recall")
    assert is_paused(owner)
    assert not is_paused(other)

    world.tree.apply_pause("family", "acme", False, "recall over")

    status = world.wait_now("acme", lambda status: status.state is Standing.RUNNING)
    assert status.reason is None
    assert not is_paused(owner)


def test_a_paused_supervisor_admits_and_restarts_children_and_they_are_paused_too(world: World) -> None:
    world.tree.apply_pause("family", "acme", True, "firmware recall")
    owner = Owner(world.tree.family("acme"), "a")
    assert is_paused(owner)
    owner.crash()
    owner.wait_restarted()
    assert is_paused(owner)


def test_a_pause_reaches_a_child_that_was_just_being_made(world: World) -> None:
    slow = SlowFactory("a")
    world.gates.append(slow.gate)
    owner = Owner(world.tree.family("acme"), "a", slow)
    assert slow.entered.wait(PATIENCE_S)
    world.tree.apply_pause("family", "acme", True, "firmware recall")
    world.wait_now("acme", lambda status: status.state is Standing.PAUSED)
    slow.gate.set()
    assert is_paused(owner)


def test_a_pause_outlives_the_replacement_of_its_supervisor(world: World) -> None:
    purpose = world.tree.purpose("contract")
    world.tree.apply_pause("purpose", "contract", True, "CA maintenance")
    owner = Owner(purpose, "issuance")
    for nth in range(1, 11):
        owner.crash()
        world.wait_restarts("contract", nth)
        world.clock.now += 11.0
        world.tree.tick()
        owner.wait_restarted(nth)
    owner.crash()  # the eleventh in two minutes

    assert owner.wait_restarted(11).cause == "issuance failed too often: ValueError"
    assert is_paused(owner)
    status = world.wait_now("contract", lambda status: status.restarts == 11)
    assert (status.state, status.reason) == (Standing.PAUSED, "CA maintenance")


def test_a_pause_before_the_first_charger_is_shown_and_makes_no_thread(world: World) -> None:
    world.tree.apply_pause("family", "acme", True, "firmware recall")
    assert world.tree.statuses() == [
        SupervisorStatus("family", "acme", Standing.PAUSED, 0, 0, "firmware recall")
    ]
    assert world.statuses.heard == []


def test_a_child_that_fails_to_pause_is_restarted_paused(world: World) -> None:
    class Stubborn(Parrot):
        refusals = 0

        def set_paused(self, paused: bool) -> None:
            Stubborn.refusals += 1
            if Stubborn.refusals == 1:
                raise RuntimeError("no")
            super().set_paused(paused)

    owner = Owner(world.tree.family("acme"), "a", lambda lane: Stubborn("a", lane))
    assert owner.answers()
    world.tree.apply_pause("family", "acme", True, "firmware recall")
    assert owner.wait_restarted().cause == "failed: RuntimeError"
    assert is_paused(owner)


def test_draining_finishes_what_was_taken_and_refuses_what_is_new(world: World) -> None:
    family = world.tree.family("acme")
    owner = Owner(family, "a")
    actor, lane = owner.latest.actor, owner.latest.lane
    wait, taken = Wait(), Where()
    owner.tell(wait)
    owner.tell(taken)
    assert wait.entered.wait(PATIENCE_S)

    world.tree.apply_drain("family", "acme", "node goes away")

    world.wait_now("acme", lambda status: status.state is Standing.DRAINING)
    late = Owner(family, "late")
    assert late.wait_for_one(Refused).reason == "draining: node goes away"
    assert not taken.answer.done()
    assert not any(isinstance(notice, Lost) for notice in owner.heard)
    lane.submit(wait.gate.set)
    assert taken.answer.result(PATIENCE_S) is actor
    assert owner.wait_for_one(Lost).reason == "drained"
    status = world.wait_now("acme", lambda status: status.children == 0)
    assert (status.state, status.reason) == (Standing.DRAINING, "node goes away")

    world.tree.apply_pause("family", "acme", False, "it stays")

    assert owner.wait_restarted().cause == "resumed"
    assert owner.answers()
    assert owner.latest.actor is not actor


def test_a_child_that_fails_while_draining_is_lost_and_not_restarted(world: World) -> None:
    family = world.tree.family("acme")
    owner = Owner(family, "a")
    lane = owner.latest.lane
    wait = Wait()
    owner.tell(wait)
    owner.tell(Crash(ValueError("told to")))
    assert wait.entered.wait(PATIENCE_S)
    world.tree.apply_drain("family", "acme", "node goes away")
    world.wait_now("acme", lambda status: status.state is Standing.DRAINING)

    lane.submit(wait.gate.set)

    assert owner.wait_for_one(Lost).reason == "failed: ValueError"
    assert world.wait_now("acme", lambda status: status.children == 0).restarts == 0


def test_a_restart_put_off_does_not_happen_while_draining(world: World) -> None:
    made: list[Lane] = []

    def factory(lane: Lane) -> Parrot:
        made.append(lane)
        return Parrot("a", lane)

    owner = Owner(world.tree.family("acme"), "a", factory)
    lane = owner.latest.lane
    owner.crash()
    owner.wait_restarted()
    owner.crash()
    world.wait_restarts("acme", 2)
    world.tree.apply_drain("family", "acme", "node goes away")
    assert owner.wait_for_one(Lost).reason == "draining"

    world.clock.now += 10.0
    world.tick()

    passed = threading.Event()
    lane.submit(passed.set)  # behind whatever the tick submitted
    assert passed.wait(PATIENCE_S)
    assert made == [lane, lane]


def test_a_lane_wedged_while_draining_loses_the_children_that_were_not_done(world: World) -> None:
    family = world.tree.family("acme")
    draining, calm = Owner(family, "a"), Owner(world.tree.family("other"), "calm")
    wait = Wait()
    draining.tell(wait)
    assert wait.entered.wait(PATIENCE_S)
    world.tree.apply_drain("family", "acme", "node goes away")
    world.wait_now("acme", lambda status: status.state is Standing.DRAINING)
    entered, gate = threading.Event(), threading.Event()
    world.gates.append(gate)
    draining.latest.lane.submit(entered.set)
    draining.latest.lane.submit(gate.wait, PATIENCE_S * 4)
    assert entered.wait(PATIENCE_S)

    world.tick_until_abandoned(calm)

    assert draining.wait_for_one(Lost).reason == "abandoned while draining"


def test_a_resume_before_a_drain_is_over_makes_the_child_again_once_it_has_ended(world: World) -> None:
    owner = Owner(world.tree.family("acme"), "a")
    lane = owner.latest.lane
    wait = Wait()
    owner.tell(wait)
    assert wait.entered.wait(PATIENCE_S)
    world.tree.apply_drain("family", "acme", "node goes away")
    world.tree.apply_pause("family", "acme", False, "it stays")
    world.wait_now("acme", lambda status: status.state is Standing.RUNNING)
    assert len(owner.heard) == 1

    lane.submit(wait.gate.set)

    assert owner.wait_restarted().cause == "resumed"
    assert owner.answers()


def test_an_unknown_kind_is_an_error_of_the_caller(world: World) -> None:
    with pytest.raises(KeyError):
        world.tree.apply_pause("depot", "north", True, "?")


def test_the_tree_is_used_from_a_loop_without_ever_blocking_it(world: World) -> None:
    async def on_the_io_lane() -> None:
        loop = asyncio.get_running_loop()
        there = loop.create_future()

        def notify(notice: object) -> None:
            loop.call_soon_threadsafe(there.set_result, notice)

        world.tree.family("acme").start_child("a", lambda lane: Parrot("a", lane), notify)
        world.tree.apply_pause("family", "acme", True, "firmware recall")
        notice = await asyncio.wait_for(there, PATIENCE_S)
        assert notice.name == "a"

    asyncio.run(on_the_io_lane())
