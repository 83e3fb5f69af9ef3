"""One inbox for every answer this process waits for: a single subscription, a token per question."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from functools import partial

from bfactors.errors import Unavailable
from gateways.nats.connection import NatsConnection
from gateways.nats.message import Message


class Replies:
    """Hands each answer to whoever expects it, and fails open requests at once when the connection is lost."""

    def __init__(self, connection: NatsConnection) -> None:
        self._connection = connection
        self._prefix = f"{connection.settings.inbox_prefix}.{secrets.token_hex(8)}."
        self._next_token = 0
        self._expected: dict[str, Callable[[Message], None]] = {}
        self._requests: set[asyncio.Future[Message]] = set()

    async def start(self) -> None:
        await self._connection.subscribe(f"{self._prefix}*", self._answered)
        self._connection.on_lost(self._fail_requests)

    def expect(self, answered: Callable[[Message], None]) -> str:
        """A new reply subject; `answered` is called with the first message on it."""
        self._next_token += 1
        reply = f"{self._prefix}{self._next_token:x}"
        self._expected[reply] = answered
        return reply

    def forget(self, reply: str) -> None:
        self._expected.pop(reply, None)

    async def request(
        self, subject: str, payload: bytes, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Message:
        """The first answer, which may be `nobody_listens`. Raises Unavailable: not connected, lost, or no answer in time."""
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        reply = self.expect(partial(_settle, future))
        self._requests.add(future)
        try:
            await self._connection.publish(subject, payload, reply, headers)
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise Unavailable("NATS", f"no answer on {subject} within {timeout_s:g} s") from None
        finally:
            self._requests.discard(future)
            self.forget(reply)

    def _answered(self, message: Message) -> None:
        answered = self._expected.pop(message.subject, None)
        if answered is not None:
            answered(message)

    def _fail_requests(self) -> None:
        for future in self._requests:
            if not future.done():
                future.set_exception(Unavailable("NATS", "the connection was lost"))


def _settle(future: asyncio.Future[Message], message: Message) -> None:
    if not future.done():
        future.set_result(message)
