"""One process's system: the roles it plays, started in order and ended in order."""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bfactors.aws_duty import SERVER_CERTS
from bfactors.refusal import Refusal
from bfactors.server_certificate import Presented
from bfactors.settings import Settings
from deploy.role.admin import AdminRole
from deploy.role.authority import CaClients, account_of, open_authorities
from deploy.role.checkpointing import CheckpointMeans
from deploy.role.connect import ConnectOptions, ConnectRole
from deploy.role.core import CoreRole
from deploy.role.custody import Pepper, write_private
from deploy.role.database import Database
from deploy.role.fleet_numbers import keep_counting
from deploy.role.health import HealthServer
from deploy.role.load_balancer import LoadBalancerCertificates
from deploy.role.log_desk import LogDesk
from deploy.role.log_receiver import LogReceiverRole
from deploy.role.nats_numbers import keep_measuring
from deploy.role.role_watch import role_of
from deploy.role.runtime import Runtime, cancel, open_nats
from deploy.role.sealing import Sealing
from deploy.role.server_desk import ServerDesk
from gateways.acm.certificate_manager import CertificateManager
from gateways.admin.ports import ShownOnNode
from gateways.ca.aws_session import AwsClients
from gateways.metrics import PrometheusMetrics
from gateways.nats.gateway import NatsGateway
from gateways.ocpp.proxy import Proxies

_LOG = logging.getLogger(__name__)
STOP_BUDGET_S = 10.0
START_BUDGET_S = 60.0
ADMIN_TOKEN_NAME = "first-start"  # noqa: S105 - a name, not a token
FIRMWARE_TOKEN_NAME = "first-start-firmware"  # noqa: S105 - a name, not a token


