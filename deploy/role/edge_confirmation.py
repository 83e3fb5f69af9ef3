"""When every live gateway refuses what was revoked: found in their signs of life, put into evidence once.

A node says with each sign of life how far it holds the admission bucket. So one message of a node confirms everything written
until then, however many chargers that is, and without revocations nobody says anything that is not said anyway.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from bfactors.admission import AdmissionPlace
from bfactors.errors import Unavailable
from bfactors.evidence import Evidence, RefusalConfirmed, evidence_id
from bfactors.ports import Clock, EvidenceLog
from gateways.nats.crossing import Crossing
from gateways.nats.presence import Presence

_LOG = logging.getLogger(__name__)
RETRY_S = 1.0


class _Expected(NamedTuple):
    charger_id: str
    revision: int
    place: AdmissionPlace


class EdgeConfirmations:
    """`bfactors.ports.EdgeWatch`. Everything but `expect` on the I/O lane.

    `nodes()` are those that live, None before that is known. Every core node may say the same; ids make it once.
    """

    def __init__(
        self,
        evidence_log: EvidenceLog,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        nodes: Callable[[], Iterable[Presence] | None],
    ) -> None:
        self._evidence_log = evidence_log
        self._clock = clock
        self._nodes = nodes
        self._expected: dict[str, _Expected] = {}
        self._arriving: Crossing[_Expected] = Crossing(loop, self._arrived)
        self._tasks: set[asyncio.Task[None]] = set()

    def expect(self, charger_id: str, revision: int, place: AdmissionPlace) -> None:
        """The newest record of a charger is the one to be confirmed: it refuses what the ones before did."""
        self._arriving.put(_Expected(charger_id, revision, place))

    def __len__(self) -> int:
        """How many chargers' records wait for a gateway."""
        return len(self._expected)

    def _arrived(self, expected: _Expected) -> None:
        self._expected[expected.charger_id] = expected
        self.look()

    def look(self) -> None:
        """A node said something, or is lost."""
        nodes = self._nodes() if self._expected else None
        if nodes is None:
            return
        admitting = [node for node in nodes if node.admission is not None]
        places = {node.admission for node in admitting if node.admission is not None}
        names = tuple(sorted({node.node for node in admitting}))
        for expected in [each for each in self._expected.values() if all(p.has(each.place) for p in places)]:
            del self._expected[expected.charger_id]
            self._confirm(expected, names)

    def _confirm(self, expected: _Expected, nodes: tuple[str, ...]) -> None:
        now = self._clock.now()
        evidence = Evidence(
            evidence_id=evidence_id("refused-at-edge", expected.charger_id, str(expected.revision)),
            charger_id=expected.charger_id,
            source="connect",
            observed_at=now,
            body=RefusalConfirmed(revision=expected.revision, nodes=nodes, at=now),
        )
        task = asyncio.get_running_loop().create_task(self._until_stored(evidence))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_stored(self, evidence: Evidence) -> None:
        while True:
            try:
                await self._evidence_log.append(evidence)
            except Unavailable as away:
                _LOG.info("the confirmation of a refusal waits: %s", away)
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def stop(self) -> None:
        """Say nothing more: whoever owns the partition next asks anew."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
