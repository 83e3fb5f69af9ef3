"""Evidence into its partition's stream: stored before anyone answers or acts on it."""

import msgspec

from bfactors import subject
from bfactors.errors import Unavailable
from bfactors.evidence import Evidence, kind_name
from bfactors.identity import FLEET, partition_of
from gateways.nats.publication import MESSAGE_ID, NotStored, Publication
from gateways.nats.publisher import AckedPublisher

_ENCODER = msgspec.json.Encoder()


class NatsEvidenceLog:
    """`bfactors.ports.EvidenceLog` over JetStream; the evidence id is the message id, so a repeat is stored once."""

    def __init__(self, publisher: AckedPublisher, node: str) -> None:
        self._publisher = publisher
        self._node = node

    async def append(self, evidence: Evidence, partition: int | None = None) -> None:
        """The partition is the charger's own unless named; facts without a charger are the fleet's.

        Raises Unavailable: not acknowledged in time (it may be stored all the same), or the stream is full."""
        said = await self._publisher.publish(
            Publication(
                subject.evidence(
                    evidence_partition(evidence.charger_id) if partition is None else partition,
                    self._node,
                    kind_name(evidence.body),
                    evidence.evidence_id,
                ),
                _ENCODER.encode(evidence),
                {MESSAGE_ID: evidence.evidence_id},
            )
        )
        if isinstance(said, NotStored):
            raise Unavailable("NATS", said.description)


def evidence_partition(charger_id: str) -> int:
    """The partition that decides on evidence about a charger; facts about a node or an address are the fleet's."""
    return partition_of(charger_id) if charger_id else FLEET
