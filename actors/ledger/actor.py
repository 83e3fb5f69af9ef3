"""The owner of one partition: takes its lease, reads its evidence, answers its commands, commits in batches.

    waiting ──claimed──► owning ──fenced, store away──► waiting (memory dropped)

While a commit is on its way the next batch gathers: the busier the partition, the larger its batches.
"""

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from actors.ledger.announcement import Announcer
from actors.ledger.commit import Committed, Memory, commit, recall
from actors.ledger.item import Asked, Fact, Item, Rang
from actors.ledger.outgoing_event import EventPublisher
from actors.mailbox import Mailbox
from bfactors.charger import outgoing
from bfactors.charger.state import ChargerState
from bfactors.command import CommandAnswer, CommandEnvelope
from bfactors.effect import Effect
from bfactors.errors import Fenced, Unavailable
from bfactors.evidence import Evidence
from bfactors.identity import FLEET
from bfactors.ledger_fold import charger_of_key
from bfactors.ledger_row import EffectRow
from bfactors.ports import Clock, CommandDoor, EvidenceLog, EvidenceReader, LedgerStore, Metrics, Outbox

_LOG = logging.getLogger(__name__)
_EVIDENCE = msgspec.json.Decoder(Evidence)
_EFFECT: msgspec.json.Decoder[Effect] = msgspec.json.Decoder(Effect)
_STATE = msgspec.json.Decoder(ChargerState)

LEASE_TIME = timedelta(seconds=12)
RENEW_S = 4.0
CLAIM_AGAIN_S = 1.0
BATCH_LIMIT = 500
PENDING_LIMIT = 4_000
TICK_S = 1.0
SCAN_PAGE = 200
TIMERS_LOADED = 100_000


@dataclass(frozen=True, slots=True)
class Ports:
    """What a ledger actor is given. `effects(effect_id, effect)` takes an effect, or None once it is settled."""

    store: LedgerStore
    reader: EvidenceReader
    commands: CommandDoor
    outbox: Outbox
    evidence_log: EvidenceLog
    effects: Callable[[str, Effect | None], None]
    clock: Clock
    metrics: Metrics
    ocpp_url: Callable[[], str]
    is_current: Callable[[], bool] = lambda: True


@dataclass(frozen=True, slots=True)
class _ClaimAgain:
    pass


@dataclass(frozen=True, slots=True)
class _Claimed:
    memory: Memory | None
    timers: Sequence[tuple[str, datetime]] = ()
    effects: Sequence[EffectRow] = ()


@dataclass(frozen=True, slots=True)
class _Arrived:
    term: int
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class _Done:
    term: int
    committed: Committed
    seconds: float


@dataclass(frozen=True, slots=True)
class _Failed:
    term: int
    error: BaseException
    during: str


@dataclass(frozen=True, slots=True)
class _Scanned:
    term: int
    states: Sequence[ChargerState]
    complete: bool


@dataclass(frozen=True, slots=True)
class _Tick:
    pass


@dataclass(frozen=True, slots=True)
class _Renewed:
    term: int


@dataclass(frozen=True, slots=True)
class _Ended:
    """A loop that has done its work."""


Message = _Ended | _ClaimAgain | _Claimed | _Arrived | _Done | _Failed | _Scanned | _Tick | _Renewed


@dataclass(slots=True)
class _Term:
    """One time of ownership."""

    number: int
    memory: Memory
    announcer: Announcer
    publisher: EventPublisher
    pending: deque[Item] = field(default_factory=deque)
    timers: list[tuple[datetime, str]] = field(default_factory=list)
    due: dict[str, datetime] = field(default_factory=dict)
    open_jobs: set[str] = field(default_factory=set)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    committing: bool = False
    renewing: bool = False
    renewed_at: float = 0.0
    scanned: bool = False
    room: asyncio.Event = field(default_factory=asyncio.Event)


