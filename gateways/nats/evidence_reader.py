"""One partition's evidence in stream order, for the ledger actor that owns it, on whatever lane that lives."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from bfactors import subject
from gateways.nats.connection import NatsConnection
from gateways.nats.lanes import run_on
from gateways.nats.ordered_stream import HEARTBEAT_S, OrderedStream
from gateways.nats.replies import Replies

Positioned = Sequence[tuple[int, bytes]]


class NatsEvidenceReader:
    """`bfactors.ports.EvidenceReader` over JetStream."""

    def __init__(
        self, connection: NatsConnection, replies: Replies, *, heartbeat_s: float = HEARTBEAT_S
    ) -> None:
        self._connection = connection
        self._replies = replies
        self._heartbeat_s = heartbeat_s

    def read(self, partition: int, after: int) -> AsyncIterator[Positioned]:
        """Batches of at most 500 from position `after + 1` on, without end; close the iterator when done with it."""
        return self._across_lanes(partition, after)

    async def _across_lanes(self, partition: int, after: int) -> AsyncGenerator[Positioned, None]:
        """The stream is read on the I/O lane; from another one every batch costs one hop each way."""
        batches = self._batches(partition, after)
        if asyncio.get_running_loop() is self._connection.loop:
            try:
                async for batch in batches:
                    yield batch
            finally:
                await batches.aclose()
            return
        io_loop = self._connection.loop
        try:
            while True:
                yield await run_on(io_loop, _next(batches))
        finally:
            asyncio.run_coroutine_threadsafe(batches.aclose(), io_loop)

    async def _batches(self, partition: int, after: int) -> AsyncGenerator[Positioned, None]:
        stream = OrderedStream(
            self._connection,
            self._replies,
            subject.evidence_stream(partition),
            start="after-position",
            position=after,
            heartbeat_s=self._heartbeat_s,
        )
        source = stream.batches()
        try:
            async for batch in source:
                if batch.messages:
                    yield [(message.sequence, message.payload) for message in batch.messages]
        finally:
            await source.aclose()


async def _next(batches: AsyncGenerator[Positioned, None]) -> Positioned:
    return await anext(batches)
