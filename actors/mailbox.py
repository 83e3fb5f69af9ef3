"""The one generic actor: a bounded mailbox in front of `receive`, one message at a time, on one asyncio loop.

No task exists while an actor is idle: the first message starts one, an empty queue ends it. That keeps ten
thousand idle chargers at about 2 KB each instead of 5.

    open ──drain()──► draining ──► stopped        stop(): open or draining ──► stopped
      └── an exception leaves begin() or receive() ──► failed       abandon(): any of these ──► abandoned

This file (with `prompt_mailbox`) is one of the two places that may catch every exception: whatever leaves a handler ends
that actor and nothing else, and is reported to its supervisor.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any, Generic, Protocol, TypeVar

from bfactors.errors import BetterFleetError

M = TypeVar("M")
T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_MESSAGES_PER_TURN = 32  # after so many, the loop's other actors get their turn


class MailboxClosed(BetterFleetError):
    """The actor takes no more messages: it is draining, stopped, failed or abandoned."""


class HighWaterGauge(Protocol):
    """Told when a mailbox is fuller than it ever was; one gauge serves all actors of a kind."""

    def raised_to(self, depth: int) -> None: ...


class MailboxState(enum.Enum):
    OPEN = "open"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"
    ABANDONED = "abandoned"


_LIVE = (MailboxState.OPEN, MailboxState.DRAINING)

OnFailure = Callable[["Mailbox[Any]", BaseException, object], None]
"""(actor, exception, message in hand or None), called on the actor's loop after the actor has failed."""


