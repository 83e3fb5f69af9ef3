"""A change that concerns everybody: how long evidence waits meanwhile, and until the whole fleet has been looked at.

All 15 partitions of chargers on one lane, as in one core process, over a real PostgreSQL; NATS is left out: evidence comes
from this process, and what the ledger says goes nowhere. Three changes: a waiver for one charger, for which everybody is
looked at and nobody is changed, a policy by which every charger's admission record is another, and an incident that refuses
the three certificates of each.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from statistics import quantiles

import asyncpg
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from actors.ledger.actor import LedgerActor, Ports
from bench import pki
from bench.process import ProcessFailed
from bench.round import Result
from bfactors import evidence as v
from bfactors.admission import AdmissionPlace, AdmissionRecord
from bfactors.charger.state import CertificateRecord, ChargerState, Slot, slot_key
from bfactors.command import CommandAnswer, CommandEnvelope
from bfactors.effect import Effect
from bfactors.fleet.state import FleetFacts
from bfactors.identity import PARTITIONS
from bfactors.incident import Incident, Selector
from bfactors.instruction import InstructionOrder
from bfactors.ledger_fold import charger_key
from bfactors.ledger_row import AggregateRow, Batch, EventRow, Lease
from bfactors.policy import PolicyOverride, PolicySet
from bfactors.waiver import Waiver
from deploy.embedded import DataDirectory, EmbeddedPostgres
from deploy.role.clock import SystemClock
from gateways.metrics import PrometheusMetrics
from persistence.ledger_store import PostgresLedgerStore
from persistence.migration import migrate
from persistence.role import ROLES, ensure_roles

WAIT_LIMIT_S = 0.250
"""For a piece of evidence, from its arrival to its commit, while the fleet is looked at."""
LOOKED_AT_A_SECOND = 200
"""Chargers: the whole fleet within 100 s for 20,000, within 500 s for 100,000, changed or not."""
SIZES = (20_000, 100_000)
_PROBE_EVERY_S = 0.05
_FAMILY = "bench/one"
_CHANGED = frozenset({"AdmissionRuleChanged", "CertificateInIncident"})
_CERTIFICATES = 3


class Feed:
    """A partition's evidence stream and everything it is told, in this process."""

    def __init__(self) -> None:
        self._positions = count(1)
        self._queues: dict[int, asyncio.Queue[tuple[int, bytes]]] = {
            number: asyncio.Queue() for number in range(1, PARTITIONS)
        }
        self.losses = 0

    def put(self, partition: int, evidence: v.Evidence) -> None:
        self._queues[partition].put_nowait((next(self._positions), msgspec.json.encode(evidence)))

    async def read(self, partition: int, after: int) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
        queue = self._queues[partition]
        while True:
            yield [await queue.get()]

    async def serve(self, partition: int, handle: object) -> None:
        await asyncio.Event().wait()

    async def withdraw(self, partition: int) -> None:
        """Nobody asks."""

    async def request(self, partition: int, command: CommandEnvelope) -> CommandAnswer:
        raise NotImplementedError

    async def append(self, evidence: v.Evidence, partition: int | None = None) -> None:
        """The fleet's partition is not here."""

    async def publish_events(self, rows: Sequence[EventRow]) -> None:
        """Nobody listens."""

    async def put_admission(self, records: Iterable[AdmissionRecord]) -> AdmissionPlace:
        for record in records:
            msgspec.json.encode(record)
        return AdmissionPlace("bench", 0)

    async def put_control(self, values: Mapping[str, bytes]) -> None:
        """Nobody listens."""

    async def send_order(self, node: str, order: InstructionOrder) -> None:
        """Nobody listens."""


class Watched(PostgresLedgerStore):
    """Notes when a probe was committed, who was changed, and how often a partition was read to its end."""

    arrived: dict[str, float]
    waits: list[float]
    changed: int
    ends: dict[int, int]

    def watch(self) -> None:
        self.arrived, self.waits, self.changed, self.ends = {}, [], 0, {}

    async def commit(self, lease: Lease, batch: Batch, duration: timedelta) -> Lease:
        new = await super().commit(lease, batch, duration)
        now = time.perf_counter()
        self.waits += [now - self.arrived.pop(name) for name in batch.inbox if name in self.arrived]
        self.changed += sum(row.event in _CHANGED for row in batch.events)
        return new

    async def aggregates_after(self, partition: int, key: str, limit: int) -> Sequence[AggregateRow]:
        rows = await super().aggregates_after(partition, key, limit)
        if len(rows) < limit:
            self.ends[partition] = self.ends.get(partition, 0) + 1
        return rows


