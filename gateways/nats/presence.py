"""A connect node's sign of life: one message per incarnation, renewed before it lapses, with the trust it verifies."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from bfactors import subject
from bfactors.admission import AdmissionPlace
from bfactors.errors import Unavailable
from bfactors.server_certificate import Presented
from gateways.nats.background import begun, ended
from gateways.nats.connection import NatsConnection
from gateways.nats.publication import NotStored, Publication
from gateways.nats.publisher import AckedPublisher

_LOG = logging.getLogger(__name__)

RENEW_EVERY_S = 3.0
SOON_S = 0.05
"""However many revocations come, a node speaks up no more often than this between its renewals."""
_UNSAID = AdmissionPlace("", -1)
"""Of a node too old to say."""


class FamilyStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One family's supervisor on one node: `state` is running, paused, draining or failed."""

    name: str
    state: str
    children: int
    restarts: int
    reason: str | None = None


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """One incarnation of a connect node.

    `trust`: fingerprints of the anchors and issuers it verifies just now. `families`: those it knows, a pause it carries out
    included. `server`: the certificates it shows chargers. `admission`: how far it holds the admission records; None: it
    has none yet, and lets nobody in.
    """

    node: str
    incarnation: str
    trust: tuple[str, ...] = ()
    families: tuple[FamilyStanding, ...] = ()
    server: Presented = Presented()
    admission: AdmissionPlace | None = _UNSAID
    leaving: bool = False


class NodePresence:
    """Renews this node's presence every 3 s, at once after a reconnect and whenever its trust changes."""

    def __init__(
        self,
        connection: NatsConnection,
        publisher: AckedPublisher,
        node: str,
        incarnation: str,
        *,
        families: Callable[[], tuple[FamilyStanding, ...]] = tuple,
        renew_every_s: float = RENEW_EVERY_S,
        wait: Callable[[asyncio.Event, float], Awaitable[None]] | None = None,
    ) -> None:
        self._connection = connection
        self._publisher = publisher
        self._presence = Presence(node=node, incarnation=incarnation, admission=None)
        self._sooner: asyncio.TimerHandle | None = None
        self._families = families
        self._renew_every_s = renew_every_s
        self._wait = wait or _wait_or_time
        self._now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = begun(self._renew(), "presence")
        self._connection.on_connected(self._now.set)

    def trust(self, fingerprints: tuple[str, ...]) -> None:
        """Tell what this node's client trust verifies from now on."""
        self._presence = msgspec.structs.replace(self._presence, trust=fingerprints)
        self._now.set()

    def server(self, presented: Presented) -> None:
        """Tell which certificates this node shows chargers from now on."""
        self._presence = msgspec.structs.replace(self._presence, server=presented)
        self._now.set()

    def admits_by(self, place: AdmissionPlace, *, is_news: bool) -> None:
        """Tell how far this node holds the admission records: with the next renewal, or soon if somebody waits for it.

        The first place is told soon whatever came with it: from then on chargers are let in here, and until core knows it
        calls a leaf refused everywhere without having heard this node.
        """
        is_first = self._presence.admission is None
        self._presence = msgspec.structs.replace(self._presence, admission=place)
        if (is_news or is_first) and self._sooner is None:
            self._sooner = asyncio.get_running_loop().call_later(SOON_S, self._renew_now)

    def _renew_now(self) -> None:
        self._sooner = None
        self._now.set()

    async def leave(self) -> None:
        """Stop renewing and say so, that nobody has to wait for the lapse. Never raises."""
        await ended(self._task)
        if self._sooner is not None:
            self._sooner.cancel()
        self._presence = msgspec.structs.replace(self._presence, leaving=True)
        if self._connection.healthy:
            await self._publish()

    async def _renew(self) -> None:
        while True:
            await self._connection.connected()
            self._now.clear()
            await self._publish()
            await self._wait(self._now, self._renew_every_s)

    async def _publish(self) -> None:
        presence = msgspec.structs.replace(self._presence, families=self._families())
        try:
            async with asyncio.timeout(self._renew_every_s):
                said = await self._publisher.publish(
                    Publication(
                        subject.node(presence.node, presence.incarnation), msgspec.json.encode(presence)
                    )
                )
        except (Unavailable, TimeoutError):
            return  # renewed again on reconnect; a lapse meanwhile is for core to judge
        if isinstance(said, NotStored):
            _LOG.warning("the presence of this node was not taken: %s", said.description)


async def _wait_or_time(event: asyncio.Event, longest_s: float) -> None:
    try:
        async with asyncio.timeout(longest_s):
            await event.wait()
    except TimeoutError:
        pass
