"""Hand-over from any lane to one loop: many puts, one wake-up (a lone wake-up costs about twenty times its share)."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

M = TypeVar("M")


class Crossing(Generic[M]):
    """Messages put on any thread are received in order on the target loop.

    Needs no lock: `_deliver` lowers the flag before it looks at the queue, and `put` queues before it looks at the
    flag. So a message is either seen by the delivery under way or causes another one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Callable[[M], None]) -> None:
        self._loop = loop
        self._receive = receive
        self._queue: deque[M] = deque()
        self._woken = False

    @property
    def closed(self) -> bool:
        return self._loop.is_closed()

    def put(self, message: M) -> bool:
        """False when the target loop is gone, and with it everyone the message was for."""
        self._queue.append(message)
        if self._woken:
            return True
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            self._queue.clear()
            return False
        return True

    def _deliver(self) -> None:
        self._woken = False
        while self._queue:
            self._receive(self._queue.popleft())
