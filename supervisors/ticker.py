"""The one clock hand of the supervision tree."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Ticker:
    """Calls `tick` from its own thread every `interval_s`; after a halt of the process it ticks once, not for
    every tick missed, so that nothing is judged by time in which nothing could run."""

    def __init__(self, tick: Callable[[], object], interval_s: float) -> None:
        self._tick = tick
        self._interval_s = interval_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervision ticker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(self._interval_s):
            self._tick()
