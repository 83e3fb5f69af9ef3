"""Hand-over of messages from one loop to another: many puts, one wake-up.

An idle cross-loop wake-up costs about twenty times what an amortised one costs, so messages put while one is
under way ride along with it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

M = TypeVar("M")

_LOG = logging.getLogger(__name__)
_MESSAGES_PER_TURN = 256


class Wakeable(Protocol):
    """What a hop needs of a lane: `call_soon_threadsafe` that answers False once the lane is closed."""

    def submit(self, callback: Callable[..., object], *arguments: Any) -> bool: ...


class Hop(Generic[M]):
    """A bounded, ordered queue into another lane; `receive` is called there, once a message, in order of `put`.

    `put` may be called from any thread. After a `put` was refused, `on_drained` is called on `source` as soon as
    the queue has emptied. What waits when the target lane is abandoned is lost with it.
    """

    __slots__ = ("_capacity", "_lock", "_on_drained", "_owes_drained", "_pending", "_receive", "_source",
                 "_target", "_woken")  # fmt: skip

    def __init__(
        self,
        target: Wakeable,
        receive: Callable[[M], object],
        *,
        source: Wakeable,
        on_drained: Callable[[], object] = lambda: None,
        capacity: int = 1024,
    ) -> None:
        if capacity < 1:
            raise ValueError("a hop holds at least one message")
        self._target = target
        self._receive = receive
        self._source = source
        self._on_drained = on_drained
        self._capacity = capacity
        self._pending: deque[M] = deque()
        self._lock = threading.Lock()
        self._woken = False
        self._owes_drained = False

    @property
    def depth(self) -> int:
        """Messages put and not yet received."""
        return len(self._pending)

    def put(self, message: M) -> bool:
        """Queue a message; False when the hop is full or its target lane is closed or abandoned."""
        with self._lock:
            if len(self._pending) >= self._capacity:
                self._owes_drained = True
                return False
            self._pending.append(message)
            if self._woken:
                return True
            self._woken = self._target.submit(self._hand_over)
            if not self._woken:
                self._pending.clear()  # the lane is gone, and with it everyone these were for
            return self._woken

    def _hand_over(self) -> None:
        for _ in range(_MESSAGES_PER_TURN):
            with self._lock:
                if not self._pending:
                    break
                message = self._pending.popleft()
            try:
                self._receive(message)
            except Exception:  # noqa: BLE001 - one message's failure must not hold back those behind it
                _LOG.exception("a message handed over between lanes was not received")
        with self._lock:
            # More may have come, or one turn was not enough: the rest waits for the loop's other work.
            self._woken = bool(self._pending) and self._target.submit(self._hand_over)
            drained = self._owes_drained and not self._pending
            if drained:
                self._owes_drained = False
        if drained:
            self._source.submit(self._on_drained)
