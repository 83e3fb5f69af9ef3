"""The generic actor: order, bounds, slow work beside the mailbox, and failures that stay with one actor."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.mailbox import Mailbox, MailboxClosed, MailboxState

Behaviour = Callable[["Recorder", Any], Awaitable[None]]


async def nothing(_: Recorder, __: Any) -> None:
    """Handle a message without doing anything."""


class Recorder(Mailbox[Any]):
    def __init__(self, behave: Behaviour = nothing, **settings: Any) -> None:
        super().__init__("recorder", **settings)
        self.received: list[Any] = []
        self.failures: list[tuple[BaseException, object]] = []
        self._behave = behave
        self.start(lambda _, error, message: self.failures.append((error, message)))

    async def receive(self, message: Any) -> None:
        self.received.append(message)
        await self._behave(self, message)


class Gate:
    """Holds an actor in its handler until opened."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, _: Recorder, __: Any) -> None:
        self.entered.set()
        await self.opened.wait()


async def turns(count: int = 10) -> None:
    """Let the loop run what is ready."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_messages_are_handled_one_at_a_time_and_in_order() -> None:
    inside = 0

    async def overlap(_: Recorder, __: Any) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        await turns(3)
        inside -= 1

    actor = Recorder(overlap)
    for number in range(20):
        assert actor.tell(number)
    await actor.drain()
    assert actor.received == list(range(20))
    assert actor.failures == []


async def test_no_task_exists_while_an_actor_is_idle() -> None:
    actor = Recorder()
    before = asyncio.all_tasks()
    assert actor.is_idle
    actor.tell(1)
    assert len(asyncio.all_tasks() - before) == 1
    await turns()
    assert asyncio.all_tasks() == before
    assert actor.is_idle
    actor.tell(2)
    await turns()
    assert actor.received == [1, 2]


async def test_an_idle_actor_costs_about_a_kilobyte() -> None:
    class Small(Mailbox[int]):
        __slots__ = ()

        async def receive(self, message: int) -> None: ...

    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        actors = [Small("charger") for _ in range(500)]
        for actor in actors:
            actor.tell(1)
        await turns(5)
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / len(actors)
    finally:
        tracemalloc.stop()
    assert all(actor.is_idle for actor in actors)
    assert each < 2048


async def test_a_full_mailbox_refuses_and_a_deliverer_waits_for_room() -> None:
    gate = Gate()
    actor = Recorder(gate, capacity=2)
    actor.tell("in hand")
    await gate.entered.wait()
    assert [actor.tell(number) for number in range(3)] == [True, True, False]

    delivering = asyncio.create_task(actor.deliver("waiting"))
    await turns()
    assert not delivering.done()
    assert actor.depth == 3
    gate.opened.set()
    await delivering
    await actor.drain()
    assert actor.received == ["in hand", 0, 1, "waiting"]


async def test_a_tell_never_slips_ahead_of_a_waiting_deliverer() -> None:
    gate = Gate()
    actor = Recorder(gate, capacity=1)
    actor.tell("in hand")
    await gate.entered.wait()
    actor.tell("queued")
    waiting = [asyncio.create_task(actor.deliver(f"waiting {number}")) for number in range(3)]
    await turns()
    gate.opened.set()
    told = []
    while not all(task.done() for task in waiting):
        told.append(actor.tell("ahead"))
        await asyncio.sleep(0)
    await actor.drain()
    assert actor.received[:4] == ["in hand", "queued", "waiting 0", "waiting 1"]
    assert [message for message in actor.received if message != "ahead"][-1] == "waiting 2"
    assert len(actor.received) == 5 + sum(told)


async def test_one_free_place_lets_one_waiting_deliverer_in() -> None:
    steps = asyncio.Semaphore(0)

    async def step(_: Recorder, __: Any) -> None:
        await steps.acquire()

    actor = Recorder(step, capacity=1)
    actor.tell("in hand")
    await turns()
    actor.tell("queued")
    waiting = [asyncio.create_task(actor.deliver(number)) for number in range(3)]
    await turns()
    for let_in in range(4):
        assert sum(task.done() for task in waiting) == let_in
        steps.release()
        await turns()
        if let_in == 3:
            break
    steps.release()
    await actor.drain()
    assert actor.received == ["in hand", "queued", 0, 1, 2]


async def test_a_cancelled_deliverer_leaves_no_trace() -> None:
    gate = Gate()
    actor = Recorder(gate, capacity=1)
    actor.tell("in hand")
    await gate.entered.wait()
    actor.tell("queued")
    given_up = asyncio.create_task(actor.deliver("given up"))
    patient = asyncio.create_task(actor.deliver("patient"))
    await turns()
    given_up.cancel()
    await turns()
    assert actor.depth == 2
    gate.opened.set()
    await patient
    await actor.drain()
    assert actor.received == ["in hand", "queued", "patient"]


@pytest.mark.parametrize(
    "error", [ValueError("x"), asyncio.CancelledError(), SystemExit(2), KeyboardInterrupt()]
)
async def test_whatever_leaves_a_handler_stops_this_actor_and_is_reported(error: BaseException) -> None:
    async def fail(_: Recorder, message: Any) -> None:
        if message == "bad":
            raise error

    actor, other = Recorder(fail), Recorder(fail)
    for message in ("good", "bad", "never seen"):
        actor.tell(message)
    await turns()
    assert actor.failures == [(error, "bad")]
    assert actor.state is MailboxState.FAILED
    assert actor.received == ["good", "bad"]
    assert not actor.tell("more")
    with pytest.raises(MailboxClosed):
        await actor.deliver("more")
    other.tell("good")
    await turns()
    assert other.received == ["good"]


async def test_a_cancellation_leaking_from_something_awaited_is_a_failure_too() -> None:
    async def leak(_: Recorder, __: Any) -> None:
        victim = asyncio.ensure_future(asyncio.Event().wait())
        asyncio.get_running_loop().call_soon(victim.cancel)
        await victim

    actor = Recorder(leak)
    actor.tell(1)
    await turns()
    assert [type(error) for error, _ in actor.failures] == [asyncio.CancelledError]


async def test_a_failure_releases_those_waiting_to_deliver() -> None:
    gate = Gate()

    async def wait_then_fail(actor: Recorder, message: Any) -> None:
        await gate(actor, message)
        raise ValueError

    actor = Recorder(wait_then_fail, capacity=1)
    actor.tell("in hand")
    await gate.entered.wait()
    actor.tell("queued")
    delivering = asyncio.create_task(actor.deliver("waiting"))
    await turns()
    gate.opened.set()
    with pytest.raises(MailboxClosed):
        await delivering


async def test_a_broken_listener_does_not_end_the_loop() -> None:
    async def fail(_: Recorder, __: Any) -> None:
        raise ValueError

    def broken(*_: object) -> None:
        raise RuntimeError

    actor = Recorder(fail)
    actor.start(broken)
    actor.tell(1)
    await turns()
    assert actor.state is MailboxState.FAILED


async def test_begin_runs_once_and_before_the_first_message() -> None:
    class Beginner(Recorder):
        async def begin(self) -> None:
            await turns(2)
            self.received.append("begun")

    actor = Beginner()
    actor.tell(1)
    await turns()
    actor.tell(2)
    await turns()
    assert actor.received == ["begun", 1, 2]


async def test_slow_work_comes_back_as_a_message_while_others_are_handled() -> None:
    slow: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> int:
        return await slow

    async def behave(actor: Recorder, message: Any) -> None:
        if message == "begin":
            actor.spawn(work(), lambda number: ("outcome", number), lambda error: ("failed", error))

    actor = Recorder(behave)
    actor.tell("begin")
    actor.tell("meanwhile")
    await turns()
    assert actor.received == ["begin", "meanwhile"]
    assert not actor.is_idle
    slow.set_result(7)
    await turns()
    assert actor.received == ["begin", "meanwhile", ("outcome", 7)]
    assert actor.is_idle


@pytest.mark.parametrize("error", [ValueError("x"), asyncio.CancelledError(), SystemExit(2)])
async def test_slow_work_that_fails_comes_back_as_a_message_too(error: BaseException) -> None:
    async def work() -> None:
        raise error

    actor = Recorder()
    actor.spawn(work(), lambda _: "outcome", lambda failure: failure)
    await turns()
    assert actor.received == [error]
    assert actor.state is MailboxState.OPEN


async def test_an_outcome_waits_for_room_and_is_not_lost() -> None:
    gate = Gate()
    actor = Recorder(gate, capacity=1)
    actor.tell("in hand")
    await gate.entered.wait()
    actor.tell("queued")
    actor.spawn(turns(1), lambda _: "outcome", lambda error: error)
    await turns()
    assert actor.depth == 2
    gate.opened.set()
    await actor.drain()
    assert actor.received == ["in hand", "queued", "outcome"]


async def test_an_outcome_takes_its_place_behind_those_who_wait() -> None:
    gate = Gate()
    actor = Recorder(gate, capacity=1)
    actor.tell("in hand")
    await gate.entered.wait()
    actor.tell("queued")
    waiting = asyncio.create_task(actor.deliver("waited longer"))
    await turns()
    actor.spawn(turns(1), lambda _: "outcome", lambda error: error)
    await turns()
    gate.opened.set()
    await waiting
    await actor.drain()
    assert actor.received == ["in hand", "queued", "waited longer", "outcome"]


async def test_an_outcome_that_cannot_be_put_in_words_fails_the_actor() -> None:
    def speechless(_: object) -> object:
        raise LookupError

    actor = Recorder()
    actor.spawn(turns(1), speechless, speechless)
    await turns()
    assert [(type(error), message) for error, message in actor.failures] == [(LookupError, None)]


async def test_stop_finishes_the_message_in_hand_and_drops_the_rest() -> None:
    gate = Gate()
    actor = Recorder(gate, capacity=1)
    cancelled = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    actor.tell("in hand")
    await gate.entered.wait()
    actor.spawn(endless(), lambda _: "outcome", lambda error: error)
    await turns()
    actor.tell("dropped")
    delivering = asyncio.create_task(actor.deliver("dropped too"))
    stopping = asyncio.create_task(actor.stop())
    await turns()
    assert cancelled.is_set()
    assert not stopping.done()
    gate.opened.set()
    await stopping
    assert actor.received == ["in hand"]
    assert actor.failures == []
    assert actor.state is MailboxState.STOPPED
    with pytest.raises(MailboxClosed):
        await delivering
    actor.spawn(endless(), lambda _: "outcome", lambda error: error)  # closed unrun, with no warning
    assert actor.is_idle


async def test_an_actor_can_stop_itself() -> None:
    async def leave(actor: Recorder, _: Any) -> None:
        await actor.stop()

    actor = Recorder(leave)
    actor.tell("last")
    actor.tell("never seen")
    await turns()
    assert actor.received == ["last"]
    assert actor.state is MailboxState.STOPPED
    assert actor.failures == []


async def test_drain_finishes_what_is_queued_and_what_is_in_flight() -> None:
    slow = asyncio.Event()
    actor = Recorder(capacity=1)
    actor.spawn(slow.wait(), lambda _: "outcome", lambda error: error)
    actor.tell("queued")
    waiting = asyncio.create_task(actor.deliver("waited"))
    await turns(1)
    draining = asyncio.create_task(actor.drain())
    await turns()
    assert not actor.tell("late")
    assert waiting.done()
    assert not draining.done()
    slow.set()
    await draining
    assert actor.received == ["queued", "waited", "outcome"]
    assert actor.state is MailboxState.STOPPED


async def test_an_abandoned_actor_is_cancelled_and_reports_nothing() -> None:
    gate = Gate()
    actor = Recorder(gate)
    actor.tell("in hand")
    actor.tell("never seen")
    await gate.entered.wait()
    actor.abandon()
    await turns()
    assert actor.is_idle
    assert actor.received == ["in hand"]
    assert actor.failures == []
    assert actor.state is MailboxState.ABANDONED
    await actor.stop()
    assert actor.state is MailboxState.ABANDONED


async def test_an_actor_abandoned_from_another_thread_takes_no_further_message() -> None:
    gate = Gate()
    actor = Recorder(gate)
    actor.tell("in hand")
    actor.tell("never seen")
    await gate.entered.wait()
    thread = threading.Thread(target=actor.abandon)
    thread.start()
    thread.join()
    gate.opened.set()
    await turns()
    assert actor.received == ["in hand"]


async def test_telling_from_another_loop_is_an_error_of_the_caller() -> None:
    actor = Recorder()

    def elsewhere() -> None:
        async def tell() -> None:
            actor.tell(1)

        with pytest.raises(RuntimeError, match="another loop"):
            asyncio.run(tell())

    await asyncio.to_thread(elsewhere)
    assert actor.depth == 0


async def test_a_flooded_actor_lets_the_others_have_their_turn() -> None:
    flooded, other = Recorder(capacity=1000), Recorder()
    for number in range(1000):
        flooded.tell(number)
    other.tell("x")
    await turns(2)
    assert other.received == ["x"]
    assert len(flooded.received) < 1000
    await flooded.drain()
    assert len(flooded.received) == 1000


async def test_the_gauge_hears_only_of_new_heights() -> None:
    class Heights(list[int]):
        raised_to = list.append

    heights = Heights()
    actor = Recorder(gauge=heights)
    for _ in range(2):
        for number in range(3):
            actor.tell(number)
        await turns()
    assert heights == [1, 2, 3]


@given(
    st.integers(1, 4),
    st.lists(st.sampled_from(["tell", "deliver", "cancel", "turn", "slow"]), max_size=60),
)
def test_every_message_taken_is_handled_once_in_the_order_it_was_taken(
    capacity: int, steps: list[str]
) -> None:
    async def run() -> None:
        hold = asyncio.Event()
        slow: set[int] = set()

        async def behave(_: Recorder, message: int) -> None:
            if message in slow:
                await asyncio.sleep(0)
            await hold.wait()

        actor = Recorder(behave, capacity=capacity)
        taken: list[int] = []
        delivering: dict[int, asyncio.Task[None]] = {}
        for number, step in enumerate(steps):
            if step == "tell":
                had_room = actor.depth < capacity
                assert actor.tell(number) is had_room
                if had_room:
                    taken.append(number)
            elif step == "deliver":
                delivering[number] = asyncio.create_task(actor.deliver(number))
                await turns(1)  # takes its place in line
                taken.append(number)
            elif step == "cancel" and delivering:
                number, task = delivering.popitem()
                if not task.done():
                    task.cancel()
                    taken.remove(number)
                    await turns(2)
            elif step == "slow":
                slow.add(number + 1)
            else:
                hold.set()
                await turns(2)
                hold.clear()
                await turns(6)  # whoever was given room knows it: from here a cancel means "not taken"
            waiting = sum(not task.done() for task in delivering.values())
            assert actor.depth <= capacity + waiting
        hold.set()
        await actor.drain()
        await asyncio.gather(*delivering.values())
        assert actor.received == taken
        assert actor.failures == []

    asyncio.run(run())