class LedgerActor(Mailbox[Message]):
    """One partition's ledger on this node. Lives on the ledger supervisor's lane."""

    __slots__ = ("_owner", "_partition", "_ports", "_term", "_terms", "_ticker", "is_paused")

    def __init__(self, partition: int, owner: str, ports: Ports) -> None:
        super().__init__(f"ledger-{partition:02d}", capacity=1024)
        self._partition = partition
        self._owner = owner
        self._ports = ports
        self._term: _Term | None = None
        self._terms = 0
        self._ticker: asyncio.TimerHandle | None = None

    async def begin(self) -> None:
        self._claim()
        self._tick_later()

    async def receive(self, message: Message) -> None:
        match message:
            case _ClaimAgain():
                if self._term is None:
                    self._claim()
            case _Claimed(memory=None):
                self._claim_later()
            case _Claimed():
                self._take_office(message)
            case _Arrived(term, items):
                self._arrived(term, items)
            case _Done():
                self._committed(message)
            case _Failed():
                self._failed(message)
            case _Scanned():
                self._scanned(message)
            case _Renewed(term):
                if self._term is not None and self._term.number == term:
                    self._term.renewing = False
            case _Tick():
                self._tick()
            case _Ended():
                pass

    async def stop(self) -> None:
        """Finish the commit in hand, give the partition back, end everything of this term."""
        term = self._term
        if self._ticker is not None:
            self._ticker.cancel()
        lease = term.memory.lease if term is not None else None
        self._end_term()
        await super().stop()
        if lease is not None:
            try:
                await self._ports.store.release(lease)
            except Unavailable:
                _LOG.info("%s could not be released; its lease will lapse", self.name)

    # ------------------------------------------------------------ the lease

    def _claim(self) -> None:
        self.spawn(self._try_claim(), lambda claimed: claimed, lambda error: _Failed(0, error, "claim"))

    async def _try_claim(self) -> _Claimed:
        store = self._ports.store
        lease = await store.claim(self._partition, self._owner, LEASE_TIME)
        if lease is None:
            return _Claimed(None)
        memory = await recall(store, lease)
        timers = await store.due(self._partition, TIMERS_LOADED)
        effects = await store.outstanding_effects(self._partition)
        return _Claimed(memory, timers, effects)

    def _claim_later(self) -> None:
        self._loop.call_later(CLAIM_AGAIN_S, self._tell_later, _ClaimAgain())

    def _tell_later(self, message: Message) -> None:
        if not self.tell(message) and self._term is None:
            self._loop.call_later(CLAIM_AGAIN_S, self._tell_later, message)

    def _take_office(self, claimed: _Claimed) -> None:
        memory = claimed.memory
        assert memory is not None
        if self._term is not None:
            return
        self._terms += 1
        ports = self._ports
        publisher = EventPublisher(ports.store, ports.outbox, ports.evidence_log, ports.clock, memory.lease)
        term = _Term(self._terms, memory, Announcer(ports.outbox, ports.clock), publisher)
        term.renewed_at = ports.clock.monotonic()
        term.room.set()
        for key, due_at in claimed.timers:
            _set_timer(term, key, due_at)
        self._term = term
        _LOG.info(
            "%s is owned here: epoch %d, sequence %d", self.name, memory.lease.epoch, memory.lease.sequence
        )
        if self._partition == FLEET and memory.fleet is not None:
            publisher.tell_facts(memory.fleet.facts)
        for row in claimed.effects:
            effect = _EFFECT.decode(row.doc)
            ports.effects(effect.effect_id, effect)
        self._spawn_loop(term, "announce", term.announcer.run)
        self._spawn_loop(term, "publish", publisher.run)
        self._spawn_loop(term, "read", lambda: self._read(term))
        self._spawn_loop(term, "serve", lambda: self._serve(term.number))
        self._spawn_loop(term, "scan", lambda: self._scan(term))

    def _spawn_loop(self, term: _Term, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run one of the term's loops; it ends with the term or the actor, and a failure ends the term."""

        async def run() -> None:
            task = asyncio.current_task()
            if task is not None:
                term.tasks.append(task)
            await work()

        self.spawn(run(), lambda _: _Ended(), lambda error: _Failed(term.number, error, what))

    def _end_term(self) -> None:
        term, self._term = self._term, None
        if term is None:
            return
        for task in term.tasks:
            task.cancel()
        for item in term.pending:
            if isinstance(item, Asked) and not item.answer.done():
                item.answer.set_result(CommandAnswer(retry=True))

    def _failed(self, failed: _Failed) -> None:
        if failed.term == 0:
            _LOG.info("%s could not be claimed: %s", self.name, failed.error)
            if not isinstance(failed.error, Unavailable | Fenced):
                raise failed.error
            self._claim_later()
            return
        if self._term is None or self._term.number != failed.term:
            return
        _LOG.warning("%s is given up during %s: %s", self.name, failed.during, failed.error)
        self.spawn(self._resign(), lambda _: _ClaimAgain(), lambda error: _Failed(0, error, "resign"))
        if not isinstance(failed.error, Unavailable | Fenced):
            raise failed.error

    async def _resign(self) -> None:
        self._end_term()
        try:
            await self._ports.commands.withdraw(self._partition)
        except Unavailable:
            _LOG.info("%s: NATS is away while resigning", self.name)
        await asyncio.sleep(1.0)

    # ------------------------------------------------------------ what arrives

    async def _read(self, term: _Term) -> None:
        """Evidence in stream order, from the position the last commit reached; held back while much is pending."""
        position = term.memory.lease.evidence_position
        async with aclosing(self._ports.reader.read(self._partition, position)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                items = [_fact(at, raw) for at, raw in batch]
                await self.deliver(_Arrived(term.number, items))
                await term.room.wait()

    async def _serve(self, term: int) -> None:
        while True:
            try:
                await self._ports.commands.serve(self._partition, lambda envelope: self._ask(term, envelope))
            except Unavailable:
                await asyncio.sleep(1.0)
            else:
                return

    async def _ask(self, term: int, envelope: CommandEnvelope) -> CommandAnswer:
        if self._term is None or self._term.number != term:
            return CommandAnswer(retry=True)
        answer: asyncio.Future[CommandAnswer] = self._loop.create_future()
        await self.deliver(_Arrived(term, [Asked(envelope, answer)]))
        return await answer

    def _arrived(self, number: int, items: Sequence[Item]) -> None:
        term = self._term
        if term is None or term.number != number:
            for item in items:
                if isinstance(item, Asked) and not item.answer.done():
                    item.answer.set_result(CommandAnswer(retry=True))
            return
        term.pending.extend(items)
        if len(term.pending) >= PENDING_LIMIT:
            term.room.clear()
        self._pump(term)

    def _pump(self, term: _Term) -> None:
        if term.committing or not term.pending:
            return
        if not self._ports.is_current():
            raise Fenced(f"{self.name} lives on an abandoned lane")
        items = [term.pending.popleft() for _ in range(min(BATCH_LIMIT, len(term.pending)))]
        if len(term.pending) < PENDING_LIMIT // 2:
            term.room.set()
        term.committing = True
        number = term.number
        self.spawn(
            self._commit(term, items),
            lambda done: done,
            lambda error: _Failed(number, error, "commit"),
        )

    async def _commit(self, term: _Term, items: Sequence[Item]) -> _Done:
        ports = self._ports
        began = ports.clock.monotonic()
        try:
            committed = await commit(
                ports.store, term.memory, items, ports.clock, ports.ocpp_url(), LEASE_TIME
            )
        except BaseException:
            for item in items:
                if isinstance(item, Asked) and not item.answer.done():
                    item.answer.set_result(CommandAnswer(retry=True))
            raise
        return _Done(term.number, committed, ports.clock.monotonic() - began)

    # ------------------------------------------------------------ after a commit

    def _committed(self, done: _Done) -> None:
        for asked, answer in done.committed.answers:
            if not asked.answer.done():
                asked.answer.set_result(answer)
        term = self._term
        if term is None or term.number != done.term:
            return
        term.committing = False
        fold, batch, memory = done.committed.fold, done.committed.batch, term.memory
        memory.lease = done.committed.lease
        term.renewed_at = self._ports.clock.monotonic()
        facts_changed = fold.facts_changed
        memory.facts, memory.fleet = fold.facts, fold.fleet
        for before, after in fold.touched():
            memory.keep(after)
            _note_jobs(term, after)
            term.announcer.tell(after, admission=_admission_differs(before, after), facts=memory.facts)
        for charger_id, session in fold.displaced:
            term.announcer.displace(charger_id, session)
        for row in batch.effects:
            self._ports.effects(row.effect_id, _EFFECT.decode(row.doc) if row.outstanding else None)
        for timer in batch.timers:
            _set_timer(term, timer.key, timer.due_at)
        term.publisher.committed(batch.events, memory.lease)
        if facts_changed and self._partition == FLEET:
            term.publisher.tell_facts(memory.facts)
        elif facts_changed:
            now = self._ports.clock.now()
            term.pending.extend(Rang(charger_id, now) for charger_id in term.open_jobs)
        self._measure(term, done)
        self._ring(term)
        self._pump(term)

    def _measure(self, term: _Term, done: _Done) -> None:
        metrics, partition = self._ports.metrics, str(self._partition)
        metrics.observe("bf_ledger_batch_messages", done.committed.items)
        metrics.observe("bf_ledger_commit_seconds", done.seconds)
        metrics.gauge("bf_ledger_outbox_lag", term.publisher.lag, partition=partition)
        metrics.gauge("bf_ledger_pending", len(term.pending), partition=partition)
        for event in done.committed.batch.events:
            metrics.count("bf_ledger_events_total", event=event.event)

    # ------------------------------------------------------------ time

    def _tick_later(self) -> None:
        self._ticker = self._loop.call_later(TICK_S, self._tick_soon)

    def _tick_soon(self) -> None:
        self.tell(_Tick())
        self._tick_later()

    def _tick(self) -> None:
        term = self._term
        if term is None:
            return
        self._ring(term)
        for charger_id in term.announcer.waiting():
            state = term.memory.states.get(charger_id)
            if state is not None:
                term.announcer.tell(state, admission=False, facts=term.memory.facts)
        self._pump(term)
        idle = self._ports.clock.monotonic() - term.renewed_at
        if idle >= RENEW_S and not term.committing and not term.renewing:
            term.renewing = True
            term.renewed_at = self._ports.clock.monotonic()
            number, lease = term.number, term.memory.lease
            self.spawn(
                self._ports.store.renew(lease, LEASE_TIME),
                lambda _: _Renewed(number),
                lambda error: _Failed(number, error, "renew"),
            )

    def _ring(self, term: _Term) -> None:
        """Put every deadline that has passed before the next batch."""
        now = self._ports.clock.now()
        while term.timers and term.timers[0][0] <= now:
            due_at, key = heapq.heappop(term.timers)
            if term.due.get(key) == due_at:
                del term.due[key]
                term.pending.append(Rang(charger_of_key(key), due_at))

    # ------------------------------------------------------------ taking over

    async def _scan(self, term: _Term) -> None:
        """After a take-over, say again what every charger's state asks for: what the last owner said may be lost."""
        after = ""
        while True:
            try:
                rows = await self._ports.store.aggregates_after(self._partition, after, SCAN_PAGE)
            except Unavailable:
                await asyncio.sleep(1.0)
                continue
            states = [_STATE.decode(row.state) for row in rows if row.key.startswith("charger:")]
            await self.deliver(_Scanned(term.number, states, complete=len(rows) < SCAN_PAGE))
            if len(rows) < SCAN_PAGE:
                return
            after = rows[-1].key

    def _scanned(self, scanned: _Scanned) -> None:
        term = self._term
        if term is None or term.number != scanned.term:
            return
        for stored in scanned.states:
            state = term.memory.states.get(stored.charger_id, stored)
            _note_jobs(term, state)
            term.announcer.tell(state, admission=True, facts=term.memory.facts)
        term.scanned = scanned.complete
        if scanned.complete:
            now = self._ports.clock.now()
            term.pending.extend(Rang(charger_id, now) for charger_id in term.open_jobs)
            self._pump(term)


def _fact(position: int, raw: bytes) -> Fact:
    try:
        return Fact(position, _EVIDENCE.decode(raw))
    except msgspec.DecodeError:
        return Fact(position, None, raw)


def _set_timer(term: _Term, key: str, due_at: datetime | None) -> None:
    if due_at is None:
        term.due.pop(key, None)
    elif term.due.get(key) != due_at:
        term.due[key] = due_at
        heapq.heappush(term.timers, (due_at, key))


def _note_jobs(term: _Term, state: ChargerState) -> None:
    if state.jobs:
        term.open_jobs.add(state.charger_id)
    else:
        term.open_jobs.discard(state.charger_id)


def _admission_differs(before: ChargerState | None, after: ChargerState) -> bool:
    if before is None or before is after:
        return before is None
    replace = msgspec.structs.replace
    old = replace(outgoing.admission(before), revision=0)
    return old != replace(outgoing.admission(after), revision=0)
