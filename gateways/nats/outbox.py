"""What leaves the core after a commit: ledger events, admission records, control, instructions."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from bfactors import subject
from bfactors.admission import AdmissionPlace, AdmissionRecord
from bfactors.errors import Unavailable
from bfactors.identity import subject_token
from bfactors.instruction import InstructionOrder
from bfactors.ledger_row import EventRow
from gateways.nats.background import begun
from gateways.nats.connection import NatsConnection
from gateways.nats.crossing import Crossing
from gateways.nats.lanes import run_on
from gateways.nats.publication import (
    EXPECTED_LAST_SUBJECT_SEQUENCE,
    MESSAGE_ID,
    WRONG_LAST_SEQUENCE,
    Ack,
    NotStored,
    Publication,
)
from gateways.nats.publisher import AckedPublisher
from gateways.nats.replies import Replies

_LOG = logging.getLogger(__name__)

API_TIMEOUT_S = 5.0
CONTESTED_TRIES = 8
RECORDS_AT_ONCE = 256

_ENCODER = msgspec.json.Encoder()
_RECORDS = msgspec.json.Decoder(AdmissionRecord)


class _Held(NamedTuple):
    """What the bucket holds for a charger, as far as we know."""

    revision: int
    sequence: int


class _BucketInfo(msgspec.Struct):
    created: str


_NOTHING = _Held(-1, 0)


class NatsOutbox:
    """`bfactors.ports.Outbox` over JetStream and core NATS; callable from any lane. Repeating anything is harmless."""

    def __init__(self, connection: NatsConnection, replies: Replies, publisher: AckedPublisher) -> None:
        self._connection = connection
        self._replies = replies
        self._publisher = publisher
        self._held: dict[str, _Held] = {}
        self._orders: Crossing[tuple[str, bytes]] = Crossing(connection.loop, self._order_arrived)
        self._orders_due: deque[tuple[str, bytes]] = deque()
        self._ordering: asyncio.Task[None] | None = None
        self._losses = 0
        self._bucket = ""
        connection.on_lost(self._lost)

    @property
    def losses(self) -> int:
        return self._losses

    def _lost(self) -> None:
        self._losses += 1
        self._bucket = ""  # the server may come back with another one

    async def publish_events(self, rows: Sequence[EventRow]) -> None:
        """Each row as JSON of `EventRow`, in order. Raises Unavailable if any was not acknowledged."""
        said = await self._publisher.publish_all(
            [
                Publication(
                    subject.ledger(row.event, f"{row.partition}-{row.sequence}"),
                    _ENCODER.encode(row),
                    {MESSAGE_ID: f"{row.partition}:{row.sequence}"},
                )
                for row in rows
            ]
        )
        for each in said:
            _raise_unless_stored(each)

    async def put_admission(self, records: Iterable[AdmissionRecord]) -> AdmissionPlace:
        """Put each record unless the bucket already holds its revision or a newer one. Raises Unavailable."""
        return await run_on(self._connection.loop, self._put_admission(list(records)))

    async def put_control(self, values: Mapping[str, bytes]) -> None:
        """Raises Unavailable."""
        said = await self._publisher.publish_all(
            [
                Publication(f"$KV.{subject.BUCKET_CONTROL}.{subject_token(key)}", value)
                for key, value in values.items()
            ]
        )
        for each in said:
            _raise_unless_stored(each)

    async def send_order(self, node: str, order: InstructionOrder) -> None:
        """Hand an order to NATS; nobody acknowledges it, for it stays outstanding. Raises Unavailable.

        From another lane it is only put on its way, many with one wake-up: orders come by the hundred.
        """
        if not self._connection.healthy:
            raise Unavailable("NATS", "not connected")
        sent = (subject.instruction(node, order.session_id), _ENCODER.encode(order))
        if asyncio.get_running_loop() is self._connection.loop:
            await self._connection.publish(*sent)
        elif not self._orders.put(sent):
            raise Unavailable("NATS", "its lane is closed")

    def _order_arrived(self, sent: tuple[str, bytes]) -> None:
        self._orders_due.append(sent)
        if self._ordering is None or self._ordering.done():
            self._ordering = begun(self._send_orders(), "send orders")

    async def _send_orders(self) -> None:
        while self._orders_due:
            try:
                await self._connection.publish(*self._orders_due.popleft())
            except Unavailable as away:
                _LOG.info("an order was not sent and stays outstanding: %s", away)

    # -- admission records ------------------------------------------------------------------------

    async def _put_admission(self, records: list[AdmissionRecord]) -> AdmissionPlace:
        newest: dict[str, AdmissionRecord] = {}
        for record in records:
            known = newest.get(record.charger_id)
            if known is None or record.revision > known.revision:
                newest[record.charger_id] = record
        waiting = list(newest.values())
        positions = [0]
        for start in range(0, len(waiting), RECORDS_AT_ONCE):
            positions += await asyncio.gather(
                *(self._put_record(record) for record in waiting[start : start + RECORDS_AT_ONCE])
            )
        return AdmissionPlace(await self._bucket_made(), max(positions))

    async def _bucket_made(self) -> str:
        """Which making of the bucket this is; asked once a connection."""
        if not self._bucket:
            said = await self._replies.request(
                f"$JS.API.STREAM.INFO.KV_{subject.BUCKET_ADMISSION}", b"", API_TIMEOUT_S
            )
            try:
                self._bucket = msgspec.json.decode(said.payload, type=_BucketInfo).created
            except msgspec.DecodeError:
                raise Unavailable("NATS", "the admission bucket does not say what it is") from None
        return self._bucket

    async def _put_record(self, record: AdmissionRecord) -> int:
        """Where it stands, or a newer one. Compare and set on the sequence: a stale owner puts no older revision back."""
        key = f"$KV.{subject.BUCKET_ADMISSION}.{subject_token(record.charger_id)}"
        payload = _ENCODER.encode(record)
        held = self._held.get(record.charger_id, _NOTHING)
        for _ in range(CONTESTED_TRIES):
            if held.revision >= record.revision:
                return held.sequence
            said = await self._publisher.publish(
                Publication(key, payload, {EXPECTED_LAST_SUBJECT_SEQUENCE: str(held.sequence)})
            )
            if isinstance(said, Ack):
                held = _Held(record.revision, said.sequence)
                self._held[record.charger_id] = held
                return held.sequence
            if said.err_code != WRONG_LAST_SEQUENCE:
                raise Unavailable("NATS", said.description)
            # Another owner was here, or we were ourselves and did not hear the ack: look.
            held = await self._look_up(key)
            self._held[record.charger_id] = held
        raise Unavailable("NATS", f"the admission record of {record.charger_id!r} is contested")

    async def _look_up(self, key: str) -> _Held:
        message = await self._replies.request(
            f"$JS.API.DIRECT.GET.KV_{subject.BUCKET_ADMISSION}.{key}", b"", API_TIMEOUT_S
        )
        if message.nobody_listens:
            raise Unavailable("NATS", "the admission bucket does not answer")
        if message.status == "404" or message.headers is None:
            return _NOTHING
        sequence = int(message.headers["Nats-Sequence"])
        try:
            return _Held(_RECORDS.decode(message.payload).revision, sequence)
        except msgspec.DecodeError as error:
            _LOG.error("the bucket's record at %s is unreadable and is replaced: %s", key, error)
            return _Held(-1, sequence)


def _raise_unless_stored(said: Ack | NotStored) -> None:
    if isinstance(said, NotStored):
        raise Unavailable("NATS", said.description)
