"""A bucket of calls in this process's memory: what holds when there is nobody to share with."""

import math

from bfactors.call_bucket import BucketSize, Grant


class TokenBucket:
    """Tokens over time; pure, the caller brings the time (seconds of any monotonic clock)."""

    __slots__ = ("_filled_at_s", "_tokens", "size")

    def __init__(self, size: BucketSize) -> None:
        self.size = size
        self._tokens = size.burst
        self._filled_at_s: float | None = None

    def take(self, now_s: float, wanted: int, kept_back: float) -> Grant:
        """Take up to `wanted` calls, leaving `kept_back`."""
        if self._filled_at_s is not None:
            gained = max(0.0, now_s - self._filled_at_s) * self.size.rate_per_s
            self._tokens = min(self.size.burst, self._tokens + gained)
        self._filled_at_s = now_s
        # a sum of fractions may fall short of the whole by a rounding
        calls = max(0, min(wanted, math.floor(self._tokens - kept_back + 1e-9)))
        self._tokens -= calls
        return Grant(calls, self._tokens)
