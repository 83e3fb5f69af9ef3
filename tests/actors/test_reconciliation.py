"""A CA's own list held against the ledger: what each difference leads to, and that a run ends whatever happens to it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from actors.reconciliation.night import last_night
from bfactors import event as e
from bfactors import evidence as v
from bfactors.ca import NotReady, Permanent, SigningOrder, Transient
from bfactors.command import RequestJob
from bfactors.fleet.decide import decide_command
from bfactors.fleet.reconciliation_view import body as purpose_body
from bfactors.fleet.reconciliation_view import item_bodies
from bfactors.fleet.state import Reconciliation, authority_id_of
from bfactors.policy import PolicyOverride, PolicySet
from tests.actors.crash_world import CSR, Ledger
from tests.core import pki
from tests.core.rollover_world import described
from tests.core.world import ARN, NEXT_ARN
from tests.fakes.ca import START, FakeCa, settle

LONG_AGO = timedelta(hours=2).total_seconds()


async def enrolled() -> Ledger:
    """A charger with one certificate of two hours ago."""
    ledger = Ledger()
    ledger.wake()
    ledger.take_csr()
    await settle()
    assert [each.state for each in ledger.certificates] == ["issued"]
    await ledger.time.advance(LONG_AGO)
    return ledger


async def signed_elsewhere(ledger: Ledger, csr: str, token: str = "elsewhere") -> str:
    """What the CA signs without our asking; the name of it, two hours later."""
    now = ledger.time.now().replace(microsecond=0)
    order = SigningOrder(
        authority_arn=ledger.ca.arn,
        token=token,
        csr_pem=csr,
        template="EndEntityClientAuthCertificate/V1",
        signing_algorithm="SHA256WITHECDSA",
        not_before=now,
        not_after=now + timedelta(days=100),
        call_before=now + timedelta(minutes=4),
    )
    external_ref = await ledger.ca.issue(order)
    await ledger.time.advance(LONG_AGO)
    return external_ref


def set_policy(ledger: Ledger, **values: object) -> None:
    override = PolicyOverride(scope="purpose:charging_station", values=values)
    policies = PolicySet(version=2, overrides=(override,))
    ledger.world.facts = replace(ledger.world.facts, policies=policies)
    ledger.fleet = replace(ledger.fleet, facts=ledger.world.facts)


def body(found: Reconciliation) -> dict[str, object]:
    return purpose_body([found])


def kinds(found: Reconciliation) -> list[str]:
    return [item.kind for item in found.items]


async def test_when_both_say_the_same_there_is_nothing_to_tell() -> None:
    ledger = await enrolled()
    before = ledger.world.charger
    found = await ledger.reconcile("run-1")
    assert (found.certificates, found.counts, found.items) == (1, {}, ())
    assert found.report_ref == "report-1"
    assert ledger.world.charger == before
    assert body(found)["state"] == "done"
    assert ledger.outstanding == {}


async def test_one_for_a_chargers_own_key_is_attached_to_it_and_may_be_used_for_a_while() -> None:
    ledger = await enrolled()
    external_ref = await signed_elsewhere(ledger, CSR)
    found = await ledger.reconcile("run-1")
    assert (found.counts, kinds(found)) == ({"attached": 1}, ["attached"])
    (attached,) = [each for each in ledger.certificates if each.external_ref == external_ref]
    assert (attached.state, attached.revocation_requested_at) == ("superseded", None)
    assert attached.admit_until is not None
    grace = attached.admit_until - ledger.time.now()
    assert timedelta(days=13) < grace <= timedelta(days=14)
    assert [each.state for each in ledger.certificates if each is not attached] == ["issued"]
    again = await ledger.reconcile("run-2")
    assert again.counts == {}, "it is explained"


async def test_with_revoke_as_policy_it_is_taken_back_at_the_ca() -> None:
    ledger = await enrolled()
    set_policy(ledger, unexplained_certificates="revoke")
    external_ref = await signed_elsewhere(ledger, CSR)
    await ledger.reconcile("run-1")
    await settle()
    assert ledger.ca.made[external_ref].revoked_for == "superseded"
    (attached,) = [each for each in ledger.certificates if each.external_ref == external_ref]
    assert attached.state == "revoked"
    assert sum(made.revoked_for is not None for made in ledger.ca.made.values()) == 1


@pytest.mark.parametrize("policy", ["report", "revoke"])
async def test_one_that_nothing_accounts_for_is_the_fleets_and_revoked_only_by_policy(policy: str) -> None:
    ledger = await enrolled()
    set_policy(ledger, unexplained_certificates=policy)
    external_ref = await signed_elsewhere(ledger, pki.csr("SN-99"))
    before = ledger.world.charger
    found = await ledger.reconcile("run-1")
    await settle()
    assert found.counts == {"unexplained": 1}
    assert ledger.world.charger == before
    (item,) = item_bodies(ledger.compared)
    assert (item["external_ref"], item["charger_id"]) == (external_ref, None)
    assert (item["revoked_at"] is not None) == (policy == "revoke")
    assert (ledger.ca.made[external_ref].revoked_for is not None) == (policy == "revoke")
    names = [type(event).__name__ for event in ledger.fleet_events]
    assert names.count("UnexplainedCertificateFound") == 1
    again = await ledger.reconcile("run-2")
    assert again.counts == ({"unexplained": 1} if policy == "report" else {})
    assert [type(event).__name__ for event in ledger.fleet_events].count("UnexplainedCertificateFound") == 1
    assert ledger.outstanding == {}


async def test_what_was_signed_just_now_may_still_be_on_its_way() -> None:
    ledger = await enrolled()
    external_ref = await signed_elsewhere(ledger, CSR)
    ledger.ca.made[external_ref].made_at = ledger.time.now() - timedelta(minutes=5)
    assert (await ledger.reconcile("run-1")).counts == {}
    await ledger.time.advance(1900)
    assert (await ledger.reconcile("run-2")).counts == {"attached": 1}


async def test_what_has_ended_is_passed_over() -> None:
    ledger = await enrolled()
    await signed_elsewhere(ledger, CSR)
    await ledger.time.advance(101 * 86400)
    assert (await ledger.reconcile("run-1")).counts == {}


async def test_one_the_ca_does_not_list_is_on_record_once() -> None:
    ledger = await enrolled()
    (lost,) = ledger.certificates
    ledger.ca.made.clear()
    for run in ("run-1", "run-2"):
        found = await ledger.reconcile(run)
        assert (found.counts, found.items[0].certificate_id) == ({"missing": 1}, lost.certificate_id)
        await ledger.time.advance(1900)
    assert ledger.count(e.CertificateMissingAtCa) == 1
    assert [each.state for each in ledger.certificates] == ["issued"]


async def test_one_revoked_at_the_ca_by_somebody_else_is_revoked_here() -> None:
    ledger = await enrolled()
    (certificate,) = ledger.certificates
    await ledger.ca.revoke(ledger.ca.arn, certificate.serial_number, "key_compromise")
    found = await ledger.reconcile("run-1")
    assert found.counts == {"revoked-at-ca": 1}
    (certificate,) = ledger.certificates
    assert (certificate.state, certificate.revocation_reason) == ("revoked", "key_compromise")
    assert ledger.outstanding == {}, "the CA is not asked for what it has done"
    await ledger.time.advance(1900)
    assert (await ledger.reconcile("run-2")).counts == {}


async def revoked_here(ledger: Ledger) -> str:
    """Revoked and accepted; then the CA forgets it."""
    (certificate,) = ledger.certificates
    ledger.world.now = ledger.time.now()
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
    ledger.tell_changes()
    await settle()
    assert [each.state for each in ledger.certificates] == ["revoked"]
    made = ledger.ca.made[certificate.external_ref]
    assert made.revoked_for == "key_compromise"
    made.revoked_for = made.revoked_at = None
    return certificate.external_ref


async def test_a_revocation_the_ca_did_not_keep_is_asked_for_again() -> None:
    ledger = await enrolled()
    external_ref = await revoked_here(ledger)
    assert (await ledger.reconcile("run-1")).counts == {}, "the report may be older than the revocation"
    await ledger.time.advance(1900)
    found = await ledger.reconcile("run-2")
    await settle()
    assert found.counts == {"revocation-not-kept": 1}
    assert ledger.count(e.RevocationContradicted) == 1
    assert ledger.ca.made[external_ref].revoked_for == "key_compromise"
    assert [each.state for each in ledger.certificates] == ["revoked"]
    assert ledger.outstanding == {}


async def test_so_is_one_that_the_charger_no_longer_remembers() -> None:
    ledger = await enrolled()
    external_ref = await revoked_here(ledger)
    rows = await ledger.index.by_serial([each.serial_number for each in ledger.certificates])
    ledger.index.remembered.update(rows)
    ledger.world.state = replace(ledger.world.charger, certificates={})
    await ledger.time.advance(1900)
    await ledger.reconcile("run-1")
    await settle()
    assert ledger.ca.made[external_ref].revoked_for == "superseded"
    assert [each.state for each in ledger.certificates] == ["revoked"]


async def test_an_attempt_that_waits_for_its_search_is_answered_by_a_whole_run_too() -> None:
    ledger = Ledger()
    await ledger.lose_the_answer()
    await ledger.time.advance(1200)
    ledger.auditor = ledger.ca
    ledger.wake()
    await ledger.reconcile("run-1")
    await ledger.time.advance(600)
    assert [each.state for each in ledger.certificates] == ["issued"]
    assert len(ledger.ca.made) == 1
    assert ledger.count(e.CertificateFoundAtCa) == 0


# ---------------------------------------------------------------- runs


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Permanent("AccessDeniedException", "denied"), "AccessDeniedException"),
        (Permanent("NoAuditBucket", "none"), "NoAuditBucket"),
        (Transient("EndpointConnectionError", "away"), "no-audit-report"),
        (NotReady("AuditReportTooSoon", "soon", retry_after_s=1800.0), "no-audit-report"),
    ],
)
async def test_a_run_that_gets_no_report_ends_and_says_why(error: Permanent | Transient, code: str) -> None:
    ledger = await enrolled()
    ledger.ca.fail("report", error, times=1 if isinstance(error, Permanent) else 1000)
    found = await ledger.reconcile("run-1")
    for _ in range(4):
        await ledger.time.advance(1000)
    found = ledger.compared
    assert found.failure is not None
    assert found.failure[0] == code
    assert (body(found)["state"], found.wanted) == ("failed", None)
    assert ledger.outstanding == {}
    ledger.ca.faults.clear()
    await ledger.time.advance(1900)
    assert body(await ledger.reconcile("run-2"))["state"] == "done"


async def test_a_crash_at_any_step_of_a_run_leads_to_the_same() -> None:
    for turns in range(0, 80, 3):
        ledger = await enrolled()
        await signed_elsewhere(ledger, CSR)
        await signed_elsewhere(ledger, pki.csr("SN-99"), "another")
        ledger.kill()
        ledger.actor = ledger.reconciler = None
        ledger.ask_for("run-1")
        await ledger.live(turns)
        await ledger.time.advance(30)
        found = await ledger.reconcile("run-1")
        assert found.counts["unexplained"] == 1, f"after a crash at turn {turns}"
        assert found.counts.get("attached", 1) == 1, "what the first try explained is no difference any more"
        assert ledger.count(e.CertificateFoundAtCa) == 1
        names = [type(event).__name__ for event in ledger.fleet_events]
        assert names.count("AuthorityReconciled") == 1
        assert names.count("UnexplainedCertificateFound") == 1
        assert len(ledger.ca.reports) == 1


async def test_every_night_is_asked_for_once_and_a_missed_one_after_the_start() -> None:
    ledger = await enrolled()
    ledger.hour_utc = 2
    ledger.wake()
    await ledger.time.advance(4 * 86400)
    asked = [event.run_id for event in ledger.fleet_events if isinstance(event, e.ReconciliationRequested)]
    first = last_night("charging_station", ledger.time.start + timedelta(seconds=LONG_AGO), 2)
    assert asked == [f"{first + timedelta(days=day):%Y-%m-%d}" for day in range(5)]
    ledger.wake()
    await ledger.time.advance(600)
    again = [event.run_id for event in ledger.fleet_events if isinstance(event, e.ReconciliationRequested)]
    assert again == asked, "a restart asks for no night twice"
    assert (
        ledger.metrics.gauges[
            "bf_reconciliation_differences", "charging_station", ledger.compared.authority_id, "missing"
        ]
        == 0
    )


async def test_a_fact_that_comes_after_its_run_has_ended_changes_nothing() -> None:
    ledger = await enrolled()
    await ledger.reconcile("run-1")
    before = ledger.fleet
    told = [fact for fact in ledger.bodies if isinstance(fact, v.AuthorityCompared)]
    assert len(told) == 1
    late = replace(told[0], run_id="run-0", counts={"missing": 9})
    await ledger.append(
        v.Evidence(evidence_id="late", charger_id="", source="ca:x", observed_at=START, body=late)
    )
    assert ledger.fleet.reconciliations == before.reconciliations


# ---------------------------------------------------------------- several CAs


class TwoCas:
    """Each asked what is asked of its ARN."""

    def __init__(self, *cas: FakeCa) -> None:
        self._cas = {ca.arn: ca for ca in cas}
        self.issue = lambda order: self._cas[order.authority_arn].issue(order)
        self.fetch = lambda arn, ref, **how: self._cas[arn].fetch(arn, ref, **how)
        self.revoke = lambda arn, serial, reason, **how: self._cas[arn].revoke(arn, serial, reason, **how)
        self.report = lambda arn, since: self._cas[arn].report(arn, since)
        self.entries = lambda report: self._cas[report.authority_arn].entries(report)


async def test_every_ca_is_asked_in_turn_and_what_one_signed_is_revoked_there() -> None:
    ledger = await enrolled()
    set_policy(ledger, unexplained_certificates="revoke")
    ledger.fleet = decide_command(ledger.fleet, described(NEXT_ARN), "o", ledger.time.now()).state
    first, second = ledger.ca, FakeCa(ledger.time, arn=NEXT_ARN, name="Next")
    ledger.ca = second
    external_ref = await signed_elsewhere(ledger, pki.csr("SN-99"))
    ledger.ca = ledger.auditor = TwoCas(first, second)  # type: ignore[assignment]
    ledger.wake()
    found = await ledger.reconcile("run-1")
    await settle()
    assert (found.certificates, found.counts) == (1, {})
    other = ledger.fleet.reconciliations[authority_id_of("charging_station", NEXT_ARN)]
    assert (other.run_id, other.certificates, other.counts) == ("run-1", 1, {"unexplained": 1})
    assert second.made[external_ref].revoked_for == "superseded"
    assert all(made.revoked_for is None for made in first.made.values())
    asked = [event.authority_arn for event in ledger.fleet_events if isinstance(event, e.AuthorityReconciled)]
    assert asked == [ARN, NEXT_ARN]
    gauges = ledger.metrics.gauges
    for each, count in ((found, 0), (other, 1)):
        assert (
            gauges["bf_reconciliation_differences", "charging_station", each.authority_id, "unexplained"]
            == count
        )
    assert ledger.outstanding == {}


async def test_a_ca_that_gives_no_report_keeps_no_other_from_being_asked() -> None:
    ledger = await enrolled()
    ledger.fleet = decide_command(ledger.fleet, described(NEXT_ARN), "o", ledger.time.now()).state
    first, second = ledger.ca, FakeCa(ledger.time, arn=NEXT_ARN, name="Next")
    first.fail("report", Permanent("AccessDeniedException", "denied"))
    ledger.ca = ledger.auditor = TwoCas(first, second)  # type: ignore[assignment]
    ledger.wake()
    found = await ledger.reconcile("run-1")
    other = ledger.fleet.reconciliations[authority_id_of("charging_station", NEXT_ARN)]
    assert (found.failure, other.failure) == (
        ("AccessDeniedException", "AccessDeniedException: denied"),
        None,
    )
    assert other.run_id == "run-1"
