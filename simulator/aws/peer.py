"""Starting and stopping one AWS peer inside the running event loop."""

import fcntl
import os
import socket
import sqlite3
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from aiohttp import web

from simulator.aws.audit_report import AuditReports
from simulator.aws.clock import PeerClock
from simulator.aws.config import PeerConfig
from simulator.aws.control import Control
from simulator.aws.endpoint import Endpoint
from simulator.aws.fault import FaultPlan
from simulator.aws.hierarchy import RealmArns, open_hierarchy
from simulator.aws.issuing import Issuing
from simulator.aws.journal import Journal
from simulator.aws.publishing import Publishing
from simulator.aws.registry import AuthorityRegistry
from simulator.aws.responder import Responder
from simulator.aws.revocation import Revocation
from simulator.aws.session import SessionBook
from simulator.aws.store import connect
from simulator.aws.throttle import Throttle

_BODY_LIMIT = 1024 * 1024


class StateDirectoryBusyError(RuntimeError):
    """Another peer holds the state directory."""


@dataclass(frozen=True)
class RunningPeer:
    """A peer that answers at `url`; `arns` maps each realm to its two authorities."""

    url: str
    arns: dict[str, RealmArns]
    clock: PeerClock
    faults: FaultPlan
    journal: Journal
    control: Control
    _runner: web.AppRunner
    _reports: AuditReports
    _store: sqlite3.Connection
    _lock: int

    async def settle(self) -> None:
        """Wait until no report is being written, which takes a disk its own time whatever the clock says."""
        await self._reports.settle()

    async def close(self) -> None:
        """Stop answering, finish reports under way, release the state directory."""
        await self._runner.cleanup()
        await self._reports.settle()
        self._store.close()
        os.close(self._lock)


async def serve(config: PeerConfig) -> RunningPeer:
    """Start a peer; on return it is listening. A first start makes the keys of every realm.

    Raises: StateDirectoryBusyError, OSError (the address is taken).
    """
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _lock(config.state_dir)
    listener = socket.create_server((config.host, config.port), reuse_port=False)
    url = f"http://{config.host}:{listener.getsockname()[1]}"
    store = connect(config.state_dir)
    offset = store.execute("SELECT value FROM setting WHERE name = 'clock_offset_s'").fetchone()
    if offset is not None:
        # Time seen by this directory never runs backwards, whichever of the two knows the later one.
        config.clock.offset = max(config.clock.offset, timedelta(seconds=offset["value"]))
    hierarchy = open_hierarchy(config, store, (config.public_url or url).rstrip("/"))

    registry = AuthorityRegistry(config, store, hierarchy)
    reports = AuditReports(config, store, registry)
    faults, journal = FaultPlan(), Journal(config.journal_entries)
    publishing = Publishing(config.crl_lag, config.ocsp_lag)
    control = Control(registry, faults, journal, publishing)
    endpoint = Endpoint(
        registry=registry,
        issuing=Issuing(config, store, registry),
        revocation=Revocation(config, store, registry, publishing),
        responder=Responder(config, store, publishing),
        reports=reports,
        sessions=SessionBook(config, store),
        throttle=Throttle(config.quotas_per_s, config.clock),
        faults=faults,
        journal=journal,
    )
    application = web.Application(client_max_size=_BODY_LIMIT)
    application.add_routes([*control.routes(), *endpoint.routes()])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=2)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    reports.resume()
    return RunningPeer(
        url, hierarchy.arns, config.clock, faults, journal, control, runner, reports, store, lock
    )


def _lock(state_dir: Path) -> int:
    """An open descriptor that locks the directory until it is closed or the process dies."""
    descriptor = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StateDirectoryBusyError(f"{state_dir} belongs to another running peer") from error
    return descriptor
