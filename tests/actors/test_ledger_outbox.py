"""How far a partition's events were published: written down with the next commit, or soon without one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest

from actors.ledger import outgoing_event
from actors.ledger.outgoing_event import EventPublisher
from bfactors.ledger_row import Lease
from tests.actors.charger_world import ManualTime
from tests.fakes.ledger_row import batch
from tests.fakes.ledger_store import FakeLedgerStore
from tests.fakes.nats import InMemoryEvidenceLog, InMemoryNats, InMemoryOutbox
from tests.patience import PATIENCE_S

LEASE = timedelta(minutes=5)
NEVER_S = 1e6


class Store(FakeLedgerStore):
    """Counts what is written down without a commit."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[int] = []
        self.noted = asyncio.Event()
        self.tried = asyncio.Event()

    async def outbox_done(self, lease: Lease, sequence: int) -> None:
        self.tried.set()
        await super().outbox_done(lease, sequence)
        self.notes.append(sequence)
        self.noted.set()


class Outbox(InMemoryOutbox):
    """Says when something was published."""

    def __init__(self, nats: InMemoryNats) -> None:
        super().__init__(nats)
        self.published = asyncio.Event()

    async def publish_events(self, rows: object) -> None:
        await super().publish_events(rows)  # type: ignore[arg-type]
        self.published.set()


class World:
    def __init__(self, store: Store, lease: Lease) -> None:
        self.store = store
        self.lease = lease
        nats = InMemoryNats()
        self.outbox = Outbox(nats)
        self.publisher = EventPublisher(store, self.outbox, InMemoryEvidenceLog(nats), ManualTime(), lease)

    async def commit(self, count: int) -> None:
        """As the actor does it."""
        carried = self.publisher.carried_by(self.lease)
        written = batch(carried, count)
        self.lease = await self.store.commit(carried, written, LEASE)
        self.publisher.committed(written.events, self.lease)

    async def published(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.outbox.published.wait()
        self.outbox.published.clear()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@asynccontextmanager
async def running() -> AsyncIterator[World]:
    store = Store()
    lease = await store.claim(3, "a", LEASE)
    assert lease is not None
    world = World(store, lease)
    task = asyncio.create_task(world.publisher.run())
    try:
        yield world
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_the_next_commit_writes_down_how_far_events_were_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outgoing_event, "NOTED_WITHIN_S", NEVER_S)
    async with running() as world:
        await world.commit(3)
        assert world.lease.outbox_position == 0
        await world.published()
        await world.commit(2)
        assert world.lease.outbox_position == 3
        await world.published()
        assert world.publisher.carried_by(world.lease).outbox_position == 5
        assert world.store.notes == []


async def test_without_a_further_commit_it_is_written_down_soon_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outgoing_event, "NOTED_WITHIN_S", 0.001)
    async with running() as world:
        await world.commit(3)
        async with asyncio.timeout(PATIENCE_S):
            await world.store.noted.wait()
            world.store.noted.clear()
            await world.commit(1)
            await world.store.noted.wait()
        assert world.store.notes == [3, 4]


async def test_what_could_not_be_written_down_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing_event, "NOTED_WITHIN_S", 0.001)
    monkeypatch.setattr(outgoing_event, "RETRY_S", 0.001)
    async with running() as world:
        await world.commit(3)
        world.store.unavailable = True
        async with asyncio.timeout(PATIENCE_S):
            await world.store.tried.wait()
            world.store.unavailable = False
            await world.store.noted.wait()
        assert world.store.notes == [3]
