"""Tasks that run as long as their owner: begun loudly, ended surely."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_LOG = logging.getLogger(__name__)

CANCEL_TRIES = 5
CANCEL_WAIT_S = 0.2


def begun(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start `work` on the running loop; should it fail, the log says so at once and not when it is waited for."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(_complain)
    return task


async def ended(task: asyncio.Task[None] | None) -> None:
    """Cancel a task and wait for its end. Repeated, because the NATS library swallows a cancellation while it flushes."""
    if task is None:
        return
    for _ in range(CANCEL_TRIES):
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_WAIT_S)
        if task.done():
            return
    _LOG.error("%s did not end", task.get_name())


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.critical("%s failed and is not running any more", task.get_name(), exc_info=error)
