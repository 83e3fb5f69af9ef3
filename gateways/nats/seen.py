"""Who is connected, told once a minute by every connect node and held in core's memory: what `last_seen_at` is made of.

It never passes through the ledger and nothing is decided by it, so it is plain core NATS: a snapshot that is lost is replaced
by the next one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from bfactors import subject
from bfactors.errors import Unavailable
from bfactors.ports import Clock
from gateways.nats.background import begun, ended
from gateways.nats.connection import NatsConnection
from gateways.nats.message import Message
from gateways.nats.registration import Registration

_LOG = logging.getLogger(__name__)

EVERY_S = 60.0
CHARGERS_PER_MESSAGE = 4_000
"""Keeps a message under 1 MB, the server's usual bound, with charger ids of any allowed length."""
REMEMBERED = timedelta(hours=1)
"""Whoever has not been seen for so long ended a session meanwhile, and the ledger knows when."""

_DECODER = msgspec.json.Decoder(tuple[str, ...])


class SeenReporter:
    """A connect node's snapshots; I/O lane only. `connected` names the chargers with an open session."""

    def __init__(
        self,
        connection: NatsConnection,
        node: str,
        incarnation: str,
        connected: Callable[[], Sequence[str]],
        *,
        every_s: float = EVERY_S,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._connection = connection
        self._subject = subject.seen(node, incarnation)
        self._connected = connected
        self._every_s = every_s
        self._wait = wait
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = begun(self._run(), "seen reporter")

    async def stop(self) -> None:
        await ended(self._task)

    async def _run(self) -> None:
        while True:
            await self._wait(self._every_s)
            chargers = self._connected()
            try:
                for first in range(0, len(chargers), CHARGERS_PER_MESSAGE):
                    part = chargers[first : first + CHARGERS_PER_MESSAGE]
                    await self._connection.publish(self._subject, msgspec.json.encode(part))
            except Unavailable:
                continue  # the next snapshot says it all again


class SeenWatch:
    """What all nodes' snapshots say, in one core node's memory; I/O lane only."""

    def __init__(self, connection: NatsConnection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._seen: dict[str, datetime] = {}
        self._swept_at = clock.now()
        self._registration: Registration | None = None

    async def start(self) -> None:
        self._registration = await self._connection.subscribe(subject.SEEN_FILTER, self._told)

    async def stop(self) -> None:
        if self._registration is not None:
            await self._connection.unsubscribe(self._registration)

    def last_seen(self, charger_id: str) -> datetime | None:
        """When a node last said that the charger is connected; None if none has within the last hour."""
        return self._seen.get(charger_id)

    def __len__(self) -> int:
        return len(self._seen)

    def _told(self, message: Message) -> None:
        try:
            chargers = _DECODER.decode(message.payload)
        except msgspec.DecodeError as error:
            _LOG.error("a snapshot on %s was not understood: %s", message.subject, error)
            return
        now = self._clock.now()
        self._seen.update(dict.fromkeys(chargers, now))
        if now - self._swept_at > REMEMBERED:
            self._swept_at = now
            self._seen = {who: at for who, at in self._seen.items() if now - at <= REMEMBERED}
