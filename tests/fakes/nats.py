"""The NATS-side ports in memory; they pass the same contract suite as the real ones (tests/contract/test_nats_*).

One `InMemoryNats` stands for the server. Set `away` to make it unreachable: appends fail, readers and views stand still,
and everything goes on where it was when it is back. Ports may be used from any loop, as the real ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from bfactors import subject
from bfactors.admission import AdmissionPlace, AdmissionRecord
from bfactors.command import CommandAnswer, CommandEnvelope
from bfactors.errors import BetterFleetError, NotOwner, Unavailable
from bfactors.evidence import Evidence
from bfactors.identity import FLEET, PARTITIONS, partition_of
from bfactors.instruction import InstructionOrder
from bfactors.ledger_row import EventRow

READ_MAX = 500
Handle = Callable[[CommandEnvelope], Awaitable[CommandAnswer]]


class _Signal:
    """Wakes whoever waits, on whatever loop."""

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    def listen(self) -> asyncio.Event:
        """To be taken before looking at the state, and waited for after finding nothing there."""
        event = asyncio.Event()
        self._waiting.append((asyncio.get_running_loop(), event))
        return event


class InMemoryNats:
    """The streams, buckets and subscriptions the fakes share."""

    def __init__(self) -> None:
        self.evidence: dict[int, list[tuple[int, bytes]]] = {number: [] for number in range(PARTITIONS)}
        self.evidence_ids: set[tuple[int, str]] = set()
        self.events: dict[tuple[int, int], EventRow] = {}
        self.relayed: list[tuple[str, str, str, bytes]] = []
        self.admission: dict[str, bytes] = {}
        self.admission_position = 0
        self.control: dict[str, bytes] = {}
        self.handlers: dict[int, tuple[asyncio.AbstractEventLoop, Handle]] = {}
        self.inboxes: list[InMemoryInstructionInbox] = []
        self.changed = _Signal()
        self._away_since: datetime | None = None
        self.losses = 0

    @property
    def away(self) -> bool:
        return self._away_since is not None

    @away.setter
    def away(self, away: bool) -> None:
        self.losses += int(away and not self.away)
        self._away_since = datetime.now(UTC) if away else None
        self.changed.tell()

    @property
    def away_s(self) -> float:
        return 0.0 if self._away_since is None else (datetime.now(UTC) - self._away_since).total_seconds()

    def raise_when_away(self) -> None:
        if self.away:
            raise Unavailable("NATS", "not connected")


class InMemoryEvidenceLog:
    """EvidenceLog."""

    def __init__(self, nats: InMemoryNats) -> None:
        self._nats = nats

    async def append(self, evidence: Evidence, partition: int | None = None) -> None:
        self._nats.raise_when_away()
        if partition is None:
            partition = partition_of(evidence.charger_id) if evidence.charger_id else FLEET
        if (partition, evidence.evidence_id) in self._nats.evidence_ids:
            return
        self._nats.evidence_ids.add((partition, evidence.evidence_id))
        stream = self._nats.evidence[partition]
        stream.append((stream[-1][0] + 1 if stream else 1, msgspec.json.encode(evidence)))
        self._nats.changed.tell()


class InMemoryEvidenceReader:
    """EvidenceReader."""

    def __init__(self, nats: InMemoryNats) -> None:
        self._nats = nats

    async def read(self, partition: int, after: int) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
        while True:
            changed = self._nats.changed.listen()
            newer = [] if self._nats.away else [m for m in self._nats.evidence[partition] if m[0] > after]
            if newer:
                after = newer[:READ_MAX][-1][0]
                yield newer[:READ_MAX]
            else:
                await changed.wait()


class InMemoryOutbox:
    """Outbox."""

    def __init__(self, nats: InMemoryNats) -> None:
        self._nats = nats

    async def publish_events(self, rows: Sequence[EventRow]) -> None:
        self._nats.raise_when_away()
        for row in rows:
            self._nats.events.setdefault((row.partition, row.sequence), row)

    async def put_admission(self, records: Iterable[AdmissionRecord]) -> AdmissionPlace:
        self._nats.raise_when_away()
        for record in records:
            held = self._nats.admission.get(record.charger_id)
            if held is None or msgspec.json.decode(held, type=AdmissionRecord).revision < record.revision:
                self._nats.admission[record.charger_id] = msgspec.json.encode(record)
                self._nats.admission_position += 1
        self._nats.changed.tell()
        return AdmissionPlace("in-memory", self._nats.admission_position)

    async def put_control(self, values: Mapping[str, bytes]) -> None:
        self._nats.raise_when_away()
        self._nats.control.update(values)
        self._nats.changed.tell()

    @property
    def losses(self) -> int:
        return self._nats.losses

    async def send_order(self, node: str, order: InstructionOrder) -> None:
        self._nats.raise_when_away()
        for inbox in self._nats.inboxes:
            inbox.receive(subject.instruction(node, order.session_id), order)


class InMemoryRelay:
    """Relay."""

    def __init__(self, nats: InMemoryNats) -> None:
        self._nats = nats

    async def publish(self, charger_id: str, action: str, message_id: str, payload: bytes) -> None:
        self._nats.raise_when_away()
        if (message := (charger_id, action, message_id, payload)) not in self._nats.relayed:
            self._nats.relayed.append(message)


class InMemoryInstructionInbox:
    """InstructionInbox of one node; callbacks run on the loop it was made on."""

    def __init__(self, nats: InMemoryNats, node: str) -> None:
        self._node = node
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[str, Callable[[InstructionOrder], None]] = {}
        nats.inboxes.append(self)

    def listen(self, session_id: str, deliver: Callable[[InstructionOrder], None]) -> None:
        self._listeners[session_id] = deliver

    def forget(self, session_id: str) -> None:
        self._listeners.pop(session_id, None)

    def receive(self, sent_to: str, order: InstructionOrder) -> None:
        if sent_to == subject.instruction(self._node, order.session_id):
            self._loop.call_soon_threadsafe(self._deliver, order)

    def _deliver(self, order: InstructionOrder) -> None:
        if deliver := self._listeners.get(order.session_id):
            deliver(order)


class InMemoryCommandDoor:
    """CommandDoor. Commands and answers go through JSON, as on the wire."""

    def __init__(self, nats: InMemoryNats, answer_within_s: float = 5.0) -> None:
        self._nats = nats
        self._answer_within_s = answer_within_s

    async def serve(self, partition: int, handle: Handle) -> None:
        self._nats.handlers[partition] = (asyncio.get_running_loop(), handle)

    async def withdraw(self, partition: int) -> None:
        self._nats.handlers.pop(partition, None)

    async def request(self, partition: int, command: CommandEnvelope) -> CommandAnswer:
        owner = self._nats.handlers.get(partition)
        if owner is None or self._nats.away:
            raise NotOwner(f"the owner of partition {partition}", "nobody serves it just now")
        loop, handle = owner
        envelope = msgspec.json.decode(msgspec.json.encode(command), type=CommandEnvelope)

        async def call() -> CommandAnswer:
            return await handle(envelope)

        try:
            async with asyncio.timeout(self._answer_within_s):
                answer = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(), loop))
        except TimeoutError:
            raise NotOwner(f"the owner of partition {partition}", "no answer in time") from None
        except BetterFleetError:
            return CommandAnswer(retry=True)
        return msgspec.json.decode(msgspec.json.encode(answer), type=CommandAnswer)