class Mailbox(ABC, Generic[M]):
    """An actor over messages of type `M`; subclasses implement `receive`.

    Made on the loop it lives on, and used only from there (`abandon` and the read-only properties excepted).
    `capacity` bounds the messages waiting; the one in hand is not counted.
    """

    __slots__ = (
        "__weakref__", "_begun", "_capacity", "_drain_task", "_gauge", "_in_flight", "_loop", "_on_failure",
        "_peak", "_queue", "_state", "_waiting", "_watch", "name",
    )  # fmt: skip

    def __init__(self, name: str, *, capacity: int = 64, gauge: HighWaterGauge | None = None) -> None:
        if capacity < 1:
            raise ValueError("a mailbox holds at least one message")
        self.name = name
        self._capacity = capacity
        self._gauge = gauge
        self._loop = asyncio.get_running_loop()
        self._queue: deque[M] = deque()
        self._waiting: deque[tuple[asyncio.Future[None], M]] | None = None
        self._in_flight: dict[asyncio.Task[None], float] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._drain_task: asyncio.Task[None] | None = None
        self._on_failure: OnFailure | None = None
        self._state = MailboxState.OPEN
        self._peak = 0
        self._begun = False

    # -- what a subclass writes -------------------------------------------------------------------

    @abstractmethod
    async def receive(self, message: M) -> None:
        """Handle one message. Never waits for slow I/O: that goes through `spawn`."""

    async def begin(self) -> None:
        """Runs once, before the first message; an exception here is a failure of the actor like any other."""

    # -- what everybody may read ------------------------------------------------------------------

    @property
    def state(self) -> MailboxState:
        return self._state

    @property
    def _is_live(self) -> bool:
        return self._state in _LIVE

    @property
    def depth(self) -> int:
        """Messages waiting, senders held back in `deliver` included."""
        return len(self._queue) + (len(self._waiting) if self._waiting else 0)

    @property
    def is_idle(self) -> bool:
        """Nothing waits, nothing is in hand, no slow work is in flight."""
        return self._drain_task is None and not self._queue and not self._in_flight

    # -- messages ---------------------------------------------------------------------------------

    def tell(self, message: M) -> bool:
        """Queue a message; False when the mailbox is full or closed. Raises RuntimeError off the actor's loop."""
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(f"{self.name} was told something from another loop; use a Hop")
        if self._state is not MailboxState.OPEN or len(self._queue) >= self._capacity:
            return False
        self._append(message)
        return True

    async def deliver(self, message: M) -> None:
        """Queue a message, waiting for room: backpressure for whoever reads a socket.

        Senders that wait are served in the order they came. A sender cancelled in the very moment room was found
        may have delivered. Raises MailboxClosed.
        """
        if self.tell(message):
            return
        if self._state is not MailboxState.OPEN:
            raise MailboxClosed(self.name)
        await self._stand_in_line(message)

    def spawn(
        self,
        coroutine: Coroutine[Any, Any, T],
        to_message: Callable[[T], M],
        to_failure: Callable[[BaseException], M],
        *,
        within_s: float = inf,
    ) -> None:
        """Run slow I/O beside the mailbox; its outcome comes back as a message, never lost to a full mailbox.

        Cancelled after `within_s`, which `to_failure` hears of as CancelledError, and when the actor stops; after that
        nothing new is started and the coroutine is closed unrun.
        """
        if self._state not in _LIVE:
            coroutine.close()
            return
        task = self._loop.create_task(self._work(coroutine, to_message, to_failure), name=self.name)
        if self._in_flight is None:
            self._in_flight = {}
        due = self._in_flight[task] = self._loop.time() + within_s
        task.add_done_callback(partial(self._worked, coroutine))
        if due < inf and (self._watch is None or due < self._watch.when()):
            self._look_at(due)

    # -- life, as the supervisor directs it -------------------------------------------------------

    def start(self, on_failure: OnFailure) -> None:
        """Name who hears of a failure, and run `begin` if the subclass has one."""
        self._on_failure = on_failure
        if type(self).begin is not Mailbox.begin:
            self._wake()

    async def drain(self) -> None:
        """Take nothing new, finish what is queued and in flight, then stop."""
        if self._state is MailboxState.OPEN:
            self._state = MailboxState.DRAINING
        while self._state is MailboxState.DRAINING and (busy := self._busy()):
            await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
        await self.stop()

    async def stop(self) -> None:
        """Finish the message in hand, drop the rest, cancel work in flight. Called by itself, it does not wait."""
        if self._state in _LIVE:
            self._close(MailboxState.STOPPED)
        if busy := self._busy():
            await asyncio.wait(busy)

    def abandon(self) -> None:
        """Stop trusting this actor, without waiting; the one method any thread may call.

        From another thread only the flag is set: the loop may be wedged. Should it wake, the actor finishes the
        handler it is in and takes no further message; what that handler writes is fenced by the lane's token.
        """
        if self._state in _LIVE:
            self._state = MailboxState.ABANDONED
        with suppress(RuntimeError):  # no running loop in this thread
            if asyncio.get_running_loop() is self._loop:
                self._close(MailboxState.ABANDONED)
                for task in self._busy():
                    task.cancel()

    # -- inside -----------------------------------------------------------------------------------

    def _append(self, message: M) -> None:
        self._queue.append(message)
        depth = len(self._queue)
        if depth > self._peak:
            self._peak = depth
            if self._gauge is not None:
                self._gauge.raised_to(depth)
        self._wake()

    def _wake(self) -> None:
        if self._drain_task is None:
            self._drain_task = self._loop.create_task(self._empty_queue(), name=self.name)

    async def _stand_in_line(self, message: M) -> None:
        # Whoever frees a place moves the first waiter's message in itself: no later `tell` can slip ahead.
        if self._waiting is None:
            self._waiting = deque()
        place = (self._loop.create_future(), message)
        self._waiting.append(place)
        try:
            await place[0]
        except asyncio.CancelledError:
            with suppress(ValueError):
                self._waiting.remove(place)
            raise

    def _take(self) -> M:
        message = self._queue.popleft()
        while self._waiting:
            room, next_message = self._waiting.popleft()
            if not room.done():
                room.set_result(None)
                self._append(next_message)
                break
        return message

    async def _empty_queue(self) -> None:
        message: M | None = None
        handled = 0
        try:
            if not self._begun:
                self._begun = True
                await self.begin()
            while self._queue and self._state in _LIVE:
                message = self._take()
                await self.receive(message)
                message = None
                handled += 1
                if handled % _MESSAGES_PER_TURN == 0:
                    await asyncio.sleep(0)
        except GeneratorExit:  # the loop is gone and the coroutine is being collected: nobody is left to tell
            raise
        except BaseException as error:  # noqa: BLE001 - a leaked CancelledError and SystemExit included
            self._fail(error, message)
        finally:
            self._drain_task = None

    async def _work(
        self,
        coroutine: Coroutine[Any, Any, T],
        to_message: Callable[[T], M],
        to_failure: Callable[[BaseException], M],
    ) -> None:
        try:
            try:
                result = await coroutine
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - it comes back as a message
                if self._state not in _LIVE:
                    return  # cancelled by our own stop
                message = to_failure(error)
            else:
                message = to_message(result)
        except Exception as error:  # noqa: BLE001 - without its outcome the actor would wait for ever
            self._fail(error, None)
            return
        if self._state not in _LIVE:
            return
        if len(self._queue) < self._capacity:
            self._append(message)
            return
        with suppress(MailboxClosed):
            await self._stand_in_line(message)

    def _worked(self, coroutine: Coroutine[Any, Any, Any], task: asyncio.Task[None]) -> None:
        if self._in_flight:
            self._in_flight.pop(task, None)
        coroutine.close()  # cancelled before its first step, the task has never reached it

    def _cancel_overdue(self) -> None:
        """One timer for all work in flight, left standing when that is done: a timer a piece costs more than the piece."""
        self._watch = None
        now = self._loop.time()
        next_due = inf
        for task, due in (self._in_flight or {}).items():
            if due <= now:
                task.cancel()
            else:
                next_due = min(next_due, due)
        if next_due < inf:
            self._look_at(next_due)

    def _look_at(self, due: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._loop.call_at(due, self._cancel_overdue)

    def _busy(self) -> set[asyncio.Task[None]]:
        tasks = set(self._in_flight or ())
        if self._drain_task is not None:
            tasks.add(self._drain_task)
        if (current := asyncio.current_task()) is not None:
            tasks.discard(current)
        return tasks

    def _close(self, state: MailboxState) -> None:
        self._state = state
        self._queue.clear()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        while self._waiting:
            room, _ = self._waiting.popleft()
            if not room.done():
                room.set_exception(MailboxClosed(self.name))
        for task in self._in_flight or ():
            if task is not asyncio.current_task():
                task.cancel()

    def _fail(self, error: BaseException, message: M | None) -> None:
        if self._state not in _LIVE:
            if not isinstance(error, asyncio.CancelledError):
                _LOG.warning("actor %s failed while ending", self.name, exc_info=error)
            return
        self._close(MailboxState.FAILED)
        if self._on_failure is None:
            _LOG.error("actor %s failed and has no supervisor", self.name, exc_info=error)
            return
        try:
            self._on_failure(self, error, message)
        except Exception:  # noqa: BLE001 - a broken listener must not end the loop
            _LOG.exception("the failure of actor %s could not be reported", self.name)
