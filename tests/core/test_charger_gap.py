"""Interleavings that once fell between the rules; each was a charger left behind or locked out."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from bfactors import command as c
from bfactors import evidence as v
from bfactors.charger import clock, outgoing
from bfactors.charger.project import project
from bfactors.effect import IssueCertificate, StartRenewal
from bfactors.instruction import InstallAnchor, InstallLeaf, ListCertificates, ObtainCsr, Reboot
from bfactors.ocpp import Answered, CallFailed, Silent
from bfactors.policy import PolicyOverride, PolicySet
from tests.core import pki
from tests.core.world import ARN, World, fleet_facts


def to_issued(world: World | None = None) -> World:
    world = world or World()
    world.request(job_id="job")
    world.connect()
    world.confirm_trust()
    world.carry_out()
    world.present_csr()
    world.ca_issues()
    return world


def only_certificate(world: World):  # type: ignore[no-untyped-def]
    (certificate,) = world.charger.certificates.values()
    return certificate


def with_pause(world: World) -> None:
    pause = c.SetSupervisorState(kind="family", name="acme-one", action="pause", reason="recall")
    world.facts = fleet_facts(pause)
    world.wait(seconds=1)


# ---------------------------------------------------------------- sessions


def test_a_session_stated_again_after_its_node_was_believed_lost_is_live_and_no_reconnect() -> None:
    world = World()
    world.to_installed()
    for _ in range(3):
        world.carry_out()
    (order,) = outgoing.orders(world.charger, world.facts, world.now)
    assert isinstance(order.body, Reboot)
    world.tell(
        v.InstructionSent(instruction_id=order.instruction_id, decision=1, session_id=order.session_id)
    )
    opening = v.SessionOpened(
        session_id=order.session_id,
        node="n1",
        incarnation="i1",
        ocpp_version="2.0.1",
        security_profile=2,
        remote_address="192.0.2.1",
        opened_at=world.now,
    )
    world.tell(v.NodeLost(node="n1", incarnation="i1"))
    assert world.charger.session is None
    world.tell(opening)
    assert world.charger.session is not None
    assert world.charger.session.session_id == order.session_id
    assert order.instruction_id in world.charger.instructions, "the reset is still on its way"
    assert world.orders() == []
    assert world.charger.migration is not None
    assert world.charger.migration.failures == 0


def test_a_session_that_ended_by_its_own_word_is_a_reconnect_when_another_opens() -> None:
    world = World()
    world.to_installed()
    world.to_reset()
    world.connect(2)
    assert {job.reason_code for job in world.charger.jobs.values()} == {"fell-back-to-old-profile"}


# ---------------------------------------------------------------- leaves on their way


@pytest.mark.parametrize("outcome", [Silent(), CallFailed("InternalError")])
def test_a_refusal_after_an_unknown_outcome_proves_nothing_and_the_leaf_stays_admitted(outcome) -> None:  # type: ignore[no-untyped-def]
    world = to_issued()
    world.carry_out(outcome)
    for _ in range(4):
        world.wait_for_order()
        world.carry_out(Answered("Rejected"))
    certificate = only_certificate(world)
    assert certificate.state == "issued"
    (known,) = outgoing.admission(world.charger).credentials
    assert known.state == "issued"
    world.connect(3, certificate.fingerprint_sha256)
    assert only_certificate(world).state == "active"


def test_a_clear_refusal_at_the_first_sending_rejects_the_leaf() -> None:
    world = to_issued()
    world.carry_out(Answered("Rejected"))
    assert only_certificate(world).state == "rejected"


def test_a_pause_keeps_back_a_leaf_that_was_not_sent_and_lets_it_go_when_it_ends() -> None:
    world = to_issued()
    assert [type(o) for o in world.orders()] == [InstallLeaf]
    with_pause(world)
    assert world.charger.jobs["job"].held_by == "family/acme-one"
    assert world.orders() == []
    world.facts = fleet_facts()
    world.wait(seconds=1)
    assert [type(o) for o in world.orders()] == [InstallLeaf]


def test_an_answer_to_what_was_sent_before_the_pause_still_counts() -> None:
    world = to_issued()
    (order,) = outgoing.orders(world.charger, world.facts, world.now)
    with_pause(world)
    key = {"instruction_id": order.instruction_id, "decision": order.decision, "session_id": order.session_id}
    world.tell(v.InstructionSent(**key))  # type: ignore[arg-type]
    world.tell(v.InstructionAnswered(outcome=Answered("Accepted"), **key))  # type: ignore[arg-type]
    assert only_certificate(world).state == "installed"


def test_a_gate_that_closes_keeps_back_a_leaf_that_was_not_sent() -> None:
    world = to_issued()
    world.facts = replace(world.facts, nodes={})
    world.wait(seconds=1)
    assert world.charger.jobs["job"].reason_code == "gateway-does-not-verify-issuer"
    assert world.orders() == []


def test_the_closed_gate_names_the_gateway_that_does_not_verify() -> None:
    world = World()
    blind = v.NodeTrustReported(node="depot-7", incarnation="x", fingerprints=())
    from bfactors.fleet import decide as fleet
    from bfactors.fleet.state import FleetState
    from tests.core.world import evidence

    world.facts = fleet.decide_evidence(
        FleetState(facts=world.facts), evidence("", blind), pki.BEGIN
    ).state.facts
    world.request(job_id="job")
    world.connect()
    world.confirm_trust()
    assert "depot-7" in (world.charger.jobs["job"].reason_message or "")


def test_a_migration_holds_its_next_step_while_its_family_is_paused() -> None:
    world = World()
    world.to_installed()
    world.carry_out()
    world.carry_out()
    with_pause(world)
    assert world.orders() == []
    world.facts = fleet_facts()
    world.wait(seconds=1)
    world.carry_out()
    assert [type(o) for o in world.orders()] == [Reboot]


@pytest.mark.parametrize("is_sent", [True, False])
def test_a_cancel_ends_a_leaf_only_where_the_charger_cannot_hold_it(is_sent: bool) -> None:
    world = to_issued()
    if is_sent:
        world.carry_out()
    else:
        with_pause(world)
        world.tell(v.SessionClosed(session_id="s1", reason="gone"))
    world.command(c.CancelJob(charger_id="CP-1", job_id="job", reason="enough"))
    certificate = only_certificate(world)
    assert certificate.state == ("installed" if is_sent else "superseded")
    if is_sent:
        world.connect(3, certificate.fingerprint_sha256)
        assert only_certificate(world).state == "active"


def test_a_newer_key_during_delivery_gets_its_own_leaf_and_the_older_keeps_a_grace() -> None:
    world = to_issued()
    older = only_certificate(world)
    world.carry_out()
    world.present_csr()
    assert world.issue_effect().attempt == 2
    assert world.charger.certificates[older.certificate_id].state == "superseded"
    assert world.charger.certificates[older.certificate_id].admit_until is not None
    assert world.orders() == []
    newer = world.ca_issues()
    (order,) = world.orders()
    assert isinstance(order, InstallLeaf)
    assert order.certificate_id == newer.certificate_id


def test_the_key_of_the_leaf_on_its_way_shown_again_changes_nothing() -> None:
    world = World()
    world.request(job_id="job")
    world.connect()
    world.confirm_trust()
    world.carry_out()
    text = pki.csr("SN-1")
    world.present_csr(text)
    world.ca_issues()
    before = len(world.events)
    world.present_csr(text)
    assert len(world.events) == before


def test_a_bad_csr_does_not_end_a_job_whose_certificate_is_being_made() -> None:
    world = World()
    world.request(job_id="job")
    world.connect()
    world.confirm_trust()
    world.carry_out()
    world.present_csr()
    world.present_csr("nonsense")
    assert world.names()[-1] == "CSRRefused"
    assert world.charger.jobs["job"].stage == "issuing"
    assert world.ca_issues().state == "issued"


def test_an_older_leaf_seen_live_leaves_the_newer_one_on_its_way() -> None:
    world = to_issued()
    older = only_certificate(world)
    world.carry_out()
    world.command(c.CancelJob(charger_id="CP-1", job_id="job", reason="enough"))
    world.request(job_id="second")
    world.carry_out()
    world.present_csr()
    newer = world.ca_issues()
    world.connect(3, older.fingerprint_sha256)
    slot = world.charger.slots["charging_station/default"]
    assert (slot.current, slot.next) == (older.certificate_id, newer.certificate_id)
    assert world.charger.jobs["second"].certificate_id == newer.certificate_id


def test_a_charger_under_a_pause_that_asks_by_itself_is_asked_again_when_the_pause_ends() -> None:
    world = World()
    world.to_active()
    with_pause(world)
    world.present_csr()
    assert not any(isinstance(x, IssueCertificate) for x in outgoing.effects(world.charger, world.facts))
    (job,) = world.charger.jobs.values()
    assert job.held_by == "family/acme-one"
    world.facts = fleet_facts()
    world.wait(seconds=1)
    assert [type(o) for o in world.orders()] == [ObtainCsr]


# ---------------------------------------------------------------- renewals


def test_a_renewal_that_failed_is_tried_again_under_a_name_of_its_own() -> None:
    world = World()
    world.to_active()
    world.wait(days=151)
    (first,) = outgoing.effects(world.charger, world.facts)
    assert isinstance(first, StartRenewal)
    assert first.authority_arn == ARN
    world.request("renew", job_id=first.job_id)
    world.carry_out()
    world.present_csr()
    token = world.issue_effect().token
    world.tell(v.IssuanceRefused(job_id=first.job_id, attempt=1, code="Denied", message="no"))
    assert world.jobs[first.job_id].state == "failed"
    assert outgoing.effects(world.charger, world.facts) == []
    world.wait(minutes=31)
    (second,) = outgoing.effects(world.charger, world.facts)
    assert isinstance(second, StartRenewal)
    assert second.job_id != first.job_id
    assert second.effect_id != first.effect_id
    world.request("renew", job_id=second.job_id)
    world.carry_out()
    world.present_csr()
    assert world.issue_effect().token != token
    assert world.issue_effect().job_id == second.job_id


def test_the_same_command_after_its_job_has_ended_opens_no_second_job() -> None:
    world = World()
    world.request(job_id="job")
    world.command(c.CancelJob(charger_id="CP-1", job_id="job", reason="enough"))
    refusal = world.request(job_id="job").refusal
    assert refusal is not None
    assert (refusal.code, refusal.status) == ("job-ended", 409)


def test_a_renewal_of_a_certificate_that_was_replaced_is_refused() -> None:
    world = World()
    old = world.to_active()
    world.request("renew", job_id="renewal")
    world.carry_out()
    world.present_csr()
    new = world.ca_issues()
    world.carry_out()
    world.connect(3, new.fingerprint_sha256)
    refusal = world.request("renew", certificate_id=old.certificate_id).refusal
    assert refusal is not None
    assert refusal.code == "certificate-ended"


def test_in_the_last_safe_days_the_ledger_renews_by_itself_through_every_pause() -> None:
    world = World()
    certificate = world.to_active()
    with_pause(world)
    world.now = certificate.not_after - timedelta(days=3)
    world.wait(seconds=1)
    (job,) = world.charger.jobs.values()
    assert job.action == "renew"
    assert job.held_by is None
    assert ObtainCsr in [type(o) for o in world.orders()]


# ---------------------------------------------------------------- CAs


def test_an_attempt_at_a_ca_that_was_replaced_goes_on_at_the_new_one() -> None:
    world = World()
    world.request(job_id="job")
    world.connect()
    world.confirm_trust()
    world.carry_out()
    world.present_csr()
    before, old_effect = world.charger, world.issue_effect()
    authority = world.facts.authorities["charging_station"]
    other = replace(authority, arn="arn:aws:acm-pca:eu-central-1:0:certificate-authority/2")
    world.facts = replace(world.facts, authorities={"charging_station": other})
    world.wait(seconds=1)
    effect = world.issue_effect()
    assert (effect.attempt, effect.authority_arn) == (2, other.arn)
    assert effect.csr_pem == old_effect.csr_pem
    assert "IssuanceInDoubt" in world.names()
    rows = project(before, world.charger, {}, world.facts).effects
    assert {(r.effect_id, r.outstanding) for r in rows} == {
        (old_effect.effect_id, False),
        (effect.effect_id, True),
    }


def test_a_certificate_for_a_job_nobody_remembers_is_on_record_and_not_taken() -> None:
    world = World()
    chain = pki.ca().sign(pki.csr("SN-1"), pki.BEGIN, pki.END)
    world.tell(v.IssuanceCompleted(job_id="never", attempt=1, external_ref="arn", chain_pem=chain))
    assert world.charger.certificates == {}
    assert world.names()[-1] == "SecurityEventRecorded"


def test_an_expired_issuing_ca_holds_the_job_with_its_reason() -> None:
    world = World()
    authority = replace(world.facts.authorities["charging_station"], not_after=world.now)
    world.facts = replace(world.facts, authorities={"charging_station": authority})
    world.request(job_id="job")
    world.connect()
    world.confirm_trust()
    assert world.charger.jobs["job"].reason_code == "issuing-authority-expired"


# ---------------------------------------------------------------- trust anchors


def test_an_anchor_of_a_replaced_bundle_is_not_installed_any_more() -> None:
    world = World()
    world.request(job_id="job")
    bundle = world.facts.bundles["backend_server"]
    world.connect()
    kept, gone = bundle.anchors
    newer = replace(bundle, bundle_id="bundle-2", version=2, anchors=(kept,))
    world.facts = replace(world.facts, bundles={"backend_server": newer})
    world.wait(seconds=1)
    bodies = world.orders()
    assert all(isinstance(body, InstallAnchor) for body in bodies)
    assert [body.fingerprint_sha256 for body in bodies if isinstance(body, InstallAnchor)] == [
        kept.fingerprint_sha256
    ]
    assert gone.fingerprint_sha256 not in str(world.charger.instructions)


def test_a_charger_that_cannot_list_is_not_asked_for_ever_under_any_rung() -> None:
    policy = c.SetPolicy(scope="purpose:charging_station", values={"confirm_rung": "used"})
    world = World(fleet_facts(policy))
    world.request(job_id="job")
    world.connect()
    world.carry_out()
    world.carry_out()
    world.carry_out(CallFailed("NotSupported"))
    assert world.orders() == []
    assert world.charger.jobs["job"].waiting_for == "operator"


def test_a_new_firmware_may_list_what_the_old_one_could_not() -> None:
    world = World()
    world.request(job_id="job")
    world.connect()
    boot = {"session_id": "s1", "vendor": "a", "model": "b", "serial_number": "SN-1", "reason": "PowerUp"}
    world.tell(v.BootReported(firmware_version="1", **boot))  # type: ignore[arg-type]
    world.carry_out()
    world.carry_out()
    world.carry_out(CallFailed("NotSupported"))
    assert world.orders() == []
    world.tell(v.BootReported(firmware_version="2", **boot))  # type: ignore[arg-type]
    assert [type(o) for o in world.orders()] == [ListCertificates]


# ---------------------------------------------------------------- time


def test_a_job_past_its_deadline_is_still_triggered_again_and_keeps_its_reason() -> None:
    policy = c.SetPolicy(
        scope="purpose:charging_station",
        values={"csr_wait_s": 3600, "job_deadline_s": 60, "max_attempts": 9},
    )
    world = World(fleet_facts(policy))
    world.request(job_id="job")
    world.connect()
    world.confirm_trust()
    world.carry_out()
    world.wait(minutes=2)
    job = world.charger.jobs["job"]
    assert job.overdue
    assert job.due_at is not None
    world.wait(hours=1)
    assert world.charger.jobs["job"].failures == 1
    world.wait(minutes=1)
    assert [type(o) for o in world.orders()] == [ObtainCsr]


def test_a_job_that_becomes_overdue_while_it_is_held_keeps_saying_by_what() -> None:
    facts = replace(fleet_facts(), bundles={})
    world = World(facts)
    world.request(job_id="job")
    world.wait(days=8)
    job = world.charger.jobs["job"]
    assert job.overdue
    assert job.reason_code == "no-trust-anchor-bundle"
    world.wait(hours=1)
    assert world.names().count("CertificateJobOverdue") == 1


def test_every_moment_of_the_clock_comes_to_rest() -> None:
    world = World()
    world.to_active()
    world.request("renew", job_id="renewal")
    for _ in range(1000):
        due_at = clock.next_due(world.charger, world.facts, world.now)
        if due_at is None:
            return
        world.now = max(world.now, due_at)
        world.tell(v.DeadlinePassed(at=due_at))
    raise AssertionError("the clock rings for ever")


# ---------------------------------------------------------------- the rest


def test_a_policy_for_names_reaches_the_admission_record_with_a_newer_revision() -> None:
    world = World()
    before = outgoing.admission(world.charger)
    override = PolicyOverride(scope="purpose:charging_station", values={"subject_match": "contains"})
    world.facts = replace(world.facts, policies=PolicySet(version=2, overrides=(override,)))
    world.wait(seconds=1)
    after = outgoing.admission(world.charger)
    assert (before.subject_match, after.subject_match) == ("exact", "contains")
    assert after.revision > before.revision


def test_a_charger_registered_under_a_policy_for_names_has_it_at_once() -> None:
    policy = c.SetPolicy(scope="cohort:canary/charging_station", values={"subject_match": "contains"})
    assert outgoing.admission(World(fleet_facts(policy)).charger).subject_match == "contains"


def test_a_compromised_key_ends_the_grace_of_every_certificate_it_is_in() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    world = World()
    world.request(job_id="job")
    world.connect()
    world.confirm_trust()
    world.carry_out()
    world.present_csr(pki.csr("SN-1", key=key))
    old = world.ca_issues()
    for _ in range(4):
        world.carry_out()
    world.connect(3, old.fingerprint_sha256)
    world.request("renew", job_id="renewal")
    world.carry_out()
    world.present_csr(pki.csr("SN-1", key=key))
    new = world.ca_issues()
    world.carry_out()
    world.connect(3, new.fingerprint_sha256)
    assert world.charger.certificates[old.certificate_id].admit_until is not None
    world.request("revoke", certificate_id=new.certificate_id, revocation_reason="key_compromise")
    ended = world.charger.certificates[old.certificate_id]
    assert ended.admit_until is None
    assert ended.revocation_requested_at is not None, "its CA is not to vouch for it either"


def test_a_superseded_leaf_in_its_grace_is_never_forgotten() -> None:
    policy = c.SetPolicy(scope="purpose:charging_station", values={"superseded_grace_days": 100})
    world = World(fleet_facts(policy))
    first = world.to_active()
    for number in range(9):
        world.request("renew", job_id=f"renewal-{number}")
        world.carry_out()
        world.present_csr()
        new = world.ca_issues()
        world.carry_out()
        world.connect(3, new.fingerprint_sha256)
    assert first.certificate_id in world.charger.certificates
    world.now += timedelta(days=101)
    world.request("renew", job_id="last")
    world.present_csr()
    world.ca_issues()
    world.carry_out()
    world.connect(3, next(reversed(world.charger.certificates.values())).fingerprint_sha256)
    assert first.certificate_id not in world.charger.certificates


def test_an_operator_lets_a_paused_charger_go_on_and_must_say_why() -> None:
    world = World()
    world.state = replace(world.charger, paused_reason="evidence q is quarantined: odd")
    world.request(job_id="job")
    world.connect()
    assert world.charger.jobs["job"].held_by == "charger/CP-1"
    refusal = world.command(c.ResumeCharger(charger_id="CP-1", reason=" ")).refusal
    assert refusal is not None
    assert refusal.code == "reason-missing"
    world.command(c.ResumeCharger(charger_id="CP-1", reason="looked at it"))
    assert [type(o) for o in world.orders()] == [InstallAnchor, InstallAnchor]
    again = world.command(c.ResumeCharger(charger_id="CP-1", reason="once more")).refusal
    assert again is not None
    assert again.code == "not-paused"


def test_only_leaves_that_open_sessions_are_in_the_admission_record() -> None:
    world = World()
    certificate = world.to_active()
    other = replace(certificate, certificate_id="other", purpose="backend_server", fingerprint_sha256="00")
    state = replace(world.charger, certificates={**world.charger.certificates, "other": other})
    assert [k.certificate_id for k in outgoing.admission(state).credentials] == [certificate.certificate_id]


def test_the_clock_itself_reaches_the_last_safe_days_when_nobody_carries_out_the_renewal() -> None:
    world = World()
    certificate = world.to_active()
    while not world.charger.jobs:
        due_at = clock.next_due(world.charger, world.facts, world.now)
        assert due_at is not None
        assert due_at < certificate.not_after
        world.now = max(world.now, due_at)
        world.tell(v.DeadlinePassed(at=due_at))
    assert world.now == certificate.not_after - timedelta(days=3)


def test_an_older_leaf_seen_live_settles_its_own_delivery_and_not_the_newer_ones() -> None:
    world = to_issued()
    older = only_certificate(world)
    world.carry_out(Silent())
    world.command(c.CancelJob(charger_id="CP-1", job_id="job", reason="enough"))
    world.request(job_id="second")
    world.carry_out()
    world.present_csr()
    newer = world.ca_issues()
    before = len(world.events)
    world.connect(3, older.fingerprint_sha256)
    settled = [event for event in world.events[before:] if type(event).__name__ == "InstructionSettled"]
    assert settled == []
    (order,) = world.orders()
    assert isinstance(order, InstallLeaf)
    assert order.certificate_id == newer.certificate_id


def test_a_renewal_that_a_pause_holds_is_looked_at_when_the_last_safe_days_begin() -> None:
    world = World()
    certificate = world.to_active()
    with_pause(world)
    world.request("renew")
    safe = certificate.not_after - timedelta(days=3)
    while (due := clock.next_due(world.charger, world.facts, world.now)) is not None and due <= safe:
        world.now = max(world.now, due)
        world.tell(v.DeadlinePassed(at=due))
    [job] = world.charger.jobs.values()
    assert job.stage != "held"
