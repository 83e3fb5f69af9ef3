"""One process's side of NATS, put together: what `run.py` opens once per process, on the I/O lane."""

import asyncio

from gateways.nats.connection import NatsConnection
from gateways.nats.layout import NatsLayout, ensure_layout
from gateways.nats.publisher import AckedPublisher
from gateways.nats.replies import Replies
from gateways.nats.settings import NatsSettings


class NatsGateway:
    """The connection with its inbox and its publisher, from which every port is built."""

    def __init__(self, settings: NatsSettings) -> None:
        self.connection = NatsConnection(settings)
        self.replies = Replies(self.connection)
        self.publisher = AckedPublisher(self.connection, self.replies)

    async def start(self) -> None:
        """Begin to connect; returns at once, whether or not a server is there."""
        self.connection.start()
        await self.replies.start()
        self.publisher.start()

    async def connected(self, within_s: float | None = None) -> None:
        """Wait for the connection. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            await self.connection.connected()

    async def ensure_layout(self, layout: NatsLayout) -> None:
        """Create or correct streams and buckets; core only. Raises Unavailable."""
        await ensure_layout(self.replies, layout)

    async def close(self, budget_s: float = 2.0) -> None:
        """Let what is under way be acknowledged, then close, within the budget. Never raises."""
        await self.publisher.close(budget_s / 2)
        await self.connection.close(budget_s / 2)
