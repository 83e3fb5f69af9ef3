"""The core's ledger in a process of its own: the real actor on the ledger lane, the real store, reader and outbox.

`run` lets one partition's actor work through its stream, in one of the ways compared: as it is, without hashes, or with
one message a transaction.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any

from actors.ledger import actor, commit
from actors.ledger.actor import LedgerActor, Ports
from bench import depot
from bench.process import serve, settings_of_this_process
from bfactors.effect import Effect
from bfactors.errors import NotOwner
from bfactors.identity import PARTITIONS
from bfactors.ledger_fold import Fold
from bfactors.ledger_row import Batch, Lease
from deploy.embedded.nats_rights import inbox_prefix
from deploy.role.lane_store import LaneStore
from deploy.role.runtime import Runtime
from gateways.metrics import PrometheusMetrics
from gateways.nats.command_door import NatsCommandDoor
from gateways.nats.evidence_log import NatsEvidenceLog
from gateways.nats.evidence_reader import NatsEvidenceReader, Positioned
from gateways.nats.gateway import NatsGateway
from gateways.nats.layout import NatsLayout
from gateways.nats.outbox import NatsOutbox
from gateways.nats.settings import NatsSettings
from persistence.ledger_store import PostgresLedgerStore
from persistence.migration import migrate
from persistence.role import ensure_roles
from supervisors.lane import Lane

_PATIENCE_S = 60.0
_IN_FLIGHT = 256
_ASK_AGAIN_S = 0.05


@dataclass(slots=True)
class Progress:
    """What one run has committed. Written on the ledger lane, read after `reached` is set."""

    target: int
    reached: Event = field(default_factory=Event)
    began: float = 0.0
    ended: float = 0.0
    cpu_began: float = 0.0
    cpu_ended: float = 0.0
    commits: int = 0
    events: int = 0
    evidence: int = 0
    head: int = 0
    """The last event's sequence, once the target is reached."""
    published: Event = field(default_factory=Event)
    published_at: float = 0.0
    cpu_published: float = 0.0


class WatchedStore(LaneStore):
    """The store on its way over the lanes, with a clock beside its commits."""

    def __init__(
        self, store: PostgresLedgerStore, loop: asyncio.AbstractEventLoop, progress: Progress
    ) -> None:
        super().__init__(store, loop)
        self._progress = progress

    async def known_evidence(self, partition: int, ids: Any) -> set[str]:
        """The first thing a batch of evidence does."""
        progress = self._progress
        if not progress.began:
            progress.began, progress.cpu_began = time.perf_counter(), time.process_time()
        return await super().known_evidence(partition, ids)

    async def commit(self, lease: Lease, batch: Batch, duration: timedelta) -> Lease:
        new = await super().commit(lease, batch, duration)
        progress = self._progress
        if not progress.reached.is_set():
            progress.commits += 1
            progress.events += len(batch.events)
            progress.evidence += len(batch.inbox)
            if progress.evidence >= progress.target:
                progress.ended, progress.cpu_ended = time.perf_counter(), time.process_time()
                progress.head = new.sequence
                progress.reached.set()
        return new

    async def outbox_done(self, lease: Lease, sequence: int) -> None:
        await super().outbox_done(lease, sequence)
        progress = self._progress
        if progress.reached.is_set() and sequence >= progress.head and not progress.published.is_set():
            progress.published_at, progress.cpu_published = time.perf_counter(), time.process_time()
            progress.published.set()


class RationedReader(NatsEvidenceReader):
    """Hands out what a run is to work through, and then nothing more."""

    def __init__(self, nats: NatsGateway, count: int) -> None:
        super().__init__(nats.connection, nats.replies)
        self._left = count

    async def read(self, partition: int, after: int) -> AsyncGenerator[Positioned, None]:
        async with aclosing(super().read(partition, after)) as batches:  # type: ignore[type-var]  # the port says only AsyncIterator
            async for batch in batches:
                ration = batch[: self._left]
                self._left -= len(ration)
                if ration:
                    yield ration
                if not self._left:
                    await asyncio.Event().wait()


