"""Acknowledged publication to JetStream: many in flight, from any lane, across reconnects and server restarts.

    waiting ──sent──► in flight ──ack──► settled        a lost connection: in flight ──► waiting, in order
                          └──"nobody listens", "not now"──(pause)──► waiting        no ack in time: Unavailable

A publication sent again carries the same message id, so the stream stores it once (within its duplicate window).
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from bfactors.errors import Unavailable
from gateways.nats.background import begun, ended
from gateways.nats.connection import NatsConnection
from gateways.nats.crossing import Crossing, WaysBack, settle
from gateways.nats.message import Message
from gateways.nats.publication import Ack, NotStored, Publication, Result, said_by
from gateways.nats.replies import Replies

ACK_WITHIN_S = 10.0
IN_FLIGHT = 1024
OPEN_LIMIT = 20_000
SWEEP_S = 0.25
RETRY_S = 0.25
HEADER_BYTES = 1024
_NOT_YET = NotStored(0, "not settled")


class _Entry:
    """A publication under way."""

    __slots__ = ("deadline", "publication", "reply", "settle", "settled")

    def __init__(self, publication: Publication, settle: Callable[[Result], None]) -> None:
        self.publication = publication
        self.settle = settle
        self.deadline = 0.0
        self.reply = ""
        self.settled = False


class _Together:
    """Publications whose results are wanted together: one way back for all, taken by the last."""

    __slots__ = ("_open", "_results", "_settle")

    def __init__(self, count: int, settle: Callable[[list[Result]], None]) -> None:
        self._results: list[Result] = [_NOT_YET] * count
        self._open = count
        self._settle = settle

    def one(self, place: int, result: Result) -> None:
        self._results[place] = result
        self._open -= 1
        if self._open == 0:
            self._settle(self._results)


class AckedPublisher:
    """`publish` may be awaited on any loop; everything else belongs to the I/O lane."""

    def __init__(
        self,
        connection: NatsConnection,
        replies: Replies,
        *,
        in_flight: int = IN_FLIGHT,
        ack_within_s: float = ACK_WITHIN_S,
    ) -> None:
        self._connection = connection
        self._replies = replies
        self._in_flight_limit = in_flight
        self._ack_within_s = ack_within_s
        self._open: dict[_Entry, None] = {}  # oldest deadline first
        self._waiting: deque[_Entry] = deque()
        self._sent: dict[_Entry, None] = {}
        self._wake = asyncio.Event()
        self._sweep: asyncio.TimerHandle | None = None
        self._sender: asyncio.Task[None] | None = None
        self._inbound: Crossing[_Entry] | None = None
        self._ways_back: WaysBack[Result] = WaysBack()
        self._ways_back_of_many: WaysBack[list[Result]] = WaysBack()

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._inbound = Crossing(loop, self._accept)
        self._sender = begun(self._send(), "nats publisher")
        self._connection.on_connected(self._wake.set)
        self._connection.on_lost(self._take_back)

    async def close(self, budget_s: float = 2.0) -> None:
        """Wait at most `budget_s` for what is open, then fail the rest."""
        loop = asyncio.get_running_loop()
        until = loop.time() + budget_s
        while self._open and self._connection.healthy and loop.time() < until:
            drained: asyncio.Future[None] = loop.create_future()
            last = next(reversed(self._open))
            last.settle = partial(_settle_then, last.settle, drained)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await drained
        await ended(self._sender)
        for entry in list(self._open):
            self._settle(entry, Unavailable("NATS", "closing"))
        if self._sweep is not None:
            self._sweep.cancel()

    @property
    def depth(self) -> int:
        """Publications not settled yet."""
        return len(self._open)

    async def publish(self, publication: Publication) -> Ack | NotStored:
        """Return what JetStream said. Raises Unavailable when it said nothing in time."""
        return _said(await self._submit(publication))

    async def publish_all(self, publications: Sequence[Publication]) -> list[Ack | NotStored]:
        """As `publish`, all at once, in the order given. Raises Unavailable if any stayed unanswered."""
        if not publications:
            return []
        assert self._inbound is not None, "AckedPublisher.start must be called first"
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Result]] = loop.create_future()
        here = loop is self._connection.loop
        together = _Together(
            len(publications), partial(settle, future) if here else self._ways_back_of_many.to(loop, future)
        )
        for place, publication in enumerate(publications):
            entry = _Entry(publication, partial(together.one, place))
            if here:
                self._accept(entry)
            elif not self._inbound.put(entry):
                raise Unavailable("NATS", "closed")
        return [_said(result) for result in await future]

    # -- between lanes ----------------------------------------------------------------------------

    def _submit(self, publication: Publication) -> asyncio.Future[Result]:
        assert self._inbound is not None, "AckedPublisher.start must be called first"
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        if loop is self._connection.loop:
            self._accept(_Entry(publication, partial(settle, future)))
        elif not self._inbound.put(_Entry(publication, self._ways_back.to(loop, future))):
            future.set_result(Unavailable("NATS", "closed"))
        return future

    # -- on the I/O lane --------------------------------------------------------------------------

    def _accept(self, entry: _Entry) -> None:
        size = len(entry.publication.payload) + HEADER_BYTES
        if self._sender is None or self._sender.done():
            entry.settle(Unavailable("NATS", "closed"))
        elif size > self._connection.max_payload_bytes:
            entry.settle(NotStored(0, f"{size} bytes are more than the server takes"))
        elif len(self._open) >= OPEN_LIMIT:
            entry.settle(Unavailable("NATS", "too many messages wait for acknowledgement"))
        else:
            loop = self._connection.loop
            entry.deadline = loop.time() + self._ack_within_s
            self._open[entry] = None
            self._waiting.append(entry)
            self._wake.set()
            if self._sweep is None:
                self._sweep = loop.call_later(SWEEP_S, self._sweep_overdue)

    async def _send(self) -> None:
        while True:
            self._wake.clear()
            while self._waiting and len(self._sent) < self._in_flight_limit and self._connection.healthy:
                entry = self._waiting.popleft()
                if entry.settled:
                    continue
                subject, payload, headers = entry.publication
                entry.reply = self._replies.expect(partial(self._answered, entry))
                self._sent[entry] = None
                try:
                    if not self._connection.post(subject, payload, entry.reply, headers):
                        await self._connection.publish(subject, payload, entry.reply, headers)
                except Unavailable:
                    self._retry_later(entry)
            await self._wake.wait()

    def _answered(self, entry: _Entry, message: Message) -> None:
        if entry.settled:
            return
        if message.nobody_listens:  # the stream does not exist, or the server has only just started
            self._retry_later(entry)
            return
        said = said_by(message.payload)
        if said is None:
            self._retry_later(entry)
        else:
            self._settle(entry, said)

    def _retry_later(self, entry: _Entry) -> None:
        if self._sent.pop(entry, False) is None:
            self._replies.forget(entry.reply)
            self._connection.loop.call_later(RETRY_S, self._wait_again, entry)

    def _wait_again(self, entry: _Entry) -> None:
        if not entry.settled:
            self._waiting.append(entry)
            self._wake.set()

    def _take_back(self) -> None:
        """The connection is lost: what was in flight waits again, ahead of what came later."""
        for entry in self._sent:
            self._replies.forget(entry.reply)
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()

    def _sweep_overdue(self) -> None:
        self._sweep = None
        now = self._connection.loop.time()
        while self._open:
            oldest = next(iter(self._open))
            if oldest.deadline > now:
                self._sweep = self._connection.loop.call_later(SWEEP_S, self._sweep_overdue)
                return
            self._settle(oldest, Unavailable("NATS", f"no acknowledgement within {self._ack_within_s:g} s"))

    def _settle(self, entry: _Entry, result: Result) -> None:
        entry.settled = True
        self._open.pop(entry, None)
        if self._sent.pop(entry, False) is None:
            self._replies.forget(entry.reply)
        if self._waiting:
            self._wake.set()
        entry.settle(result)


def _said(result: Result) -> Ack | NotStored:
    if isinstance(result, Unavailable):
        raise result
    return result


def _settle_then(settle: Callable[[Result], None], drained: asyncio.Future[None], result: Result) -> None:
    settle(result)
    if not drained.done():
        drained.set_result(None)
