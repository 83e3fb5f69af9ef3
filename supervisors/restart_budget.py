"""How many restarts are normal: OTP's intensity and period, over times the caller passes in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartLimit:
    """At most `intensity` restarts in any `period_s` seconds; a restart exactly that old still counts."""

    intensity: int
    period_s: float

    def __post_init__(self) -> None:
        if self.intensity < 0 or self.period_s <= 0:
            raise ValueError("a restart limit needs intensity >= 0 and a positive period")


class RestartBudget:
    """The restarts spent under one limit. `now` is monotonic seconds and never goes back."""

    __slots__ = ("_limit", "_spent_at")

    def __init__(self, limit: RestartLimit) -> None:
        self._limit = limit
        self._spent_at: deque[float] = deque()

    def spend(self, now: float) -> bool:
        """Take one restart from the budget; False, with nothing taken, when there is none left."""
        if self.spent(now) >= self._limit.intensity:
            return False
        self._spent_at.append(now)
        return True

    def spent(self, now: float) -> int:
        """Restarts that still count at `now`."""
        while self._spent_at and now - self._spent_at[0] > self._limit.period_s:
            self._spent_at.popleft()
        return len(self._spent_at)
