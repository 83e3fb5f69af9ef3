"""The connect role: chargers' sockets, their actors, and the evidence they leave. Stands alone on its snapshots."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from actors.charger import ChargerPorts
from actors.charger_door import Door
from bfactors.errors import SettingsError
from bfactors.fleet.control import CLIENT_TRUST, PAUSES, read_client_trust, read_pauses
from bfactors.fleet.state import SupervisorPause
from bfactors.identity_rule import VerifyKey
from bfactors.server_certificate import Presented
from deploy.role.runtime import Runtime
from deploy.role.standing import family_standings
from deploy.role.tree_pauses import TreePauses
from gateways.nats.admission_view import NatsAdmissionView
from gateways.nats.control_view import NatsControlView
from gateways.nats.decisions import NatsDecisions
from gateways.nats.edge_reporter import NatsEdgeReporter
from gateways.nats.evidence_log import NatsEvidenceLog
from gateways.nats.gateway import NatsGateway
from gateways.nats.instruction_inbox import NatsInstructionInbox
from gateways.nats.presence import NodePresence
from gateways.nats.relay import NatsRelay
from gateways.nats.secret import NatsSecrets
from gateways.nats.seen import SeenReporter
from gateways.nats.trace import NatsTraceSink
from gateways.ocpp.dialect import loaded_dialects
from gateways.ocpp.option import GatewayOptions
from gateways.ocpp.proxy import Proxies
from gateways.ocpp.server import Gateway
from gateways.ocpp.tls import FrontTls, ServerIdentity
from supervisors.charger_lanes import ChargerLanes

_LOG = logging.getLogger(__name__)
EMPTIED_WITHIN_S = 3.0
SNAPSHOT_AGE_LIMIT_S = 86_400.0
MEASURED_EVERY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectOptions:
    """Where the charger port listens and what it presents."""

    node: str
    host: str
    port: int
    plain_port: int | None
    identities: Sequence[ServerIdentity]
    verify_key: VerifyKey
    authorize_default: str = "Unknown"
    proxies: Proxies = field(default_factory=Proxies)


class ConnectRole:
    """Everything a connect node runs; made and used on the I/O lane."""

    def __init__(self, runtime: Runtime, nats: NatsGateway, options: ConnectOptions) -> None:
        self._runtime = runtime
        self._nats = nats
        self._options = options
        incarnation = runtime.clock.new_id()
        evidence = NatsEvidenceLog(nats.publisher, options.node)
        self.admission = NatsAdmissionView(nats.connection, nats.replies)
        self.secrets = NatsSecrets(nats.connection, nats.replies)
        self._control = NatsControlView(nats.connection, nats.replies)
        self._inbox = NatsInstructionInbox(nats.connection, options.node)
        self._reporter = NatsEdgeReporter(evidence, runtime.clock, node=options.node, incarnation=incarnation)
        self._presence = NodePresence(
            nats.connection,
            nats.publisher,
            options.node,
            incarnation,
            families=lambda: family_standings(runtime.tree.statuses()),
        )
        self.admission.follow(lambda place, ended: self._presence.admits_by(place, is_news=ended))
        self._tls = FrontTls(options.identities, ())
        self._measuring: asyncio.TimerHandle | None = None
        self._pauses = TreePauses(runtime.tree, frozenset({"family"}))
        lanes = ChargerLanes(runtime.tree, runtime.io)
        ports = ChargerPorts(
            evidence=evidence,
            relay=NatsRelay(nats.publisher),
            decisions=NatsDecisions(nats.connection, nats.replies),
            secrets=self.secrets,
            clock=runtime.clock,
            metrics=runtime.metrics,
        )
        self.door = Door(ports, lanes, self._inbox, self.admission, to_io=lanes.to_io, is_blind=True)
        self._seen = SeenReporter(nats.connection, options.node, incarnation, self.door.connected)
        self.gateway = Gateway(
            node=options.node,
            incarnation=incarnation,
            tls=self._tls,
            admission=self.admission,
            door=self.door,
            reporter=self._reporter,
            clock=runtime.clock,
            metrics=runtime.metrics,
            verify_key=options.verify_key,
            options=GatewayOptions(proxies=options.proxies),
            traces=NatsTraceSink(nats.connection, runtime.metrics),
            dialects={
                name: dialect.authorizing(options.authorize_default)
                for name, dialect in loaded_dialects().items()
            },
        )

    async def start(self) -> None:
        """Listen and begin to watch. Raises SettingsError for a port that is taken."""
        await self.gateway.start(self._options.host, self._options.port, plain_port=self._options.plain_port)
        self.admission.start()
        self._control.subscribe(self._controlled)
        self._control.start()
        await self._inbox.start()
        self._reporter.start()
        self._presence.start()
        self._seen.start()
        self._measure()
        self._nats.connection.on_connected(self.door.restate)

    def present(self, identities: Sequence[ServerIdentity]) -> None:
        """Present these server certificates from the next connection on. Raises SettingsError, changing nothing."""
        self._tls.replace_identities(identities)

    def tell_server(self, presented: Presented) -> None:
        """Let core know what is shown here."""
        self._presence.server(presented)

    def missing(self) -> list[str]:
        """What keeps this node from being ready."""
        missing = []
        if not self._nats.connection.healthy:
            missing.append("nats")
        if not self.admission.ready:
            missing.append("admission-snapshot")
        elif self.admission.age_s > SNAPSHOT_AGE_LIMIT_S:
            missing.append("admission-snapshot-too-old")
        if self.door.is_blind:
            missing.append("control-snapshot")
        if not self._tls.trust.certificates:
            missing.append("client-trust")
        return missing

    def _measure(self) -> None:
        """Tell what this node admits chargers from; again every few seconds."""
        self._runtime.metrics.gauge("bf_admission_age_seconds", self.admission.age_s)
        self._runtime.metrics.gauge("bf_admission_records", len(self.admission))
        self._measuring = asyncio.get_running_loop().call_later(MEASURED_EVERY_S, self._measure)

    def _controlled(self, key: str, value: bytes) -> None:
        try:
            if key == CLIENT_TRUST:
                self._trust(read_client_trust(value))
            elif key == PAUSES:
                self._paused(read_pauses(value))
        except (msgspec.DecodeError, SettingsError) as problem:
            _LOG.error("the control value %s cannot be used: %s", key, problem)

    def _paused(self, pauses: Mapping[str, SupervisorPause]) -> None:
        self._pauses.apply(pauses)
        self.door.sees({pause.name for pause in pauses.values() if pause.kind == "family"})

    def _trust(self, pems: tuple[str, ...]) -> None:
        self._tls.replace_trust(pems)
        self._presence.trust(self._tls.trust.fingerprints)
        _LOG.info("client trust now holds %d CAs", len(self._tls.trust.certificates))

    async def stop(self) -> None:
        """Close sockets first, let their last evidence out, then say goodbye."""
        await self.gateway.stop()
        try:
            async with asyncio.timeout(EMPTIED_WITHIN_S):
                await self.door.emptied()
        except TimeoutError:
            _LOG.warning("%d sessions end without their last evidence stored", self.door.open_sessions)
        if self._measuring is not None:
            self._measuring.cancel()
        await self._seen.stop()
        await self._presence.leave()
        await self._reporter.stop()
        await self._inbox.stop()
        await self._control.stop()
        await self.admission.stop()
