"""Long waits that an actor's drain cuts short; what waited is taken up in its next life."""

import asyncio
from collections.abc import Awaitable, Callable

from bfactors.errors import BetterFleetError


class Interrupted(BetterFleetError):
    """The actor is draining: leave the work as it is recorded."""


class Patience:
    """Belongs to one actor and its loop."""

    __slots__ = ("_over", "_sleep")

    def __init__(self, sleep: Callable[[float], Awaitable[object]]) -> None:
        self._sleep = sleep
        self._over = asyncio.Event()

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def end(self) -> None:
        """Cut every wait short, those to come as well."""
        self._over.set()

    async def wait(self, duration_s: float) -> None:
        """Raises Interrupted."""
        if self._over.is_set():
            raise Interrupted
        sleeping = asyncio.ensure_future(self._sleep(duration_s))
        ending = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait({sleeping, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            ending.cancel()
        if not sleeping.done() or sleeping.cancelled():
            raise Interrupted
        sleeping.result()