def measure(folder: Path, quick: bool, said: Callable[[str], None]) -> list[Result]:
    """Seconds of wall-clock time, for each size of the fleet."""
    folder.chmod(0o711)  # PostgreSQL's account must pass through to its own folder
    results: list[Result] = []
    for size in (1_500,) if quick else SIZES:
        with DataDirectory.open(folder / f"data-{size}") as data:
            postgres = EmbeddedPostgres.start(data)
            try:
                results += asyncio.run(_changed(postgres, size, said))
            finally:
                postgres.stop()
    return results


async def _changed(postgres: EmbeddedPostgres, size: int, said: Callable[[str], None]) -> list[Result]:
    names = await _fill(postgres, size, said)
    store = await Watched.open(postgres.dsn("bf_writer"))
    store.watch()
    feed, failures = Feed(), []
    actors = [LedgerActor(number, "bench", _ports(store, feed)) for number in range(1, PARTITIONS)]
    for actor in actors:
        actor.start(lambda _, error, __: failures.append(error))
    try:
        await _until(lambda: len(store.ends) == PARTITIONS - 1, 600, "the look after the take-over")
        await asyncio.sleep(2)
        results = [
            await _one(name, facts, store, feed, names, said)
            for name, facts in (("waiver", _waived()), ("policy", _ruled()), ("incident", _struck()))
        ]
    finally:
        for actor in actors:
            await actor.stop()
        await store.close()
    if failures:
        raise ProcessFailed(str(failures[0]))
    return [result for pair in results for result in pair]


async def _one(
    name: str,
    facts: FleetFacts,
    store: Watched,
    feed: Feed,
    names: Mapping[int, Sequence[str]],
    said: Callable[[str], None],
) -> list[Result]:
    size = sum(map(len, names.values()))
    store.watch()
    probing = asyncio.create_task(_probe(store, feed, names))
    await asyncio.sleep(3)
    calm = list(store.waits)
    store.waits.clear()
    began = time.perf_counter()
    for partition in names:
        body = v.FleetFactsChanged(facts=facts)
        feed.put(partition, _evidence("", body, f"{name}-{partition}"))
    everybody = {"policy": size, "incident": _CERTIFICATES * size}.get(name, 0)
    await _until(
        lambda: len(store.ends) == PARTITIONS - 1 and store.changed >= everybody, 1_200, f"the {name}'s look"
    )
    took_s = time.perf_counter() - began
    probing.cancel()
    with suppress(asyncio.CancelledError):
        await probing
    waits = sorted(store.waits)
    p99_s, most_s = quantiles(waits, n=100)[-1], waits[-1]
    said(
        f"{size} chargers, {name}: {took_s:.1f} s; evidence waited {most_s * 1e3:.0f} ms at most, {p99_s * 1e3:.0f} ms p99 "
        f"({len(waits)} pieces); before, {max(calm) * 1e3:.0f} ms at most"
    )
    within_s = size / LOOKED_AT_A_SECOND
    return [
        Result(
            name=f"fleet_change {size}, {name}: longest wait",
            ratio=most_s / WAIT_LIMIT_S,
            target=1.0,
            ours=f"{most_s * 1e3:.0f} ms",
            peer=f"limit {WAIT_LIMIT_S * 1e3:.0f} ms",
            details={
                "p99_ms": round(p99_s * 1e3, 1),
                "calm_most_ms": round(max(calm) * 1e3, 1),
                "probes": len(waits),
            },
        ),
        Result(
            name=f"fleet_change {size}, {name}: all looked at",
            ratio=took_s / within_s,
            target=1.0,
            ours=f"{took_s:.1f} s",
            peer=f"limit {within_s:.0f} s",
        ),
    ]


async def _probe(store: Watched, feed: Feed, names: Mapping[int, Sequence[str]]) -> None:
    """A piece of evidence now here, now there, about any charger."""
    chance = random.Random(20268)
    for number in count():
        partition = 1 + number % (PARTITIONS - 1)
        told = v.SecurityEventReported(
            session_id="s", event_type="MemoryExhaustion", charger_time=str(time.perf_counter())
        )
        evidence = _evidence(chance.choice(names[partition]), told, f"probe-{time.perf_counter()}")
        store.arrived[evidence.evidence_id] = time.perf_counter()
        feed.put(partition, evidence)
        await asyncio.sleep(_PROBE_EVERY_S)


async def _until(is_so: Callable[[], bool], longest_s: float, what: str) -> None:
    ends = time.perf_counter() + longest_s
    while not is_so():
        if time.perf_counter() > ends:
            raise ProcessFailed(f"{what} was not over within {longest_s:.0f} s")
        await asyncio.sleep(0.05)


# ---------------------------------------------------------------- the fleet


