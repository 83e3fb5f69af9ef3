"""The clock a charger lives by, which need not be right."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from simulator.charger.fault import FaultScript
from simulator.charger.fault_conduct import ClockSkew, ClockWrongUntilBoot


class OwnClock:
    """True time, changed by the charger's faults."""

    def __init__(self, clock: Callable[[], datetime], faults: FaultScript) -> None:
        self._clock = clock
        self._skew = faults.find(ClockSkew)
        self._wrong = faults.find(ClockWrongUntilBoot)

    def __call__(self) -> datetime:
        """What the charger takes for now."""
        now = self._clock()
        if self._skew is not None:
            now += self._skew.delta
        return now if self._wrong is None else now + self._wrong.delta

    @property
    def is_wrong(self) -> bool:
        """Whether the charger has yet to learn the time."""
        return self._wrong is not None

    def set_right(self) -> None:
        """The central system told the time."""
        self._wrong = None
