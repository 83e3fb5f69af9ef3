"""Hand-over from any lane to one loop: many puts, one wake-up (a lone wake-up costs about twenty times its share)."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

M = TypeVar("M")

LOOPS_REMEMBERED = 256


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


class WaysBack(Generic[M]):
    """Results for futures of many loops, each loop woken once for many. To be used from one loop only, but for `to`."""

    def __init__(self) -> None:
        self._ways: dict[asyncio.AbstractEventLoop, Crossing[tuple[asyncio.Future[M], M]]] = {}

    def to(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[M]) -> Callable[[M], None]:
        """What to call with the result of a future that belongs to `loop`."""
        way = self._ways.get(loop)
        if way is None:
            if len(self._ways) >= LOOPS_REMEMBERED:
                for gone in [each for each in list(self._ways) if each.is_closed()]:
                    self._ways.pop(gone, None)
            way = self._ways.setdefault(loop, Crossing(loop, _settle_pair))
        return partial(_put, way, future)


def settle(future: asyncio.Future[M], result: M) -> None:
    """Set a result unless the one who waited has gone."""
    if not future.done():
        future.set_result(result)


def _settle_pair(pair: tuple[asyncio.Future[M], M]) -> None:
    settle(*pair)


def _put(way: Crossing[tuple[asyncio.Future[M], M]], future: asyncio.Future[M], result: M) -> None:
    way.put((future, result))