def _waived() -> FleetFacts:
    now = datetime.now(UTC)
    waiver = Waiver(
        waiver_id="w",
        subject="charger:BENCH-000001",
        purpose="charging_station",
        rule="csr_wait_s",
        value=900,
        reason="bench",
        author="a",
        family=_FAMILY,
        cohort="pilot",
        requested_at=now,
        granted_at=now,
        state="in-force",
        ends_at=now + timedelta(days=1),
    )
    return FleetFacts(sequence=1, waivers={waiver.subject: (waiver,)})


def _ruled() -> FleetFacts:
    override = PolicyOverride(scope="purpose:charging_station", values={"subject_match": "contains"})
    return FleetFacts(sequence=2, policies=PolicySet(version=2, overrides=(override,)))


def _struck() -> FleetFacts:
    """All are refused at once; the CA's part has not begun."""
    incident = Incident(
        incident_id="i",
        name="bench",
        reason="bench",
        mode="revoke",
        revocation_reason="superseded",
        selector=Selector(purpose="charging_station", families=(_FAMILY,)),
        percent=0,
        expected=1,
        author="a",
        approver="b",
        opened_at=datetime.now(UTC),
    )
    return replace(_ruled(), sequence=3, incidents={"i": incident})


def _evidence(charger_id: str, body: v.EvidenceBody, name: str) -> v.Evidence:
    return v.Evidence(
        evidence_id=v.evidence_id("bench", name),
        charger_id=charger_id,
        source="bench",
        observed_at=datetime.now(UTC),
        body=body,
    )


@cache
def _chain() -> str:
    """The same for all, as nobody compares them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = pki._name("Bench")
    return pki._pem(pki._certificate(name, name, key, key, is_ca=True)).decode() * 2


def _state(charger_id: str, now: datetime) -> ChargerState:
    """With three certificates, as wide as real ones."""
    certificates = {
        f"{charger_id}-{number}": CertificateRecord(
            certificate_id=f"{charger_id}-{number}",
            purpose="charging_station",
            variant="default",
            state="active" if number == 2 else "superseded",
            fingerprint_sha256=f"{charger_id}{number}".encode().hex().ljust(64, "0")[:64],
            serial_number="5f" * 16,
            subject=f"CN={charger_id}",
            issuer="CN=bench",
            issuing_ca_id="arn:aws:acm-pca:eu-central-1:111122223333:certificate-authority/bench",
            external_ref="arn:aws:acm-pca:eu-central-1:111122223333:certificate/" + "a" * 32,
            spki_sha256="ab" * 32,
            not_before=now - timedelta(days=20),
            not_after=now + timedelta(days=340),
            chain_pem=_chain(),
            issued_at=now - timedelta(days=20),
        )
        for number in range(_CERTIFICATES)
    }
    return ChargerState(
        charger_id=charger_id,
        managed_identity_id=f"unit-{charger_id}",
        serial_number=charger_id,
        family=_FAMILY,
        site="depot",
        cohort="pilot",
        organization=None,
        expected_common_name=charger_id,
        security_profile=3,
        target_security_profile=3,
        ocpp_versions=("ocpp2.0.1",),
        registered_at=now,
        certificates=certificates,
        slots={slot_key("charging_station", "default"): Slot(current=f"{charger_id}-2")},
        revision=7,
    )


async def _fill(
    postgres: EmbeddedPostgres, size: int, said: Callable[[str], None]
) -> Mapping[int, Sequence[str]]:
    """The tables, and the states of the chargers in them; their names by partition."""
    began = time.perf_counter()
    await ensure_roles(postgres.dsn(), {role: postgres.password(role) for role in ROLES})
    await migrate(postgres.dsn("bf_owner"))
    now = datetime.now(UTC)
    names: dict[int, list[str]] = {number: [] for number in range(1, PARTITIONS)}
    for number in range(size):
        names[1 + number % (PARTITIONS - 1)].append(f"BENCH-{number:06d}")
    connection = await asyncpg.connect(postgres.dsn())
    try:
        for partition, each in names.items():
            await connection.copy_records_to_table(
                "aggregate",
                records=(
                    (partition, charger_key(name), 7, msgspec.json.encode(_state(name, now))) for name in each
                ),
                columns=("partition", "key", "version", "state"),
            )
        await connection.execute("VACUUM (ANALYZE) aggregate")
    finally:
        await connection.close()
    said(f"{size} chargers in {time.perf_counter() - began:.0f} s")
    return names


def _ports(store: Watched, feed: Feed) -> Ports:
    return Ports(
        store=store,
        reader=feed,
        commands=feed,
        outbox=feed,
        evidence_log=feed,
        effects=_no_effects,
        clock=SystemClock(),
        metrics=PrometheusMetrics(),
        ocpp_url=lambda: "wss://localhost/ocpp",
    )


def _no_effects(effect_id: str, effect: Effect | None) -> None:
    pass
