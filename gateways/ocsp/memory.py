"""What was fetched lately: each thing once however many ask, kept until its date, within so many bytes."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Kept(Generic[V]):
    """A value, how much room it takes and until when it may be handed out."""

    value: V
    size_bytes: int
    until: datetime


class Memory(Generic[K, V]):
    """Least recently used goes first; what failed is not kept. One loop."""

    def __init__(self, now: Callable[[], datetime], *, entries: int, total_bytes: int) -> None:
        self._now = now
        self._entries = entries
        self._total_bytes = total_bytes
        self._size_bytes = 0
        self._kept: OrderedDict[K, Kept[V]] = OrderedDict()
        self._under_way: dict[K, asyncio.Task[Kept[V]]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: K) -> bool:
        """Whether `get` needs to wait for nobody."""
        kept = self._kept.get(key)
        return kept is not None and kept.until > self._now()

    async def get(self, key: K, make: Callable[[], Awaitable[Kept[V]]]) -> V:
        """The value kept, or made for all who ask meanwhile; whoever stops waiting does not stop the making."""
        kept = self._kept.get(key)
        if kept is not None and kept.until > self._now():
            self._kept.move_to_end(key)
            return kept.value
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._make(key, make))
            self._under_way[key] = task
            task.add_done_callback(_seen)
        return (await asyncio.shield(task)).value

    async def close(self) -> None:
        """Make nothing more."""
        under_way = list(self._under_way.values())
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way)

    async def _make(self, key: K, make: Callable[[], Awaitable[Kept[V]]]) -> Kept[V]:
        try:
            kept = await make()
        finally:
            self._under_way.pop(key, None)
        self._forget(key)
        if kept.until > self._now() and kept.size_bytes <= self._total_bytes:
            self._kept[key] = kept
            self._size_bytes += kept.size_bytes
            while len(self._kept) > self._entries or self._size_bytes > self._total_bytes:
                self._forget(next(iter(self._kept)))
        return kept

    def _forget(self, key: K) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._size_bytes -= gone.size_bytes


def _seen(task: asyncio.Task[Kept[V]]) -> None:
    if not task.cancelled():
        task.exception()  # nobody may be waiting any more
