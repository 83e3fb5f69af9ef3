"""The whole tree: how many lanes it opens, who shares them, and how it ends."""

from __future__ import annotations

import asyncio
import resource
import threading
from collections import Counter
from collections.abc import Callable

import pykka
import pytest

from supervisors.child import Refused
from supervisors.descriptor_limit import raise_descriptor_limit
from supervisors.guarded_actor import GuardedActor
from supervisors.message import Tick
from supervisors.root import Root
from supervisors.ticker import Ticker
from supervisors.tree import Tree
from tests.patience import PATIENCE_S
from tests.supervision.fleet import HandClock, Listener, Owner, SlowFactory, Wait, World


def test_three_hundred_families_work_on_sixty_four_lanes(world: World) -> None:
    owners = [Owner(world.tree.family(f"family {number:03}"), "charger") for number in range(300)]
    lanes = Counter(owner.latest.lane for owner in owners)

    assert len(lanes) == 64
    assert max(lanes.values()) <= 6
    assert all(owner.answers() for owner in owners)
    owners[299].crash()
    owners[299].wait_restarted()
    assert owners[299].answers()


def test_a_family_beyond_the_last_lane_shares_that_of_the_smallest(make_world: Callable[..., World]) -> None:
    world = make_world(max_lanes=2)
    big, small = world.tree.family("big"), world.tree.family("small")
    crowd = [Owner(big, str(number)) for number in range(3)]
    lonely = Owner(small, "0")
    assert all(owner.answers() for owner in [*crowd, lonely])
    world.wait_now("big", lambda status: status.children == 3)
    world.wait_now("small", lambda status: status.children == 1)

    guest = Owner(world.tree.family("late"), "0")

    assert guest.latest.lane is lonely.latest.lane
    assert Owner(world.tree.purpose("contract"), "0").latest.lane.name == "purpose contract"


def test_a_burst_of_families_does_not_crowd_one_lane_whose_children_are_not_counted_yet(
    make_world: Callable[..., World],
) -> None:
    world = make_world(max_lanes=2)
    slow, quick = SlowFactory("0"), Owner(world.tree.family("quick"), "0")
    world.gates.append(slow.gate)
    world.wait_now("quick", lambda status: status.children == 1)
    uncounted = Owner(world.tree.family("uncounted"), "0", slow)
    assert slow.entered.wait(PATIENCE_S)

    guests = [Owner(world.tree.family(f"guest {number}"), "0") for number in range(4)]

    slow.gate.set()
    lanes = Counter(owner.latest.lane for owner in [quick, uncounted, *guests])
    assert list(lanes.values()) == [3, 3]


def test_a_guest_keeps_a_lane_when_its_host_is_failed(make_world: Callable[..., World]) -> None:
    world = make_world(max_lanes=1)
    host, guest = Owner(world.tree.family("host"), "0"), Owner(world.tree.family("guest"), "0")
    assert guest.latest.lane is host.latest.lane
    for replacement in range(1, 4):
        for nth in range(31):
            Owner(world.tree.family("host"), f"{replacement} {nth}").crash()
        world.wait_restarts("host", replacement * 31)
    for nth in range(31):
        Owner(world.tree.family("host"), f"last {nth}").crash()

    world.wait_now("host", lambda status: status.state.value == "failed")
    # replaced twice in a row, it may be restarted once: what counts is that it lives on the last lane
    guest.wait_for(lambda heard: any("#5" in repr(getattr(item, "lane", "")) for item in heard))
    assert guest.answers()
    assert guest.latest.lane.is_current()
    assert world.exits.heard == []


def test_the_tree_ends_in_order_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    statuses = Listener()
    tree = Tree(exit_process=Listener(), publish=statuses, tick_interval_s=60.0, clock=HandClock())
    owners = [Owner(supervised, "0") for supervised in (tree.family("a"), tree.cohort("c"), tree.ledger())]
    assert all(owner.answers() for owner in owners)
    wait = Wait()
    owners[0].tell(wait)
    assert wait.entered.wait(PATIENCE_S)
    lane = owners[0].latest.lane

    async def stop() -> bool:
        stopping = asyncio.create_task(tree.stop(PATIENCE_S))
        await asyncio.wrap_future(owners[2].latest.lane.run(owners[2].latest.actor.stop()))
        assert not stopping.done()  # the message in hand is waited for
        lane.submit(wait.gate.set)
        return await stopping

    assert asyncio.run(stop())
    assert owners[0].latest.actor.is_idle
    assert not any(owner.latest.lane.is_current() for owner in owners)
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), thread
    assert not pykka.ActorRegistry.get_all()
    assert all(status.children == 0 for status in tree.statuses())
    assert Owner(tree.family("new"), "0").wait_for_one(Refused).reason == "this process is stopping"
    assert asyncio.run(tree.stop(PATIENCE_S))  # a second time


def test_what_does_not_end_in_time_is_abandoned() -> None:
    tree = Tree(exit_process=Listener(), tick_interval_s=None, clock=HandClock())
    owner = Owner(tree.family("a"), "0")
    wait = Wait()
    owner.tell(wait)
    assert wait.entered.wait(PATIENCE_S)

    assert not asyncio.run(tree.stop(0.05))

    assert not owner.latest.lane.is_current()
    assert owner.latest.lane.join(PATIENCE_S)


def test_the_ticker_keeps_ticking_until_it_is_stopped() -> None:
    ticks = Listener()
    ticker = Ticker(lambda: ticks("tick"), 0.001)
    ticks.wait_for(lambda heard: len(heard) >= 3)
    ticker.stop()


def test_the_descriptor_limit_is_raised_to_its_hard_bound() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        assert raise_descriptor_limit() == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_failure_of_the_root_itself_ends_the_process() -> None:
    exits = Listener()
    root = Root.start(None, None, HandClock(), exits)  # a root without a roster can do nothing
    root.tell(Tick())
    exits.wait_for(len)
    assert exits.heard == ["the root supervisor failed: AttributeError"]
    root.stop()


@pytest.mark.parametrize("hook", ["on_start", "on_receive"])
def test_no_supervisor_can_reopen_a_trap(hook: str) -> None:
    subclasses = GuardedActor.__subclasses__()
    assert {subclass.__name__ for subclass in subclasses} >= {"Supervisor", "Root"}
    assert all(getattr(subclass, hook) is getattr(GuardedActor, hook) for subclass in subclasses)
