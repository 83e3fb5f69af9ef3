"""From a request to the partition that decides on it, and back."""

from typing import Any

import msgspec

from bfactors.command import Command, CommandAnswer, CommandEnvelope
from bfactors.errors import BetterFleetError
from bfactors.identity import FLEET, partition_of
from bfactors.ports import Clock, CommandDoor
from bfactors.refusal import Refusal
from gateways.admin.idempotency import HEADER
from gateways.admin.problem import Problem
from gateways.admin.route import Call

RETRY_AFTER_S = 1


class Held(BetterFleetError):
    """Nothing was done yet: ends the handling of a request with the approval that somebody else must give."""

    def __init__(self, approval: bytes) -> None:
        super().__init__("somebody else must agree first")
        self.approval = approval


class Commands:
    """Sends commands in the name of the caller. Raises Problem for a refusal and for "come again".

    Raises Held for what needs a second person.
    """

    def __init__(self, door: CommandDoor, clock: Clock) -> None:
        self._door = door
        self._clock = clock

    async def to_charger(self, call: Call, charger_id: str, command: Command) -> CommandAnswer:
        """To the partition that holds the charger. Raises Unavailable."""
        return await self._send(call, partition_of(charger_id), command)

    async def to_identity(self, call: Call, home: str, command: Command) -> CommandAnswer:
        """To the partition of an identity: its charger's, or that of its own id. Raises Unavailable."""
        return await self._send(call, partition_of(home), command)

    async def to_fleet(self, call: Call, command: Command) -> CommandAnswer:
        """To the partition that holds what is global. Raises Unavailable."""
        return await self._send(call, FLEET, command)

    async def _send(self, call: Call, partition: int, command: Command) -> CommandAnswer:
        envelope = CommandEnvelope(
            command_id=self._clock.new_id(),
            actor=call.actor,
            role=call.token.role if call.token is not None else "",
            cohorts=call.token.cohorts if call.token is not None else None,
            body=command,
            idempotency_key=call.repetition.key,
            request_hash=call.repetition.request_hash,
        )
        answer = await self._door.request(partition, envelope)
        if answer.retry:
            raise Problem.away(
                "the owner of this part of the fleet is changing; repeat the request", RETRY_AFTER_S
            )
        if answer.refusal is not None:
            raise Problem.of_refusal(_naming_the_header(answer.refusal))
        if answer.is_held:
            raise Held(answer.result)
        return answer


def result_of(answer: CommandAnswer) -> dict[str, Any]:
    """The resource the ledger answered with."""
    return msgspec.json.decode(answer.result, type=dict[str, Any])


def _naming_the_header(refusal: Refusal) -> Refusal:
    """The ledger knows keys, not headers."""
    if refusal.code == "idempotency-key-reused":
        return msgspec.structs.replace(refusal, field=HEADER)
    return refusal
