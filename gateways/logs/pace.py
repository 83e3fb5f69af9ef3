"""How slow an upload may be, counted only while we wait for the charger: a slow store is not its fault."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Limits of one upload. The rate counts once `grace_s` has been waited; cellular modems are slow, not silent."""

    minimum_bytes_per_s: float = 256.0
    grace_s: float = 60.0
    silence_s: float = 60.0
    total_s: float = 3600.0
    head_s: float = 20.0
    """From the open connection to the end of the request's head."""


@dataclass(slots=True)
class Progress:
    """What one upload has done so far; times are the clock's monotonic seconds."""

    pace: Pace
    begun_at: float
    waited_s: float = 0.0
    received_bytes: int = 0
    waiting_since: float | None = None

    def waits(self, now: float) -> None:
        """We turn to the charger for more."""
        self.waiting_since = now

    def received(self, count: int, now: float) -> None:
        """The charger gave `count` bytes."""
        self.waited_s += self._silence(now)
        self.waiting_since = None
        self.received_bytes += count

    def is_too_slow(self, now: float) -> bool:
        """Whether any limit of the pace is broken by now."""
        waited = self.waited_s + self._silence(now)
        return (
            self._silence(now) >= self.pace.silence_s
            or now - self.begun_at >= self.pace.total_s
            or (waited >= self.pace.grace_s and self.received_bytes < self.pace.minimum_bytes_per_s * waited)
        )

    def _silence(self, now: float) -> float:
        return 0.0 if self.waiting_since is None else now - self.waiting_since
