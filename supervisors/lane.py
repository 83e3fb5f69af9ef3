"""A lane: a named thread with one asyncio loop, watched from outside through the beats it answers with.

    open ──close()──► closed            the loop ended its tasks and the thread is gone
      └───abandon()─► abandoned         the loop is wedged; Python cannot kill its thread, so it is only distrusted

An abandoned lane may wake up long after its replacement took over. Whoever writes from a lane therefore asks
`is_current()` right before writing; once false it stays false. A lane that does wake ends itself.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import enum
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import uvloop

from bfactors.errors import BetterFleetError

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class LaneClosed(BetterFleetError):
    """The lane takes no more work: it is closed or abandoned."""


class LaneState(enum.Enum):
    OPEN = "open"
    CLOSED = "closed"
    ABANDONED = "abandoned"


class Lane:
    """One generation of a lane; its replacement is another `Lane` with the next generation.

    Every method may be called from any thread, and none but `join` waits.
    """

    def __init__(
        self,
        name: str,
        *,
        generation: int = 1,
        clock: Callable[[], float] = time.monotonic,
        loop: asyncio.AbstractEventLoop,
        on_closed: Callable[[Lane], object] = lambda _: None,
    ) -> None:
        self.name = name
        self.generation = generation
        self.loop = loop
        self._clock = clock
        self._on_closed = on_closed
        self._state = LaneState.OPEN
        self._thread: threading.Thread | None = None
        self._beats = 0
        self._beat_asked_for = False
        self._beat_at = clock()

    @classmethod
    def open(
        cls,
        name: str,
        *,
        generation: int = 1,
        clock: Callable[[], float] = time.monotonic,
        loop_factory: LoopFactory = uvloop.new_event_loop,
        on_closed: Callable[[Lane], object] = lambda _: None,
    ) -> Lane:
        """Start a thread with its own loop. `on_closed` is called from that thread as its last act."""
        lane = cls(name, generation=generation, clock=clock, loop=loop_factory(), on_closed=on_closed)
        # A daemon, because a wedged lane must not keep the process from exiting.
        lane._thread = threading.Thread(target=lane._serve, name=f"lane {name}#{generation}", daemon=True)
        lane._thread.start()
        return lane

    @classmethod
    def adopt(
        cls, name: str, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic
    ) -> Lane:
        """Watch a loop that somebody else runs: the process's I/O lane. Closing it is left to its owner."""
        return cls(name, clock=clock, loop=loop)

    def __repr__(self) -> str:
        return f"<Lane {self.name}#{self.generation} {self._state.value}>"

    @property
    def state(self) -> LaneState:
        return self._state

    def is_current(self) -> bool:
        """Whether what runs here may still write. The fence against an abandoned lane that wakes up."""
        return self._state is LaneState.OPEN

    # -- beats ------------------------------------------------------------------------------------

    @property
    def beats(self) -> int:
        """Grows with every beat the loop has answered."""
        return self._beats

    def ask_for_beat(self) -> None:
        """Ask the loop to beat once; at most one question is outstanding.

        Asked rather than timed: an idle lane does not wake for nothing, and when the whole process was halted
        the asker was halted as well, so nobody mistakes a suspended machine for a wedged loop.
        """
        if not self._beat_asked_for:
            self._beat_asked_for = True
            self.submit(self._beat)

    def last_beat_age(self) -> float:
        """Seconds since the loop last answered (since the lane was made, before the first answer)."""
        return self._clock() - self._beat_at

    def _beat(self) -> None:
        self._beat_at = self._clock()
        self._beats += 1
        self._beat_asked_for = False

    # -- work -------------------------------------------------------------------------------------

    def submit(self, callback: Callable[..., object], *arguments: Any) -> bool:
        """Have the loop call `callback` soon, in the order submitted; False when the lane takes no more work."""
        if self._state is not LaneState.OPEN:
            return False
        try:
            self.loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # closed between the look and the call
            return False
        return True

    def run(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine on the lane; its future fails with LaneClosed when the lane takes no more work."""
        if self._state is LaneState.OPEN:
            with suppress(RuntimeError):
                return asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        coroutine.close()
        refused: concurrent.futures.Future[T] = concurrent.futures.Future()
        refused.set_exception(LaneClosed(self.name))
        return refused

    # -- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Begin an orderly end: the loop cancels what is left and stops. `join` waits for it."""
        self._end(LaneState.CLOSED)

    def abandon(self) -> None:
        """Stop trusting this lane now and for good; should its loop wake, it ends itself."""
        self._end(LaneState.ABANDONED)

    def join(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the thread of a closed lane; a lane that stays is abandoned."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        if self._thread.is_alive():
            self.abandon()
            return False
        return True

    def _end(self, state: LaneState) -> None:
        was_open = self._state is LaneState.OPEN
        if was_open or state is LaneState.ABANDONED:
            self._state = state
        if was_open and self._thread is not None:
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._stop_loop)

    def _stop_loop(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        # Cancelled tasks need turns of the loop to end; a task that refuses is left behind with the loop.
        self.loop.create_task(self._stop_when_quiet())

    async def _stop_when_quiet(self) -> None:
        others = asyncio.all_tasks(self.loop) - {asyncio.current_task(self.loop)}
        if others:
            await asyncio.wait(others, timeout=1.0)
        await self.loop.shutdown_asyncgens()
        self.loop.stop()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        except BaseException:  # noqa: BLE001 - SystemExit from a stray callback; the missing beats tell the rest
            _LOG.exception("the loop of lane %s ended", self.name)
        finally:
            self.loop.close()
            self._on_closed(self)


class LaneWatch:
    """Looks at a lane once a tick and counts the looks in a row at which it had not beaten since the last."""

    def __init__(self, lane: Lane, missed_beats_limit: int) -> None:
        self.lane = lane
        self._limit = missed_beats_limit
        self._seen = lane.beats
        self._missed = 0
        lane.ask_for_beat()

    def finds_it_wedged(self) -> bool:
        """True when more beats in a row were missed than the limit allows."""
        beats = self.lane.beats
        self._missed = 0 if beats != self._seen else self._missed + 1
        self._seen = beats
        self.lane.ask_for_beat()
        return self._missed > self._limit
