"""The owner of one partition: takes its lease, reads its evidence, answers its commands, commits in batches.

    waiting ──claimed──► owning ──fenced, store away──► waiting (memory dropped)

While a commit is on its way the next batch gathers: the busier the partition, the larger its batches. Items that keep a
batch from being committed are found by committing one at a time, and set aside.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any, assert_never

import msgspec

from actors.ledger.announcement import Announcer
from actors.ledger.checkpoint import Checkpointer
from actors.ledger.commit import commit, recall
from actors.ledger.isolation import set_aside
from actors.ledger.item import Asked, Fact, Item, Rang
from actors.ledger.look_turn import LookTurn, of_loop
from actors.ledger.message import (
    Arrived,
    ClaimAgain,
    Claimed,
    Done,
    Ended,
    Failed,
    Message,
    NotDone,
    Refusing,
    Renewed,
    Scanned,
    Tick,
    Turn,
)
from actors.ledger.outgoing_event import EventPublisher
from actors.ledger.ports import Ports
from actors.ledger.scan import Scanner
from actors.ledger.term import Term, answer, ask_again
from actors.mailbox import Mailbox, MailboxState
from bfactors.charger import clock, former, outgoing, plan
from bfactors.charger.state import ChargerState
from bfactors.command import CommandAnswer, CommandEnvelope
from bfactors.effect import Effect
from bfactors.errors import Fenced, Overtaken, Unavailable
from bfactors.evidence import Evidence
from bfactors.identity import FLEET
from bfactors.incident import refuses
from bfactors.ledger_fold import charger_key, charger_of_key

__all__ = ["LedgerActor", "Ports"]

_LOG = logging.getLogger(__name__)
_EVIDENCE = msgspec.json.Decoder(Evidence)
_EFFECT: msgspec.json.Decoder[Effect] = msgspec.json.Decoder(Effect)

LEASE_TIME = timedelta(seconds=12)
RENEW_S = 4.0
CLAIM_AGAIN_S = 1.0
BATCH_LIMIT = 500
PENDING_LIMIT = 4_000
TICK_S = 1.0
RETRY_S = 1.0
STOP_S = 5.0
LOOKS_AT_ONCE = 10
"""Chargers that one commit looks at because something changed for everybody. What comes from outside waits for no more."""
LOOKS_LIMIT = 100
"""How many of them wait before the next page is read."""
TIMERS_LOADED = 10_000
"""The most urgent ones, until the scan after a take-over has looked at every charger."""


class LedgerActor(Mailbox[Message]):
    """One partition's ledger on this node. Lives on the ledger supervisor's lane."""

    __slots__ = (
        "_counted",
        "_is_leaving",
        "_owner",
        "_partition",
        "_ports",
        "_settled",
        "_term",
        "_terms",
        "_ticker",
        "_turn",
    )

    def __init__(self, partition: int, owner: str, ports: Ports) -> None:
        super().__init__(f"ledger-{partition:02d}", capacity=1024)
        self._partition = partition
        self._owner = owner
        self._ports = ports
        self._term: Term | None = None
        self._terms = 0
        self._ticker: asyncio.TimerHandle | None = None
        self._is_leaving = False
        self._turn = LookTurn()
        self._counted: dict[str, int] = {}
        """Events committed since the metrics were last told, by name."""
        self._settled = asyncio.Event()
        """No commit is under way."""
        self._settled.set()

    async def begin(self) -> None:
        self._turn = of_loop(self._loop)
        self._claim()
        self._tick_later()

    async def receive(self, message: Message) -> None:
        match message:
            case ClaimAgain():
                if self._term is None and not self._is_leaving:
                    self._claim()
            case Claimed():
                self._claimed(message)
            case Arrived(number, items):
                self._arrived(number, items)
            case Done():
                self._done(message)
            case NotDone():
                self._not_done(message)
            case Failed():
                self._failed(message)
            case Scanned():
                self._scanned(message)
            case Refusing():
                self._refusing(message)
            case Renewed(number):
                term = self._current(number)
                if term is not None:
                    term.is_renewing = False
            case Tick():
                self._tick()
            case Turn():
                if self._term is not None:
                    self._pump(self._term)
                if self._term is None or not (self._term.is_looking or self._term.looks):
                    self._turn.leave(self)
            case Ended():
                pass
            case _:
                assert_never(message)

    async def drain(self) -> None:
        """Nothing of a ledger's work ends by itself; what is pending is left to the next owner."""
        await self.stop()

    async def stop(self) -> None:
        """Finish the commit in hand, give the partition back, end everything of this term."""
        self._is_leaving = True
        try:
            async with asyncio.timeout(STOP_S):
                await self._settled.wait()
        except TimeoutError:
            _LOG.warning("%s stops in the middle of a commit", self.name)
        term = self._term
        if self._ticker is not None:
            self._ticker.cancel()
        self._end_term()
        await super().stop()
        if term is not None:
            try:
                await self._ports.commands.withdraw(self._partition)
                await self._ports.store.release(term.publisher.carried_by(term.memory.lease))
            except Unavailable:
                _LOG.info("%s could not be released; its lease will lapse", self.name)

    def _current(self, number: int) -> Term | None:
        """The term of that number, if it is not over."""
        return self._term if self._term is not None and self._term.number == number else None

    # ------------------------------------------------------------ the lease

    def _claim(self) -> None:
        self.spawn(self._try_claim(), lambda claimed: claimed, lambda error: Failed(0, error, "claim"))

    async def _try_claim(self) -> Claimed:
        store = self._ports.store
        lease = await store.claim(self._partition, self._owner, LEASE_TIME)
        if lease is None:
            return Claimed(None)
        memory = await recall(store, lease)
        timers = await store.due(self._partition, TIMERS_LOADED)
        effects = await store.outstanding_effects(self._partition)
        return Claimed(memory, timers, effects)

    def _claim_later(self, delay_s: float) -> None:
        self._loop.call_later(delay_s, self._tell_later, ClaimAgain())

    def _tell_later(self, message: Message) -> None:
        if not self.tell(message) and self.state is MailboxState.OPEN:
            self._loop.call_later(RETRY_S, self._tell_later, message)

    def _claimed(self, claimed: Claimed) -> None:
        memory = claimed.memory
        if memory is None:
            self._claim_later(CLAIM_AGAIN_S)
            return
        if self._term is not None or self._is_leaving:
            return
        self._terms += 1
        ports = self._ports
        publisher = EventPublisher(ports.store, ports.outbox, ports.evidence_log, ports.clock, memory.lease)
        checkpointer = Checkpointer(ports.checkpoints, ports.clock, memory.lease)
        term = Term(
            self._terms, memory, Announcer(ports.outbox, ports.clock, ports.edge), publisher, checkpointer
        )
        term.renewed_at = ports.clock.monotonic()
        term.room.set()
        self._make_room(term)
        for key, due_at in claimed.timers:
            term.timers.set(key, due_at)
        self._term = term
        lease = memory.lease
        _LOG.info("%s is owned here: epoch %d, sequence %d", self.name, lease.epoch, lease.sequence)
        if self._partition == FLEET and memory.fleet is not None:
            publisher.tell_facts(memory.fleet.facts)
        for row in claimed.effects:
            self._pass_on(term, row.effect_id, _EFFECT.decode(row.doc))
        self._spawn_loop(term, "announce", term.announcer.run)
        self._spawn_loop(term, "publish", publisher.run)
        self._spawn_loop(term, "checkpoint", checkpointer.run)
        self._spawn_loop(term, "read", lambda: self._read(term))
        self._spawn_loop(term, "serve", lambda: self._serve(term.number))
        self._refuse_at_once(term)
        self._look_at_all(term)

    def _pass_on(self, term: Term, effect_id: str, effect: Effect | None) -> None:
        if effect is None:
            term.effects.discard(effect_id)
        else:
            term.effects.add(effect_id)
        self._ports.effects(effect_id, effect)

    def _spawn_loop(self, term: Term, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run one of the term's loops; it ends with the term or the actor, and a failure ends the term."""

        async def run() -> None:
            task = asyncio.current_task()
            if task is not None:
                term.tasks.append(task)
            await work()

        self.spawn(run(), lambda _: Ended(), lambda error: Failed(term.number, error, what))

    def _end_term(self) -> None:
        """Everything of the term is dropped; its effects are carried out where the partition is owned."""
        term, self._term = self._term, None
        self._settled.set()
        self._turn.leave(self)
        if term is None:
            return
        self._show(term)
        term.end()
        for effect_id in term.effects:
            self._ports.effects(effect_id, None)

    def _failed(self, failed: Failed) -> None:
        if failed.term == 0:
            _LOG.info("%s could not be claimed: %s", self.name, failed.error)
            if not isinstance(failed.error, Unavailable | Fenced):
                raise failed.error
            self._claim_later(CLAIM_AGAIN_S)
        elif (term := self._current(failed.term)) is not None:
            self._give_up(term, failed.error, failed.during)

    def _give_up(self, term: Term, error: BaseException, during: str) -> None:
        _LOG.warning("%s is given up during %s: %s", self.name, during, error)
        self._end_term()
        if not isinstance(error, Unavailable | Fenced):
            raise error
        self.spawn(self._resign(), lambda _: ClaimAgain(), lambda error: Failed(0, error, "resign"))

    async def _resign(self) -> None:
        """Withdrawn before the next claim, or it would be the next term's commands that are withdrawn."""
        try:
            await self._ports.commands.withdraw(self._partition)
        except Unavailable:
            _LOG.info("%s: NATS is away while resigning", self.name)
        await asyncio.sleep(CLAIM_AGAIN_S)

    # ------------------------------------------------------------ what arrives

    async def _read(self, term: Term) -> None:
        """Evidence in stream order, from the position the last commit reached; held back while much is pending."""
        position = term.memory.lease.evidence_position
        async with aclosing(self._ports.reader.read(self._partition, position)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                items = [_fact(at, raw) for at, raw in batch]
                term.room.clear()
                await self.deliver(Arrived(term.number, items))
                await term.room.wait()

    async def _serve(self, number: int) -> None:
        while True:
            try:
                await self._ports.commands.serve(
                    self._partition, lambda envelope: self._ask(number, envelope)
                )
            except Unavailable:
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _ask(self, number: int, envelope: CommandEnvelope) -> CommandAnswer:
        if self._current(number) is None:
            return CommandAnswer(retry=True)
        answered: asyncio.Future[CommandAnswer] = self._loop.create_future()
        await self.deliver(Arrived(number, [Asked(envelope, answered)]))
        return await answered

    def _arrived(self, number: int, items: Sequence[Item]) -> None:
        term = self._current(number)
        if term is None or self._is_leaving:
            ask_again(items)
            return
        term.pending.extend(items)
        if len(term.pending) < PENDING_LIMIT:
            term.room.set()
        self._pump(term)

    def _pump(self, term: Term) -> None:
        if term.in_hand or not (term.pending or term.refusals or term.looks) or self._is_leaving:
            return
        may_look = term.has_time_to_look and self._turn.take(self, self._turn_came)
        if not (term.pending or term.refusals or may_look):
            return
        if not self._ports.is_current():
            self._give_up(term, RuntimeError(f"{self.name} lives on an abandoned lane"), "commit")
        items = term.in_hand = term.next_items(BATCH_LIMIT, LOOKS_AT_ONCE if may_look else 0)
        term.is_looking = may_look
        self._make_room(term)
        if len(term.pending) < PENDING_LIMIT:
            term.room.set()
        self._settled.clear()
        term.memory.lease = term.publisher.carried_by(term.memory.lease)
        number = term.number
        self.spawn(
            self._commit(term, items),
            lambda done: done,
            lambda error: NotDone(number, items, error),
        )

    def _turn_came(self) -> None:
        self._tell_later(Turn())

    def _hand_is_free(self, term: Term) -> None:
        """The commit is over. A turn to look that came meanwhile is kept: given on unused, it would go round for ever."""
        if term.is_looking:
            self._turn.leave(self)
        term.in_hand, term.is_looking = (), False
        self._settled.set()

    async def _commit(self, term: Term, items: Sequence[Item]) -> Done:
        ports = self._ports
        began = ports.clock.monotonic()
        committed = await commit(ports.store, term.memory, items, ports.clock, ports.ocpp_url(), LEASE_TIME)
        return Done(term.number, committed, ports.clock.monotonic() - began)

    # ------------------------------------------------------------ after a commit

    def _done(self, done: Done) -> None:
        for asked, given in done.committed.answers:
            answer(asked, given)
        term = self._current(done.term)
        if term is None:
            return
        term.failures = 0
        self._hand_is_free(term)
        fold, batch, memory = done.committed.fold, done.committed.batch, term.memory
        memory.lease = done.committed.lease
        term.renewed_at = self._ports.clock.monotonic()
        has_new_incidents = fold.facts.incidents != memory.facts.incidents
        memory.facts, memory.fleet = fold.facts, fold.fleet
        for before, after in fold.touched():
            memory.keep(after)
            term.note_jobs(after)
            term.announcer.tell(after, admission=_admission_differs(before, after), facts=memory.facts)
            if former.is_to_go_on(before, after):
                term.look_at(after.charger_id, fold.now)
        for firmware in fold.firmware.touched():
            state = fold.states[firmware.charger_id]
            assert state is not None
            memory.keep(state)
            term.announcer.tell_firmware(firmware, state, memory.facts)
        for charger_id, session in fold.displaced:
            term.announcer.displace(charger_id, session)
        for row in batch.effects:
            self._pass_on(term, row.effect_id, _EFFECT.decode(row.doc) if row.outstanding else None)
        for timer in batch.timers:
            term.timers.set(timer.key, timer.due_at)
        term.publisher.committed(batch.events, memory.lease)
        term.checkpointer.committed(batch.events, memory.lease)
        if fold.facts_changed and self._partition == FLEET:
            term.publisher.tell_facts(memory.facts)
        elif fold.everyone_concerned:
            if has_new_incidents:
                self._refuse_at_once(term)
            self._look_at_all(term)
        elif fold.facts_changed:
            now = self._ports.clock.now()
            for charger_id in sorted(term.open_jobs):
                term.look_at(charger_id, now)
        self._measure(done)
        self._ring(term)
        self._pump(term)

    def _not_done(self, failed: NotDone) -> None:
        """A commit came to nothing, or nobody knows: then the memory is dropped, and what stands is read again."""
        term = self._current(failed.term)
        if term is None:
            return  # whoever waited was answered when the term ended
        error = failed.error
        is_in_doubt = isinstance(error, Unavailable) and not isinstance(error, Overtaken)
        if is_in_doubt or isinstance(error, Fenced | asyncio.CancelledError):
            self._give_up(term, error, "commit")
            return
        self._hand_is_free(term)
        term.memory.states.clear()
        if set_aside(term, failed.items, error):
            self._pump(term)
        else:
            self._give_up(term, error, "quarantine")

    def _measure(self, done: Done) -> None:
        metrics = self._ports.metrics
        metrics.observe("bf_ledger_batch_messages", done.committed.items)
        metrics.observe("bf_ledger_commit_seconds", done.seconds)
        for row in done.committed.batch.events:
            self._counted[row.event] = self._counted.get(row.event, 0) + 1

    def _show(self, term: Term) -> None:
        """Numbers that nobody needs after every commit: once a second."""
        metrics, partition = self._ports.metrics, str(self._partition)
        metrics.gauge("bf_ledger_outbox_lag", term.publisher.lag, partition=partition)
        metrics.gauge("bf_ledger_pending", len(term.pending), partition=partition)
        metrics.gauge("bf_checkpoint_lag", term.checkpointer.lag, partition=partition)
        counted, self._counted = self._counted, {}
        for name, count in counted.items():
            metrics.count("bf_ledger_events_total", count, event=name)

    # ------------------------------------------------------------ time

    def _tick_later(self) -> None:
        self._ticker = self._loop.call_later(TICK_S, self._tick_soon)

    def _tick_soon(self) -> None:
        if self.state is MailboxState.OPEN:
            self.tell(Tick())
            self._tick_later()

    def _tick(self) -> None:
        term = self._term
        if term is None or self._is_leaving:
            return
        self._show(term)
        term.checkpointer.look()
        self._ring(term)
        for charger_id in term.announcer.waiting():
            state = term.memory.states.get(charger_id)
            if state is not None:
                term.announcer.tell(state, admission=False, facts=term.memory.facts)
        self._pump(term)
        idle_s = self._ports.clock.monotonic() - term.renewed_at
        if idle_s >= RENEW_S and not term.in_hand and not term.is_renewing:
            term.is_renewing = True
            term.renewed_at = self._ports.clock.monotonic()
            number = term.number
            self.spawn(
                self._ports.store.renew(term.memory.lease, LEASE_TIME),
                lambda _: Renewed(number),
                lambda error: Failed(number, error, "renew"),
            )

    def _ring(self, term: Term) -> None:
        """Put every deadline that has passed before the next batch."""
        for key, due_at in term.timers.passed(self._ports.clock.now()):
            term.pending.append(Rang(charger_of_key(key), due_at))

    # ------------------------------------------------------------ looking at everyone

    def _look_at_all(self, term: Term) -> None:
        """After a take-over: what the last owner said may be lost. After a new policy: every deadline may be another."""
        if term.is_scanning:
            term.scan_again = True
            return
        term.is_scanning = True
        says_all, term.has_announced = not term.has_announced, True
        self._spawn_loop(term, "scan", lambda: self._scanner().look(term, says_all=says_all))

    def _refuse_at_once(self, term: Term) -> None:
        """What an incident refuses is refused before anybody is looked at for another reason."""
        if not refuses(term.memory.facts.incidents.values()):
            return
        if term.is_refusing:
            term.refuse_again = True
            return
        term.is_refusing = True
        self._spawn_loop(term, "refuse", lambda: self._scanner().refuse(term))

    def _scanner(self) -> Scanner:
        return Scanner(self._partition, self._ports, self._turn, self.deliver)

    def _refusing(self, refusing: Refusing) -> None:
        term = self._current(refusing.term)
        if term is None:
            return
        now = self._ports.clock.now()
        term.refusals.update((charger_id, now) for charger_id in refusing.charger_ids)
        self._make_room(term)
        if refusing.is_last:
            term.is_refusing = False
            if term.refuse_again:
                term.refuse_again = False
                self._refuse_at_once(term)
        self._pump(term)

    def _make_room(self, term: Term) -> None:
        if len(term.looks) < LOOKS_LIMIT:
            term.looks_room.set()
        if len(term.refusals) < LOOKS_LIMIT:
            term.refusals_room.set()

    def _scanned(self, scanned: Scanned) -> None:
        term = self._current(scanned.term)
        if term is None:
            return
        now, facts = self._ports.clock.now(), term.memory.facts
        for stored in scanned.states:
            state = term.memory.states.get(stored.charger_id, stored)
            term.note_jobs(state)
            term.announcer.tell(state, admission=scanned.says_all, facts=facts)
            term.timers.set(charger_key(state.charger_id), clock.next_due(state, facts, now))
            is_concerned = state.charger_id in scanned.concerned
            if is_concerned or state.jobs or plan.is_behind(state, facts, now):
                term.look_at(state.charger_id, now)
        for firmware, stored in scanned.firmware:
            state = term.memory.states.get(stored.charger_id, stored)
            term.memory.keep(state)
            term.announcer.tell_firmware(firmware, state, facts)
        term.page_taken.set()
        self._make_room(term)
        if scanned.is_last:
            term.is_scanning = False
            if term.scan_again:
                term.scan_again = False
                self._look_at_all(term)
        self._pump(term)


def _fact(position: int, raw: bytes) -> Fact:
    try:
        return Fact(position, _EVIDENCE.decode(raw))
    except msgspec.DecodeError:
        return Fact(position, None, raw)


def _admission_differs(before: ChargerState | None, after: ChargerState) -> bool:
    if before is None or before is after:
        return before is None
    replace = msgspec.structs.replace
    old = replace(outgoing.admission(before), revision=0)
    return old != replace(outgoing.admission(after), revision=0)
