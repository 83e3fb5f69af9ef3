"""Calling over to the I/O lane and back for what happens seldom enough to pay a wake-up each time."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from bfactors.errors import Unavailable

T = TypeVar("T")


async def run_on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on `loop` and return its result here; cancelling the caller cancels the work.

    Raises Unavailable when that loop is closed.
    """
    if asyncio.get_running_loop() is loop:
        return await work
    try:
        running = asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:
        work.close()
        raise Unavailable("NATS", "its lane is closed") from None
    return await asyncio.wrap_future(running)
