"""A stream's messages in order and without end: a push consumer that is made anew whenever it may have missed something.

    waiting for a connection ──► consumer made at position + 1 ──► delivering
              ▲                                                       │
              └── connection lost · heartbeats missed · a delivery skipped

Every consumer has an inbox of its own, so nothing of an older one can be mistaken for the newer one's. Flow control is
answered when the consumer of these batches has got as far, not when the request arrives: the reader sets the pace.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Literal, NamedTuple

import msgspec

from bfactors.errors import Unavailable
from gateways.nats.connection import NatsConnection
from gateways.nats.delivery import Delivery, Skipped, Stored, stored
from gateways.nats.message import Message
from gateways.nats.replies import Replies

_LOG = logging.getLogger(__name__)

BATCH_MAX = 500
API_TIMEOUT_S = 5.0
HEARTBEAT_S = 5.0
MISSED_HEARTBEATS = 2.5
RETRY_S = 0.5
INACTIVE_S = 30
ABSENT_TRIES = 20
"""How often a stream that was never seen may be looked for before that is a warning: core makes them all at its first start."""

_CONTROL_STATUS = "100"
_STALLED = "Nats-Consumer-Stalled"
_LAST_CONSUMER = "Nats-Last-Consumer"
_NO_SUCH_STREAM = 10059

Start = Literal["after-position", "last-per-subject"]


class StreamBatch(NamedTuple):
    """What had arrived. `caught_up`: the stream held nothing newer than the last of these (which may be none)."""

    messages: list[Stored]
    caught_up: bool


class _Absent(Unavailable):
    """There is no such stream, or not yet."""


class _StreamState(NamedTuple):
    created: str
    first: int
    last: int


class OrderedStream:
    """One reading of one stream; `batches` is to be iterated once, on the I/O lane.

    `interrupted` is called whenever a consumer ends, for those who must know that they may have been blind.
    """

    def __init__(
        self,
        connection: NatsConnection,
        replies: Replies,
        stream: str,
        *,
        start: Start,
        position: int = 0,
        heartbeat_s: float = HEARTBEAT_S,
        retry_s: float = RETRY_S,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
        interrupted: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._replies = replies
        self._stream = stream
        self._start: Start = start
        self._position = position
        self._heartbeat_s = heartbeat_s
        self._retry_s = retry_s
        self._wait = wait
        self._created = ""
        self._complaint = ""
        self._absent_tries = 0
        self._interrupted = interrupted
        self.live = False
        """Whether everything the stream holds has been seen and it is still heard of."""
        self.current_at = -1.0
        """`time.monotonic()` when that was last so; negative before the first time."""

    @property
    def created(self) -> str:
        """When the server made the stream that is read; empty before it is known."""
        return self._created

    @property
    def position(self) -> int:
        """The sequence of the last message handed out."""
        return self._position

    async def batches(self) -> AsyncGenerator[StreamBatch, None]:
        """Batches of at most 500 messages as they arrive; survives every loss of the connection."""
        while True:
            await self._connection.connected()
            delivery = Delivery(self._connection)
            try:
                if await self._make_consumer(delivery) == 0:
                    self._heard(True)
                    yield StreamBatch([], True)
                while True:
                    batch = await self._next(delivery)
                    self._heard(batch.caught_up)
                    if batch.messages:
                        yield batch
            except Skipped as skipped:
                _LOG.info("reading %s anew: %s", self._stream, skipped)
            except _Absent as absent:
                self._miss(absent)
                await self._wait(self._retry_s)
            except Unavailable as away:
                self._complain(str(away))
                await self._wait(self._retry_s)
            finally:
                self.live = False
                self._interrupted()
                await delivery.close()

    # -- the consumer -----------------------------------------------------------------------------

    async def _make_consumer(self, delivery: Delivery) -> int:
        """Returns how many messages wait for it. Raises Unavailable."""
        state = await self._stream_state()
        if self._created not in ("", state.created) or state.last < self._position:
            self._stream_replaced(state)
        self._created = state.created
        await delivery.open()
        name = secrets.token_hex(8)
        from_start = self._start == "last-per-subject" and self._position == 0
        config: dict[str, Any] = {
            "name": name,
            "deliver_subject": delivery.subject,
            "ack_policy": "none",
            "max_deliver": 1,
            "replay_policy": "instant",
            "flow_control": True,
            "idle_heartbeat": int(self._heartbeat_s * 1_000_000_000),
            "inactive_threshold": INACTIVE_S * 1_000_000_000,
            "mem_storage": True,
            "num_replicas": 1,
            "deliver_policy": "last_per_subject" if from_start else "by_start_sequence",
        }
        if from_start:
            config["filter_subject"] = ">"
        else:
            config["opt_start_seq"] = self._position + 1
        created = await self._api(
            f"CONSUMER.CREATE.{self._stream}.{name}", {"stream_name": self._stream, "config": config}
        )
        return int(created.get("num_pending", 0))

    def _stream_replaced(self, state: _StreamState) -> None:
        """The server's store was lost and the stream made again: positions of the old one mean nothing in it."""
        if self._start == "last-per-subject":
            _LOG.error("%s was made anew at %s and is read from its start", self._stream, state.created)
            self._position = 0
        elif state.first <= self._position or state.last < self._position:
            # To go on would skip what the new stream holds, to go back would repeat positions already recorded.
            raise Unavailable(
                "NATS",
                f"{self._stream} was made anew with positions from {state.first} on, which were read up to"
                f" {self._position} before; make it with a higher first position",
            )

    async def _stream_state(self) -> _StreamState:
        info = await self._api(f"STREAM.INFO.{self._stream}", None)
        return _StreamState(info["created"], info["state"]["first_seq"], info["state"]["last_seq"])

    async def _api(self, operation: str, body: dict[str, Any] | None) -> dict[str, Any]:
        payload = b"" if body is None else msgspec.json.encode(body)
        answer = await self._replies.request(f"$JS.API.{operation}", payload, API_TIMEOUT_S)
        if answer.nobody_listens:
            raise Unavailable("NATS", "JetStream is not ready")
        decoded: dict[str, Any] = msgspec.json.decode(answer.payload)
        if error := decoded.get("error"):
            kind = _Absent if error.get("err_code") == _NO_SUCH_STREAM else Unavailable
            raise kind("NATS", str(error.get("description")))
        return decoded

    # -- delivery ---------------------------------------------------------------------------------

    async def _next(self, delivery: Delivery) -> StreamBatch:
        await delivery.arrived(self._heartbeat_s * MISSED_HEARTBEATS)
        messages: list[Stored] = []
        while delivery.queue and len(messages) < BATCH_MAX:
            message = delivery.queue[0]
            if message.status == _CONTROL_STATUS and not message.payload:
                if messages:
                    break  # first let the reader have these: what a control message says comes after them
                delivery.queue.popleft()
                await self._control(delivery, message)
                continue
            place, consumer_sequence = stored(message)
            if consumer_sequence != delivery.consumer_sequence + 1:
                if messages:
                    break  # these are good, and the hole will still be there
                raise Skipped("a delivery is missing")
            delivery.queue.popleft()
            delivery.consumer_sequence = consumer_sequence
            self._note_gap(place.sequence)
            self._position = place.sequence
            messages.append(place)
        if delivery.queue:
            await asyncio.sleep(0)  # a long backlog must not hold the loop
        return StreamBatch(messages, bool(messages) and messages[-1].pending == 0)

    async def _control(self, delivery: Delivery, message: Message) -> None:
        """Heartbeats and flow control come in order with the messages."""
        headers = message.headers or {}
        if message.reply:
            await self._connection.publish(message.reply)
        elif stalled := headers.get(_STALLED):
            await self._connection.publish(stalled)
        last = headers.get(_LAST_CONSUMER)
        if last is not None and int(last) != delivery.consumer_sequence:
            raise Skipped("the last deliveries are missing")

    def _note_gap(self, sequence: int) -> None:
        if self._start == "after-position" and sequence > self._position + 1:
            _LOG.warning(
                "%s: %d messages from %d on are gone (deleted or aged out)",
                self._stream,
                sequence - self._position - 1,
                self._position + 1,
            )

    def _miss(self, absent: _Absent) -> None:
        """Nothing to warn of while whoever makes it may be about to: at a first start connect looks before core has."""
        self._absent_tries += 1
        if self._created or self._absent_tries > ABSENT_TRIES:
            self._complain(str(absent))
        elif self._absent_tries == 1:
            _LOG.info("%s is not made yet, and is waited for", self._stream)

    def _complain(self, text: str) -> None:
        """Once, not twice a second for as long as it lasts."""
        if text != self._complaint:
            self._complaint = text
            _LOG.warning("%s cannot be read: %s", self._stream, text)

    def _heard(self, caught_up: bool) -> None:
        self._complaint = ""
        self.live = self.live or caught_up
        if self.live:
            self.current_at = time.monotonic()
