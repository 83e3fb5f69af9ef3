"""Instructions for this node's sessions: one subscription, handed to whoever listens for the session named."""

import logging
from collections.abc import Callable

import msgspec

from bfactors import subject
from bfactors.instruction import InstructionOrder
from gateways.nats.connection import NatsConnection
from gateways.nats.message import Message
from gateways.nats.registration import Registration

_LOG = logging.getLogger(__name__)
_DECODER = msgspec.json.Decoder(InstructionOrder)


class NatsInstructionInbox:
    """`bfactors.ports.InstructionInbox` over core NATS. An order for a session that is not here is dropped:
    it stays outstanding in the ledger and is sent again on the charger's next session."""

    def __init__(self, connection: NatsConnection, node: str) -> None:
        self._connection = connection
        self._node = node
        # Touched from every lane, one item at a time: each step is one atomic operation of the dict.
        self._listeners: dict[str, Callable[[InstructionOrder], None]] = {}
        self._registration: Registration | None = None

    async def start(self) -> None:
        self._registration = await self._connection.subscribe(
            subject.instruction_filter(self._node), self._received
        )
        await self._connection.flush()

    async def stop(self) -> None:
        if self._registration is not None:
            await self._connection.unsubscribe(self._registration)

    def listen(self, session_id: str, deliver: Callable[[InstructionOrder], None]) -> None:
        self._listeners[session_id] = deliver

    def forget(self, session_id: str) -> None:
        self._listeners.pop(session_id, None)

    def _received(self, message: Message) -> None:
        try:
            order = _DECODER.decode(message.payload)
        except msgspec.DecodeError as error:
            _LOG.error("an instruction on %s was not understood: %s", message.subject, error)
            return
        if subject.instruction(self._node, order.session_id) != message.subject:
            _LOG.error("an instruction for another session arrived on %s", message.subject)
            return
        deliver = self._listeners.get(order.session_id)
        if deliver is None:
            _LOG.info("instruction %s is for a session that is not here", order.instruction_id)
        else:
            deliver(order)
