"""The process's connection to NATS: one client object per TCP connection, dialled again for ever.

    dialling ──► connected ──► lost ──► dialling ...        close() ends it from anywhere

The client library's own reconnection is switched off: it gives up for good on some server errors, waits without jitter
and replays what it had buffered. Here every loss takes the same road: a new client, our subscriptions made again, and
everyone who must act told so. Everything but the constructor belongs to one loop, the I/O lane's.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import nats.errors

from bfactors.errors import Unavailable
from gateways.nats.client import LeanClient
from gateways.nats.message import Message
from gateways.nats.registration import Registration
from gateways.nats.settings import NatsSettings

_LOG = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5
DIAL_TIMEOUT_S = 15
FLUSH_TIMEOUT_S = 2
PING_INTERVAL_S = 10
UNANSWERED_PINGS = 2
PENDING_BYTES = 8 * 1024 * 1024
FIRST_PAUSE_S = 0.1
LOOK_S = 0.5
DIFFERENT_ERRORS_LOGGED = 50

_SOCKET_ERRORS = (OSError, RuntimeError, nats.errors.Error)
"""RuntimeError is what uvloop says of a transport that is closed already."""
_DIAL_ERRORS = (*_SOCKET_ERRORS, ValueError, TimeoutError)


class NatsConnection:
    """Keeps a client connected. `wait` and `jitter` (0..1) are injected by tests of the pauses."""

    def __init__(
        self,
        settings: NatsSettings,
        *,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self._wait = wait
        self._jitter = jitter
        self._client: Any = None
        self._connected = asyncio.Event()
        self._registrations: dict[Registration, None] = {}
        self._on_connected: list[Callable[[], None]] = []
        self._on_lost: list[Callable[[], None]] = []
        self._errors_logged: set[str] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- state ------------------------------------------------------------------------------------

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop this connection lives on."""
        assert self._loop is not None, "NatsConnection.start must be called first"
        return self._loop

    @property
    def healthy(self) -> bool:
        """Whether messages leave just now."""
        return self._client is not None and bool(self._client.is_connected)

    @property
    def max_payload_bytes(self) -> int:
        """The largest payload (with headers) the server takes."""
        return int(self._client.max_payload) if self._client is not None else 1024 * 1024

    async def connected(self) -> None:
        """Wait until there is a connection."""
        await self._connected.wait()

    def on_connected(self, called: Callable[[], None]) -> None:
        """Have `called` run after every connect, the first included; at once if there is a connection already."""
        self._on_connected.append(called)
        if self._connected.is_set():
            called()

    def on_lost(self, called: Callable[[], None]) -> None:
        """Have `called` run whenever the connection is lost, and when it is closed."""
        self._on_lost.append(called)

    def forget_lost(self, called: Callable[[], None]) -> None:
        """Undo `on_lost`; harmless when it was never asked for."""
        if called in self._on_lost:
            self._on_lost.remove(called)

    # -- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to dial; `connected` waits for success. To be called on the loop that will own the connection."""
        self._loop = asyncio.get_running_loop()
        self._keeper = self._loop.create_task(self._keep_connected(), name="nats connection")

    async def close(self, budget_s: float = 2.0) -> None:
        """Flush and close; whatever is not done after `budget_s` is abandoned."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        try:
            async with asyncio.timeout(budget_s):
                await self.flush()
                keeper.cancel()
                await asyncio.wait({keeper})
        except TimeoutError:
            keeper.cancel()
            _LOG.warning("NATS did not close within %.1f s", budget_s)

    async def _keep_connected(self) -> None:
        failures = 0
        while True:
            closed = asyncio.Event()
            client = LeanClient()
            try:
                if not await self._dial(client, closed):
                    failures += 1
                    await self._pause(failures)
                    continue
                failures = 0
                self._client = client
                self._connected.set()
                _LOG.info("connected to NATS as %s", self.settings.name)
                self._tell(self._on_connected)
                await _lost(client, closed)
                _LOG.warning("lost the connection to NATS")
            finally:
                was_connected = self._client is not None
                self._client = None
                self._connected.clear()
                if was_connected:
                    self._tell(self._on_lost)
                await _discard(client)
            await self._pause(0)

    async def _dial(self, client: Any, closed: asyncio.Event) -> bool:
        async def on_closed() -> None:
            closed.set()

        settings = self.settings
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                await client.connect(
                    servers=list(settings.servers),
                    nkeys_seed=str(settings.seed_file),
                    inbox_prefix=settings.inbox_prefix,
                    name=settings.name,
                    tls=settings.tls,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,  # of the first dial: each server twice, then we are told
                    reconnect_time_wait=0,
                    connect_timeout=CONNECT_TIMEOUT_S,
                    ping_interval=PING_INTERVAL_S,
                    max_outstanding_pings=UNANSWERED_PINGS,
                    pending_size=PENDING_BYTES,
                    flush_timeout=FLUSH_TIMEOUT_S,
                    error_cb=self._note_error,
                    closed_cb=on_closed,
                )
                attached: set[Registration] = set()
                while missing := [each for each in self._registrations if each not in attached]:
                    for registration in missing:
                        await registration.attach(client)
                    attached.update(missing)
                    await client.flush()  # meanwhile more may have been registered
        except _DIAL_ERRORS as error:
            await self._note_error(error)
            return False
        # An INFO between CONNECT and PONG leaves the library half connected.
        return bool(client.is_connected) and not closed.is_set()

    async def _pause(self, failures: int) -> None:
        longest = min(self.settings.longest_pause_s, FIRST_PAUSE_S * 2.0 ** min(failures, 10))
        await self._wait(longest * (0.5 + 0.5 * self._jitter()))

    async def _note_error(self, error: Exception) -> None:
        """Log each different error once: a slow consumer or a refused subject would otherwise log per message."""
        text = f"{type(error).__name__}: {error}"[:300]
        if text in self._errors_logged:
            return
        if len(self._errors_logged) >= DIFFERENT_ERRORS_LOGGED:
            self._errors_logged.clear()
        self._errors_logged.add(text)
        _LOG.warning("NATS: %s", text)

    def _tell(self, listeners: list[Callable[[], None]]) -> None:
        for listener in list(listeners):
            try:
                listener()
            except Exception:  # noqa: BLE001 - as in Registration: nobody's failure may end the connection
                _LOG.exception("a listener of the NATS connection failed")

    # -- messages ---------------------------------------------------------------------------------

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send without acknowledgement. Raises Unavailable."""
        client = self._client
        if client is None or not client.is_connected:
            raise Unavailable("NATS", "not connected")
        try:
            await client.publish(subject, payload, reply, headers)
        except _SOCKET_ERRORS as error:
            raise Unavailable("NATS", type(error).__name__) from error

    def post(self, subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None) -> bool:
        """As `publish`, at once; False where that has to wait, and then nothing was sent. Raises Unavailable."""
        client = self._client
        if client is None or not client.is_connected:
            raise Unavailable("NATS", "not connected")
        try:
            return bool(client.post(subject, payload, reply, headers))
        except _SOCKET_ERRORS as error:
            raise Unavailable("NATS", type(error).__name__) from error

    async def flush(self) -> None:
        """Return once the server has seen what was sent so far; without a connection, at once."""
        client = self._client
        if client is not None:
            with contextlib.suppress(*_SOCKET_ERRORS):
                # The library's ping overtakes what it has buffered and then sends the buffer, so that only the answer
                # to a second one comes behind it.
                await client.flush(FLUSH_TIMEOUT_S)
                await client.flush(FLUSH_TIMEOUT_S)

    async def subscribe(
        self, subject: str, deliver: Callable[[Message], None], *, queue: str = ""
    ) -> Registration:
        """Have `deliver` called for every message, now and on every later connection, until `unsubscribe`.

        Of those subscribed under one `queue` each message reaches one.
        """
        registration = Registration(subject, deliver, queue)
        self._registrations[registration] = None
        if self._client is not None:
            with contextlib.suppress(*_SOCKET_ERRORS):  # lost just now: the next dial attaches it
                await registration.attach(self._client)
        return registration

    async def subscribe_here(self, subject: str, deliver: Callable[[Message], None]) -> Registration:
        """As `subscribe`, for the present connection only. Raises Unavailable."""
        registration = Registration(subject, deliver)
        if self._client is None:
            raise Unavailable("NATS", "not connected")
        try:
            await registration.attach(self._client)
        except _SOCKET_ERRORS as error:
            raise Unavailable("NATS", type(error).__name__) from error
        return registration

    async def unsubscribe(self, registration: Registration) -> None:
        """Stop delivery; harmless when it has stopped already."""
        self._registrations.pop(registration, None)
        await registration.detach()


async def _lost(client: Any, closed: asyncio.Event) -> None:
    """Return once the client is of no more use.

    Its callback alone does not tell: closing with unsent bytes on a socket that was reset, the library fails on uvloop
    (RuntimeError from the closed transport) before it gets as far as the callback, and is closed all the same.
    """
    while client.is_connected:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await closed.wait()
                return


async def _discard(client: Any) -> None:
    """Close a client whatever state it is in, without waiting for a dead peer."""
    with contextlib.suppress(*_DIAL_ERRORS, AttributeError, AssertionError):
        async with asyncio.timeout(1):
            await client.close()
