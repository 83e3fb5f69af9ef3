"""Which connect nodes live, as core sees it: who appears, who lapses, and who was gone before core looked.

present ──renewed──► present        ──leaving or lapsed──► lost
            └──lapsed while NATS itself had been away──► suspected ──renewed──► present
                                                             └──one TTL later──► lost
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from bfactors import subject
from bfactors.evidence import Evidence, NodeLost, evidence_id
from bfactors.identity import name_of_token
from bfactors.ports import Clock
from gateways.nats.background import begun, ended
from gateways.nats.connection import NatsConnection
from gateways.nats.delivery import Stored
from gateways.nats.ordered_stream import OrderedStream
from gateways.nats.presence import Presence
from gateways.nats.replies import Replies

_LOG = logging.getLogger(__name__)

NODE_TTL_S = 10.0

HEARTBEAT_S = 2.0
"""Well under the TTL: the watch must know that it was blind before it sees what lapsed meanwhile."""

Incarnation = tuple[str, str]
"""(node, incarnation)"""


class LostNode(NamedTuple):
    """An incarnation that is over. `renewal`: the stream sequence of its last sign of life, 0 if none was seen."""

    node: str
    incarnation: str
    renewal: int


_MARKER = "Nats-Marker-Reason"
_DECODER = msgspec.json.Decoder(Presence)


class NodeWatch:
    """Calls `lost` once per incarnation and `present(presence)` for every renewal, on the I/O lane.

    After NATS was away every node's presence has lapsed, whether it lives or not: so a lapse is believed only when the
    watch has been live for one TTL, during which a living node renews.
    """

    def __init__(
        self,
        connection: NatsConnection,
        replies: Replies,
        *,
        lost: Callable[[LostNode], None],
        present: Callable[[Presence], None] = lambda _: None,
        ttl_s: float = NODE_TTL_S,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._lost = lost
        self._present = present
        self._ttl_s = ttl_s
        self._known: dict[Incarnation, Presence] = {}
        self._renewals: dict[Incarnation, int] = {}
        self._suspected: set[Incarnation] = set()
        self._reported: set[Incarnation] = set()
        self._trusted = False
        self._has_looked = False
        self._judgement: asyncio.TimerHandle | None = None
        self._connection = connection
        self._stream = OrderedStream(
            connection,
            replies,
            subject.STREAM_NODE,
            start="last-per-subject",
            heartbeat_s=heartbeat_s,
            interrupted=self._distrust,
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = begun(self._watch(), "watch nodes")

    async def stop(self) -> None:
        await ended(self._task)
        if self._judgement is not None:
            self._judgement.cancel()

    @property
    def has_looked(self) -> bool:
        """Whether every sign of life that was there has been seen once."""
        return self._has_looked

    @property
    def nodes(self) -> list[Presence]:
        """The incarnations that live, as far as is known."""
        return list(self._known.values())

    def compare(self, with_sessions: Iterable[Incarnation]) -> None:
        """At take-over: incarnations the ledger believes to hold sessions; those that show no life within one TTL are
        reported lost."""
        self._suspected.update(each for each in with_sessions if each not in self._known)
        if self._trusted and self._suspected:
            self._judge_later()

    async def _watch(self) -> None:
        batches = self._stream.batches()
        try:
            async for batch in batches:
                for stored in batch.messages:
                    self._apply(stored)
                if batch.caught_up:
                    self._has_looked = True
                    if not self._trusted:
                        self._judge_later()
        finally:
            await batches.aclose()

    def _apply(self, stored: Stored) -> None:
        try:
            _, _, node, incarnation = (name_of_token(token) for token in stored.subject.split("."))
        except ValueError:
            _LOG.error("%s is nobody's presence", stored.subject)
            return
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
            self._renewals[node, incarnation] = stored.sequence
            self._present(presence)

    def _suspect(self, incarnation: Incarnation) -> None:
        if self._trusted:
            self._report(incarnation)
        else:
            self._suspected.add(incarnation)

    def _judge_later(self) -> None:
        if self._judgement is None:
            self._judgement = self._connection.loop.call_later(self._ttl_s, self._judge)

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
        renewal = self._renewals.pop(incarnation, 0)
        if incarnation not in self._reported:
            self._reported.add(incarnation)
            self._lost(LostNode(*incarnation, renewal))


def node_lost(lost: LostNode, clock: Clock) -> Evidence:
    """The evidence of a loss, to be appended to every partition.

    All core nodes that saw the same last sign of life make the same id, so that a slow one cannot end sessions the node
    has restated since; a node that is lost a second time is another fact.
    """
    now = clock.now()
    return Evidence(
        evidence_id=evidence_id(
            "node-lost", lost.node, lost.incarnation, str(lost.renewal) if lost.renewal else now.isoformat()
        ),
        charger_id="",
        source=f"node:{lost.node}",
        observed_at=now,
        body=NodeLost(node=lost.node, incarnation=lost.incarnation),
    )
