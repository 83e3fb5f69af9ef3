"""Questions for the rest of BetterFleet: a charger's Authorize, answered by whoever serves its decisions."""

from bfactors import subject
from bfactors.errors import Unavailable
from gateways.nats.connection import NatsConnection
from gateways.nats.lanes import run_on
from gateways.nats.relay import ACTION, OCPP_MESSAGE_ID
from gateways.nats.replies import Replies

ANSWER_WITHIN_S = 5.0


class NatsDecisions:
    """`bfactors.ports.Decisions` by request-reply on `bf.ocpp-decision.<charger>[.<action>]`; any lane."""

    def __init__(
        self, connection: NatsConnection, replies: Replies, *, answer_within_s: float = ANSWER_WITHIN_S
    ) -> None:
        self._connection = connection
        self._replies = replies
        self._answer_within_s = answer_within_s

    async def ask(self, charger_id: str, action: str, message_id: str, payload: bytes) -> bytes:
        """The answer's payload. Raises Unavailable at once when NATS is away or nobody listens, else in time."""
        answer = await run_on(
            self._connection.loop,
            self._replies.request(
                subject.ocpp_decision(charger_id, action),
                payload,
                self._answer_within_s,
                {ACTION: action, OCPP_MESSAGE_ID: message_id},
            ),
        )
        if answer.nobody_listens:
            raise Unavailable("the deciding service", "nobody listens")
        return answer.payload