class Core:
    """Asked from the main thread; everything else happens on the lanes."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._metrics = PrometheusMetrics()
        self._runtime = Runtime.open(self._metrics)
        self._nats: NatsGateway
        self._store: PostgresLedgerStore
        self._runtime.run(self._open(settings), _PATIENCE_S)

    async def _open(self, settings: dict[str, Any]) -> None:
        await ensure_roles(settings["superuser_dsn"], settings["passwords"])
        await migrate(settings["owner_dsn"])
        self._store = await PostgresLedgerStore.open(settings["writer_dsn"])
        self._nats = NatsGateway(
            NatsSettings(
                servers=(settings["nats_url"],),
                seed_file=Path(settings["seed_file"]),
                inbox_prefix=inbox_prefix("core"),
                name="bench",
            )
        )
        await self._nats.start()
        await self._nats.connected(10.0)
        await self._nats.ensure_layout(NatsLayout())

    # ------------------------------------------------------------ before

    def prepare(self, waves: list[int]) -> dict[str, Any]:
        """Register the chargers of partition 1, 2, ... and fill its stream with so many waves of evidence."""
        for number, wanted in enumerate(waves, start=1):
            progress = Progress(0)
            with self._owned(number, progress):
                self._runtime.run(self._register(number), _PATIENCE_S)
            self._runtime.run(self._fill(number, wanted), _PATIENCE_S)
        return {"partitions": len(waves)}

    async def _register(self, partition: int) -> None:
        await asyncio.gather(
            *(self._register_one(partition, charger_id) for charger_id in depot.chargers_of(partition))
        )

    async def _register_one(self, partition: int, charger_id: str) -> None:
        door = NatsCommandDoor(self._nats.connection, self._nats.replies)
        while True:
            with suppress(NotOwner):  # not yet
                answer = await door.request(partition, depot.registration(charger_id))
                assert answer.refusal is None
                if not answer.retry:
                    return
            await asyncio.sleep(_ASK_AGAIN_S)

    async def _fill(self, partition: int, waves: int) -> None:
        log = NatsEvidenceLog(self._nats.publisher, "bench")
        evidence = depot.evidence_of(partition, waves)
        while some := list(islice(evidence, _IN_FLIGHT)):
            await asyncio.gather(*(log.append(each, partition) for each in some))

    # ------------------------------------------------------------ the run

    def run(
        self, partition: int, count: int, batch_limit: int, keeps_hash: bool, awaits_outbox: bool
    ) -> dict[str, Any]:
        """Work through `count` pieces of evidence: what it took from the first batch to the last commit, and until
        the last event was published, if that is waited for.
        """
        progress = Progress(count)
        with _changed(batch_limit, keeps_hash), self._owned(partition, progress):
            if not progress.reached.wait(_PATIENCE_S):
                raise TimeoutError(f"{progress.evidence} of {count} in {_PATIENCE_S:.0f} s")
            if awaits_outbox:
                progress.published.wait(_PATIENCE_S)
        return {
            "seconds": progress.ended - progress.began,
            "cpu_s": progress.cpu_ended - progress.cpu_began,
            "events": progress.events,
            "evidence": progress.evidence,
            "commits": progress.commits,
            "published_seconds": progress.published_at - progress.began,
            "published_cpu_s": progress.cpu_published - progress.cpu_began,
        }

    @contextmanager
    def _owned(self, partition: int, progress: Progress) -> Iterator[None]:
        gone = Event()

        def make(lane: Lane) -> LedgerActor:
            return _Watched(partition, self._ports(progress, lane), gone)

        supervisor = self._runtime.tree.ledger()
        supervisor.start_child(f"ledger-{partition:02d}", make)
        try:
            yield
        finally:
            supervisor.stop_child(f"ledger-{partition:02d}")
            gone.wait(_PATIENCE_S)

    def _ports(self, progress: Progress, lane: Lane) -> Ports:
        nats = self._nats
        return Ports(
            store=WatchedStore(self._store, self._runtime.io.loop, progress),
            reader=RationedReader(nats, progress.target),
            commands=NatsCommandDoor(nats.connection, nats.replies),
            outbox=NatsOutbox(nats.connection, nats.replies, nats.publisher),
            evidence_log=NatsEvidenceLog(nats.publisher, "bench"),
            effects=_no_effects,
            clock=self._runtime.clock,
            metrics=self._metrics,
            ocpp_url=lambda: "wss://localhost/ocpp",
            is_current=lane.is_current,
        )

    async def close(self) -> None:
        await self._runtime.tree.stop(3.0)
        await self._nats.close(1.0)
        await self._store.close()


class _Watched(LedgerActor):
    """Says when it has given its partition back."""

    __slots__ = ("_gone",)

    def __init__(self, partition: int, ports: Ports, gone: Event) -> None:
        super().__init__(partition, "bench", ports)
        self._gone = gone

    async def stop(self) -> None:
        await super().stop()
        self._gone.set()


def _no_effects(effect_id: str, effect: Effect | None) -> None:
    pass


@contextmanager
def _changed(batch_limit: int, keeps_hash: bool) -> Iterator[None]:
    """The same code with other numbers."""
    limit = actor.BATCH_LIMIT
    actor.BATCH_LIMIT = batch_limit or limit
    setattr(commit, "Fold", partial(Fold, keep_hash=keeps_hash))  # noqa: B010 - it is not that module's to export
    try:
        yield
    finally:
        actor.BATCH_LIMIT = limit
        setattr(commit, "Fold", Fold)  # noqa: B010


def main() -> None:
    core = Core(settings_of_this_process())
    serve({"prepare": core.prepare, "run": core.run}, partitions=PARTITIONS - 1)
    core._runtime.run(core.close(), 8.0)
    os._exit(0)


if __name__ == "__main__":
    main()
