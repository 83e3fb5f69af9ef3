"""Where calls of one kind queue for the bucket: one queue for each urgency, and only its head asks, for all behind it."""

import asyncio
from collections.abc import Awaitable, Callable

from bfactors.urgency import Urgency

HELD_FOR_S = 0.25
"""How long calls may be in hand before they leave; then they are given up, so that they cannot pile up."""
GATHER_S = 0.2
"""Where many queue, one question to the bucket is for as many as this brings."""

Take = Callable[[int, Urgency], Awaitable[tuple[int, float]]]
"""(how many are wanted, in what hurry) -> how many may leave, and if none, in how many seconds one may."""


class Turnstile:
    """Of one operation in one account and region. Asks for `at_once` calls at most. One loop only."""

    __slots__ = ("_at_once", "_hands", "_locks", "_monotonic", "_sleep", "_take", "_waiting")

    def __init__(
        self,
        take: Take,
        at_once: int,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._take = take
        self._at_once = at_once
        self._monotonic = monotonic
        self._sleep = sleep
        self._locks = {urgency: asyncio.Lock() for urgency in Urgency}
        self._waiting = dict.fromkeys(Urgency, 0)
        self._hands: dict[Urgency, tuple[int, float]] = {}

    async def enter(self, urgency: Urgency) -> None:
        """Returns when a call may leave; first come, first served within an urgency."""
        self._waiting[urgency] += 1
        try:
            async with self._locks[urgency]:
                while not self._from_hand(urgency):
                    await self._ask(urgency)
        finally:
            self._waiting[urgency] -= 1

    async def wait_s(self, urgency: Urgency) -> float:
        """In how many seconds a call in that hurry may find one in the bucket; none is taken."""
        _, wait_s = await self._take(0, urgency)
        return wait_s

    def _from_hand(self, urgency: Urgency) -> bool:
        calls, until_s = self._hands.pop(urgency, (0, 0.0))
        if not calls or self._monotonic() > until_s:
            return False
        if calls > 1:
            self._hands[urgency] = (calls - 1, until_s)
        return True

    async def _ask(self, urgency: Urgency) -> None:
        wanted = min(self._waiting[urgency], self._at_once)
        calls, wait_s = await self._take(wanted, urgency)
        if calls:
            self._hands[urgency] = (calls, self._monotonic() + HELD_FOR_S)
            return
        # Never no time at all: the bucket may be filled by a clock that is not ours.
        least_s = GATHER_S if wanted > 1 and urgency is not Urgency.INCIDENT else 0.01
        await self._sleep(max(least_s, wait_s))
