"""Our own repeats of what may be repeated at once: reads at start-up. Orders and revocations are their actor's business."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from bfactors.ca import NotReady, Transient, next_delay_s

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """A few attempts with decorrelated jitter between them; randomness and sleep are the caller's."""

    attempts: int = 4
    base_s: float = 0.2
    longest_s: float = 5.0
    uniform: Callable[[float, float], float] = random.uniform
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Raises what the last attempt raised; everything but Transient and NotReady at once."""
        delay_s = 0.0
        for _ in range(self.attempts - 1):
            try:
                return await call()
            except (Transient, NotReady) as error:
                delay_s = next_delay_s(
                    delay_s, base_s=self.base_s, longest_s=self.longest_s, uniform=self.uniform
                )
                await self.sleep(max(delay_s, error.retry_after_s or 0.0))
        return await call()
