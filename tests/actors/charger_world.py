"""A connect node around chargers' actors, on one loop: sockets, NATS and the supervisor are fakes, time is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from actors.charger import ChargerActor, ChargerPorts, NobodyDecides
from actors.charger_berth import Post
from actors.charger_door import Door
from actors.mailbox import Mailbox
from bfactors import evidence as v
from bfactors.admission import AdmissionRecord, SessionInfo
from bfactors.exchange import ExchangeRules
from bfactors.identity import partition_of
from bfactors.instruction import InstructionOrder
from bfactors.ocpp import (
    Answered,
    InboundAnswer,
    InboundCall,
    Outbound,
    OutboundCall,
    OutboundReply,
    Reply,
    StationMessage,
)
from bfactors.ports import ChargerDoor, Decisions, EvidenceLog
from bfactors.subject import instruction
from tests.core.exchange_bench import session_info
from tests.fakes.nats import InMemoryEvidenceLog, InMemoryInstructionInbox, InMemoryNats, InMemoryRelay

DAWN = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)


async def settle() -> None:
    """Let everything that is ready run."""
    for _ in range(30):
        await asyncio.sleep(0)


class _Timer:
    def __init__(self, at_s: float, callback: Callable[[], None]) -> None:
        self.at_s = at_s
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class ManualTime:
    """Clock and scheduler; `advance` rings what falls due on the way."""

    def __init__(self) -> None:
        self.now_s = 5000.0
        self.timers: list[_Timer] = []
        self._ids = 0

    def now(self) -> datetime:
        return DAWN + timedelta(seconds=self.now_s - 5000.0)

    def monotonic(self) -> float:
        return self.now_s

    def new_id(self) -> str:
        self._ids += 1
        return f"id-{self._ids}"

    def schedule(self, delay_s: float, callback: Callable[[], None]) -> _Timer:
        timer = _Timer(self.now_s + delay_s, callback)
        self.timers.append(timer)
        return timer

    @property
    def pending(self) -> int:
        self.timers = [timer for timer in self.timers if not timer.is_cancelled]
        return len(self.timers)

    async def advance(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        await settle()
        while self.pending:
            timer = min(self.timers, key=lambda timer: timer.at_s)
            if timer.at_s > end_s:
                break
            self.timers.remove(timer)
            self.now_s = max(self.now_s, timer.at_s)
            timer.callback()
            await settle()
        self.now_s = end_s


class Numbers:
    """Metrics."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, ...], float] = {}
        self.gauges: dict[tuple[str, ...], float] = {}
        self.observed: list[tuple[str, float]] = []

    @staticmethod
    def _key(name: str, labels: dict[str, str]) -> tuple[str, ...]:
        return (name, *(f"{label}={value}" for label, value in sorted(labels.items())))

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        key = self._key(name, labels)
        self.counts[key] = self.counts.get(key, 0.0) + amount

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self.gauges[self._key(name, labels)] = value

    def observe(self, name: str, value: float, **labels: str) -> None:
        self.observed.append((name, value))


class FakeSession:
    """A socket, writable from any lane. Closing it is told to the door on the I/O loop's next turn, as a gateway would."""

    def __init__(self, info: SessionInfo, door: ChargerDoor) -> None:
        self._info = info
        self._door = door
        self._loop = asyncio.get_running_loop()
        self.sent: list[Outbound] = []
        self.closes: list[tuple[int, str]] = []
        self.is_open = True
        self.is_half_open = False
        self.resumed = 0

    @property
    def info(self) -> SessionInfo:
        return self._info

    def send(self, outbound: Outbound) -> None:
        assert self.is_open, "sent on a socket that is gone"
        self.sent.append(outbound)

    def close(self, code: int, reason: str) -> None:
        self.closes.append((code, reason))
        if self.is_open and not self.is_half_open:
            self._loop.call_soon_threadsafe(self.drop, reason)

    def resume_reading(self) -> None:
        self.resumed += 1

    def drop(self, reason: str = "connection-lost") -> None:
        if self.is_open:
            self.is_open = False
            self._door.closed(self, reason)

    def call(self, message: StationMessage, message_id: str) -> bool:
        return self._door.received(self, InboundCall(message_id, type(message).__name__, message))

    def answer(self, status: str = "Accepted") -> bool:
        """Answer our last call."""
        return self._door.received(self, InboundAnswer(self.calls[-1].message_id, Answered(status)))

    @property
    def calls(self) -> list[OutboundCall]:
        return [frame for frame in self.sent if isinstance(frame, OutboundCall)]

    @property
    def replies(self) -> dict[str, Reply]:
        return {frame.message_id: frame.reply for frame in self.sent if isinstance(frame, OutboundReply)}


