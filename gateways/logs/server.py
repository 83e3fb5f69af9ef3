"""A listener for uploads alone: bounded connections and heads, its own TLS, no access log."""

import asyncio
import logging
import ssl
from contextlib import suppress
from typing import Any

from aiohttp import web

from bfactors.errors import SettingsError
from bfactors.ports import Clock, Metrics
from gateways.logs.application import upload_handler
from gateways.logs.receiver import LogReceiver

_LOG = logging.getLogger(__name__)

LINE_MAX_BYTES = 4096
HEADERS_MAX = 64
TLS_WITHIN_S = 10.0
SWEEP_EVERY_S = 1.0
CLOSE_WITHIN_S = 5.0


class LogServer:
    """The receiver behind a socket. `sweep` enforces every time limit by the clock it was given."""

    def __init__(self, receiver: LogReceiver, clock: Clock, metrics: Metrics) -> None:
        self._receiver = receiver
        self._clock = clock
        self._metrics = metrics
        self._open: set[_Connection] = set()
        self._runner: web.ServerRunner | None = None
        self._listener: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self.port = 0

    async def start(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
        *,
        sweep_every_s: float = SWEEP_EVERY_S,
    ) -> None:
        """Listen; port 0 takes a free one. Raises SettingsError: the address is taken or not ours; Unavailable: the store."""
        await self._receiver.start()
        server = web.Server(upload_handler(self._receiver, self._metrics))
        runner = web.ServerRunner(server, shutdown_timeout=CLOSE_WITHIN_S)
        await runner.setup()
        loop = asyncio.get_running_loop()

        def connect() -> _Connection:
            return _Connection(
                server,
                loop=loop,
                access_log=None,  # type: ignore[arg-type] # how aiohttp's own runner turns it off
                max_line_size=LINE_MAX_BYTES,
                max_field_size=LINE_MAX_BYTES,
                max_headers=HEADERS_MAX,
                lingering_time=0,  # the application drains, by bytes and time
                keepalive_timeout=0,  # one request each; `sweep` bounds the head
                # Unpacking would store what the charger did not send, without bound.
                auto_decompress=False,
            ).within(self)

        timeout = TLS_WITHIN_S if tls is not None else None
        try:
            self._listener = await loop.create_server(
                connect, host.strip("[]"), port, ssl=tls, backlog=128, ssl_handshake_timeout=timeout
            )
        except OSError as error:
            await runner.cleanup()
            raise SettingsError(
                f"the log receiver cannot listen on {host}:{port}: {error.strerror}"
            ) from None
        self._runner = runner
        self.port = self._listener.sockets[0].getsockname()[1]
        self._sweeping = loop.create_task(self._sweep_for_ever(sweep_every_s))

    async def close(self) -> None:
        """Stop listening, give uploads a moment, cut the rest and tidy up after them."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeping
        if self._listener is not None:
            self._listener.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._receiver.close()

    def sweep(self) -> None:
        """End slow uploads and connections whose head does not come."""
        self._receiver.sweep()
        now = self._clock.monotonic()
        for connection in tuple(self._open):
            if now - connection.opened_at >= self._receiver.limits.pace.head_s and connection.is_silent:
                self._metrics.count("bf_log_uploads", outcome="no-request")
                connection.force_close()

    def opened(self, connection: "_Connection") -> bool:
        """Whether there is room for one more."""
        if len(self._open) >= self._receiver.limits.connections:
            self._metrics.count("bf_log_uploads", outcome="connections")
            return False
        connection.opened_at = self._clock.monotonic()
        self._open.add(connection)
        return True

    def closed(self, connection: "_Connection") -> None:
        self._open.discard(connection)

    async def _sweep_for_ever(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            self.sweep()


class _Connection(web.RequestHandler):
    """aiohttp's connection for one request, with its head's time counted and nothing of it repeated in answers or logs."""

    __slots__ = ("_owner", "opened_at")

    _owner: LogServer
    opened_at: float

    def within(self, owner: LogServer) -> "_Connection":
        self._owner = owner
        self.opened_at = 0.0
        return self

    @property
    def is_silent(self) -> bool:
        """Whether no complete head has come yet."""
        return self._request_count == 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._owner.opened(self):
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._owner.closed(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Called by aiohttp for broken requests; its own text and log would repeat what was sent."""
        _LOG.debug("log upload not readable: %s", type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun, nothing can be put in its place")
        response = web.Response(status=status)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """The type alone."""
        error = kw.get("exc_info")
        _LOG.error("log upload connection failed: %s", type(error).__name__)
