"""The views of KV buckets over `tests.fakes.nats.InMemoryNats`; they pass the same contract suite as the real ones."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import msgspec

from bfactors.admission import AdmissionRecord
from tests.fakes.nats import InMemoryNats


class _InMemoryBucket:
    """Follows one bucket while NATS is there."""

    def __init__(self, nats: InMemoryNats, bucket: dict[str, bytes], put: Callable[[str, bytes], None]):
        self._nats = nats
        self._bucket = bucket
        self._put = put
        self._seen: dict[str, bytes] = {}
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def wait_ready(self) -> None:
        await self._ready.wait()

    @property
    def ready(self) -> bool:
        return self._ready.is_set()

    @property
    def age_s(self) -> float:
        return self._nats.away_s if self.ready else math.inf

    async def _follow(self) -> None:
        while True:
            changed = self._nats.changed.listen()
            if not self._nats.away:
                for name, value in list(self._bucket.items()):
                    if self._seen.get(name) != value:
                        self._seen[name] = value
                        self._put(name, value)
                self._ready.set()
            await changed.wait()


class InMemoryAdmissionView(_InMemoryBucket):
    """AdmissionView."""

    def __init__(self, nats: InMemoryNats) -> None:
        super().__init__(nats, nats.admission, self._take)
        self._records: dict[str, AdmissionRecord] = {}
        self._subscribers: list[Callable[[AdmissionRecord], None]] = []

    def get(self, charger_id: str) -> AdmissionRecord | None:
        return self._records.get(charger_id)

    def subscribe(self, changed: Callable[[AdmissionRecord], None]) -> None:
        self._subscribers.append(changed)

    def _take(self, _: str, value: bytes) -> None:
        record = msgspec.json.decode(value, type=AdmissionRecord)
        known = self._records.get(record.charger_id)
        if known is None or record.revision > known.revision:
            self._records[record.charger_id] = record
            for changed in self._subscribers:
                changed(record)


class InMemoryControlView(_InMemoryBucket):
    """ControlView."""

    def __init__(self, nats: InMemoryNats) -> None:
        super().__init__(nats, nats.control, self._take)
        self._subscribers: list[Callable[[str, bytes], None]] = []

    def subscribe(self, changed: Callable[[str, bytes], None]) -> None:
        self._subscribers.append(changed)
        for key, value in self._seen.items():
            changed(key, value)

    def _take(self, key: str, value: bytes) -> None:
        for changed in self._subscribers:
            changed(key, value)
