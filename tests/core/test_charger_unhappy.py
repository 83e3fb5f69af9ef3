"""What goes wrong on the way of a certificate, and what the ledger makes of it."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from bfactors import command as c
from bfactors import evidence as v
from bfactors.charger import outgoing
from bfactors.effect import IssueCertificate, RevokeCertificate, StartRenewal
from bfactors.instruction import (
    InstallAnchor,
    InstallLeaf,
    ObtainCsr,
)
from bfactors.ocpp import Answered, CallFailed, Disconnected, Silent
from tests.core import pki
from tests.core.world import World, fleet_facts


def only_job(world: World) -> str:
    (job_id,) = world.jobs
    return job_id


def to_csr(world: World) -> World:
    world.request()
    world.connect()
    world.confirm_trust()
    world.carry_out()
    return world


@pytest.mark.parametrize(
    ("csr", "reason"),
    [
        (lambda: pki.csr("SN-OTHER"), "csr-subject-mismatch"),
        (lambda: pki.csr("SN-1", "Somebody"), "csr-organization-mismatch"),
        (lambda: pki.csr("SN-1", None), "csr-organization-mismatch"),
        (lambda: "not a csr", "csr-malformed"),
        (lambda: pki.csr("SN-1", key=ec.generate_private_key(ec.SECP192R1())), "csr-key-too-weak"),
    ],
)
def test_a_csr_that_fails_a_check_is_refused_with_its_reason_and_ends_the_job(csr, reason) -> None:  # type: ignore[no-untyped-def]
    world = to_csr(World())
    world.present_csr(csr())
    job = world.jobs[only_job(world)]
    assert (job.state, job.reason_code) == ("failed", reason)
    assert "CSRRefused" in world.names()
    assert not outgoing.effects(world.charger, world.facts)


def test_a_key_that_another_identity_has_shown_is_refused() -> None:
    world = to_csr(World())
    text = pki.csr("SN-1")
    from bfactors.x509 import parse_csr

    world.key_owners = {parse_csr(text).spki_sha256: "unit-9"}
    world.present_csr(text)
    assert world.jobs[only_job(world)].reason_code == "csr-key-reused"


def test_a_charger_that_never_reconnects_is_overdue_and_its_old_credential_keeps_working() -> None:
    world = World()
    world.to_installed()
    world.to_reset()
    world.wait(hours=1)
    case = world.charger.migration
    assert case is not None
    job = world.charger.jobs[case.job_id]
    assert job.overdue
    assert job.reason_code == "not-reconnected"
    assert job.stage == "awaiting-reconnect"
    assert 2 in outgoing.admission(world.charger).allowed_profiles
    assert world.names().count("CertificateJobOverdue") == 2  # the order, and the migration it goes by
    world.wait(days=1)
    assert world.names().count("CertificateJobOverdue") == 2  # the order, and the migration it goes by


def test_an_overdue_charger_that_comes_back_with_the_leaf_succeeds_after_all() -> None:
    world = World()
    certificate = world.to_installed()
    world.to_reset()
    world.wait(hours=1)
    world.connect(3, certificate.fingerprint_sha256)
    assert {job.state for job in world.jobs.values()} == {"succeeded"}


def test_profile_2_is_refused_after_the_first_session_with_profile_3() -> None:
    world = World()
    world.to_active()
    assert outgoing.admission(world.charger).allowed_profiles == (3,)


def test_a_lost_answer_to_the_install_is_made_good_by_the_session_that_shows_the_leaf() -> None:
    world = to_csr(World())
    world.present_csr()
    certificate = world.ca_issues()
    world.carry_out(Disconnected())
    assert world.charger.certificates[certificate.certificate_id].state == "issued"
    world.connect(3, certificate.fingerprint_sha256)
    assert world.charger.certificates[certificate.certificate_id].state == "active"
    assert {job.state for job in world.jobs.values()} == {"succeeded"}
    assert world.charger.instructions == {}


def test_an_install_with_unknown_outcome_is_sent_again_under_a_new_decision() -> None:
    world = to_csr(World())
    world.present_csr()
    world.ca_issues()
    world.carry_out(Disconnected())
    assert world.orders() == []
    world.connect()
    (order,) = outgoing.orders(world.charger, world.facts, world.now)
    assert isinstance(order.body, InstallLeaf)
    assert order.decision == 2


def test_rejected_after_an_unknown_outcome_is_inconclusive() -> None:
    world = to_csr(World())
    world.present_csr()
    certificate = world.ca_issues()
    world.carry_out(Disconnected())
    world.connect()
    world.carry_out(Answered("Rejected"))
    assert world.charger.certificates[certificate.certificate_id].state == "issued"
    assert world.charger.jobs[only_job(world)].state == "open"


def test_a_rejected_leaf_ends_the_job_with_the_reason() -> None:
    world = to_csr(World())
    world.present_csr()
    certificate = world.ca_issues()
    world.carry_out(Answered("Rejected", reason_code="InvalidSignature"))
    assert world.charger.certificates[certificate.certificate_id].state == "rejected"
    job = world.jobs[only_job(world)]
    assert (job.state, job.reason_code) == ("failed", "certificate-rejected-by-charger")
    assert "InvalidSignature" in (job.reason_message or "")


def test_silence_is_repeated_with_back_off_and_finally_fails_the_job() -> None:
    world = to_csr(World())
    world.present_csr()
    world.ca_issues()
    for _ in range(5):
        world.carry_out(Silent())
        world.wait(minutes=11)
    job = world.jobs[only_job(world)]
    assert (job.state, job.reason_code) == ("failed", "install-leaf-unanswered")


def test_the_same_csr_again_changes_nothing() -> None:
    world = to_csr(World())
    text = pki.csr("SN-1")
    world.present_csr(text)
    token = world.issue_effect().token
    before = len(world.events)
    world.present_csr(text)
    assert len(world.events) == before
    assert world.issue_effect().token == token


def test_a_newer_key_supersedes_the_older_and_the_old_result_is_never_delivered() -> None:
    world = to_csr(World())
    world.present_csr()
    old = world.issue_effect()
    world.present_csr()
    assert world.issue_effect().attempt == 2
    chain = pki.ca().sign(old.csr_pem, old.not_before, old.not_after)
    world.tell(
        v.IssuanceCompleted(job_id=old.job_id, attempt=1, external_ref="arn/certificate/old", chain_pem=chain)
    )
    (stale,) = world.charger.certificates.values()
    assert stale.state == "superseded"
    assert world.issue_effect().attempt == 2
    newer = world.ca_issues()
    (order,) = world.orders()
    assert isinstance(order, InstallLeaf)
    assert order.certificate_id == newer.certificate_id


def test_a_trigger_that_brings_no_csr_is_repeated() -> None:
    world = World()
    world.request()
    world.connect()
    world.confirm_trust()
    world.carry_out()
    world.wait(minutes=5)
    world.wait(seconds=10)
    assert [type(o) for o in world.orders()] == [ObtainCsr]
    assert world.charger.jobs[only_job(world)].reason_code == "no-csr"


def test_a_charger_that_always_refuses_the_trigger_fails_after_the_policys_attempts() -> None:
    world = World()
    world.request()
    world.connect()
    world.confirm_trust()
    for _ in range(5):
        world.wait_for_order()
        world.carry_out(Answered("Rejected"))
    job = world.jobs[only_job(world)]
    assert (job.state, job.reason_code) == ("failed", "obtain-csr-refused")


def test_a_charger_that_reconnects_before_its_csr_is_triggered_again_at_once() -> None:
    world = to_csr(World())
    world.connect()
    assert [type(o) for o in world.orders()] == [ObtainCsr]


def test_an_anchor_that_is_accepted_but_not_listed_keeps_the_gate_closed() -> None:
    world = World()
    world.request()
    world.connect()
    world.carry_out()
    world.carry_out()
    world.carry_out(Answered("NotFound"))
    job = world.charger.jobs[only_job(world)]
    assert job.reason_code == "trust-anchor-not-listed"
    assert "TrustAnchorBundleConfirmed" not in world.names()
    world.wait(minutes=1)
    assert [type(o) for o in world.orders()] == [InstallAnchor, InstallAnchor]
    world.carry_out()
    world.carry_out()
    world.wait_for_order()
    world.list_all_anchors()
    world.wait_for_order()
    assert [type(o) for o in world.orders()] == [ObtainCsr]


def test_a_charger_that_cannot_list_holds_until_policy_accepts_its_answer() -> None:
    world = World()
    world.request()
    world.connect()
    world.carry_out()
    world.carry_out()
    world.carry_out(CallFailed("NotSupported"))
    job = world.charger.jobs[only_job(world)]
    assert job.reason_code == "cannot-confirm-trust-anchor"
    assert world.orders() == []
    policy = c.SetPolicy(scope="purpose:charging_station", values={"confirm_rung": "accepted"})
    world.facts = fleet_facts(policy)
    world.wait(seconds=1)
    assert [type(o) for o in world.orders()] == [ObtainCsr]


def test_without_a_bundle_the_job_is_held_not_let_through() -> None:
    facts = replace(fleet_facts(), bundles={})
    world = World(facts)
    world.request()
    world.connect()
    job = world.charger.jobs[only_job(world)]
    assert (job.stage, job.reason_code) == ("held", "no-trust-anchor-bundle")
    assert world.orders() == []


def test_a_leaf_waits_until_every_live_gateway_verifies_its_issuer() -> None:
    facts = fleet_facts()
    blind = v.NodeTrustReported(node="n2", incarnation="i2", fingerprints=())
    from bfactors.fleet import decide as fleet
    from bfactors.fleet.state import FleetState
    from tests.core.world import evidence

    closed = fleet.decide_evidence(FleetState(facts=facts), evidence("", blind), pki.BEGIN).state.facts
    world = World(closed)
    world.request()
    world.connect()
    world.confirm_trust()
    assert world.charger.jobs[only_job(world)].reason_code == "gateway-does-not-verify-issuer"
    world.facts = facts
    world.wait(seconds=1)
    assert [type(o) for o in world.orders()] == [ObtainCsr]


def test_the_first_anchor_is_not_sent_over_an_unencrypted_connection() -> None:
    world = World(security_profile=1)
    world.request()
    world.connect(1)
    assert world.orders() == []
    assert world.charger.jobs[only_job(world)].reason_code == "insecure-transport"


@pytest.mark.parametrize(
    ("kind", "name"), [("family", "acme-one"), ("cohort", "canary"), ("purpose", "charging_station")]
)
def test_a_pause_holds_new_steps_and_a_resume_lets_them_go_on(kind: str, name: str) -> None:
    pause = c.SetSupervisorState(kind=kind, name=name, action="pause", reason="recall")
    world = World(fleet_facts(pause))
    world.request()
    world.connect()
    job = world.charger.jobs[only_job(world)]
    assert (job.stage, job.held_by) == ("held", f"{kind}/{name}")
    assert world.orders() == []
    world.facts = fleet_facts()
    world.wait(seconds=1)
    assert [type(o) for o in world.orders()] == [InstallAnchor, InstallAnchor]


def test_a_charger_meant_to_stay_on_profile_2_rests_at_installed_and_is_not_overdue() -> None:
    world = World(target_security_profile=2)
    certificate = world.to_installed()
    job = world.charger.jobs[only_job(world)]
    assert (job.stage, job.waiting_for) == ("awaiting-activation", "profile-migration")
    assert certificate.state == "installed"
    assert world.orders() == []
    world.wait(days=30)
    assert not world.charger.jobs[only_job(world)].overdue


def test_a_revoked_certificate_is_denied_at_once_and_the_job_ends_when_the_ca_agrees() -> None:
    world = World()
    certificate = world.to_active()
    decision = world.request(
        "revoke", certificate_id=certificate.certificate_id, revocation_reason="key_compromise"
    )
    record = outgoing.admission(world.charger)
    assert [k.state for k in record.credentials] == ["revoked"]
    (effect,) = outgoing.effects(world.charger, world.facts)
    assert isinstance(effect, RevokeCertificate)
    assert effect.reason == "key_compromise"
    world.tell(v.RevocationAccepted(certificate_id=certificate.certificate_id))
    assert world.charger.certificates[certificate.certificate_id].state == "revoked"
    assert decision.job_id is not None
    assert world.jobs[decision.job_id].state == "succeeded"
    assert outgoing.effects(world.charger, world.facts) == []


def test_a_deactivated_certificate_empties_its_slot_and_starts_no_renewal() -> None:
    world = World()
    certificate = world.to_active()
    world.request("deactivate", certificate_id=certificate.certificate_id)
    assert world.charger.certificates[certificate.certificate_id].state == "inactive"
    world.wait(days=170)
    assert outgoing.effects(world.charger, world.facts) == []


def test_a_renewal_starts_in_its_window_and_the_old_leaf_keeps_its_grace() -> None:
    world = World()
    old = world.to_active()
    world.wait(days=125)
    assert outgoing.effects(world.charger, world.facts) == []
    world.wait(days=11)
    (effect,) = outgoing.effects(world.charger, world.facts)
    assert isinstance(effect, StartRenewal)
    assert effect.replaces_until == old.not_after
    world.request("renew", job_id=effect.job_id, due_reason=effect.due_reason)
    assert not any(isinstance(e, StartRenewal) for e in outgoing.effects(world.charger, world.facts))
    world.carry_out()
    world.present_csr()
    new = world.ca_issues()
    world.carry_out()
    world.connect(3, new.fingerprint_sha256)
    assert world.charger.certificates[old.certificate_id].state == "superseded"
    assert world.charger.certificates[old.certificate_id].admit_until == world.now + timedelta(days=14)
    assert world.charger.slots["charging_station/default"].current == new.certificate_id


def test_a_renewed_charger_that_comes_back_with_the_old_leaf_says_so() -> None:
    world = World()
    old = world.to_active()
    world.request("renew", job_id="renewal")
    world.carry_out()
    world.present_csr()
    world.ca_issues()
    world.carry_out()
    world.connect(3, old.fingerprint_sha256)
    assert world.charger.jobs["renewal"].reason_code == "reconnected-with-old-certificate"
    world.wait(hours=1)
    assert world.charger.jobs["renewal"].overdue


def test_grace_of_no_days_admits_a_superseded_leaf_no_more() -> None:
    policy = c.SetPolicy(scope="purpose:charging_station", values={"superseded_grace_days": 0})
    world = World(fleet_facts(policy))
    old = world.to_active()
    world.request("renew")
    world.carry_out()
    world.present_csr()
    new = world.ca_issues()
    world.carry_out()
    world.connect(3, new.fingerprint_sha256)
    assert world.charger.certificates[old.certificate_id].admit_until is None


def test_a_lapsed_attempt_opens_the_next_with_a_new_token_and_the_same_csr() -> None:
    world = to_csr(World())
    world.present_csr()
    first = world.issue_effect()
    world.tell(v.IssuanceAttemptLapsed(job_id=first.job_id, attempt=1, in_doubt=False))
    second = world.issue_effect()
    assert "IssuanceLapsed" in world.names()
    assert second.attempt == 2
    assert second.token != first.token
    assert second.csr_pem == first.csr_pem
    world.tell(v.IssuanceAttemptLapsed(job_id=first.job_id, attempt=1, in_doubt=False))
    assert world.issue_effect() == second


def test_a_certificate_the_recheck_objects_to_is_recorded_and_never_delivered() -> None:
    world = to_csr(World())
    world.present_csr()
    effect = world.issue_effect()
    chain = pki.ca().sign(effect.csr_pem, effect.not_before, effect.not_after)
    world.tell(
        v.IssuanceCompleted(
            job_id=effect.job_id,
            attempt=1,
            external_ref="arn",
            chain_pem=chain,
            findings=("leaf-is-ca: it may sign",),
        )
    )
    (certificate,) = world.charger.certificates.values()
    assert certificate.state == "rejected"
    assert world.jobs[only_job(world)].reason_code == "ca-returned-other"
    assert world.orders() == []


def test_a_cancelled_jobs_certificate_is_recorded_and_superseded() -> None:
    world = to_csr(World())
    world.present_csr()
    effect = world.issue_effect()
    world.command(c.CancelJob(charger_id="CP-1", job_id=effect.job_id, reason="enough"))
    assert world.jobs[effect.job_id].state == "cancelled"
    chain = pki.ca().sign(effect.csr_pem, effect.not_before, effect.not_after)
    world.tell(v.IssuanceCompleted(job_id=effect.job_id, attempt=1, external_ref="arn", chain_pem=chain))
    (certificate,) = world.charger.certificates.values()
    assert certificate.state == "superseded"
    assert world.orders() == []


def test_an_older_session_reported_late_displaces_nothing() -> None:
    world = World()
    world.now += timedelta(minutes=5)
    session = world.connect()
    late = v.SessionOpened(
        session_id="older",
        node="n2",
        incarnation="i2",
        ocpp_version="2.0.1",
        security_profile=2,
        remote_address="192.0.2.2",
        opened_at=world.now - timedelta(minutes=1),
    )
    decision = world.tell(late)
    assert world.charger.session is not None
    assert world.charger.session.session_id == session
    assert decision.displaced is not None
    assert decision.displaced.session_id == "older"


def test_the_end_of_an_older_session_leaves_the_live_one_alone() -> None:
    world = World()
    old = world.connect()
    world.connect()
    world.tell(v.SessionClosed(session_id=old, reason="lost"))
    assert world.charger.session is not None


def test_a_lost_nodes_session_is_over() -> None:
    world = World()
    world.connect()
    world.tell(v.NodeLost(node="n1", incarnation="other"))
    assert world.charger.session is not None
    world.tell(v.NodeLost(node="n1", incarnation="i1"))
    assert world.charger.session is None


def test_an_attempt_is_asked_for_with_absolute_dates_and_never_beyond_its_ca() -> None:
    world = to_csr(World())
    world.now = pki.END - timedelta(days=20)
    world.present_csr()
    effect = world.issue_effect()
    assert isinstance(effect, IssueCertificate)
    assert effect.not_after < pki.END
    assert effect.call_before - world.now == timedelta(minutes=4)
