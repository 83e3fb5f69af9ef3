"""Calling over to the loop that owns the CA's sockets, from whichever lane asks."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from bfactors.ca import Transient

T = TypeVar("T")


async def run_on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on `loop` and return its result here; cancelling the caller cancels the work.

    Raises Transient when that loop is closed: nothing was sent.
    """
    if asyncio.get_running_loop() is loop:
        return await work
    try:
        running = asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:
        work.close()
        raise Transient("LaneClosed", "the lane of the CA's sockets is closed") from None
    return await asyncio.wrap_future(running)
