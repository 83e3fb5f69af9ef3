"""The deadlines of one partition: the earliest of each charger, and which of them have passed."""

import heapq
from datetime import datetime

_FEW = 1_000


class Timers:
    """A heap that forgets: a deadline that was moved stays in it until it comes up or the heap is mostly such."""

    __slots__ = ("_due", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, str]] = []
        self._due: dict[str, datetime] = {}

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: str, due_at: datetime | None) -> None:
        """The earliest deadline of `key` from now on; None: it has none."""
        if due_at is None:
            self._due.pop(key, None)
        elif self._due.get(key) != due_at:
            self._due[key] = due_at
            heapq.heappush(self._heap, (due_at, key))
            if len(self._heap) > 4 * len(self._due) + _FEW:
                self._heap = [(at, name) for name, at in self._due.items()]
                heapq.heapify(self._heap)

    def passed(self, now: datetime) -> list[tuple[str, datetime]]:
        """Take out every deadline that is not after `now`, soonest first."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            due_at, key = heapq.heappop(self._heap)
            if self._due.get(key) == due_at:
                del self._due[key]
                found.append((key, due_at))
        return found
