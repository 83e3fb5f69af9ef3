"""Which connect nodes live, as core sees it: who appears, who lapses, and who was gone before core looked.

present ──renewed──► present        ──leaving or lapsed──► lost
            └──lapsed while NATS itself had been away──► suspected ──renewed──► present
                                                             └──one TTL later──► lost
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

import msgspec

from bfactors import subject
from bfactors.evidence import Evidence, NodeLost, evidence_id
from bfactors.identity import name_of_token
from bfactors.ports import Clock
from gateways.nats.connection import NatsConnection
from gateways.nats.ordered_stream import HEARTBEAT_S, OrderedStream, Stored
from gateways.nats.presence import Presence
from gateways.nats.replies import Replies

_LOG = logging.getLogger(__name__)

NODE_TTL_S = 10.0

Incarnation = tuple[str, str]
"""(node, incarnation)"""

_MARKER = "Nats-Marker-Reason"
_DECODER = msgspec.json.Decoder(Presence)


class NodeWatch:
    """Calls `lost(node, incarnation)` once per incarnation and `present(presence)` for every renewal, on the I/O lane.

    After NATS was away every node's presence has lapsed, whether it lives or not: so a lapse is believed only when the
    watch has been live for one TTL, during which a living node renews.
    """

    def __init__(
        self,
        connection: NatsConnection,
        replies: Replies,
        *,
        lost: Callable[[str, str], None],
        present: Callable[[Presence], None] = lambda _: None,
        ttl_s: float = NODE_TTL_S,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._lost = lost
        self._present = present
        self._ttl_s = ttl_s
        self._known: dict[Incarnation, Presence] = {}
        self._suspected: set[Incarnation] = set()
        self._reported: set[Incarnation] = set()
        self._trusted = False
        self._judgement: asyncio.TimerHandle | None = None
        self._connection = connection
        self._stream = OrderedStream(
            connection, replies, subject.STREAM_NODE, start="last-per-subject", heartbeat_s=heartbeat_s
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._connection.on_lost(self._distrust)
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="watch nodes")

    async def stop(self) -> None:
        self._connection.forget_lost(self._distrust)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._judgement is not None:
            self._judgement.cancel()

    @property
    def nodes(self) -> list[Presence]:
        """The incarnations that live, as far as is known."""
        return list(self._known.values())

    def compare(self, with_sessions: Iterable[Incarnation]) -> None:
        """At take-over: incarnations the ledger believes to hold sessions; those that do not live are reported lost."""
        for incarnation in with_sessions:
            if incarnation not in self._known:
                self._suspect(incarnation)

    async def _watch(self) -> None:
        batches = self._stream.batches()
        try:
            async for batch in batches:
                for stored in batch.messages:
                    self._apply(stored)
                if batch.caught_up and not self._trusted and self._judgement is None:
                    self._judgement = self._connection.loop.call_later(self._ttl_s, self._judge)
        finally:
            await batches.aclose()

    def _apply(self, stored: Stored) -> None:
        node, incarnation = (name_of_token(token) for token in stored.subject.split(".")[-2:])
        if _MARKER in stored.headers:
            self._suspect((node, incarnation))
            return
        try:
            presence = _DECODER.decode(stored.payload)
        except msgspec.DecodeError as error:
            _LOG.error("the presence of node %r is unreadable: %s", node, error)
            return
        if (presence.node, presence.incarnation) != (node, incarnation):
            _LOG.error("the presence of node %r names another one", node)
        elif presence.leaving:
            self._report((node, incarnation))
        else:
            self._suspected.discard((node, incarnation))
            self._reported.discard((node, incarnation))
            self._known[node, incarnation] = presence
            self._present(presence)

    def _suspect(self, incarnation: Incarnation) -> None:
        if self._trusted:
            self._report(incarnation)
        else:
            self._suspected.add(incarnation)

    def _judge(self) -> None:
        """The watch has been live for one TTL: whoever lives has renewed."""
        self._judgement = None
        self._trusted = True
        for incarnation in list(self._suspected):
            self._report(incarnation)

    def _distrust(self) -> None:
        self._trusted = False
        if self._judgement is not None:
            self._judgement.cancel()
            self._judgement = None
        # What lapses while nobody can see it leaves no marker we are sure to read: everyone has to show up again.
        self._suspected.update(self._known)

    def _report(self, incarnation: Incarnation) -> None:
        self._suspected.discard(incarnation)
        self._known.pop(incarnation, None)
        if incarnation not in self._reported:
            self._reported.add(incarnation)
            self._lost(*incarnation)


def node_lost(node: str, incarnation: str, clock: Clock) -> Evidence:
    """The evidence of a lapse; every core node that sees it makes the same id."""
    return Evidence(
        evidence_id=evidence_id("node-lost", node, incarnation),
        charger_id="",
        source=f"node:{node}",
        observed_at=clock.now(),
        body=NodeLost(node=node, incarnation=incarnation),
    )
