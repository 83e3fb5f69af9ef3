"""One socket: TLS and WebSocket without tasks, from the first byte to the last. Runs on the I/O lane only.

The WebSocket rules are `websockets`' sans-I/O ServerProtocol; this class moves bytes, counts what never became a session
and ends what must end. No coroutine runs per connection: timeouts are the gateway's sweeps.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateways.ocpp import text_frame
from gateways.ocpp.session import OcppSession
from gateways.ocpp.tls import TlsStream

_LOG = logging.getLogger(__name__)

WIRE_LOG = logging.getLogger("bf.ocpp.wire")
"""What `websockets` logs to. Never below WARNING: its debug lines hold whole frames, CSRs and passwords included."""
WIRE_LOG.setLevel(logging.WARNING)

_UNSUPPORTED_DATA = 1003
_MESSAGE_TOO_BIG = 1009
_CLOSE_REASON_MAX_BYTES = 123


class Edge(Protocol):
    """What a connection needs of its gateway."""

    def arrived(self, connection: "Connection") -> bool:
        """A socket was accepted. False: there are too many that are no sessions yet."""
        ...

    def may_begin_handshake(self, connection: "Connection") -> bool:
        """Whether the handshake may begin now; if not, `begin_handshake` is called later."""
        ...

    def handshake_finished(self, connection: "Connection") -> None: ...
    def new_protocol(self) -> ServerProtocol: ...
    def upgrade(
        self, connection: "Connection", protocol: ServerProtocol, request: Request
    ) -> OcppSession | None:
        """Answer the request through `protocol`; the session if it was admitted."""
        ...

    def opened(self, connection: "Connection", session: OcppSession) -> None: ...
    def wrote(self, connection: "Connection") -> None: ...
    def closing(self, connection: "Connection") -> None: ...
    def lost(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """Bytes on one side, a session's messages on the other."""

    __slots__ = (
        "_alignment", "_backlog", "_edge", "_held", "_holding", "_max_bytes", "_new_tls", "_parts", "_websocket",
        "awaiting_pong", "deadline", "end_reason", "remote_address", "requested", "session", "slot", "started",
        "tls", "transport",
    )  # fmt: skip

    def __init__(self, edge: Edge, new_tls: Callable[[], TlsStream] | None, max_frame_bytes: int) -> None:
        """`new_tls` makes our end of TLS; None: plain. `max_frame_bytes`: what the gateway's protocols are made with."""
        self._edge = edge
        self._new_tls = new_tls
        self._max_bytes = min(max_frame_bytes, text_frame.MAX_BYTES)
        self._alignment = text_frame.Alignment()
        self._websocket: ServerProtocol | None = None
        self._parts: list[bytes] | None = None
        self._backlog: deque[bytes] | None = None
        self._held = b""
        self._holding = False
        self.tls: TlsStream | None = None
        """Made when the handshake begins: a socket that is turned away, or waits for its turn, costs no TLS state."""
        self.transport: asyncio.Transport
        self.remote_address = ""
        self.session: OcppSession | None = None
        self.end_reason = "connection-lost"
        self.deadline = 0.0
        """When the handshake, the upgrade or the closing must be done (monotonic seconds); kept by the gateway."""
        self.slot = 0
        self.awaiting_pong = False
        self.started = False
        """The first byte of a TLS handshake has arrived."""
        self.requested = False
        """The upgrade request has been read."""

    # ------------------------------------------------------------ from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.remote_address = str(peer[0]) if peer else ""
        if not self._edge.arrived(self):
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.awaiting_pong = False  # any byte shows that the charger is there
        if self._new_tls is not None and not self.started:
            self.started = True
            if not self._edge.may_begin_handshake(self):
                self._held = data
                self.transport.pause_reading()
                return
        self._take(data)

    def begin_handshake(self) -> None:
        """The handshake that had to wait may begin."""
        data, self._held = self._held, b""
        self.transport.resume_reading()
        self._take(data)

    def eof_received(self) -> bool:
        return False  # the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(self.end_reason)
        self._edge.lost(self)
        # The session and its actor may live on for what they owe: what the connection was made of, 50 KB, must not.
        if self.tls is not None:
            self.tls.close_notify()  # to nobody: a TLS session whose end was never said cannot be resumed
        self.tls = self._websocket = self._backlog = None

    # ------------------------------------------------------------ inwards

    def _take(self, data: bytes) -> None:
        try:
            self._read(data)
        except ssl.SSLError:
            self._flush_tls()  # the alert that tells the peer why
            self.end_reason = "tls-error"
            self._close_transport()
        except Exception:  # noqa: BLE001 - the outermost handler of this edge: one charger's bytes cost one connection
            _LOG.exception("connection failed", extra={"remote_address": self.remote_address})
            self.abort("internal-error")

    def _read(self, data: bytes) -> None:
        if self._new_tls is None:
            self._take_plain(data)
            return
        tls = self.tls
        if tls is None:
            tls = self.tls = self._new_tls()
        was_established = tls.established
        plain = tls.feed(data)
        self._flush_tls()
        if tls.established and not was_established:
            self._edge.handshake_finished(self)
        if plain:
            self._take_plain(plain)
        if tls.ended:
            self._close_transport()

    def _take_plain(self, data: bytes) -> None:
        websocket = self._websocket
        if websocket is None:
            websocket = self._websocket = self._edge.new_protocol()
        if websocket.state is State.CLOSED or websocket.eof_sent:
            return
        if self._alignment.is_between_messages and websocket.state is State.OPEN:
            text = text_frame.unframed(data, self._max_bytes)
            if text is not None:
                self._message(text)
                return
        websocket.receive_data(data)
        self._alignment.given(data)
        for event in websocket.events_received():
            if isinstance(event, Request):
                self._alignment.upgraded(data)
                self.requested = True
                self.session = self._edge.upgrade(self, websocket, event)
                self._flush()
                if self.session is not None:
                    self._edge.opened(self, self.session)
            elif isinstance(event, Frame):
                self._alignment.came_back(event)
                self._frame(event)
        self._flush()

    def _frame(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.TEXT if frame.fin:
                self._message(bytes(frame.data))
            case Opcode.TEXT:
                self._parts = [bytes(frame.data)]
            case Opcode.CONT if self._parts is not None:
                self._parts.append(bytes(frame.data))
                if frame.fin:
                    parts, self._parts = self._parts, None
                    self._message(b"".join(parts))
            case Opcode.BINARY:
                self.fail(_UNSUPPORTED_DATA, "OCPP frames are text")
            case Opcode.CLOSE:
                self.end_reason = "closed-by-charger"
            case _:
                pass

    def _message(self, data: bytes) -> None:
        if self._holding:
            if self._backlog is None:
                self._backlog = deque()
            self._backlog.append(data)
        elif self.session is not None and not self.session.ended:
            self.session.received(data)

    # ------------------------------------------------------------ for the session

    def hold(self) -> None:
        """Read no further until `release`; what has been read already waits."""
        if not self._holding:
            self._holding = True
            self.transport.pause_reading()

    def release(self) -> None:
        """Take up reading where it was held."""
        if not self._holding or self.transport.is_closing():
            return
        self._holding = False
        while self._backlog and not self._holding:
            self._message(self._backlog.popleft())
        if not self._holding:
            self._backlog = None
            self.transport.resume_reading()

    def write_text(self, data: bytes) -> None:
        websocket = self._websocket
        if websocket is not None and websocket.state is State.OPEN and not self.transport.is_closing():
            # What `websockets` has to say is always flushed at once, so nothing is overtaken.
            plain = text_frame.framed(data)
            self._write(self.tls.seal(plain) if self.tls is not None else plain)

    def ping(self) -> None:
        """Ask for a sign of life; the gateway looks for it later."""
        websocket = self._websocket
        if websocket is not None and websocket.state is State.OPEN:
            self.awaiting_pong = True
            websocket.send_ping(b"")
            self._flush()

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; the session is over at once."""
        websocket = self._websocket
        if websocket is None or websocket.state is not State.OPEN:
            if not self.transport.is_closing():
                self.abort(reason)
            return
        self.end_reason = reason
        websocket.send_close(code, _shortened(reason))
        self._flush()
        self._end(reason)
        self._reads_to_the_end()
        self._edge.closing(self)

    def fail(self, code: int, reason: str) -> None:
        """Close because the charger broke the protocol; nothing more is read."""
        if self._websocket is not None:
            self._websocket.fail(code, _shortened(reason))
            self._flush()

    def abort(self, reason: str) -> None:
        """Drop the connection now."""
        self.end_reason = reason
        self._end(reason)
        self.transport.abort()

    # ------------------------------------------------------------ outwards

    def _flush(self) -> None:
        websocket = self._websocket
        if websocket is None:
            return
        chunks = websocket.data_to_send()
        if not chunks:
            return
        data = b"".join(chunks)
        if data and not self.transport.is_closing():
            self._write(self.tls.seal(data) if self.tls is not None else data)
        if not chunks[-1]:  # `websockets` marks the end of what it will send by an empty chunk
            self._finish(websocket)

    def _finish(self, websocket: ServerProtocol) -> None:
        if self.end_reason == "connection-lost" and websocket.close_sent is not None:
            too_big = websocket.close_sent.code == _MESSAGE_TOO_BIG
            self.end_reason = "message-too-big" if too_big else "protocol-error"
        self._end(self.end_reason)
        if self.tls is not None and not self.transport.is_closing():
            self._write(self.tls.close_notify())
        self._close_transport()

    def _close_transport(self) -> None:
        """Close once what is written has left; the gateway drops it if that takes too long."""
        if not self.transport.is_closing():
            self._reads_to_the_end()
            self.transport.close()
            self._edge.closing(self)

    def _flush_tls(self) -> None:
        if self.tls is not None:
            data = self.tls.unsent()
            if data and not self.transport.is_closing():
                self._write(data)

    def _write(self, data: bytes) -> None:
        if data:
            self.transport.write(data)
            self._edge.wrote(self)

    # ------------------------------------------------------------ the end

    def _reads_to_the_end(self) -> None:
        if self._holding:
            self._holding = False
            self._backlog = None
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _end(self, reason: str) -> None:
        if self.session is not None:
            self.session.end(reason)


def _shortened(reason: str) -> str:
    """A close frame's reason has 123 bytes at most."""
    return reason.encode()[:_CLOSE_REASON_MAX_BYTES].decode(errors="ignore")


def abort_all(connections: Iterable[Connection], reason: str) -> None:
    """Drop these connections now."""
    for connection in list(connections):
        connection.abort(reason)
