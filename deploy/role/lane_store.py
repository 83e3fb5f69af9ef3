"""The ledger store as the ledger's lane sees it: its connections live on the I/O lane, every call goes over and back."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from bfactors.charger.former import Former
from bfactors.ledger_row import AggregateRow, Batch, EffectRow, EventRow, Lease
from bfactors.ports import LedgerStore
from gateways.nats.lanes import run_on

T = TypeVar("T")
PEER = "PostgreSQL"


class LaneStore:
    """`LedgerStore` callable from any lane."""

    def __init__(self, store: LedgerStore, io_loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._io_loop = io_loop

    async def _over(self, work: Coroutine[Any, Any, T]) -> T:
        return await run_on(self._io_loop, work, PEER)

    async def claim(self, partition: int, owner: str, lease: timedelta) -> Lease | None:
        return await self._over(self._store.claim(partition, owner, lease))

    async def renew(self, lease: Lease, duration: timedelta) -> None:
        await self._over(self._store.renew(lease, duration))

    async def release(self, lease: Lease) -> None:
        await self._over(self._store.release(lease))

    async def load(self, partition: int, keys: Sequence[str]) -> Mapping[str, AggregateRow]:
        return await self._over(self._store.load(partition, keys))

    async def aggregates_after(self, partition: int, key: str, limit: int) -> Sequence[AggregateRow]:
        return await self._over(self._store.aggregates_after(partition, key, limit))

    async def chargers_on(self, partition: int, incarnation: str) -> Sequence[str]:
        return await self._over(self._store.chargers_on(partition, incarnation))

    async def known_evidence(self, partition: int, ids: Sequence[str]) -> set[str]:
        return await self._over(self._store.known_evidence(partition, ids))

    async def idempotent_answer(self, key: str) -> tuple[str, bytes] | None:
        return await self._over(self._store.idempotent_answer(key))

    async def key_owner(self, spki_sha256: Sequence[str]) -> Mapping[str, str]:
        return await self._over(self._store.key_owner(spki_sha256))

    async def former_certificates(
        self, partition: int, charger_ids: Sequence[str], now: datetime
    ) -> Sequence[Former]:
        return await self._over(self._store.former_certificates(partition, charger_ids, now))

    async def certificate_docs(self, partition: int, certificate_ids: Sequence[str]) -> Mapping[str, bytes]:
        return await self._over(self._store.certificate_docs(partition, certificate_ids))

    async def serial_owner(self, serial_number: str) -> str | None:
        return await self._over(self._store.serial_owner(serial_number))

    async def identity_holders(self, external_ids: Sequence[str]) -> Mapping[str, str]:
        return await self._over(self._store.identity_holders(external_ids))

    async def outstanding_effects(self, partition: int) -> Sequence[EffectRow]:
        return await self._over(self._store.outstanding_effects(partition))

    async def due(self, partition: int, limit: int) -> Sequence[tuple[str, datetime]]:
        return await self._over(self._store.due(partition, limit))

    async def commit(self, lease: Lease, batch: Batch, duration: timedelta) -> Lease:
        return await self._over(self._store.commit(lease, batch, duration))

    async def events_after(self, partition: int, sequence: int, limit: int) -> Sequence[EventRow]:
        return await self._over(self._store.events_after(partition, sequence, limit))

    async def outbox_done(self, lease: Lease, sequence: int) -> None:
        await self._over(self._store.outbox_done(lease, sequence))
