"""Staying below a CA's quota: so many calls a second, with some kept back for what cannot wait."""

import asyncio
from collections.abc import Awaitable, Callable


class TokenBucket:
    """Tokens over time; pure, the caller brings the time (seconds of any monotonic clock).

    `burst` calls may leave at once. Routine callers leave `kept_back` tokens untouched, emergencies take them too.
    """

    __slots__ = ("_filled_at_s", "_kept_back", "_tokens", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float, *, burst: float, kept_back: float = 0.0) -> None:
        if rate_per_s <= 0 or burst < 1 or kept_back < 0 or burst - kept_back < 1:
            raise ValueError("a bucket needs a rate, and room for one routine token above what is kept back")
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._kept_back = kept_back
        self._tokens = burst
        self._filled_at_s: float | None = None

    def try_take(self, now_s: float, *, emergency: bool = False) -> float:
        """Take a token and return 0.0, or take none and return the seconds until there may be one."""
        if self._filled_at_s is not None:
            gained = max(0.0, now_s - self._filled_at_s) * self.rate_per_s
            self._tokens = min(self.burst, self._tokens + gained)
        self._filled_at_s = now_s
        needed = 1.0 if emergency else 1.0 + self._kept_back
        if self._tokens < needed - 1e-9:  # a sum of fractions may fall short of the whole by a rounding
            return (needed - self._tokens) / self.rate_per_s
        self._tokens -= 1.0
        return 0.0


class Turnstile:
    """A bucket with two queues before it; emergencies stand in their own. One loop only."""

    __slots__ = ("_bucket", "_emergency", "_monotonic", "_routine", "_sleep")

    def __init__(
        self,
        bucket: TokenBucket,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._bucket = bucket
        self._monotonic = monotonic
        self._sleep = sleep
        self._routine = asyncio.Lock()
        self._emergency = asyncio.Lock()

    async def enter(self, *, emergency: bool = False) -> None:
        """Returns when a call may leave; first come, first served within a queue."""
        async with self._emergency if emergency else self._routine:
            while wait_s := self._bucket.try_take(self._monotonic(), emergency=emergency):
                await self._sleep(wait_s)
