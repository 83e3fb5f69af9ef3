"""One subscription, over as many clients as the connection needs in its life."""

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import nats.errors

from gateways.nats.message import Message

_LOG = logging.getLogger(__name__)


class Registration:
    """One subscription that outlives clients (unless it is bound to the one it was made on)."""

    def __init__(self, subject: str, deliver: Callable[[Message], None], queue: str = "") -> None:
        self.subject = subject
        self._queue = queue
        self._deliver = deliver
        self._subscription: Any = None

    async def attach(self, client: Any) -> None:
        self._subscription = await client.subscribe(self.subject, queue=self._queue, cb=self._received)

    async def detach(self) -> None:
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error, OSError):
                await self._subscription.unsubscribe()

    def take(self, message: Message) -> None:
        """Hand one message over, at once."""
        try:
            self._deliver(message)
        except Exception:  # noqa: BLE001 - the outermost handler of this edge: one bad message must not end the subscription
            _LOG.exception("a message on %s was not handled", self.subject)

    async def _received(self, message: Any) -> None:
        """For a client that does not call `take` by itself."""
        self.take(Message(message.subject, message.reply, message.data, message.headers))
