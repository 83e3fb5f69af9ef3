"""Whose turn it is to look at chargers because something changed for everybody: one partition of a lane at a time.

All partitions of a node share one loop and one database. Each by itself is quick; all at once they would be in each other's
way, and in that of the evidence that comes meanwhile.
"""

import asyncio
from collections.abc import Callable
from weakref import WeakKeyDictionary


class LookTurn:
    """Of one loop, and used on it only."""

    __slots__ = ("_holder", "_waiting", "page")

    def __init__(self) -> None:
        self.page = asyncio.Lock()
        """Held while a page of chargers is read and taken in."""
        self._holder: object | None = None
        self._waiting: dict[object, Callable[[], None]] = {}

    def take(self, who: object, is_free: Callable[[], None]) -> bool:
        """Whether `who` may look now. If not, `is_free` is called when it may ask again; first come, first served."""
        if self._holder is not None and self._holder is not who:
            self._waiting.setdefault(who, is_free)
            return False
        self._holder = who
        self._waiting.pop(who, None)
        return True

    def leave(self, who: object) -> None:
        """`who` has looked, or is gone; no effect on others' turns."""
        self._waiting.pop(who, None)
        if self._holder is not who:
            return
        self._holder = None
        if self._waiting:
            first = next(iter(self._waiting))
            self._holder = first  # nobody gets in between
            self._waiting.pop(first)()


_OF: "WeakKeyDictionary[asyncio.AbstractEventLoop, LookTurn]" = WeakKeyDictionary()


def of_loop(loop: asyncio.AbstractEventLoop) -> LookTurn:
    """The one of that loop: an abandoned lane takes its own with it."""
    found = _OF.get(loop)
    if found is None:
        found = _OF[loop] = LookTurn()
    return found
