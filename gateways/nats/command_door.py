"""Commands by request-reply: to the owner of a partition, and from whoever asks, answered after commit."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from bfactors import subject
from bfactors.command import CommandAnswer, CommandEnvelope
from bfactors.errors import BetterFleetError, NotOwner, Unavailable
from bfactors.refusal import Refusal
from gateways.nats.connection import NatsConnection
from gateways.nats.lanes import run_on
from gateways.nats.message import Message
from gateways.nats.registration import Registration
from gateways.nats.replies import Replies

_LOG = logging.getLogger(__name__)

ANSWER_WITHIN_S = 5.0
HANDLED_AT_ONCE = 128
"""Per partition; whoever comes while so many are handled is asked to come again."""

Handle = Callable[[CommandEnvelope], Awaitable[CommandAnswer]]

_ENVELOPES = msgspec.json.Decoder(CommandEnvelope)
_ANSWERS = msgspec.json.Decoder(CommandAnswer)
_ENCODER = msgspec.json.Encoder()


class NatsCommandDoor:
    """`bfactors.ports.CommandDoor` over core NATS. `handle` runs on the loop that called `serve`; any lane may call."""

    def __init__(
        self,
        connection: NatsConnection,
        replies: Replies,
        *,
        answer_within_s: float = ANSWER_WITHIN_S,
        handled_at_once: int = HANDLED_AT_ONCE,
    ) -> None:
        self._connection = connection
        self._replies = replies
        self._answer_within_s = answer_within_s
        self._handled_at_once = handled_at_once
        self._served: dict[int, Registration] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, partition: int, handle: Handle) -> None:
        """Returns once commands arrive. Serving a partition again replaces the handler."""
        await run_on(
            self._connection.loop, self._serve(partition, _OwnersLoop(asyncio.get_running_loop(), handle))
        )

    async def withdraw(self, partition: int) -> None:
        """No command arrives after this; those being handled are still answered."""
        await run_on(self._connection.loop, self._withdraw(partition))

    async def request(self, partition: int, command: CommandEnvelope) -> CommandAnswer:
        """Raises NotOwner: nobody serves the partition, or no answer came within 5 s. Safe to repeat."""
        payload = _ENCODER.encode(command)
        answered = await run_on(self._connection.loop, self._request(partition, payload))
        return _ANSWERS.decode(answered)

    async def _request(self, partition: int, payload: bytes) -> bytes:
        peer = f"the owner of partition {partition}"
        try:
            message = await self._replies.request(subject.command(partition), payload, self._answer_within_s)
        except Unavailable as away:
            raise NotOwner(peer, str(away)) from away
        if message.nobody_listens:
            raise NotOwner(peer, "nobody serves it just now")
        return message.payload

    async def _serve(self, partition: int, owner: "_OwnersLoop") -> None:
        await self._withdraw(partition)
        under_way: set[asyncio.Task[None]] = set()

        def arrived(message: Message) -> None:
            if not message.reply:
                return  # a command that nobody wants answered is not one of ours
            task = asyncio.get_running_loop().create_task(
                self._answer(message, owner, busy=len(under_way) >= self._handled_at_once)
            )
            for tasks in (under_way, self._tasks):
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        self._served[partition] = await self._connection.subscribe(subject.command(partition), arrived)
        await self._connection.flush()

    async def _withdraw(self, partition: int) -> None:
        registration = self._served.pop(partition, None)
        if registration is not None:
            await self._connection.unsubscribe(registration)

    async def _answer(self, message: Message, owner: "_OwnersLoop", *, busy: bool) -> None:
        try:
            envelope = _ENVELOPES.decode(message.payload)
        except msgspec.DecodeError as error:
            answer = CommandAnswer(refusal=Refusal("malformed-command", str(error)))
        else:
            answer = CommandAnswer(retry=True) if busy else await owner.answer(envelope)
        try:
            await self._connection.publish(message.reply, _ENCODER.encode(answer))
        except Unavailable as away:
            _LOG.warning(
                "the answer to a command was not sent: %s", away
            )  # asked again, it is found by its key


class _OwnersLoop:
    """A handler together with the loop it must run on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, handle: Handle) -> None:
        self._loop = loop
        self._handle = handle

    async def answer(self, envelope: CommandEnvelope) -> CommandAnswer:
        try:
            return await run_on(self._loop, self._call(envelope))
        except BetterFleetError as error:
            _LOG.info("command %s is to be repeated: %s", envelope.command_id, error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            _LOG.info("the owner's lane ended while it handled command %s", envelope.command_id)
        except Exception:  # noqa: BLE001 - the outermost handler of commands: whoever asked must be answered
            _LOG.exception("command %s failed", envelope.command_id)
        return CommandAnswer(retry=True)

    async def _call(self, envelope: CommandEnvelope) -> CommandAnswer:
        return await self._handle(envelope)
