"""One commit: load what the messages speak of, fold them, write everything in one fenced transaction."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from actors.ledger.firmware import load_firmware
from actors.ledger.former import load_former
from actors.ledger.identity import load_identities
from actors.ledger.item import Asked, Fact, Item
from bfactors import command as c
from bfactors import evidence as v
from bfactors.charger.state import ChargerState
from bfactors.check import csr as csr_check
from bfactors.errors import EvidenceKnown
from bfactors.firmware_fold import key_of
from bfactors.fleet.state import FleetFacts, FleetState
from bfactors.identity import FLEET
from bfactors.ledger_fold import FACTS_KEY, FLEET_KEY, Fold, Loaded, charger_key, charger_of_key
from bfactors.ledger_row import Batch, Lease
from bfactors.ports import Clock, LedgerStore
from bfactors.refusal import Refusal
from bfactors.x509 import SigningRequest

_LOG = logging.getLogger(__name__)
_STATE = msgspec.json.Decoder(ChargerState)
_FLEET = msgspec.json.Decoder(FleetState)
_FACTS = msgspec.json.Decoder(FleetFacts)
_ANSWER = msgspec.json.Decoder(c.CommandAnswer)
STATES_KEPT = 20_000


@dataclass(slots=True)
class Memory:
    """What a partition's owner holds between commits; dropped whenever a commit's outcome is not known."""

    lease: Lease
    facts: FleetFacts
    fleet: FleetState | None
    states: dict[str, ChargerState] = field(default_factory=dict)
    last_now: datetime | None = None

    def keep(self, state: ChargerState) -> None:
        """Remember a state, dropping the longest unused ones past the bound."""
        self.states.pop(state.charger_id, None)
        self.states[state.charger_id] = state
        while len(self.states) > STATES_KEPT:
            del self.states[next(iter(self.states))]


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit that stands: the fold that made it, and what each command is to be answered."""

    lease: Lease
    fold: Fold
    batch: Batch
    answers: tuple[tuple[Asked, c.CommandAnswer], ...]
    items: int


async def recall(store: LedgerStore, lease: Lease) -> Memory:
    """The memory an owner starts with after taking a partition. Raises Unavailable."""
    key = FLEET_KEY if lease.partition == FLEET else FACTS_KEY
    row = (await store.load(lease.partition, [key])).get(key)
    last = await store.events_after(lease.partition, lease.sequence - 1, 1) if lease.sequence else ()
    last_now = last[0].recorded_at if last else None
    if lease.partition == FLEET:
        fleet = _FLEET.decode(row.state) if row is not None else FleetState()
        return Memory(lease=lease, facts=fleet.facts, fleet=fleet, last_now=last_now)
    facts = _FACTS.decode(row.state) if row is not None else FleetFacts()
    return Memory(lease=lease, facts=facts, fleet=None, last_now=last_now)


async def load_states(
    store: LedgerStore, memory: Memory, charger_ids: set[str]
) -> dict[str, ChargerState | None]:
    """The states of these chargers, from memory or from the store."""
    found: dict[str, ChargerState | None] = {}
    missing = []
    for charger_id in charger_ids:
        state = memory.states.get(charger_id)
        if state is not None:
            found[charger_id] = state
        else:
            missing.append(charger_key(charger_id))
    if missing:
        rows = await store.load(memory.lease.partition, missing)
        for key in missing:
            row = rows.get(key)
            found[charger_of_key(key)] = _STATE.decode(row.state) if row is not None else None
    return found


async def commit(
    store: LedgerStore,
    memory: Memory,
    items: Sequence[Item],
    clock: Clock,
    ocpp_url: str,
    lease_time: timedelta,
) -> Committed:
    """Decide on `items` in order and write what follows. Raises Fenced or Unavailable; then nothing may be assumed."""
    lease = memory.lease
    facts = [item for item in items if isinstance(item, Fact)]
    everyone = await _concerned_by_lost_nodes(store, lease.partition, facts)
    states = await load_states(store, memory, _named(items).union(*everyone.values()))
    loaded = Loaded(facts=memory.facts, states=states, fleet=memory.fleet)
    loaded.firmware = await load_firmware(store, lease.partition, items)
    loaded.identities = await load_identities(store, lease.partition, items)
    loaded.recalled = await load_former(store, lease.partition, items, states, memory.facts, clock.now())
    await _look_up(store, items, loaded)
    earlier = await _earlier_answers(store, items)
    now = clock.now()
    if memory.last_now is not None and now < memory.last_now:
        now = memory.last_now  # recorded time never runs backwards
    known: set[str] = set()
    while True:
        fold = Fold(lease, loaded, now, ocpp_url)
        answers = _fold_all(fold, items, set(known), everyone, dict(earlier))
        batch = fold.finish()
        try:
            new_lease = await store.commit(lease, batch, lease_time)
            break
        except EvidenceKnown:
            # A late duplicate is rare enough to be noticed by the inbox itself; then we decide again without it.
            found = await store.known_evidence(lease.partition, batch.inbox)
            if found <= known:
                raise
            known |= found
    memory.last_now = now
    return Committed(lease=new_lease, fold=fold, batch=batch, answers=answers, items=len(items))


