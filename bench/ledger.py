"""The core's ledger in a process of its own: the real actor on the ledger lane, the real store, reader and outbox.

`run` lets one partition's actor work through its stream, in one of the ways compared: as it is, without hashes, or with
one message a transaction.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any

from actors.ledger import actor, commit
from actors.ledger.actor import LedgerActor, Ports
from bench import depot
from bench.process import serve, settings_of_this_process
from bench.progress import Progress, RationedReader, WatchedOutbox, WatchedStore
from bfactors.effect import Effect
from bfactors.errors import NotOwner
from bfactors.identity import PARTITIONS
from bfactors.ledger_fold import Fold
from deploy.embedded.nats_rights import inbox_prefix
from deploy.role.runtime import Runtime
from gateways.metrics import PrometheusMetrics
from gateways.nats.command_door import NatsCommandDoor
from gateways.nats.evidence_log import NatsEvidenceLog
from gateways.nats.gateway import NatsGateway
from gateways.nats.layout import NatsLayout
from gateways.nats.settings import NatsSettings
from persistence.ledger_store import PostgresLedgerStore
from persistence.migration import migrate
from persistence.role import ensure_roles
from supervisors.lane import Lane

_PATIENCE_S = 60.0
_IN_FLIGHT = 256
_ASK_AGAIN_S = 0.05


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
            if awaits_outbox and not progress.published.wait(_PATIENCE_S):
                raise TimeoutError(f"not published within {_PATIENCE_S:.0f} s")
        began, ended, published = progress.began, progress.ended, progress.published_at
        assert began is not None
        assert ended is not None
        found = {
            "seconds": ended.at_s - began.at_s,
            "cpu_s": ended.cpu_s - began.cpu_s,
            "events": progress.events,
            "evidence": progress.evidence,
            "commits": progress.commits,
        }
        if published is not None:
            found["published_seconds"] = published.at_s - began.at_s
            found["published_cpu_s"] = published.cpu_s - began.cpu_s
        return found

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
            reader=RationedReader(nats, progress),
            commands=NatsCommandDoor(nats.connection, nats.replies),
            outbox=WatchedOutbox(nats, progress),
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
