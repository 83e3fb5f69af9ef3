"""Connect nodes' comings and goings, put into evidence: their trust for the fleet, their loss for everyone."""

import asyncio
import logging
from collections.abc import Iterable

from bfactors import evidence as v
from bfactors.errors import Unavailable
from bfactors.identity import PARTITIONS
from bfactors.ports import Clock, EvidenceLog
from deploy.role.edge_confirmation import EdgeConfirmations
from gateways.nats.gateway import NatsGateway
from gateways.nats.node_watch import LostNode, NodeWatch, node_lost
from gateways.nats.presence import Presence

_LOG = logging.getLogger(__name__)
RETRY_S = 1.0


class NodeReports:
    """Watches presence and appends evidence; every core node may do so, ids make it once."""

    def __init__(self, nats: NatsGateway, evidence_log: EvidenceLog, clock: Clock) -> None:
        self.edge = EdgeConfirmations(
            evidence_log,
            clock,
            nats.connection.loop,
            lambda: self._watch.nodes if self._watch.has_looked else None,
        )
        self._evidence_log = evidence_log
        self._clock = clock
        self._told: dict[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch = NodeWatch(nats.connection, nats.replies, lost=self._lost, present=self._present)

    def start(self) -> None:
        """I/O lane."""
        self._watch.start()

    def compare(self, known: Iterable[tuple[str, str]]) -> None:
        """What the ledger believes to live, as (node, incarnation): who shows no sign of life is reported lost.

        A node that died while no core was there to see it would otherwise keep its sessions, and gates closed, for ever.
        """
        self._watch.compare(known)

    async def stop(self) -> None:
        await self._watch.stop()
        await self.edge.stop()
        for task in self._tasks:
            task.cancel()

    @property
    def nodes(self) -> list[Presence]:
        """The connect nodes that live."""
        return self._watch.nodes

    def _present(self, presence: Presence) -> None:
        self.edge.look()
        key = (presence.node, presence.incarnation)
        anchors = tuple(sorted({shown.anchor for shown in presence.server.certificates}))
        if self._told.get(key) == (presence.trust, anchors):
            return
        self._told[key] = (presence.trust, anchors)
        body = v.NodeTrustReported(
            node=presence.node,
            incarnation=presence.incarnation,
            fingerprints=presence.trust,
            server_anchors=anchors,
        )
        evidence = v.Evidence(
            evidence_id=v.evidence_id("node-trust", *key, *presence.trust, self._clock.new_id()),
            charger_id="",
            source=f"node:{presence.node}",
            observed_at=self._clock.now(),
            body=body,
        )
        self._append(evidence, None)

    def _lost(self, lost: LostNode) -> None:
        self._told.pop((lost.node, lost.incarnation), None)
        self.edge.look()
        evidence = node_lost(lost, self._clock)
        for partition in range(PARTITIONS):
            self._append(evidence, partition)

    def _append(self, evidence: v.Evidence, partition: int | None) -> None:
        task = asyncio.get_running_loop().create_task(self._until_stored(evidence, partition))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_stored(self, evidence: v.Evidence, partition: int | None) -> None:
        while True:
            try:
                await self._evidence_log.append(evidence, partition)
            except Unavailable as away:
                _LOG.info("the report of %s waits: %s", v.kind_name(evidence.body), away)
                await asyncio.sleep(RETRY_S)
            else:
                return
