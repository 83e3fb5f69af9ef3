"""What every role of a process shares: the I/O lane, the supervision tree, the clock, metrics, NATS."""

import asyncio
import gc
import logging
import os
import ssl
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bfactors.errors import SettingsError
from bfactors.ports import Metrics
from deploy.embedded import nats_rights
from deploy.role.clock import SystemClock
from gateways.nats.gateway import NatsGateway
from gateways.nats.settings import NatsSettings
from supervisors.lane import Lane
from supervisors.status import SupervisorStatus
from supervisors.tree import Tree

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
EXIT_BUDGET_S = 10.0
YOUNG_OBJECTS = 100_000


@dataclass(slots=True)
class Runtime:
    """One process's machinery; `io` is the lane of sockets, NATS and Postgres."""

    io: Lane
    tree: Tree
    clock: SystemClock
    metrics: Metrics

    @classmethod
    def open(cls, metrics: Metrics) -> "Runtime":
        """Start the I/O lane and the tree. Children processes must have been spawned before."""
        calm_collector()
        io = Lane.open("io")
        tree = Tree(exit_process=exit_now, io_lane=io, publish=RestartCount(metrics).published)
        return cls(io, tree, SystemClock(), metrics)

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run something on the I/O lane and wait for it; from the main thread."""
        future: Future[T] = self.io.run(work)
        return future.result(timeout_s)

    def close(self) -> None:
        """End the I/O lane, last of all."""
        self.io.close()
        self.io.join(1.0)


class RestartCount:
    """Counts supervisors' restarts from their statuses; called on supervisors' threads, each name on one."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._known: dict[tuple[str, str], int] = {}

    def published(self, status: SupervisorStatus) -> None:
        """Count what is new since this supervisor's last word."""
        key = (status.kind, status.name)
        more = status.restarts - self._known.get(key, 0)
        self._known[key] = status.restarts
        if more > 0:
            self._metrics.count("bf_supervisor_restarts_total", more, kind=status.kind)


def calm_collector() -> None:
    """Let the cycle collector look less often, and never again at what was imported.

    Nearly everything here dies by its reference count; at the interpreter's own thresholds the collector took 16 % of the
    CPU of an enrolment, going through the same long-lived objects again and again. Of chargers that reconnect by the thousand
    each leaves some 200 objects in flight for a moment: with 10,000 young ones between two looks it took 5 % of that CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)


def exit_now(reason: str) -> None:
    """The last resort of the supervision tree: the platform starts the process again."""
    _LOG.critical("the process gives up: %s", reason)
    logging.shutdown()
    os._exit(70)


async def open_nats(url: str, seed_file: Path, role: str, name: str, ca_file: Path) -> NatsGateway:
    """Begin to connect as a role; NATS may be away. Raises SettingsError."""
    gateway = NatsGateway(
        NatsSettings(
            servers=(url,),
            seed_file=seed_file,
            inbox_prefix=nats_rights.inbox_prefix(role),
            name=name,
            tls=_tls(ca_file),
        )
    )
    await gateway.start()
    return gateway


def _tls(ca_file: Path) -> ssl.SSLContext | None:
    if ca_file == Path():
        return None
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as problem:
        raise SettingsError(f"nats_ca_file {ca_file} cannot be used: {problem}") from problem


async def cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel and wait."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
