"""Refused upgrades and failed handshakes become a bounded number of facts, whoever knocks and however often."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from bfactors.errors import Unavailable
from bfactors.evidence import ConnectionRefused, Evidence, HandshakeFailed
from gateways.nats.edge_fold import ANY_ADDRESS, KEYS_MAX, KINDS_PER_SOURCE
from gateways.nats.edge_reporter import NatsEdgeReporter
from tests.fakes.nats_sides import AT, Seen
from tests.patience import PATIENCE_S


class HandClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self._moved = asyncio.Event()
        self.waited = asyncio.Event()

    def now(self) -> datetime:
        return AT + timedelta(seconds=self.passed_s)

    def monotonic(self) -> float:
        return self.passed_s

    def new_id(self) -> str:
        return "id"

    async def wait(self, seconds: float) -> None:
        until = self.passed_s + seconds
        while self.passed_s < until:
            self._moved.clear()
            self.waited.set()
            await self._moved.wait()

    async def advance(self, seconds: float) -> None:
        await asyncio.wait_for(self.waited.wait(), PATIENCE_S)
        self.waited.clear()
        self.passed_s += seconds
        self._moved.set()


class KeptEvidence:
    """An EvidenceLog that remembers, and can be away."""

    def __init__(self) -> None:
        self.away = False
        self.kept = Seen()
        self.facts: list[tuple[str, ConnectionRefused | HandshakeFailed]] = []
        self.ids: set[str] = set()

    async def append(self, evidence: Evidence, partition: int | None = None) -> None:
        if self.away:
            raise Unavailable("NATS")
        assert isinstance(evidence.body, ConnectionRefused | HandshakeFailed)
        self.facts.append((evidence.charger_id, evidence.body))
        self.ids.add(evidence.evidence_id)
        self.kept.add(evidence)


def reporter(log: KeptEvidence, clock: HandClock) -> NatsEdgeReporter:
    made = NatsEdgeReporter(log, clock, node="n1", incarnation="i1", wait=clock.wait)
    made.start()
    return made


def refuse(
    edge: NatsEdgeReporter, charger_id: str, address: str = "192.0.2.1", reason: str = "unknown"
) -> None:
    edge.connection_refused(charger_id, address, reason, 404, None)


async def test_refusals_of_one_kind_become_one_fact_with_their_count() -> None:
    clock, log = HandClock(), KeptEvidence()
    edge = reporter(log, clock)
    for _ in range(50):
        refuse(edge, "CP1")
    refuse(edge, "CP1", reason="wrong-key")
    edge.connection_refused("CP1", "192.0.2.1", "unknown", 404, "ab" * 32)
    assert log.kept == []
    await clock.advance(10)
    await log.kept.until_count(2)
    assert log.facts == [
        (
            "CP1",
            ConnectionRefused(
                remote_address="192.0.2.1",
                reason="unknown",
                http_status=404,
                count=51,
                fingerprint_sha256="ab" * 32,
            ),
        ),
        ("CP1", ConnectionRefused(remote_address="192.0.2.1", reason="wrong-key", http_status=404)),
    ]
    await edge.stop()


async def test_failed_handshakes_are_counted_per_address() -> None:
    clock, log = HandClock(), KeptEvidence()
    edge = reporter(log, clock)
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        edge.handshake_failed(address)
    await clock.advance(10)
    await log.kept.until_count(2)
    assert log.facts == [
        ("", HandshakeFailed(remote_address="192.0.2.1", count=2)),
        ("", HandshakeFailed(remote_address="192.0.2.2", count=1)),
    ]
    await edge.stop()


async def test_the_next_window_is_another_fact_with_another_id() -> None:
    clock, log = HandClock(), KeptEvidence()
    edge = reporter(log, clock)
    for expected in (1, 2):
        refuse(edge, "CP1")
        await clock.advance(10)
        await log.kept.until_count(expected)
    assert len(log.ids) == 2
    await edge.stop()


async def test_one_source_guessing_names_fills_neither_memory_nor_streams() -> None:
    clock, log = HandClock(), KeptEvidence()
    edge = reporter(log, clock)
    for number in range(5000):
        refuse(edge, f"CP{number}")
    refuse(edge, "CP1", address="198.51.100.1")
    await clock.advance(10)
    await log.kept.until_count(KINDS_PER_SOURCE + 2)
    counts = [(charger_id, fact.count) for charger_id, fact in log.facts]
    assert counts == [
        *((f"CP{number}", 1) for number in range(KINDS_PER_SOURCE)),
        ("", 5000 - KINDS_PER_SOURCE),
        ("CP1", 1),
    ]
    await edge.stop()


async def test_countless_sources_end_up_in_one_fact_without_an_address() -> None:
    clock, log = HandClock(), KeptEvidence()
    edge = reporter(log, clock)
    for number in range(3 * KEYS_MAX):
        edge.handshake_failed(f"addr {number}")
        refuse(edge, "CP1", address=f"addr {number}")
    await clock.advance(10)
    await log.kept.until_count(2 * KEYS_MAX + 2)
    rest = [fact for _, fact in log.facts if fact.remote_address == ANY_ADDRESS]
    assert [fact.count for fact in rest] == [2 * KEYS_MAX, 2 * KEYS_MAX]
    await edge.stop()


async def test_a_name_that_cannot_be_a_chargers_is_a_fact_about_the_address() -> None:
    clock, log = HandClock(), KeptEvidence()
    edge = reporter(log, clock)
    refuse(edge, "x" * 500)
    refuse(edge, "a:b")
    await edge.stop()
    assert [(charger_id, fact.count) for charger_id, fact in log.facts] == [("", 2)]


async def test_what_could_not_be_stored_is_tried_again_with_the_same_id() -> None:
    clock, log = HandClock(), KeptEvidence()
    log.away = True
    edge = reporter(log, clock)
    refuse(edge, "CP1")
    await clock.advance(10)
    await asyncio.wait_for(clock.waited.wait(), PATIENCE_S)  # tried, and waiting for the next window
    log.away = False
    refuse(edge, "CP2")
    await clock.advance(10)
    await log.kept.until_count(2)
    assert [charger_id for charger_id, _ in log.facts] == ["CP1", "CP2"]
    await edge.stop()
