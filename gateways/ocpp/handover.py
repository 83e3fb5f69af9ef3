"""Calls from other lanes into the I/O lane: many calls, one wake-up."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable


class Handover:
    """Runs a step at once on the I/O lane, and on its next turn when called from any other thread, in order.

    Belongs to the loop it is made on. After that loop has closed, steps are dropped: there is no session left to serve.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._steps: deque[Callable[[], None]] = deque()
        self._woken = False

    def run(self, step: Callable[[], None]) -> None:
        """Run `step` on the I/O lane. Callable from any thread; never blocks."""
        if asyncio._get_running_loop() is self._loop:
            step()
            return
        # Append and popleft are atomic. The flag may be seen stale by two threads at once: then the loop wakes twice.
        self._steps.append(step)
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._woken = False
        for _ in range(len(self._steps)):
            self._steps.popleft()()
        if self._steps and not self._woken:
            self._woken = True
            self._loop.call_soon(self._drain)
