"""How long a test waits for what was promised to happen, and how it measures what was promised to happen soon."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PATIENCE_S = 90.0
"""It only ends a wait for what never comes, and says nothing about how soon it should: a crowded machine is no failure.

A bound that is itself a promise (a node's take-over, a stop) is written where that promise is tested.
"""

_LOOK_EVERY_S = 0.05


@dataclass(slots=True)
class Stopwatch:
    """Seconds since it was started. `late_s` of them this process was not let run when it was due.

    Whoever is measured shares the machine and is as late: what is left over is what the wait itself took, at most.
    """

    began_s: float
    late_s: float = 0.0

    @property
    def took_s(self) -> float:
        return asyncio.get_running_loop().time() - self.began_s

    @property
    def fair_s(self) -> float:
        """Of what it took, what a machine with nothing else to do would have needed."""
        return self.took_s - self.late_s


@contextmanager
def measured() -> Iterator[Stopwatch]:
    """Start a stopwatch and look, on the running loop, how late it is woken."""
    loop = asyncio.get_running_loop()
    watch = Stopwatch(loop.time())
    timer: asyncio.TimerHandle

    def look(due_s: float) -> None:
        nonlocal timer
        now_s = loop.time()
        watch.late_s += now_s - due_s
        timer = loop.call_at(now_s + _LOOK_EVERY_S, look, now_s + _LOOK_EVERY_S)

    timer = loop.call_at(watch.began_s + _LOOK_EVERY_S, look, watch.began_s + _LOOK_EVERY_S)
    try:
        yield watch
    finally:
        timer.cancel()
