"""The published ledger events of all partitions, as one stream with positions: what browsers and bridges follow."""

from collections.abc import AsyncGenerator
from typing import NamedTuple

import msgspec

from bfactors import subject
from bfactors.errors import Unavailable
from bfactors.ledger_row import EventRow
from gateways.nats.connection import NatsConnection
from gateways.nats.ordered_stream import OrderedStream
from gateways.nats.replies import Replies

API_TIMEOUT_S = 5.0
_ROW = msgspec.json.Decoder(EventRow)


class Bounds(NamedTuple):
    """The first position the stream still holds, and its last."""

    first: int
    last: int


class _State(msgspec.Struct):
    first_seq: int
    last_seq: int


class _Info(msgspec.Struct):
    state: _State


class LedgerFeed:
    """Reads `BF_LEDGER`. I/O lane only."""

    def __init__(self, connection: NatsConnection, replies: Replies) -> None:
        self._connection = connection
        self._replies = replies

    async def bounds(self) -> Bounds:
        """Raises Unavailable."""
        message = await self._replies.request(
            f"$JS.API.STREAM.INFO.{subject.STREAM_LEDGER}", b"", API_TIMEOUT_S
        )
        if message.nobody_listens:
            raise Unavailable("NATS", "JetStream does not answer")
        try:
            state = msgspec.json.decode(message.payload, type=_Info).state
        except msgspec.DecodeError as error:
            raise Unavailable("NATS", "the ledger's stream is not there") from error
        return Bounds(state.first_seq, state.last_seq)

    async def read(self, after: int) -> AsyncGenerator[tuple[int, EventRow], None]:
        """Every event behind a position, without end; close the generator when done with it."""
        stream = OrderedStream(
            self._connection,
            self._replies,
            subject.STREAM_LEDGER,
            start="after-position",
            position=after,
        )
        batches = stream.batches()
        try:
            async for batch in batches:
                for stored in batch.messages:
                    yield stored.sequence, _ROW.decode(stored.payload)
        finally:
            await batches.aclose()
