"""A charger's other traffic, for the rest of BetterFleet: stored before it counts as handed over."""

import hashlib

from bfactors import subject
from bfactors.errors import Unavailable
from bfactors.evidence import evidence_id
from gateways.nats.publication import MESSAGE_ID, NotStored, Publication
from gateways.nats.publisher import AckedPublisher

ACTION = "Bf-Action"
OCPP_MESSAGE_ID = "Bf-Message-Id"


class NatsRelay:
    """`bfactors.ports.Relay` into the stream `BF_OCPP`; the payload travels as it came, its names in the headers."""

    def __init__(self, publisher: AckedPublisher) -> None:
        self._publisher = publisher

    async def publish(self, charger_id: str, action: str, message_id: str, payload: bytes) -> None:
        """Raises Unavailable."""
        said = await self._publisher.publish(
            Publication(
                subject.ocpp(charger_id),
                payload,
                {
                    ACTION: action,
                    OCPP_MESSAGE_ID: message_id,
                    # With the payload in it: a charger may count from 1 again after every reconnect.
                    MESSAGE_ID: evidence_id(
                        charger_id, action, message_id, hashlib.sha256(payload).hexdigest()
                    ),
                },
            )
        )
        if isinstance(said, NotStored):
            raise Unavailable("NATS", said.description)
