"""The core role: the ledger's partitions, issuance, the admin API. The only one with database credentials."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bfactors.errors import SettingsError, Unavailable
from bfactors.fleet.control import PAUSES, read_pauses
from bfactors.fleet.state import FleetState
from bfactors.identity import FLEET
from bfactors.ledger_fold import FLEET_KEY
from bfactors.ports import NoteSigner
from bfactors.settings import Settings
from deploy.role.authority import CaClients
from deploy.role.authority_watch import AuthorityWatch
from deploy.role.certificate_desk import CertificateDesk, issuers_in
from deploy.role.checkpointing import CheckpointMeans, LaneCheckpoints
from deploy.role.core_health import CoreHealth
from deploy.role.core_secret import CoreSecrets
from deploy.role.custody import Pepper
from deploy.role.database import Database
from deploy.role.firmware_separation import FirmwareSeparation
from deploy.role.fleet_bootstrap import tell_fleet
from deploy.role.lane_index import LaneIndex
from deploy.role.lane_secret import LaneSecrets
from deploy.role.lane_store import LaneStore
from deploy.role.ledger_tree import CorePorts, PublicationMeans, start_core_actors
from deploy.role.node_reports import NodeReports
from deploy.role.notifying import Notifying
from deploy.role.revocation_desk import RevocationDesk, SeenLists
from deploy.role.runtime import Runtime, cancel
from deploy.role.server_trust import ServerTrust
from deploy.role.sweeping import Sweeping
from deploy.role.tree_pauses import TreePauses
from gateways.nats.command_door import NatsCommandDoor
from gateways.nats.control_view import NatsControlView
from gateways.nats.evidence_log import NatsEvidenceLog
from gateways.nats.evidence_reader import NatsEvidenceReader
from gateways.nats.gateway import NatsGateway
from gateways.nats.layout import NatsLayout
from gateways.nats.ledger_feed import LedgerFeed
from gateways.nats.outbox import NatsOutbox
from gateways.nats.presence import Presence
from gateways.nats.seen import SeenWatch
from gateways.nats.trace import TraceWatch
from supervisors.effect_router import EffectRouter

_LOG = logging.getLogger(__name__)
WAIT_S = 1.0


@dataclass(slots=True)
class CoreRole:
    """Everything a core node runs; made and used on the I/O lane."""

    runtime: Runtime
    nats: NatsGateway
    settings: Settings
    owner: str
    ocpp_url: Callable[[], str]
    database: Database
    ca: CaClients
    pepper: Pepper
    checkpoints: CheckpointMeans | None = None
    router: EffectRouter | None = None
    told_fleet: bool = False
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    _nodes: NodeReports | None = None
    _control: NatsControlView | None = None
    _pauses: TreePauses | None = None

    commands: NatsCommandDoor = field(init=False)
    evidence_log: NatsEvidenceLog = field(init=False)
    seen: SeenWatch = field(init=False)
    traces: TraceWatch = field(init=False)
    health: CoreHealth = field(init=False)
    secrets: CoreSecrets = field(init=False)
    separation: FirmwareSeparation = field(init=False)
    desk: CertificateDesk = field(init=False)
    server_trust: ServerTrust = field(init=False)
    notifying: Notifying = field(init=False)
    sweeping: Sweeping = field(init=False)
    revocations: RevocationDesk = field(init=False)
    authorities: AuthorityWatch = field(init=False)
    lists: SeenLists = field(init=False, default_factory=SeenLists)

    def __post_init__(self) -> None:
        self.commands = NatsCommandDoor(self.nats.connection, self.nats.replies)
        self.evidence_log = NatsEvidenceLog(self.nats.publisher, self.owner)
        self.seen = SeenWatch(self.nats.connection, self.runtime.clock)
        self.traces = TraceWatch(self.nats.connection)
        self.health = CoreHealth(self.database.reader, self.ca, self.runtime.clock)
        self.secrets = CoreSecrets(self.nats.connection, self.database.secrets)
        self.separation = FirmwareSeparation(self.database.reader)
        self.server_trust = ServerTrust(self.database.reader, self.runtime.clock)
        self.desk = CertificateDesk(
            self.nats.connection,
            self.runtime.clock,
            self.runtime.metrics,
            allowed_hosts=self.settings.egress_allowed_hosts,
            issuers=issuers_in(self.settings.revocation_issuers_file),
        )
        self.revocations = RevocationDesk(
            self.settings, self.runtime.clock, self.runtime.metrics, self.runtime.io.loop
        )
        self.authorities = AuthorityWatch(
            self.database.reader,
            self.ca,
            self.evidence_log,
            self.runtime.clock,
            self.runtime.metrics,
            self.lists,
        )
        self.sweeping = Sweeping(self.database, self.commands, self.runtime.clock, self.runtime.metrics)
        self.notifying = Notifying(
            owner=self.owner,
            settings=self.settings,
            database=self.database,
            feed=LedgerFeed(self.nats.connection, self.nats.replies),
            clock=self.runtime.clock,
            metrics=self.runtime.metrics,
        )

    async def start(self) -> None:
        """Begin; the actors wait by themselves for what is away."""
        nats = self.nats
        self._nodes = NodeReports(nats, self.evidence_log, self.runtime.clock)
        self._pauses = TreePauses(self.runtime.tree, frozenset({"purpose", "cohort", "scheme"}))
        self._control = NatsControlView(nats.connection, nats.replies)
        self._control.subscribe(self._controlled)
        await self.seen.start()
        await self.traces.start()
        await self.secrets.start()
        await self.desk.start()
        self.notifying.start()
        self.sweeping.start()
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._begin(), name="core start"))
        self._tasks.append(loop.create_task(self.health.run(), name="core health"))
        self._tasks.append(loop.create_task(self.authorities.run(), name="authority watch"))

    async def _begin(self) -> None:
        """Everything that needs NATS, in order, for as long as it takes. What the ledger refuses is said, and awaited."""
        try:
            await self._begin_in_order()
        except SettingsError as problem:
            _LOG.error("this node cannot become ready: %s", problem)
            raise

    async def _begin_in_order(self) -> None:
        await self.separation.is_apart()
        await self._lay_out()
        assert self._nodes is not None
        self._nodes.start()
        assert self._control is not None
        self._control.start()
        outbox = NatsOutbox(self.nats.connection, self.nats.replies, self.nats.publisher)
        index = LaneIndex(self.database.certificates, self.runtime.io.loop)
        ports = CorePorts(
            store=LaneStore(self.database.store, self.runtime.io.loop),
            reader=NatsEvidenceReader(self.nats.connection, self.nats.replies),
            commands=self.commands,
            outbox=outbox,
            evidence_log=self.evidence_log,
            authorities=self.ca.authorities,
            auditor=self.ca.reports,
            index=index,
            reconciliation_hour_utc=self.settings.ca_reconciliation_hour_utc,
            ca_calls_per_s=self.settings.ca_calls_per_s,
            ocpp_url=self.ocpp_url,
            checkpoints=self._checkpointing(outbox),
            edge=self._nodes.edge,
            publication=PublicationMeans(self.revocations, index, self.lists),
            secrets=LaneSecrets(self.database.secrets, self.runtime.io.loop),
            verifiers=self.pepper,
        )
        self.router = start_core_actors(self.runtime, self.owner, ports)
        await self._compare_nodes(self._nodes)
        await self.ca.look_until_known()
        registrations = self.ca.registrations()
        bundles = self.ca.bundles()
        roots = [root for each in bundles.values() for root in each]
        told = [text for each in registrations for text in (each.certificate_pem, each.chain_pem)]
        await self.separation.until_apart([*told, *roots])
        await tell_fleet(
            self.commands,
            self.runtime.clock,
            authorities=registrations,
            bundles=bundles,
            policy=self.settings.policy,
        )
        self.told_fleet = True

    def _checkpointing(self, outbox: NatsOutbox) -> LaneCheckpoints | None:
        if self.checkpoints is None:
            return None
        runtime = self.runtime
        desk = self.checkpoints.desk(self.settings, runtime.clock, runtime.metrics, outbox.put_control)
        return LaneCheckpoints(desk, self.settings, runtime.io.loop)

    async def _compare_nodes(self, nodes: NodeReports) -> None:
        """Connect nodes may have died while no core was there to see it."""
        while True:
            try:
                believed = set(await self.database.reader.incarnations())
                row = await self.database.reader.aggregate(FLEET, FLEET_KEY)
            except Unavailable as away:
                _LOG.info("connect nodes are not compared yet: %s", away)
                await asyncio.sleep(WAIT_S)
                continue
            if row is not None:
                fleet = msgspec.json.decode(row.state, type=FleetState)
                believed |= {(node.node, node.incarnation) for node in fleet.facts.nodes.values()}
            nodes.compare(believed)
            return

    async def _lay_out(self) -> None:
        while True:
            await self.nats.connection.connected()
            try:
                positions = {
                    row["number"]: row["evidence_position"] + 1
                    for row in await self.database.reader.partitions()
                }
                await self.nats.ensure_layout(NatsLayout(first_evidence=positions))
            except Unavailable as away:
                _LOG.info("streams are not laid out yet: %s", away)
                await asyncio.sleep(WAIT_S)
            else:
                return

    @property
    def signer(self) -> NoteSigner | None:
        """Who signs for the ledger, if anybody does."""
        return self.checkpoints.signer if self.checkpoints is not None else None

    def missing(self) -> list[str]:
        """What keeps this node from being ready."""
        missing = []
        if not self.nats.connection.healthy:
            missing.append("nats")
        missing += self.health.missing()
        missing += self.separation.missing()
        if not self.told_fleet:
            missing.append("fleet-facts")
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                missing.append(f"start-failed: {task.exception()}")
        return missing

    def live_nodes(self) -> list[Presence]:
        """The connect nodes that live, as far as is known here."""
        return self._nodes.nodes if self._nodes is not None else []

    async def stop(self) -> None:
        """End what is not an actor; the actors end with the tree."""
        await cancel(self._tasks)
        await self.seen.stop()
        await self.traces.stop()
        await self.secrets.stop()
        await self.desk.stop()
        await self.notifying.stop()
        await self.sweeping.stop()
        await self.revocations.stop()
        if self._nodes is not None:
            await self._nodes.stop()
        if self._control is not None:
            await self._control.stop()

    def _controlled(self, key: str, value: bytes) -> None:
        if key == PAUSES and self._pauses is not None:
            try:
                self._pauses.apply(read_pauses(value))
            except msgspec.DecodeError as problem:
                _LOG.error("the recorded pauses cannot be read: %s", problem)