@dataclass(slots=True)
class System:
    """What one process runs. Opened and closed from the main thread; everything else happens on the lanes."""

    settings: Settings
    runtime: Runtime
    metrics: PrometheusMetrics
    core: CoreRole | None = None
    connect: ConnectRole | None = None
    admin: AdminRole | None = None
    logs: LogReceiverRole | None = None
    health: HealthServer | None = None
    ca: CaClients | None = None
    sealing: Sealing | None = None
    checkpoints: CheckpointMeans | None = None
    server_certificates: ServerDesk = field(init=False)
    load_balancers: LoadBalancerCertificates | None = None
    _acm: AwsClients | None = None
    _nats: list[NatsGateway] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    def open(cls, settings: Settings, passwords: dict[str, str], roles: frozenset[str]) -> "System":
        """Start the roles. Raises SettingsError, Unavailable, and nothing is left running."""
        metrics = PrometheusMetrics()
        system = cls(settings, Runtime.open(metrics), metrics)
        try:
            system.runtime.run(system._start(passwords, roles), START_BUDGET_S)
        except BaseException:
            system.close()
            raise
        return system

    async def _start(self, passwords: dict[str, str], roles: frozenset[str]) -> None:
        settings = self.settings
        pepper = Pepper.load(settings.pepper_file, create="core" in roles)
        if "core" in roles:
            self.ca = await open_authorities(settings, self.runtime)
        self.server_certificates = ServerDesk(settings, self.ca, self.runtime.clock, self.metrics)
        if "connect" in roles:
            await self._start_connect(pepper)
        if "core" in roles:
            await self._start_core(pepper, passwords)
        elif settings.health_port >= 0:
            self.health = HealthServer(self.metrics, self.missing)
            await self.health.start(settings.health_host, settings.health_port)
        if self.server_certificates.shown:
            self._keep(self.server_certificates.run(), "look after the server certificates")

    async def _start_connect(self, pepper: Pepper) -> None:
        settings = self.settings
        node = settings.node or f"{socket.gethostname()}-connect"
        nats = await self._open_nats("connect", settings.nats_connect_seed_file, node)
        options = ConnectOptions(
            node=node,
            host=settings.ocpp_host,
            port=settings.ocpp_port,
            plain_port=settings.ocpp_plain_port if settings.ocpp_plain_port >= 0 else None,
            identities=await self.server_certificates.first(),
            verify_key=pepper.verify_key(),
            authorize_default=settings.authorize_default,
            proxies=Proxies.of(settings.mtls_proxies),
        )
        connect = ConnectRole(self.runtime, nats, options)
        await connect.start()
        self.connect = connect
        self.server_certificates.add(connect.present, connect.tell_server)

    async def _start_core(self, pepper: Pepper, passwords: dict[str, str]) -> None:
        settings = self.settings
        assert self.ca is not None
        node = settings.node or f"{socket.gethostname()}-core"
        # A database of our own under the data directory's lock has had no other owner than our predecessor, who is gone:
        # under one name, a restart after a crash need not wait for the lease to lapse.
        owner = f"{node}/{'embedded' if passwords else self.runtime.clock.new_id()[:12]}"
        self.sealing = await Sealing.open(settings)
        database = await Database.open(settings, passwords, self.sealing.custody)
        self.checkpoints = await CheckpointMeans.open(settings, self.runtime.clock)
        await self.ca.join(settings, self.runtime, database.ca_desk)
        nats = await self._open_nats("core", settings.nats_core_seed_file, owner)
        self.core = CoreRole(
            runtime=self.runtime,
            nats=nats,
            settings=settings,
            owner=owner,
            ocpp_url=self.ocpp_url,
            database=database,
            ca=self.ca,
            checkpoints=self.checkpoints,
            pepper=pepper,
        )
        await self.core.start()
        self.server_certificates.trust = self.core.server_trust
        await self._follow_load_balancers()
        counting = keep_counting(database, self.metrics, self.runtime.clock, self._shown_to_chargers)
        self._keep(counting, "count the fleet")
        await self._first_token(database)
        desk = await self._start_log_receiver()
        self.admin = AdminRole(
            self.runtime, self.core, pepper, self.metrics, self.missing, desk, self._shown_in_acm
        )
        await self.admin.start(settings.admin_host, settings.admin_port)

    async def _follow_load_balancers(self) -> None:
        settings = self.settings
        if not settings.acm_certificate_arns:
            return
        self._acm = AwsClients(account_of(settings).under(role_of(settings, SERVER_CERTS)))
        manager = CertificateManager(await self._acm.open("acm"), self.metrics)
        self.load_balancers = LoadBalancerCertificates(
            manager, settings.acm_certificate_arns, self.server_certificates
        )
        self._keep(self.load_balancers.run(), "look after load balancers' certificates")

    def _shown_to_chargers(self) -> list[Presented]:
        nodes = self.core.live_nodes() if self.core is not None else []
        return [*(each.server for each in nodes), *(each.presented for each in self._shown_in_acm())]

    def _shown_in_acm(self) -> list[ShownOnNode]:
        if self.load_balancers is None or not self.load_balancers.known:
            return []
        return [ShownOnNode("acm", Presented(certificates=tuple(self.load_balancers.known.values())))]

    async def _start_log_receiver(self) -> LogDesk | None:
        """Where the chargers are ours too, and in a core that was told how chargers reach it."""
        settings = self.settings
        if settings.log_port < 0 or (self.connect is None and not settings.log_url) or self.core is None:
            return None
        self.logs = LogReceiverRole(self.runtime, self.core, settings, self.metrics)
        await self.logs.start(self.server_certificates.shown or await self.server_certificates.first())
        self.server_certificates.add(self.logs.present)
        return self.logs.desk

    async def _open_nats(self, role: str, seed_file: Path, name: str) -> NatsGateway:
        nats = await open_nats(self.settings.nats_url, seed_file, role, name, self.settings.nats_ca_file)
        self._nats.append(nats)
        self._keep(keep_measuring(nats, role, self.metrics), f"measure the NATS of {role}")
        return nats

    def _keep(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work, name=name))

    async def _first_token(self, database: Database) -> None:
        """At first start one token of the highest role is made, and one for firmware trust, which that role does not have."""
        wanted = (
            (self.admin_token_file, ADMIN_TOKEN_NAME, "pki-admin"),
            (self.firmware_token_file, FIRMWARE_TOKEN_NAME, "firmware-admin"),
        )
        for path, name, role in wanted:
            if path.exists():
                continue
            token = await database.tokens.create(name, role)
            if isinstance(token, Refusal):
                _LOG.warning("the token %s exists, but not its file; use `run.py token create`", name)
                continue
            write_private(path, f"{token}\n".encode())

    @property
    def admin_token_file(self) -> Path:
        """Where the first token lies."""
        return self.settings.data_dir / "secrets" / "admin.token"

    @property
    def firmware_token_file(self) -> Path:
        """Where the first token for firmware trust lies; whoever runs operations may hand it on and delete it."""
        return self.settings.data_dir / "secrets" / "firmware.token"

    def ocpp_url(self) -> str:
        """Where chargers are told to connect."""
        if self.settings.ocpp_public_url:
            return self.settings.ocpp_public_url
        port = self.connect.gateway.port if self.connect is not None else self.settings.ocpp_port
        return f"wss://{self.settings.server_name}:{port}/ocpp"

    def missing(self) -> list[str]:
        """What keeps this process from being ready; empty when it is."""
        missing: list[str] = []
        for role in (self.core, self.connect):
            if role is not None:
                missing += [name for name in role.missing() if name not in missing]
        return missing

    def close(self) -> None:
        """Sockets, actors, outbox, leases, NATS, Postgres; past the budget the process simply ends."""
        last_resort = threading.Timer(STOP_BUDGET_S, os._exit, args=(70,))
        last_resort.daemon = True
        last_resort.start()
        try:
            self.runtime.run(self._stop(), STOP_BUDGET_S)
        finally:
            last_resort.cancel()
            self.runtime.close()

    async def _stop(self) -> None:
        await cancel(self._tasks)
        if self.admin is not None:
            await self.admin.stop()
        if self.logs is not None:
            await self.logs.stop()
        if self.health is not None:
            await self.health.stop()
        if self.connect is not None:
            await self.connect.stop()
        if self.core is not None:
            await self.core.stop()
        await self.runtime.tree.stop(5.0)
        for nats in self._nats:
            await nats.close(1.0)
        if self.core is not None:
            await self.core.database.close()
        if self.checkpoints is not None:
            await self.checkpoints.close()
        if self.sealing is not None:
            await self.sealing.close()
        if self.ca is not None:
            await self.ca.close()
        if self._acm is not None:
            await self._acm.close()
