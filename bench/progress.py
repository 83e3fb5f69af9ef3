"""What one run of the ledger has done, watched at its ports: from the first evidence handed out to the last event published."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event

from bfactors.ledger_row import Batch, EventRow, Lease
from deploy.role.lane_store import LaneStore
from gateways.nats.evidence_reader import NatsEvidenceReader, Positioned
from gateways.nats.gateway import NatsGateway
from gateways.nats.outbox import NatsOutbox
from persistence.ledger_store import PostgresLedgerStore


@dataclass(frozen=True, slots=True)
class Moment:
    """Wall clock and CPU of this process, in seconds from anywhere."""

    at_s: float = field(default_factory=time.perf_counter)
    cpu_s: float = field(default_factory=time.process_time)


@dataclass(slots=True)
class Progress:
    """Written on the ledger lane; what an event announces is read after it is set."""

    target: int
    """Pieces of evidence to work through."""
    evidence: int = 0
    commits: int = 0
    events: int = 0
    head: int = 0
    """The sequence of the last event, once all is committed."""
    sent: int = 0
    began: Moment | None = None
    ended: Moment | None = None
    published_at: Moment | None = None
    reached: Event = field(default_factory=Event)
    published: Event = field(default_factory=Event)

    def handed_out(self) -> None:
        if self.began is None:
            self.began = Moment()

    def committed(self, batch: Batch, lease: Lease) -> None:
        if self.reached.is_set() or self.began is None:
            return  # commands, before the run; or what the clock rang for, after it
        self.commits += 1
        self.events += len(batch.events)
        self.evidence += len(batch.inbox)
        if self.evidence >= self.target:
            self.ended, self.head = Moment(), lease.sequence
            self.reached.set()
            self.note_published(self.sent)

    def note_published(self, sequence: int) -> None:
        self.sent = max(self.sent, sequence)
        if self.reached.is_set() and self.sent >= self.head and self.published_at is None:
            self.published_at = Moment()
            self.published.set()


class RationedReader(NatsEvidenceReader):
    """Hands out what a run is to work through, and then nothing more."""

    def __init__(self, nats: NatsGateway, progress: Progress) -> None:
        super().__init__(nats.connection, nats.replies)
        self._progress = progress
        self._left = progress.target

    async def read(self, partition: int, after: int) -> AsyncGenerator[Positioned, None]:
        async with aclosing(super().read(partition, after)) as batches:  # type: ignore[type-var]  # the port says less
            async for batch in batches:
                ration = batch[: self._left]
                self._left -= len(ration)
                if ration:
                    self._progress.handed_out()
                    yield ration
                if not self._left:
                    await asyncio.Event().wait()


class WatchedStore(LaneStore):
    """The store on its way over the lanes."""

    def __init__(
        self, store: PostgresLedgerStore, loop: asyncio.AbstractEventLoop, progress: Progress
    ) -> None:
        super().__init__(store, loop)
        self._progress = progress

    async def commit(self, lease: Lease, batch: Batch, duration: timedelta) -> Lease:
        new = await super().commit(lease, batch, duration)
        self._progress.committed(batch, new)
        return new


class WatchedOutbox(NatsOutbox):
    """The outbox, heard after every acknowledgement."""

    def __init__(self, nats: NatsGateway, progress: Progress) -> None:
        super().__init__(nats.connection, nats.replies, nats.publisher)
        self._progress = progress

    async def publish_events(self, rows: Sequence[EventRow]) -> None:
        await super().publish_events(rows)
        self._progress.note_published(rows[-1].sequence)
