"""The charger port: listens, admits from memory, hands sessions to their actors, cuts those that may not go on.

Everything here runs on the I/O lane; only what a session offers its actor may be called from elsewhere.
"""

import asyncio
import errno
from collections.abc import Callable, Mapping

from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from bfactors.admission import AdmissionRecord, SessionInfo
from bfactors.errors import SettingsError
from bfactors.identity_rule import VerifyKey, cut_problem, ended_problem
from bfactors.path import TrustSet
from bfactors.ports import AdmissionView, ChargerDoor, Clock, EdgeReporter, Metrics, TraceSink
from gateways.ocpp.connection import WIRE_LOG, Connection, abort_all
from gateways.ocpp.dialect import Dialect, loaded_dialects
from gateways.ocpp.doorstep import Doorstep
from gateways.ocpp.handover import Handover
from gateways.ocpp.option import GatewayOptions
from gateways.ocpp.pulse import Pulse
from gateways.ocpp.session import POLICY_VIOLATION, OcppSession
from gateways.ocpp.session_trace import TraceDesk
from gateways.ocpp.tls import FrontTls
from gateways.ocpp.upgrade import UpgradeDesk

_GOING_AWAY = 1001
_NORMAL = 1000
_BEAT_S = 1.0


class Gateway:
    """One node's charger port: at most one TLS and one plain listener."""

    def __init__(
        self,
        *,
        node: str,
        incarnation: str,
        tls: FrontTls | None,
        admission: AdmissionView,
        door: ChargerDoor,
        reporter: EdgeReporter,
        clock: Clock,
        metrics: Metrics,
        verify_key: VerifyKey,
        dialects: Mapping[str, Dialect] | None = None,
        options: GatewayOptions | None = None,
        traces: TraceSink | None = None,
    ) -> None:
        self._tls = tls
        self._admission = admission
        self._door = door
        self._traces = TraceDesk(traces, clock)
        self._reporter = reporter
        self._clock = clock
        self._metrics = metrics
        self._dialects = loaded_dialects() if dialects is None else dialects
        self._subprotocols = tuple(Subprotocol(name) for name in self._dialects)
        self._options = options or GatewayOptions()
        self._desk = UpgradeDesk(
            node=node,
            incarnation=incarnation,
            admission=admission,
            reporter=reporter,
            clock=clock,
            metrics=metrics,
            trust=self._trust_now,
            verify_key=verify_key,
            proxies=self._options.proxies,
        )
        self._doorstep = Doorstep(
            places=self._options.sockets_not_upgraded,
            handshakes=self._options.handshakes_in_flight,
            wait_s=self._options.upgrade_wait_s,
            turn_wait_s=self._options.turn_wait_s,
        )
        self._pulse = Pulse(
            clock.monotonic(),
            ping_s=self._options.ping_s,
            pong_s=self._options.pong_s,
            unsent_s=self._options.unsent_s,
            unsent_bytes=self._options.unsent_bytes,
            close_s=self._options.close_wait_s,
        )
        self._connections: set[Connection] = set()
        self._by_charger: dict[str, Connection] = {}
        self._servers: list[asyncio.Server] = []
        self._handover: Handover
        self._timer: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event
        self._stopping = False
        self.host = ""
        self.port = 0
        """The TLS listener's port, known after `start`."""
        self.plain_port: int | None = None

    # ------------------------------------------------------------ life

    async def start(self, host: str, port: int = 0, *, plain_port: int | None = None) -> None:
        """Listen; port 0 lets the system choose. Raises SettingsError if a port is taken or there is nothing to listen on."""
        self._handover = Handover()
        self._emptied = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.host = host
        if self._tls is None and plain_port is None:
            raise SettingsError("the charger port has neither a server certificate nor a plain port")
        if self._tls is not None:
            self.port = await self._listen(loop, self._tls_connection, host, port)
        if plain_port is not None:
            self.plain_port = await self._listen(loop, self._plain_connection, host, plain_port)
        self._admission.subscribe(self._record_changed)
        self._timer = loop.call_later(_BEAT_S, self._tick)

    async def _listen(
        self, loop: asyncio.AbstractEventLoop, factory: Callable[[], Connection], host: str, port: int
    ) -> int:
        try:
            server = await loop.create_server(factory, host, port, backlog=self._options.backlog)
        except OSError as problem:
            await self.stop()
            taken = problem.errno == errno.EADDRINUSE
            why = "is taken" if taken else f"cannot be used: {problem.strerror}"
            raise SettingsError(f"charger port {host}:{port} {why}") from problem
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def _tls_connection(self) -> Connection:
        assert self._tls is not None
        return Connection(self, self._tls.new_stream, self._options.max_frame_bytes)

    def _plain_connection(self) -> Connection:
        return Connection(self, None, self._options.max_frame_bytes)

    def _trust_now(self) -> TrustSet:
        return self._tls.trust if self._tls is not None else TrustSet.of(())

    async def stop(self) -> None:
        """Stop listening and close every session (1001); what does not answer within `stop_wait_s` is dropped."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        for server in self._servers:
            server.close()
        self._servers.clear()
        abort_all(self._doorstep.connections, "gateway-stopping")
        self.cut_all(lambda info: True, "gateway-stopping", code=_GOING_AWAY)
        if self._connections:
            self._emptied.clear()
            try:
                async with asyncio.timeout(self._options.stop_wait_s):
                    await self._emptied.wait()
            except TimeoutError:
                abort_all(self._connections, "gateway-stopping")

    async def drain(self, sessions_per_second: float) -> None:
        """Take nobody new, and close the open sessions at this pace, so that chargers spread over the other nodes."""
        self._stopping = True
        for server in self._servers:
            server.close()
        self._servers.clear()
        for connection in tuple(self._by_charger.values()):
            connection.close(_GOING_AWAY, "draining")
            await asyncio.sleep(1 / sessions_per_second)

    @property
    def url(self) -> str:
        """Where chargers connect, without the charger id."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"wss://{host}:{self.port}/ocpp" if self._tls else f"ws://{host}:{self.plain_port}/ocpp"

    @property
    def sessions(self) -> tuple[OcppSession, ...]:
        """Every open session."""
        return tuple(c.session for c in self._by_charger.values() if c.session is not None)

    def cut_all(
        self, predicate: Callable[[SessionInfo], bool], reason: str, *, code: int = POLICY_VIOLATION
    ) -> int:
        """Close every session the predicate names; how many there were."""
        cut = [c for c in self._by_charger.values() if c.session is not None and predicate(c.session.info)]
        for connection in cut:
            connection.close(code, reason)
        return len(cut)

    def beat(self) -> None:
        """Look after pings, deadlines and stuck sockets; called once a second, and by tests with a clock of their own."""
        now = self._clock.monotonic()
        for connection in self._doorstep.overdue(now):
            connection.abort("too-slow")
        self._pulse.beat(now)
        self._metrics.gauge("ocpp_sockets_not_upgraded", len(self._doorstep))

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_BEAT_S, self._tick)
        self.beat()

    # ------------------------------------------------------------ the admission records

    def _record_changed(self, record: AdmissionRecord) -> None:
        ended = self._desk.learn(record)
        if ended:
            self._cut_controllers(ended)
        connection = self._by_charger.get(record.charger_id)
        if connection is None or connection.session is None:
            return
        connection.session.capabilities = record.capabilities
        connection.session.traced(record, self._traces)
        info = connection.session.info
        problem = cut_problem(
            record,
            info.fingerprint_sha256,
            info.key_generation,
            info.flags,
            info.record.managed_identity_id,
        )
        if problem is not None:
            self._cut(connection, problem.code)

    def _cut_controllers(self, ended: Mapping[str, str]) -> None:
        """A leaf of one charger has ended that may have opened other chargers' sessions, as a local controller's."""
        for connection in list(self._by_charger.values()):
            session = connection.session
            if session is None or session.info.certificate_id is not None:
                continue
            state = ended.get(session.info.fingerprint_sha256 or "")
            if state is not None:
                self._cut(connection, ended_problem(state).code)

    def _cut(self, connection: Connection, reason: str) -> None:
        self._metrics.count("ocpp_sessions_cut", reason=reason)
        connection.close(POLICY_VIOLATION, reason)

    # ------------------------------------------------------------ Edge: called by connections

    def arrived(self, connection: Connection) -> bool:
        if self._stopping or not self._doorstep.arrive(connection, self._clock.monotonic()):
            self._metrics.count("ocpp_sockets_refused", reason="too-many-not-upgraded")
            return False
        self._connections.add(connection)
        return True

    def may_begin_handshake(self, connection: Connection) -> bool:
        self._metrics.count("ocpp_handshakes_started")
        return self._doorstep.may_begin(connection, self._clock.monotonic())

    def handshake_finished(self, connection: Connection) -> None:
        self._doorstep.finished(connection, self._clock.monotonic())

    def new_protocol(self) -> ServerProtocol:
        return ServerProtocol(
            subprotocols=self._subprotocols, max_size=self._options.max_frame_bytes, logger=WIRE_LOG
        )

    def upgrade(
        self, connection: Connection, protocol: ServerProtocol, request: Request
    ) -> OcppSession | None:
        info = self._desk.answer(protocol, request, connection.tls, connection.remote_address)
        if info is None:
            return None
        dialect = self._dialects[str(protocol.subprotocol)]
        session = OcppSession(info, dialect, connection, self._door, self._metrics, self._handover.run)
        session.traced(info.record, self._traces)
        return session

    def opened(self, connection: Connection, session: OcppSession) -> None:
        self._doorstep.leave(connection, self._clock.monotonic())
        charger_id = session.info.charger_id
        earlier = self._by_charger.pop(charger_id, None)
        if earlier is not None:
            # The charger has proved who it is: the older socket is half-open, or a double. Either way it is over.
            earlier.close(_NORMAL, "displaced")
        self._by_charger[charger_id] = connection
        if not session.info.record.capabilities.no_ping:
            self._pulse.join(connection, self._clock.monotonic())
        self._metrics.count("ocpp_sessions_opened")
        self._door.opened(session)

    def wrote(self, connection: Connection) -> None:
        self._pulse.wrote(connection, self._clock.monotonic())

    def closing(self, connection: Connection) -> None:
        self._pulse.closing(connection, self._clock.monotonic())
        self._forget(connection)

    def lost(self, connection: Connection) -> None:
        self._doorstep.leave(connection, self._clock.monotonic())
        self._pulse.leave(connection)
        self._forget(connection)
        self._connections.discard(connection)
        if connection.started and not connection.requested:
            # In TLS 1.3 the charger believes the handshake succeeded: nobody but us can tell that it did not.
            self._metrics.count("ocpp_handshakes_failed")
            self._reporter.handshake_failed(connection.remote_address)
        if connection.session is not None:
            self._metrics.count("ocpp_sessions_closed", reason=connection.end_reason)
        if not self._connections:
            self._emptied.set()

    def _forget(self, connection: Connection) -> None:
        session = connection.session
        if session is not None and self._by_charger.get(session.info.charger_id) is connection:
            del self._by_charger[session.info.charger_id]
