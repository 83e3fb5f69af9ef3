from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from supervisors.lane import Lane, LaneClosed, LaneState, LaneWatch
from tests.patience import PATIENCE_S
from tests.supervision.fleet import HandClock, Listener


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane.open("a")
    yield lane
    lane.close()
    assert lane.join(PATIENCE_S)


async def where() -> str:
    return threading.current_thread().name


def test_work_runs_on_the_lanes_own_thread(lane: Lane) -> None:
    assert lane.run(where()).result(PATIENCE_S) == "lane a#1"


def test_submitted_work_runs_in_order(lane: Lane) -> None:
    done: list[int] = []
    for number in range(100):
        assert lane.submit(done.append, number)
    lane.run(where()).result(PATIENCE_S)
    assert done == list(range(100))


def test_a_closed_lane_cancels_what_is_left_and_takes_no_more() -> None:
    closed = Listener()
    lane = Lane.open("a", on_closed=closed)
    started = threading.Event()

    async def endless() -> None:
        started.set()
        await asyncio.Event().wait()

    running = lane.run(endless())
    assert started.wait(PATIENCE_S)
    lane.close()

    assert not lane.is_current()
    assert lane.join(PATIENCE_S)
    assert running.cancelled()
    assert closed.heard == [lane]
    assert not lane.submit(print)
    with pytest.raises(LaneClosed):
        lane.run(where()).result(PATIENCE_S)
    assert lane.state is LaneState.CLOSED


def test_a_lane_that_does_not_end_in_time_is_abandoned() -> None:
    lane = Lane.open("a")
    entered, gate = threading.Event(), threading.Event()
    lane.submit(entered.set)
    lane.submit(gate.wait, PATIENCE_S * 4)
    assert entered.wait(PATIENCE_S)
    lane.close()

    assert not lane.join(0.01)

    assert lane.state is LaneState.ABANDONED
    lane.close()
    assert lane.state is LaneState.ABANDONED  # for good
    gate.set()
    assert lane.join(PATIENCE_S)


def test_the_age_of_the_last_beat_is_by_the_injected_clock() -> None:
    clock = HandClock()
    lane = Lane.open("a", clock=clock)
    clock.now += 7.0
    assert lane.last_beat_age() == 7.0
    lane.ask_for_beat()
    lane.run(where()).result(PATIENCE_S)
    assert lane.last_beat_age() == 0.0
    lane.close()
    assert lane.join(PATIENCE_S)


def test_a_lane_whose_loop_ended_by_itself_is_found_wedged() -> None:
    def die() -> None:
        raise SystemExit(1)

    lane = Lane.open("a", loop_factory=asyncio.new_event_loop)
    watch = LaneWatch(lane, missed_beats_limit=1)
    lane.run(where()).result(PATIENCE_S)
    lane.submit(die)
    assert lane.join(PATIENCE_S)
    assert [watch.finds_it_wedged() for _ in range(3)] == [False, False, True]


def test_an_adopted_loop_is_watched_and_never_stopped() -> None:
    async def main() -> None:
        lane = Lane.adopt("io", asyncio.get_running_loop())
        watch = LaneWatch(lane, missed_beats_limit=0)
        await asyncio.sleep(0)
        assert not watch.finds_it_wedged()
        assert watch.finds_it_wedged()  # no turn of the loop in between
        lane.close()
        await asyncio.sleep(0)
        assert lane.join(0.0)

    asyncio.run(main())
