"""The mailbox without tasks keeps Mailbox's promises; work in flight has its time and no more."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from actors.mailbox import MailboxState
from actors.prompt_mailbox import PromptMailbox
from tests.patience import PATIENCE_S

Behaviour = Callable[["Prompt", Any], object]


class Prompt(PromptMailbox[Any]):
    def __init__(self, behave: Behaviour = lambda *_: None, **settings: Any) -> None:
        super().__init__("prompt", **settings)
        self.handled: list[Any] = []
        self.failures: list[tuple[BaseException, object]] = []
        self.prepared = 0
        self._behave = behave
        self.start(lambda _, error, message: self.failures.append((error, message)))

    def prepare(self) -> None:
        self.prepared += 1

    def handle(self, message: Any) -> None:
        self.handled.append(message)
        self._behave(self, message)


async def turns(count: int = 10) -> None:
    """Let the loop run what is ready."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_messages_are_handled_in_order_after_the_beginning_and_without_a_task() -> None:
    before = asyncio.all_tasks()
    actor = Prompt(capacity=100)
    for number in range(100):
        assert actor.tell(number)
    assert (actor.handled, actor.prepared, actor.is_idle) == ([], 0, False)
    assert asyncio.all_tasks() == before
    await turns()
    assert (actor.handled, actor.prepared, actor.is_idle) == (list(range(100)), 1, True)


async def test_a_long_queue_lets_the_rest_of_the_loop_in_between() -> None:
    actor = Prompt(capacity=100)
    await turns(1)
    for number in range(100):
        actor.tell(number)
    await turns(1)
    assert 0 < len(actor.handled) < 100


async def test_what_a_handler_tells_its_own_actor_comes_behind_what_waits() -> None:
    actor = Prompt(lambda self, message: self.tell("again") if message == 1 else None)
    actor.tell(1)
    actor.tell(2)
    await turns()
    assert actor.handled == [1, 2, "again"]
    assert actor.is_idle


async def test_a_full_mailbox_refuses_and_holds_a_sender_back_until_there_is_room() -> None:
    actor = Prompt(capacity=1)
    await turns(1)
    assert actor.tell(1)
    assert not actor.tell(2)
    await actor.deliver(3)
    await turns()
    assert actor.handled == [1, 3]


@pytest.mark.parametrize("error", [ValueError("broken"), asyncio.CancelledError(), SystemExit(1)])
async def test_whatever_leaves_a_handler_ends_that_actor_and_is_reported(error: BaseException) -> None:
    def fail(_: Prompt, message: object) -> None:
        if message == 2:
            raise error

    actor = Prompt(fail)
    for number in (1, 2, 3):
        actor.tell(number)
    await turns()
    assert actor.handled == [1, 2]
    assert actor.failures == [(error, 2)]
    assert (actor.state, actor.is_idle, actor.tell(4)) == (MailboxState.FAILED, True, False)


async def test_drain_finishes_what_is_queued_and_what_comes_back_from_work_in_flight() -> None:
    ready = asyncio.Event()
    actor = Prompt(capacity=100)
    for number in range(50):
        actor.tell(number)
    actor.spawn(ready.wait(), lambda _: "outcome", lambda error: error)
    draining = asyncio.create_task(actor.drain())
    await turns()
    assert not draining.done()
    assert not actor.tell("late")
    ready.set()
    await draining
    assert actor.handled == [*range(50), "outcome"]
    assert (actor.state, actor.failures) == (MailboxState.STOPPED, [])


async def test_an_actor_that_ends_itself_handles_nothing_more_and_leaves_nothing_running() -> None:
    before = asyncio.all_tasks()
    actor = Prompt(lambda self, message: self.end() if message == "end" else None)
    actor.spawn(asyncio.Event().wait(), lambda _: "outcome", lambda error: error)
    actor.tell("end")
    actor.tell("more")
    await turns()
    assert actor.handled == ["end"]
    assert actor.state is MailboxState.STOPPED
    assert asyncio.all_tasks() == before


async def test_an_abandoned_actor_handles_nothing_more() -> None:
    actor = Prompt(lambda self, _: self.abandon())
    actor.tell(1)
    actor.tell(2)
    await turns()
    assert actor.handled == [1]
    actor = Prompt()
    actor.tell(1)
    await actor.stop()
    await turns()
    assert (actor.handled, actor.prepared) == ([], 1)


async def test_work_that_takes_too_long_comes_back_as_cancelled_and_the_rest_stays() -> None:
    came = asyncio.Event()
    ready = asyncio.Event()
    actor = Prompt(lambda *_: came.set())
    actor.spawn(ready.wait(), lambda _: "in time", lambda error: error, within_s=2 * PATIENCE_S)
    actor.spawn(asyncio.Event().wait(), lambda _: "never", lambda error: error, within_s=0.02)
    actor.spawn(ready.wait(), lambda _: "without a bound", lambda error: error)
    async with asyncio.timeout(PATIENCE_S):
        await came.wait()
    assert [type(message) for message in actor.handled] == [asyncio.CancelledError]
    ready.set()
    await turns()
    assert actor.handled[1:] == ["in time", "without a bound"]
    assert actor.is_idle
