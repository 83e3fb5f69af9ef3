"""A loop that is blocked is seen, abandoned and replaced, and nobody else notices."""

from __future__ import annotations

import threading
from collections.abc import Callable

from supervisors.child import Restarted
from supervisors.lane import Lane, LaneState
from supervisors.status import Standing
from tests.patience import PATIENCE_S
from tests.supervision.fleet import Owner, Where, World


def test_a_wedged_lane_is_abandoned_and_its_children_are_back_on_a_new_one(world: World) -> None:
    wedged = [Owner(world.tree.family("acme"), name) for name in ("a", "b")]
    calm = Owner(world.tree.family("other"), "calm")
    old = wedged[0].latest.lane
    untouched = calm.latest
    silence = threading.Event()

    def keep_asking() -> None:
        while not asked_enough.is_set():
            if not calm.answers():
                silence.set()

    asked_enough = threading.Event()
    asker = threading.Thread(target=keep_asking)
    asker.start()
    block = world.block(wedged[0])

    world.tick_until_abandoned(calm)

    world.abandoned.wait_for(len)
    assert world.abandoned.heard == [old]
    assert old.state is LaneState.ABANDONED
    for owner in wedged:
        restarted = owner.wait_restarted()
        assert restarted.cause == "lane wedged"
        assert (restarted.lane.name, restarted.lane.generation) == ("family acme", 2)
        assert owner.answers()
    status = world.wait_now("acme", lambda status: status.children == 2)
    assert (status.state, status.restarts) == (Standing.RUNNING, 1)

    asked_enough.set()
    asker.join(PATIENCE_S)
    assert not silence.is_set()
    assert calm.latest is untouched
    assert not block.gate.is_set()
    assert world.exits.heard == []


def test_an_abandoned_lane_that_wakes_up_is_fenced_and_ends_itself(world: World) -> None:
    owner, calm = Owner(world.tree.family("acme"), "a"), Owner(world.tree.family("other"), "calm")
    old = owner.latest
    block, behind = world.block(owner), Where()
    assert old.lane.submit(old.actor.tell, behind)
    world.tick_until_abandoned(calm)
    owner.wait_restarted()

    block.gate.set()

    assert block.may_write.result(PATIENCE_S) is False
    assert old.lane.join(PATIENCE_S)
    assert not behind.answer.done()  # it took no further message
    assert not old.lane.submit(print)
    assert owner.latest.lane.is_current()
    assert owner.answers()
    assert len([notice for notice in owner.heard if isinstance(notice, Restarted)]) == 1


def test_missed_beats_up_to_the_limit_are_forgiven(world: World) -> None:
    owner, calm = Owner(world.tree.family("acme"), "a"), Owner(world.tree.family("other"), "calm")
    before = owner.latest
    block = world.block(owner)
    for _ in range(3):  # the first look sees the beat given before the wedge
        world.tick(calm)
    block.gate.set()
    assert block.may_write.result(PATIENCE_S) is True
    assert owner.answers()  # and with it the beat asked for has been given
    for _ in range(3):
        world.tick(calm, owner)
    assert owner.answers()
    assert owner.latest is before
    assert world.abandoned.heard == []


def test_a_lane_wedged_too_often_makes_the_root_replace_the_supervisor(
    make_world: Callable[..., World],
) -> None:
    world = make_world(missed_beats_limit=0)
    scheme = world.tree.scheme("hubject")
    owner, calm = Owner(scheme, "case"), Owner(world.tree.family("other"), "calm")
    for nth in range(1, 21):
        world.block(owner)
        world.tick_until_abandoned(calm)
        owner.wait_restarted(nth)
    world.block(owner)
    world.tick_until_abandoned(calm)

    assert owner.wait_restarted(21).cause == "its lane was wedged too often"
    assert owner.answers()
    assert len(world.abandoned.heard) == 21
    assert calm.answers()


def test_sharers_of_a_wedged_lane_come_back_together(world: World) -> None:
    first, second = Owner(world.tree.cohort("north"), "rollout"), Owner(world.tree.cohort("south"), "rollout")
    calm = Owner(world.tree.family("other"), "calm")
    assert first.latest.lane is second.latest.lane
    world.block(first)

    world.tick_until_abandoned(calm)

    for owner in (first, second):
        assert owner.wait_restarted().cause == "lane replaced"
        assert owner.answers()
    assert first.latest.lane is second.latest.lane
    assert calm.answers()


def test_a_wedged_io_lane_ends_the_process(make_world: Callable[..., World]) -> None:
    io_lane = Lane.open("io")
    world = make_world(io_lane=io_lane, io_missed_beats_limit=2)
    entered, gate = threading.Event(), threading.Event()
    world.gates.append(gate)
    world.tree.tick()
    io_lane.run(block(entered, gate))
    assert entered.wait(PATIENCE_S)
    for _ in range(4):
        world.tree.tick()

    world.exits.wait_for(len)
    assert world.exits.heard == ["the I/O lane is wedged"]
    gate.set()
    io_lane.close()
    assert io_lane.join(PATIENCE_S)


def test_an_io_lane_that_answers_keeps_the_process(make_world: Callable[..., World]) -> None:
    io_lane = Lane.open("io")
    world = make_world(io_lane=io_lane, io_missed_beats_limit=0)
    calm = Owner(world.tree.family("other"), "calm")
    for _ in range(5):
        io_lane.run(nothing()).result(PATIENCE_S)  # behind the beat asked for
        world.tick(calm)
    assert world.exits.heard == []
    io_lane.close()
    assert io_lane.join(PATIENCE_S)


async def block(entered: threading.Event, gate: threading.Event) -> None:
    entered.set()
    gate.wait(PATIENCE_S * 4)


async def nothing() -> None:
    """One turn of a loop."""
