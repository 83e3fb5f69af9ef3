"""A thousand crashes between asking the CA and the record of its answer: nothing is lost, nothing stays unexplained."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from bfactors import event as e
from bfactors.effect import IssueCertificate
from tests.actors.crash_world import Ledger
from tests.fakes.ca import settle

STEPS_UNTIL_RECORDED = 14
"""Turns of the loop within which an undisturbed life asks the CA, hears its answer and records it."""
AWAY_S = (0, 5, 60, 200, 241, 299, 301, 900, 2400)
"""How long nobody is there after a crash; the token goes out again for 240 s after its decision."""


@dataclass
class Told:
    """What many fleets of one charger went through."""

    crashes: int = 0
    outside: int = 0
    made: int = 0
    duplicates: int = 0
    adopted: int = 0
    doubts: int = 0
    attached: int = 0


def is_outside(ledger: Ledger) -> bool:
    """Whether the token of what is owed may not go out any more."""
    return any(
        isinstance(effect, IssueCertificate)
        and effect.external_ref is None
        and effect.call_before <= ledger.time.now()
        for effect in ledger.outstanding.values()
    )


async def one_fleet(chance: random.Random, crashes: int, *, has_reports: bool, told: Told) -> None:
    """A charger's certificate, with the process dying again and again on the way; then peace, and a night."""
    ledger = Ledger()
    ledger.auditor = ledger.ca if has_reports else None
    ledger.wake()
    ledger.take_csr()
    outside = met = 0
    for _ in range(crashes):
        await ledger.live(chance.randrange(STEPS_UNTIL_RECORDED))
        if not ledger.outstanding:
            break  # it was quicker
        await ledger.time.advance(chance.choice(AWAY_S))
        met += 1
        outside += is_outside(ledger)
    await ledger.finish()
    issued = [each for each in ledger.certificates if each.state == "issued"]
    assert len(issued) == 1, "the job has its certificate"
    duplicates = len(ledger.ca.made) - 1
    assert duplicates <= outside
    assert duplicates == 0 or not has_reports, "with reports the CA signs a key once"
    await ledger.time.advance(7200)
    ledger.auditor = ledger.ca
    ledger.wake()
    found = await ledger.reconcile("the night")
    await settle()
    assert set(ledger.ca.made) == {each.external_ref for each in ledger.certificates}, "all are explained"
    assert found.counts.get("unexplained", 0) == 0
    assert [each for each in ledger.certificates if each.state == "issued"] == issued
    await ledger.time.advance(1900)
    assert (await ledger.reconcile("the night after")).counts == {}
    assert ledger.outstanding == {}
    told.crashes += met
    told.outside += outside
    told.made += len(ledger.ca.made)
    told.duplicates += duplicates
    told.adopted += ledger.count(e.IssuanceAdopted)
    told.doubts += ledger.count(e.IssuanceInDoubt)
    told.attached += ledger.count(e.CertificateFoundAtCa)


async def many(crashes: int, seed: int) -> Told:
    told = Told()
    chance = random.Random(seed)
    has_reports = False
    while told.crashes < crashes:
        has_reports = not has_reports
        await one_fleet(chance, chance.randint(1, 5), has_reports=has_reports, told=told)
    return told


async def test_a_hundred_crashes_lose_nothing_and_leave_nothing_unexplained() -> None:
    told = await many(crashes=100, seed=1)
    assert told.crashes >= 100
    assert told.adopted
    assert told.doubts
    assert told.duplicates <= told.doubts <= told.outside


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_thousand_crashes_lose_nothing_and_leave_nothing_unexplained() -> None:
    told = await many(crashes=1000, seed=2)
    assert told.crashes >= 1000
    assert told.adopted > 50
    assert told.duplicates > 10, "the test no longer meets what it is about"
    assert told.attached == told.duplicates
    assert told.duplicates <= told.doubts <= told.outside
    print(told)
