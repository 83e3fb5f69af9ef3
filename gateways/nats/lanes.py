"""Calling over to the I/O lane and back: one wake-up each way and nothing in between."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeVar

from bfactors.errors import Unavailable

T = TypeVar("T")


async def run_on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], peer: str = "NATS") -> T:
    """Run `work` on `loop` and return its result here; cancelling the caller cancels the work.

    Raises Unavailable when that loop is closed.
    """
    here = asyncio.get_running_loop()
    if here is loop:
        return await work
    call = _Call(work, here)
    try:
        loop.call_soon_threadsafe(call.begin)
    except RuntimeError:
        work.close()
        raise Unavailable(peer, "its lane is closed") from None
    try:
        return await call.answer
    except asyncio.CancelledError:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(call.cancel)
        raise


class _Call(Generic[T]):
    """One call on its way. (`asyncio.run_coroutine_threadsafe` chains three futures under a lock.)"""

    __slots__ = ("_caller", "_task", "_work", "answer")

    def __init__(self, work: Coroutine[Any, Any, T], caller: asyncio.AbstractEventLoop) -> None:
        self._work = work
        self._caller = caller
        self._task: asyncio.Task[T] | None = None
        self.answer: asyncio.Future[T] = caller.create_future()

    def begin(self) -> None:
        """On the I/O lane."""
        if self.answer.cancelled():
            self._work.close()
            return
        self._task = asyncio.get_running_loop().create_task(self._work)
        self._task.add_done_callback(self._back)

    def cancel(self) -> None:
        """On the I/O lane."""
        if self._task is not None:
            self._task.cancel()

    def _back(self, task: asyncio.Task[T]) -> None:
        # Asked for here: nobody else may be left to ask.
        error = None if task.cancelled() else task.exception()
        with suppress(RuntimeError):
            self._caller.call_soon_threadsafe(self._settle, task, error)

    def _settle(self, task: asyncio.Task[T], error: BaseException | None) -> None:
        """On the caller's lane."""
        if self.answer.done():
            return
        if task.cancelled():
            self.answer.cancel()
        elif error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(task.result())
