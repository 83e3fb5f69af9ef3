"""The system as it runs in a depot's data centre, each part a process of its own that a test may kill and start again.

PostgreSQL, NATS and the AWS peer are children as embedded ones are; `core` and `connect` are `run.py`'s own commands against
their addresses. All of them are stopped by their ids when the plant closes, and end with pytest should that be killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from deploy.embedded import DataDirectory, EmbeddedNats, EmbeddedPostgres
from deploy.embedded.aws import EmbeddedAws
from deploy.embedded.child import ChildCommand, ChildProcess
from deploy.embedded.port import lasting_port
from deploy.role.clock import SystemClock
from deploy.role.custody import SealingKeyFile, make_pseudonym_keys, write_private
from deploy.role.server_identity import ServerNames, obtain
from gateways.ca.aws_private_ca import AwsPrivateCa
from gateways.ca.aws_session import AwsSettings
from gateways.ca.call_limits import CallLimits
from gateways.ca.discovery import discover
from gateways.ca.retry import RetryPolicy
from gateways.metrics import PrometheusMetrics
from gateways.ocpp.tls import ServerIdentity
from persistence.role import ROLES, ensure_roles
from tests.patience import PATIENCE_S

RUN = Path(__file__).parents[2] / "run.py"
READY_WITHIN = timedelta(seconds=PATIENCE_S)
ENDS_WITHIN = timedelta(seconds=12)


class Role:
    """One `run.py core` or `run.py connect`, under the same name and ports in every life."""

    def __init__(
        self, data: DataDirectory, command: str, node: str, arguments: tuple[str, ...], env: dict[str, str]
    ) -> None:
        self._data = data
        self._command = command
        self.node = node
        self._arguments = arguments
        self._environment = env
        self._lives = 0
        self._child: ChildProcess | None = None

    def start(self) -> None:
        """Spawn it; `ready` waits. Main thread."""
        self._lives += 1
        name = f"{self.node}-{self._lives}"
        self._child = ChildProcess.spawn(
            ChildCommand(
                name=name,
                arguments=(sys.executable, str(RUN), self._command, "--node", self.node, *self._arguments),
                environment=self._environment,
                log_file=self._data.log_file(name),
                pid_file=self._data.pid_file(name),
                stop_signal=signal.SIGTERM,
            )
        )

    async def ready(self) -> None:
        """It said so on its standard output."""
        await until(lambda: self.said_ready or not self.is_alive, f"{self.node} is ready", READY_WITHIN)
        assert self.said_ready, f"{self.node} ended: {self.log[-2000:]}"

    @property
    def said_ready(self) -> bool:
        return '{"event":"ready"' in self.log

    @property
    def log(self) -> str:
        """Everything this life wrote."""
        return self._data.log_file(f"{self.node}-{self._lives}").read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        return self._child is not None and self._child.is_alive

    def kill(self) -> None:
        """kill -9, and gone when this returns."""
        assert self._child is not None
        self._child.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def stop(self) -> None:
        if self._child is not None and self._child.is_alive:
            os.kill(self._child.pid, signal.SIGCONT)
            self._child.stop(ENDS_WITHIN)


@dataclass(slots=True)
class Plant:
    """Every part under one data directory. Made and closed in the main thread."""

    data: DataDirectory
    postgres: EmbeddedPostgres
    nats: EmbeddedNats
    aws: EmbeddedAws
    core: Role
    connect: Role
    ocpp_url: str
    admin_url: str
    connect_health_url: str
    core_environment: dict[str, str]
    connect_environment: dict[str, str]
    spare: list[Role] = field(default_factory=list)

    @property
    def token(self) -> str:
        """The admin token made at first start."""
        return (self.data.folder("core") / "secrets" / "admin.token").read_text(encoding="ascii").strip()

    async def ready(self) -> None:
        await self.core.ready()
        await self.connect.ready()

    def another_core(self, node: str) -> tuple[Role, str]:
        """A second core against the same servers, and its admin address."""
        port = lasting_port()
        arguments = ("--admin-port", str(port), "--data-dir", str(self.data.folder("core")))
        role = Role(self.data, "core", node, arguments, self.core_environment)
        self.spare.append(role)
        return role, f"http://127.0.0.1:{port}"

    def another_connect(self, node: str) -> tuple[Role, str]:
        """A second connect node against the same NATS, and its charger port."""
        port = lasting_port()
        arguments = ("--ocpp-port", str(port), "--health-port", str(lasting_port()))
        data_dir = ("--data-dir", str(self.data.folder("connect")))
        role = Role(self.data, "connect", node, (*arguments, *data_dir), self.connect_environment)
        self.spare.append(role)
        return role, f"wss://localhost:{port}/ocpp"

    def restart_aws(self) -> None:
        """The peer again on its old port, with everything it had issued."""
        self.aws.stop()
        self.aws = EmbeddedAws.start(self.data)

    def mend(self) -> None:
        """Start again whatever a test left dead."""
        for server in (self.postgres, self.nats):
            if not server.is_alive:
                server.restart()
        if not is_process(self.aws.pid):
            self.restart_aws()
        for role in self.spare:
            role.stop()
        self.spare.clear()
        for role in (self.core, self.connect):
            if not role.is_alive:
                role.start()

    def close(self) -> None:
        for role in (*self.spare, self.connect, self.core):
            role.stop()
        self.aws.stop()
        self.nats.stop()
        self.postgres.stop()


def build(data: DataDirectory) -> Plant:
    """Start the servers and both roles; the roles are perhaps not ready yet. Nothing is left running if it fails."""
    postgres = EmbeddedPostgres.start(data)
    nats = aws = None
    try:
        nats = EmbeddedNats.start(data)
        aws = EmbeddedAws.start(data)
        return _roles(data, postgres, nats, aws)
    except BaseException:
        for server in (aws, nats, postgres):
            if server is not None:
                server.stop()
        raise


def _roles(data: DataDirectory, postgres: EmbeddedPostgres, nats: EmbeddedNats, aws: EmbeddedAws) -> Plant:
    asyncio.run(ensure_roles(postgres.dsn(), {role: postgres.password(role) for role in ROLES}))
    identities = asyncio.run(_server_identities(data, aws))
    pepper = data.folder("secrets") / "pepper"
    if not pepper.exists():
        write_private(pepper, os.urandom(32).hex().encode())
    sealing_key = data.folder("secrets") / "sealing.key"
    SealingKeyFile.make(sealing_key)
    pseudonym_key = data.folder("secrets") / "pseudonym.key"
    make_pseudonym_keys(pseudonym_key)
    ocpp_port, admin_port, health_port = lasting_port(), lasting_port(), lasting_port()
    ocpp_url = f"wss://localhost:{ocpp_port}/ocpp"
    both = {
        "PATH": os.environ.get("PATH", ""),
        "LC_ALL": "C",
        "TZ": "UTC",
        "BF_NATS_URL": nats.url,
        "BF_PEPPER_FILE": str(pepper),
    }
    core_environment = both | {
        "BF_POSTGRES_OWNER_DSN": postgres.dsn("bf_owner"),
        "BF_POSTGRES_WRITER_DSN": postgres.dsn("bf_writer"),
        "BF_POSTGRES_READER_DSN": postgres.dsn("bf_reader"),
        "BF_NATS_CORE_SEED_FILE": str(nats.seed_file("core")),
        "BF_OCPP_PUBLIC_URL": ocpp_url,
        "BF_SECRET_KEY_FILE": str(sealing_key),
        "BF_PSEUDONYM_KEY_FILE": str(pseudonym_key),
        "BF_AWS_ENDPOINT_URL": aws.url,
        "BF_AWS_ACCESS_KEY_ID": "peer",
        "BF_AWS_SECRET_ACCESS_KEY": "peer",
        "BF_HEALTH_PORT": "0",
        "BF_AWS_CHARGING_STATION_CA_ARN": aws.authorities["charger-identity"].issuing_arn,
        "BF_AWS_AUDIT_BUCKETS": '{"charger-identity": "audit"}',
        # a night that was missed would use up the one report of half an hour
        "BF_CA_RECONCILIATION_HOUR_UTC": "-1",
        "BF_AWS_BACKEND_SERVER_CA_ARN": aws.authorities["backend-server"].issuing_arn,
    }
    connect_environment = both | {
        "BF_NATS_CONNECT_SEED_FILE": str(nats.seed_file("connect")),
        "BF_SERVER_CHAIN_FILES": ",".join(str(each.chain_path) for each in identities),
        "BF_SERVER_KEY_FILES": ",".join(str(each.key_path) for each in identities),
    }
    core = Role(
        data,
        "core",
        "core-a",
        ("--admin-port", str(admin_port), "--data-dir", str(data.folder("core"))),
        core_environment,
    )
    connect = Role(
        data,
        "connect",
        "connect-a",
        (
            *("--ocpp-port", str(ocpp_port), "--health-port", str(health_port)),
            *("--data-dir", str(data.folder("connect"))),
        ),
        connect_environment,
    )
    plant = Plant(
        data,
        postgres,
        nats,
        aws,
        core,
        connect,
        ocpp_url=ocpp_url,
        admin_url=f"http://127.0.0.1:{admin_port}",
        connect_health_url=f"http://127.0.0.1:{health_port}",
        core_environment=core_environment,
        connect_environment=connect_environment,
    )
    core.start()
    connect.start()
    return plant


async def _server_identities(data: DataDirectory, aws: EmbeddedAws) -> list[ServerIdentity]:
    clock = SystemClock()
    client = AwsPrivateCa(
        AwsSettings(
            region="eu-central-1", endpoint_url=aws.url, access_key_id="peer", secret_access_key="peer"
        ),
        clock=clock,
        metrics=PrometheusMetrics(),
        limits=CallLimits(15, monotonic=clock.monotonic),
        retry=RetryPolicy(uniform=random.uniform),
    )
    await client.start()
    try:
        found, failed = await discover(
            client, {"backend_server": aws.authorities["backend-server"].issuing_arn}
        )
        assert not failed
        names = ServerNames(fqdn="localhost", addresses=("127.0.0.1",))
        return await obtain(data.folder("server"), client, found[0].authority, names, clock)
    finally:
        await client.close()


def is_process(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


_LOOK_AGAIN_S = 0.05


async def until(holds: Callable[[], bool], what: str, within: timedelta = READY_WITHIN) -> float:
    """Wait until another process has brought `holds` about; the seconds it took. Other processes ring no bell, so it is
    looked at again and again.
    """
    began = time.monotonic()
    never = asyncio.Event()
    while not holds():
        if time.monotonic() - began > within.total_seconds():
            raise AssertionError(f"not within {within.total_seconds():g} s: {what}")
        try:
            await asyncio.wait_for(never.wait(), _LOOK_AGAIN_S)
        except TimeoutError:
            continue
    return time.monotonic() - began


def temporary_data() -> tuple[Path, DataDirectory]:
    """A data directory with a path short enough for PostgreSQL's socket."""
    folder = Path(tempfile.mkdtemp(prefix="bf-fault-"))
    return folder, DataDirectory.open(folder)


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def lines_of(log: str) -> list[dict[str, Any]]:
    """A role's log, line by line, as far as it is JSON."""
    found = []
    for line in log.splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found