def _fold_all(
    fold: Fold,
    items: Sequence[Item],
    known: set[str],
    everyone: dict[str, list[str]],
    earlier: dict[str, tuple[str, c.CommandAnswer]],
) -> tuple[tuple[Asked, c.CommandAnswer], ...]:
    """Fold every item in order; what each command is to be answered."""
    answers: list[tuple[Asked, c.CommandAnswer]] = []
    for item in items:
        match item:
            case Fact():
                _fold_fact(fold, item, known, everyone)
            case Asked():
                answers.append((item, _answer(fold, item.envelope, earlier)))
            case _:
                evidence = v.Evidence(
                    evidence_id=v.evidence_id("clock", item.charger_id, item.due_at.isoformat()),
                    charger_id=item.charger_id,
                    source="clock",
                    observed_at=fold.now,
                    body=v.DeadlinePassed(at=item.due_at),
                )
                fold.evidence(evidence)
    return tuple(answers)


def _named(items: Sequence[Item]) -> set[str]:
    named: set[str] = set()
    for item in items:
        match item:
            case Fact(evidence=evidence):
                if evidence is not None and evidence.charger_id:
                    named.add(evidence.charger_id)
            case Asked(envelope=envelope):
                charger_id = getattr(envelope.body, "charger_id", None)
                if charger_id is not None:
                    named.add(charger_id)
            case _:
                named.add(item.charger_id)
    return named


async def _concerned_by_lost_nodes(
    store: LedgerStore, partition: int, facts: Sequence[Fact]
) -> dict[str, list[str]]:
    """Which chargers' live sessions a lost node held, by its incarnation."""
    if partition == FLEET:
        return {}
    found: dict[str, list[str]] = {}
    for fact in facts:
        if fact.evidence is not None and isinstance(fact.evidence.body, v.NodeLost):
            incarnation = fact.evidence.body.incarnation
            if incarnation not in found:
                found[incarnation] = list(await store.chargers_on(partition, incarnation))
    return found


async def _look_up(store: LedgerStore, items: Sequence[Item], loaded: Loaded) -> None:
    keys: set[str] = set()
    serials: set[str] = set()
    for item in items:
        match item:
            case Fact(evidence=v.Evidence(body=v.CsrReceived(csr=text))):
                request = csr_check.read(text)
                if isinstance(request, SigningRequest):
                    keys.add(request.spki_sha256)
            case Asked(
                envelope=c.CommandEnvelope(
                    body=c.RegisterCharger(serial_number=serial) | c.ReplaceUnit(serial_number=serial)
                )
            ):
                serials.add(serial)
            case Asked(envelope=envelope):
                key = key_of(envelope.body)
                if key is not None:
                    keys.add(key)
            case _:
                pass
    if keys:
        loaded.key_owners = dict(await store.key_owner(sorted(keys)))
    for serial in serials:
        owner = await store.serial_owner(serial)
        if owner is not None:
            loaded.serial_owners[serial] = owner


async def _earlier_answers(
    store: LedgerStore, items: Sequence[Item]
) -> dict[str, tuple[str, c.CommandAnswer]]:
    keys = {i.envelope.idempotency_key for i in items if isinstance(i, Asked) and i.envelope.idempotency_key}
    if not keys:
        return {}
    found = await asyncio.gather(*(store.idempotent_answer(key) for key in keys))
    return {
        key: (answer[0], _ANSWER.decode(answer[1]))
        for key, answer in zip(keys, found, strict=True)
        if answer is not None
    }


def _answer(
    fold: Fold, envelope: c.CommandEnvelope, earlier: dict[str, tuple[str, c.CommandAnswer]]
) -> c.CommandAnswer:
    key = envelope.idempotency_key
    if key and key in earlier:
        request_hash, answer = earlier[key]
        if request_hash != envelope.request_hash:
            return c.CommandAnswer(
                refusal=Refusal(
                    "idempotency-key-reused", "this Idempotency-Key was used with another request"
                )
            )
        return msgspec.structs.replace(answer, repeated=True)
    answer = fold.command(envelope)
    if key:
        earlier[key] = (envelope.request_hash, answer)
    return answer


def _fold_fact(fold: Fold, fact: Fact, known: set[str], everyone: dict[str, list[str]]) -> None:
    evidence = fact.evidence
    if evidence is None:
        unreadable = v.Evidence(
            evidence_id=v.evidence_id("unreadable", str(fold.partition), str(fact.position)),
            charger_id="",
            source="stream",
            observed_at=fold.now,
            body=v.DeadlinePassed(at=fold.now),
        )
        if unreadable.evidence_id in known:
            fold.seen(unreadable, fact.position)
            return
        fold.quarantine(unreadable, fact.position, "not readable as evidence", fact.raw)
        return
    if evidence.evidence_id in known:
        fold.seen(evidence, fact.position)
        return
    known.add(evidence.evidence_id)
    if fact.fault is not None:
        fold.quarantine(evidence, fact.position, fact.fault)
        return
    for last_try in (False, True):
        try:
            body = evidence.body
            if isinstance(body, v.NodeLost) and body.incarnation in everyone:
                fold.node_lost(evidence, body, everyone[body.incarnation], fact.position)
            else:
                fold.evidence(evidence, fact.position)
        except Exception as error:  # noqa: BLE001 - a fact that cannot be decided on must not stop the partition
            if last_try:
                _LOG.exception("evidence %s is quarantined", evidence.evidence_id)
                fold.quarantine(evidence, fact.position, f"{type(error).__name__}: {error}")
        else:
            return