class OneLane:
    """Lanes: actors live on the test's loop; one that fails is made again, as a supervisor would."""

    def __init__(self) -> None:
        self.actors: dict[str, Mailbox[Any]] = {}
        self.failures: list[BaseException] = []
        self.released: list[str] = []
        self.is_giving_up = False
        self._begin: dict[str, Callable[[], None]] = {}
        self._failed: dict[str, Callable[[Mailbox[Any], BaseException, object], None]] = {}

    def place(
        self,
        family: str,
        name: str,
        make: Callable[[Post], Mailbox[Any]],
        lost: Callable[[str], object],
    ) -> None:
        def failed(_: Mailbox[Any], error: BaseException, __: object) -> None:
            self.failures.append(error)
            if self.is_giving_up:
                del self.actors[name]
                lost("gave up")
            else:
                asyncio.get_running_loop().call_soon(begin)

        def begin() -> None:
            self.actors[name] = make(self._post)
            self.actors[name].start(failed)

        self._begin[name] = begin
        self._failed[name] = failed
        begin()

    def break_down(self, name: str, error: BaseException) -> None:
        """As when the actor's handler raises."""
        actor = self.actors[name]
        actor.abandon()
        self._failed[name](actor, error, None)

    def restart(self, name: str) -> None:
        """As after a lane was abandoned: nobody knows how far the actor got."""
        self.actors[name].abandon()
        self._begin[name]()

    def release(self, family: str, name: str) -> None:
        self.released.append(name)
        self.actors.pop(name, None)

    @staticmethod
    def _post(callback: Callable[[], object]) -> bool:
        callback()
        return True


class Admission:
    """AdmissionView."""

    ready = True
    age_s = 0.0

    def __init__(self) -> None:
        self.records: dict[str, AdmissionRecord] = {}
        self._listeners: list[Callable[[AdmissionRecord], None]] = []

    def get(self, charger_id: str) -> AdmissionRecord | None:
        return self.records.get(charger_id)

    def subscribe(self, changed: Callable[[AdmissionRecord], None]) -> None:
        self._listeners.append(changed)

    def put(self, record: AdmissionRecord) -> None:
        self.records[record.charger_id] = record
        for changed in self._listeners:
            changed(record)


class Inbox(InMemoryInstructionInbox):
    """Remembers what it was told to forget."""

    def __init__(self, nats: InMemoryNats) -> None:
        super().__init__(nats, "node-1")
        self.forgotten: list[str] = []

    def forget(self, session_id: str) -> None:
        self.forgotten.append(session_id)
        super().forget(session_id)


class Node:
    """A connect node."""

    def __init__(
        self,
        rules: ExchangeRules | None = None,
        log: EvidenceLog | None = None,
        decisions: Decisions | None = None,
        *,
        is_blind: bool = False,
    ) -> None:
        self.time = ManualTime()
        self.nats = InMemoryNats()
        self.numbers = Numbers()
        self.lanes = OneLane()
        self.admission = Admission()
        self.inbox = Inbox(self.nats)
        self.ports = ChargerPorts(
            evidence=log or InMemoryEvidenceLog(self.nats),
            relay=InMemoryRelay(self.nats),
            clock=self.time,
            metrics=self.numbers,
            decisions=decisions or NobodyDecides(),
            rules=rules or ExchangeRules(),
            schedule=self.time.schedule,
        )
        self.door = Door(self.ports, self.lanes, self.inbox, self.admission, is_blind=is_blind)

    async def connect(self, session_id: str = "s-1", **fields: Any) -> FakeSession:
        session = FakeSession(session_info(session_id, **fields), self.door)
        self.door.opened(session)
        await settle()
        return session

    def actor(self, session_id: str = "s-1") -> ChargerActor:
        actor = self.lanes.actors[session_id]
        assert isinstance(actor, ChargerActor)
        return actor

    async def send_order(self, order: InstructionOrder) -> None:
        self.inbox.receive(instruction("node-1", order.session_id), order)
        await settle()

    @property
    def evidence(self) -> list[v.Evidence]:
        """What the evidence log holds about charger CH-1, in order."""
        stream = self.nats.evidence[partition_of("CH-1")]
        return [msgspec.json.decode(data, type=v.Evidence) for _, data in stream]

    @property
    def recorded(self) -> list[v.EvidenceBody]:
        return [evidence.body for evidence in self.evidence]

    @property
    def kinds(self) -> list[str]:
        return [type(body).__name__ for body in self.recorded]
