from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from supervisors.hop import Hop
from supervisors.lane import Lane
from tests.patience import PATIENCE_S
from tests.supervision.fleet import Listener


class StillLane:
    """A lane whose loop turns only when told; counts how often it was woken."""

    def __init__(self) -> None:
        self.wakes = 0
        self.is_open = True
        self._calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def submit(self, callback: Callable[..., object], *arguments: Any) -> bool:
        if self.is_open:
            self.wakes += 1
            self._calls.append((callback, arguments))
        return self.is_open

    def turn(self) -> None:
        calls, self._calls = self._calls, []
        for callback, arguments in calls:
            callback(*arguments)


def test_many_puts_cost_one_wake_up() -> None:
    target = StillLane()
    received: list[int] = []
    hop: Hop[int] = Hop(target, received.append, source=StillLane())
    for number in range(200):
        assert hop.put(number)
    assert target.wakes == 1
    target.turn()
    assert received == list(range(200))
    assert hop.put(200)
    assert target.wakes == 2


def test_a_full_hop_refuses_and_says_once_when_it_has_room_again() -> None:
    source, target = StillLane(), StillLane()
    received: list[int] = []
    drained: list[int] = []
    hop: Hop[int] = Hop(
        target, received.append, source=source, on_drained=lambda: drained.append(1), capacity=2
    )
    assert [hop.put(number) for number in range(4)] == [True, True, False, False]
    source.turn()
    assert drained == []
    target.turn()
    source.turn()
    assert (received, drained) == ([0, 1], [1])
    assert hop.put(4)
    target.turn()
    source.turn()
    assert drained == [1]


def test_a_long_queue_lets_the_target_loop_turn_in_between() -> None:
    target = StillLane()
    received: list[int] = []
    hop: Hop[int] = Hop(target, received.append, source=StillLane())
    for number in range(1000):
        hop.put(number)
    target.turn()
    assert 0 < len(received) < 1000
    while hop.depth:
        target.turn()
    assert received == list(range(1000))


def test_a_message_that_is_not_received_holds_back_none_behind_it() -> None:
    target = StillLane()
    received: list[int] = []

    def receive(number: int) -> None:
        if number == 1:
            raise ValueError(number)
        received.append(number)

    hop: Hop[int] = Hop(target, receive, source=StillLane())
    for number in range(3):
        hop.put(number)
    target.turn()
    assert received == [0, 2]


def test_a_closed_target_is_answered_like_a_full_one() -> None:
    target = StillLane()
    hop: Hop[int] = Hop(target, print, source=StillLane())
    target.is_open = False
    assert not hop.put(1)
    assert hop.depth == 0


@given(st.lists(st.sampled_from(["put", "target", "source"]), max_size=80), st.integers(1, 5))
def test_nothing_taken_is_lost_doubled_or_overtaken(steps: list[str], capacity: int) -> None:
    source, target = StillLane(), StillLane()
    received: list[int] = []
    drained: list[int] = []
    hop: Hop[int] = Hop(
        target, received.append, source=source, on_drained=lambda: drained.append(1), capacity=capacity
    )
    taken: list[int] = []
    refused = 0
    for number, step in enumerate(steps):
        if step == "put":
            assert hop.depth <= capacity
            if hop.put(number):
                taken.append(number)
            else:
                refused += 1
                assert hop.depth == capacity
        else:
            {"target": target, "source": source}[step].turn()
    target.turn()
    source.turn()
    assert received == taken
    assert bool(refused) == bool(drained)


def test_messages_of_one_thread_cross_real_lanes_in_order() -> None:
    source, target, room = Lane.open("source"), Lane.open("target"), threading.Event()
    received = Listener()
    hop: Hop[int] = Hop(target, received, source=source, on_drained=room.set, capacity=16)
    for number in range(2000):
        while not hop.put(number):
            assert room.wait(PATIENCE_S)
            room.clear()
    received.wait_for(lambda heard: len(heard) == 2000)
    assert received.heard == list(range(2000))
    for lane in (source, target):
        lane.close()
        assert lane.join(PATIENCE_S)
