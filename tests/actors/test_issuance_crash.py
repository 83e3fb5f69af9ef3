"""Crashes at every await of the issuance actor, with the ledger's own rules behind it: what is made once stays one."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from bfactors import event as e
from bfactors import evidence as v
from bfactors.ca import Transient
from bfactors.command import CancelJob, RequestJob
from bfactors.policy import PolicyOverride, PolicySet
from tests.actors.crash_world import Ledger
from tests.core import pki
from tests.fakes.ca import settle

STEPS_OF_A_LIFE = 40
"""More turns of the loop than an undisturbed life needs; the test of that name keeps it so."""


async def test_an_undisturbed_life_needs_fewer_turns_than_the_crash_tests_try() -> None:
    ledger = Ledger()
    ledger.wake()
    ledger.take_csr()
    turns = 0
    while ledger.outstanding:
        await asyncio.sleep(0)
        turns += 1
    assert turns < STEPS_OF_A_LIFE - 5
    assert [certificate.state for certificate in ledger.certificates] == ["issued"]
    assert ledger.count(e.IssuanceInDoubt) == 0


@pytest.mark.parametrize("ready_after_s", [0, 30])
async def test_a_crash_at_any_step_inside_the_window_makes_one_certificate(ready_after_s: float) -> None:
    for turns in range(STEPS_OF_A_LIFE):
        ledger = Ledger()
        ledger.ca.ready_after = timedelta(seconds=ready_after_s)
        ledger.take_csr()
        await ledger.live(turns)
        await ledger.time.advance(20)
        await ledger.finish()
        assert len(ledger.ca.made) == 1, f"after a crash at turn {turns}"
        assert len({order.token for order in ledger.ca.orders}) == 1
        assert [certificate.state for certificate in ledger.certificates] == ["issued"]
        assert ledger.count(e.IssuanceInDoubt) == 0
        kinds = [v.kind_name(body) for body in ledger.bodies]
        assert kinds == ["IssuanceRequested", "IssuanceCompleted"], "a fact told again has the same id"


async def test_two_crashes_at_any_two_steps_inside_the_window_make_one_certificate() -> None:
    for first in range(0, STEPS_OF_A_LIFE, 2):
        for second in range(1, STEPS_OF_A_LIFE, 3):
            ledger = Ledger()
            ledger.take_csr()
            await ledger.live(first)
            await ledger.time.advance(10)
            await ledger.live(second)
            await ledger.time.advance(10)
            await ledger.finish()
            assert len(ledger.ca.made) == 1, f"after crashes at turns {first} and {second}"
            assert ledger.count(e.CertificateIssued) == 1


async def test_a_crash_that_lasts_longer_than_the_window_is_explained_before_the_ca_is_asked_again() -> None:
    adopted, absent = 0, 0
    for turns in range(STEPS_OF_A_LIFE):
        ledger = Ledger()
        ledger.take_csr()
        await ledger.live(turns)
        await ledger.time.advance(600)
        await ledger.finish()
        assert ledger.count(e.IssuanceInDoubt) == 0
        assert len(ledger.ca.made) == 1, f"at turn {turns}"
        assert ledger.count(e.CertificateIssued) == 1
        assert [certificate.state for certificate in ledger.certificates] == ["issued"]
        assert len(ledger.ca.reports) <= 1
        adopted += ledger.count(e.IssuanceAdopted)
        absent += ledger.count(e.IssuanceLapsed)
    assert adopted, "the test no longer meets a call whose answer was lost"
    assert absent, "the test no longer meets a crash before the call"


async def test_without_audit_reports_such_a_crash_leaves_at_most_one_doubt_with_its_reason() -> None:
    doubts, made = set(), set()
    for turns in range(STEPS_OF_A_LIFE):
        ledger = Ledger()
        ledger.auditor = None
        ledger.take_csr()
        await ledger.live(turns)
        await ledger.time.advance(600)
        await ledger.finish()
        assert ledger.count(e.IssuanceInDoubt) <= 1
        assert len(ledger.ca.made) <= 1 + ledger.count(e.IssuanceInDoubt), f"at turn {turns}"
        assert ledger.count(e.CertificateIssued) == 1
        assert [certificate.state for certificate in ledger.certificates] == ["issued"]
        reasons = {x.reason_code for x in ledger.world.events if isinstance(x, e.IssuanceInDoubt)}
        assert reasons <= {"no-audit-report"}
        doubts.add(ledger.count(e.IssuanceInDoubt))
        made.add(len(ledger.ca.made))
    assert (doubts, made) == ({0, 1}, {1, 2}), "the test no longer meets the moments it is about"


async def test_a_crash_during_the_search_changes_nothing() -> None:
    for turns in range(STEPS_OF_A_LIFE):
        ledger = Ledger()
        await ledger.lose_the_answer()
        await ledger.time.advance(600)
        await ledger.live(turns)
        await ledger.time.advance(5)
        await ledger.finish()
        assert len(ledger.ca.made) == 1, f"after a crash at turn {turns}"
        assert [certificate.state for certificate in ledger.certificates] == ["issued"]
        assert ledger.count(e.IssuanceInDoubt) == 0


@pytest.mark.parametrize(
    ("away_s", "sends_again"), [(239, True), (241, False), (299, False), (301, False), (1800, False)]
)
async def test_the_token_goes_out_again_only_while_the_ca_still_knows_it(
    away_s: float, sends_again: bool
) -> None:
    """Its window is 5 minutes from the first call; ours ends a minute earlier, so 4:59 and 5:01 are alike to us."""
    ledger = Ledger()
    await ledger.lose_the_answer()
    await ledger.time.advance(away_s)
    sent = len(ledger.ca.orders)
    await ledger.finish()
    assert (len(ledger.ca.orders) > sent) is sends_again
    assert {order.token for order in ledger.ca.orders} == {ledger.ca.orders[0].token}
    assert ledger.count(e.IssuanceAdopted) == (0 if sends_again else 1)
    assert len(ledger.ca.made) == 1
    assert [certificate.state for certificate in ledger.certificates] == ["issued"]


async def test_a_job_that_waits_for_the_report_says_so_and_until_when() -> None:
    ledger = Ledger()
    await ledger.ca.report(ledger.ca.arn, ledger.time.now())
    await ledger.lose_the_answer()
    await ledger.time.advance(600)
    ledger.wake()
    await ledger.time.advance(5)
    (job,) = ledger.world.charger.jobs.values()
    assert (job.stage, job.waiting_for, job.reason_code) == (
        "issuing",
        "reconciliation",
        "awaiting-reconciliation",
    )
    assert job.reason_message is not None
    assert "UTC" in job.reason_message, "it names the time of the next report"
    await ledger.time.advance(1200)
    assert [certificate.state for certificate in ledger.certificates] == ["issued"]
    assert len(ledger.ca.reports) == 2, "half an hour apart"


async def test_no_token_is_ever_sent_after_its_attempt_was_given_up() -> None:
    for turns in range(STEPS_OF_A_LIFE):
        ledger = Ledger()
        ledger.take_csr()
        await ledger.live(turns)
        await ledger.time.advance(600)
        await ledger.finish()
        tokens = [order.token for order in ledger.ca.orders]
        assert tokens == sorted(tokens, key=tokens.index), "an earlier token came again after a later one"


async def test_a_ca_that_is_silent_for_longer_than_the_window_makes_one_certificate_all_the_same() -> None:
    ledger = Ledger()
    ledger.wake()
    silent = Transient("ReadTimeoutError", "no answer", may_have_happened=True)
    ledger.ca.fail("issue", silent, took_effect=True)
    ledger.ca.fail("issue", silent, times=60)
    ledger.take_csr()
    await ledger.time.advance(3600)
    lapses = [body for body in ledger.bodies if isinstance(body, v.IssuanceAttemptLapsed)]
    assert [lapse.in_doubt for lapse in lapses] == [True]
    assert len(ledger.ca.made) == 1
    assert ledger.count(e.IssuanceAdopted) == ledger.count(e.CertificateIssued) == 1


async def test_a_cancelled_job_whose_call_has_left_yields_a_superseded_certificate() -> None:
    ledger = Ledger()
    ledger.wake()
    ledger.ca.ready_after = timedelta(seconds=5)
    ledger.take_csr()
    await settle()
    (job_id,) = ledger.world.charger.jobs
    ledger.world.command(CancelJob(charger_id="CP-1", job_id=job_id, reason="changed my mind"))
    ledger.tell_changes()
    await ledger.time.advance(10)
    assert [certificate.state for certificate in ledger.certificates] == ["superseded"]


@pytest.mark.parametrize("turns", range(12))
async def test_a_crash_at_any_step_of_a_revocation_revokes_once_and_records_it_once(turns: int) -> None:
    ledger = Ledger()
    ledger.wake()
    ledger.take_csr()
    await settle()
    (certificate,) = ledger.certificates
    ledger.world.command(
        RequestJob(
            job_id="revoke-1",
            charger_id="CP-1",
            purpose="charging_station",
            action="revoke",
            reason="stolen",
            certificate_id=certificate.certificate_id,
            revocation_reason="key_compromise",
        )
    )
    assert ledger.actor is not None
    ledger.actor.abandon()
    ledger.tell_changes()
    await ledger.live(turns)
    await ledger.finish()
    assert [made.revoked_for for made in ledger.ca.made.values()] == ["key_compromise"]
    assert [certificate.state for certificate in ledger.certificates] == ["revoked"]
    assert ledger.count(e.CertificateRevoked) == 1


async def test_a_ca_that_is_away_for_longer_than_the_renewal_window_costs_no_certificate_and_no_doubt() -> (
    None
):
    """Two days of validity, one of them the window; the CA is away until all has ended."""
    ledger = Ledger()
    ledger.wake()
    override = PolicyOverride(
        scope="purpose:charging_station",
        values={
            "validity_days": 2,
            "renew_before_days": 1,
            "renewal_spread_days": 0,
            "last_safe_days": 0,
            "escalate_before_days": [],
        },
    )
    ledger.world.facts = replace(ledger.world.facts, policies=PolicySet(version=2, overrides=(override,)))
    ledger.take_csr()
    await settle()
    (first,) = ledger.certificates
    for _ in range(4):
        ledger.world.carry_out()
    ledger.world.connect(3, first.fingerprint_sha256)
    assert ledger.certificates[0].state == "active"
    await ledger.time.advance(86400)
    ledger.world.now = ledger.time.now()
    ledger.world.request("renew", job_id="renewal")
    ledger.world.carry_out()
    away = Transient("EndpointConnectionError", "no route")
    ledger.ca.fail("issue", away, times=100_000)
    ledger.world.present_csr(pki.csr("SN-1"))
    ledger.tell_changes()
    await ledger.time.advance(30 * 3600)
    ledger.world.now = ledger.time.now()
    ledger.world.tell(v.DeadlinePassed(at=ledger.time.now()))
    assert ledger.world.charger.certificates[first.certificate_id].state == "expired"
    job = ledger.world.charger.jobs["renewal"]
    assert (job.stage, job.waiting_for, job.reason_code) == ("issuing", "ca", "authority-slower-than-charger")
    calls_an_hour = (len(ledger.ca.orders) - 1) / 30
    assert calls_an_hour <= 60 * 60 / 10, (
        "one job asks a CA that is away not more often than every ten seconds"
    )
    ledger.ca.faults.clear()
    await ledger.time.advance(300)
    assert len(ledger.ca.made) == 2
    assert ledger.count(e.IssuanceInDoubt) == ledger.count(e.IssuanceReconciliationStarted) == 0
    second = ledger.world.charger.certificates[ledger.world.charger.jobs["renewal"].certificate_id or ""]
    assert second.state == "issued"
    assert ledger.failures == []
