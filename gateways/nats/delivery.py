"""The inbox of one push consumer, and what a delivery's reply subject tells of its place."""

import asyncio
import contextlib
import secrets
from collections import deque
from typing import NamedTuple

from bfactors.errors import Unavailable
from gateways.nats.connection import NatsConnection
from gateways.nats.message import Message
from gateways.nats.registration import Registration

_TOKENS = 9
_TOKENS_AHEAD = 2


class Stored(NamedTuple):
    """One message of a stream. `pending`: how many the stream holds behind it."""

    sequence: int
    subject: str
    payload: bytes
    headers: dict[str, str]
    pending: int


class Skipped(Exception):
    """The consumer's numbering has a hole, or it fell silent: it must be made anew."""


class Delivery:
    """The inbox of one consumer on one connection."""

    def __init__(self, connection: NatsConnection) -> None:
        self._connection = connection
        self.subject = f"{connection.settings.inbox_prefix}.{secrets.token_hex(8)}"
        self.queue: deque[Message] = deque()
        self.consumer_sequence = 0
        self._registration: Registration | None = None
        self._arrived = asyncio.Event()
        self._lost = False
        self._is_silent = False
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        self._connection.on_lost(self._on_lost)
        self._registration = await self._connection.subscribe_here(self.subject, self._receive)

    async def arrived(self, within_s: float) -> None:
        """Return once something is in the queue; raises Skipped when nothing more can come, or came `within_s`."""
        if self.queue:
            return
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()  # what came while nobody waited is not held against it
        if self._watch is None:
            self._watch = loop.call_later(within_s, self._look, within_s)
        while not self.queue:
            if self._lost:
                raise Skipped("the connection was lost")
            if self._is_silent:
                raise Skipped("no heartbeat")
            self._arrived.clear()
            await self._arrived.wait()

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._connection.forget_lost(self._on_lost)
        if self._registration is not None:
            with contextlib.suppress(Unavailable):
                await self._connection.unsubscribe(self._registration)

    def _receive(self, message: Message) -> None:
        self.queue.append(message)
        self._arrived.set()

    def _look(self, within_s: float) -> None:
        """One timer left standing, moved on when it rings: a timer a message costs more than the message."""
        loop = asyncio.get_running_loop()
        silent_at = self._heard_at + within_s
        self._watch = None
        if self.queue:
            return  # whoever waits again sets it again
        if silent_at > loop.time():
            self._watch = loop.call_at(silent_at, self._look, within_s)
        else:
            self._is_silent = True
            self._arrived.set()

    def _on_lost(self) -> None:
        self._lost = True
        self._arrived.set()


def stored(message: Message) -> tuple[Stored, int]:
    """The message with its place in the stream, and its number among the consumer's deliveries.

    The reply subject says it: `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`,
    in newer servers with domain and account hash ahead of the stream. Raises Skipped for anything else.
    """
    tokens = message.reply.split(".")
    shift = 0 if len(tokens) == _TOKENS else _TOKENS_AHEAD
    try:
        place = Stored(
            int(tokens[5 + shift]),
            message.subject,
            message.payload,
            dict(message.headers or {}),
            int(tokens[8 + shift]),
        )
        return place, int(tokens[6 + shift])
    except (IndexError, ValueError):
        raise Skipped(f"a message that is no delivery (status {message.status!r})") from None
