"""A revocation's four moments, in every order in which they can become known."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.admission import KeyVerifier
from bfactors.charger import clock, outgoing, revocation
from bfactors.charger.own_policy import policy_of
from bfactors.charger.pause import is_urgent
from bfactors.charger.project import certificate_body
from bfactors.charger.state import CertificateRecord
from bfactors.effect import RevokeCertificate, WatchPublication
from bfactors.fleet.state import FleetFacts
from tests.core import pki
from tests.core.world import World, fleet_facts

LIST = "http://crl.example/crl/1.crl"


def facts(**policy: object) -> FleetFacts:
    return fleet_facts(c.SetPolicy(scope="purpose:charging_station", values=policy, reason="test"))


def active(
    known: FleetFacts | None = None, crl_address: str | None = LIST
) -> tuple[World, CertificateRecord]:
    world = World(known)
    world.crl_address = crl_address
    return world, world.to_active()


def active_with(key: ec.EllipticCurvePrivateKey) -> tuple[World, CertificateRecord]:
    """As `active`, with a key the test knows."""
    world = World()
    world.request()
    world.connect()
    world.confirm_trust()
    world.carry_out()
    world.present_csr(pki.csr("SN-1", key=key))
    certificate = world.ca_issues()
    world.carry_out()
    world.to_reset()
    world.connect(3, certificate.fingerprint_sha256)
    return world, world.charger.certificates[certificate.certificate_id]


def revoke(world: World, certificate: CertificateRecord, **fields: object) -> str:
    decision = world.request("revoke", certificate_id=certificate.certificate_id, **fields)
    assert decision.refusal is None, decision.refusal
    assert decision.job_id is not None
    return decision.job_id


def confirmed(world: World, revision: int | None = None) -> v.RefusalConfirmed:
    return v.RefusalConfirmed(
        revision=world.charger.revision if revision is None else revision, nodes=("n1", "n2"), at=world.now
    )


def on_list(world: World, certificate: CertificateRecord, number: str = "7") -> v.RevocationListed:
    return v.RevocationListed(
        certificate_id=certificate.certificate_id,
        source="crl",
        address=LIST,
        list_number=number,
        this_update=world.now,
        revoked_at=world.now - timedelta(minutes=1),
    )


def told(world: World, certificate: CertificateRecord) -> CertificateRecord:
    return world.charger.certificates[certificate.certificate_id]


def accepted(certificate: CertificateRecord) -> v.RevocationAccepted:
    return v.RevocationAccepted(certificate_id=certificate.certificate_id)


def watches(world: World) -> list[WatchPublication]:
    found = outgoing.effects(world.charger, world.facts)
    return [effect for effect in found if isinstance(effect, WatchPublication)]


def body(world: World, certificate: CertificateRecord) -> dict[str, object]:
    shown = certificate_body(world.charger, told(world, certificate))["revocation"]
    assert isinstance(shown, dict)
    return shown


def count(world: World, kind: type) -> int:
    return sum(isinstance(event, kind) for event in world.events)


# ---------------------------------------------------------------- the way


def test_each_moment_is_on_record_and_names_the_job() -> None:
    world, certificate = active()
    job_id = revoke(world, certificate, revocation_reason="key_compromise")
    asked = world.now
    world.now += timedelta(seconds=1)
    world.tell(confirmed(world))
    world.now += timedelta(seconds=1)
    world.tell(accepted(certificate))
    world.now += timedelta(minutes=30)
    world.tell(on_list(world, certificate))
    shown = body(world, certificate)
    assert shown["requested_at"] == asked
    assert shown["refused_at_edge_at"] == asked + timedelta(seconds=1)
    assert shown["ca_revoked_at"] == asked + timedelta(seconds=2)
    assert shown["published_at"] == asked + timedelta(minutes=30, seconds=2)
    assert shown["publication"] == {
        "source": "crl",
        "address": LIST,
        "list_number": "7",
        "this_update": world.now,
        "listed_revoked_at": world.now - timedelta(minutes=1),
    }
    steps = (
        e.CertificateRevocationRequested,
        e.CertificateRefusedAtEdge,
        e.CertificateRevoked,
        e.CertificateRevocationPublished,
    )
    assert [event.job_id for event in world.events if isinstance(event, steps)] == [job_id] * 4


def test_a_certificate_nobody_revoked_has_no_such_moments() -> None:
    world, certificate = active()
    assert certificate_body(world.charger, certificate)["revocation"] is None
    assert revocation.edge_revision(world.charger) is None
    assert not watches(world)


def test_the_job_is_done_once_the_ca_has_accepted() -> None:
    world, certificate = active()
    job_id = revoke(world, certificate)
    world.tell(accepted(certificate))
    assert world.jobs[job_id].state == "succeeded"
    assert [effect.certificate_id for effect in watches(world)] == [certificate.certificate_id]


def test_by_policy_the_job_is_done_once_everybody_can_know() -> None:
    world, certificate = active(facts(revocation_done="published"))
    job_id = revoke(world, certificate)
    world.tell(accepted(certificate))
    job = world.charger.jobs[job_id]
    assert (job.stage, job.waiting_for) == ("revoking", "publication")
    world.tell(on_list(world, certificate))
    assert world.jobs[job_id].state == "succeeded"


def test_a_refusal_that_comes_after_the_acceptance_is_no_news() -> None:
    world, certificate = active(facts(revocation_done="published"))
    job_id = revoke(world, certificate)
    world.tell(accepted(certificate))
    world.tell(v.RevocationRefused(certificate_id=certificate.certificate_id, code="late", message="late"))
    assert world.charger.jobs[job_id].waiting_for == "publication"


def test_what_is_looked_for_is_what_the_certificate_names() -> None:
    world, certificate = active()
    revoke(world, certificate)
    (watch,) = watches(world)
    assert watch.crl_addresses == (LIST,)
    assert watch.issuer_pem.strip() == pki.ca().pem.strip()
    assert (watch.serial_number, watch.not_after) == (certificate.serial_number, certificate.not_after)
    world.tell(accepted(certificate))
    world.tell(on_list(world, certificate))
    assert not watches(world)


# ---------------------------------------------------------------- twice, late, never


def test_each_fact_said_twice_changes_nothing_the_second_time() -> None:
    world, certificate = active()
    revoke(world, certificate)
    for fact in (confirmed(world), accepted(certificate), on_list(world, certificate)):
        world.tell(fact)
        before = len(world.events)
        world.tell(fact)
        assert len(world.events) == before, fact


def test_a_revocation_asked_for_twice_is_one_job() -> None:
    world, certificate = active()
    assert revoke(world, certificate) == revoke(world, certificate)
    assert count(world, e.CertificateRevocationRequested) == 1


def test_a_confirmation_of_an_older_record_confirms_nothing() -> None:
    world, certificate = active()
    before = world.charger.revision
    revoke(world, certificate)
    world.tell(confirmed(world, before))
    assert told(world, certificate).refused_at_edge_at is None
    revision = revocation.edge_revision(world.charger)
    assert revision is not None
    world.tell(confirmed(world, revision))
    assert told(world, certificate).refused_at_edge_at == world.now
    assert revocation.edge_revision(world.charger) is None


def test_the_list_may_say_so_before_the_ca_has_answered() -> None:
    world, certificate = active()
    job_id = revoke(world, certificate)
    world.tell(on_list(world, certificate))
    assert told(world, certificate).state == "revoked"
    assert told(world, certificate).revoked_at == world.now - timedelta(minutes=1)
    assert world.jobs[job_id].state == "succeeded"
    assert not [f for f in outgoing.effects(world.charger, world.facts) if isinstance(f, RevokeCertificate)]
    events = len(world.events)
    world.tell(accepted(certificate))
    world.tell(v.RevocationRefused(certificate_id=certificate.certificate_id, code="late", message="late"))
    assert len(world.events) == events


def test_a_ca_that_refuses_leaves_the_certificate_refused_here_until_the_list_says_otherwise() -> None:
    world, certificate = active()
    job_id = revoke(world, certificate)
    world.tell(
        v.RevocationRefused(certificate_id=certificate.certificate_id, code="AccessDenied", message="no")
    )
    job = world.charger.jobs[job_id]
    assert (job.stage, job.waiting_for, job.reason_code) == ("revoking", "operator", "AccessDenied")
    (known,) = outgoing.admission(world.charger).credentials
    assert known.state == "revoked"
    world.tell(on_list(world, certificate))  # somebody did it by hand
    assert world.jobs[job_id].state == "succeeded"


def test_a_certificate_revoked_while_it_is_being_installed_is_not_installed() -> None:
    world = World()
    world.crl_address = LIST
    world.request()
    world.connect()
    world.confirm_trust()
    world.carry_out()
    world.present_csr()
    certificate = world.ca_issues()
    (issuing,) = world.charger.jobs
    revoke(world, certificate)
    assert not world.orders()
    assert world.jobs[issuing].state == "failed"
    world.tell(confirmed(world))
    assert told(world, certificate).refused_at_edge_at == world.now


def test_what_a_list_says_of_a_certificate_nobody_asked_to_revoke_changes_nothing() -> None:
    world, certificate = active()
    events = len(world.events)
    world.tell(on_list(world, certificate))
    assert len(world.events) == events


def test_a_revocation_the_ca_did_not_keep_is_looked_for_anew() -> None:
    world, certificate = active()
    revoke(world, certificate)
    world.tell(accepted(certificate))
    stale = on_list(world, certificate)
    world.tell(stale)
    world.now += timedelta(days=1)
    world.tell(
        v.CertificateSeenAtCa(
            purpose="charging_station",
            authority_arn=certificate.issuing_ca_id,
            external_ref=certificate.external_ref,
            chain_pem=certificate.chain_pem,
            issued_at=certificate.issued_at,
            revoked_at=None,
            revocation_reason=None,
            report_ref="r1",
            report_at=world.now,
            ledger_state="revoked",
        )
    )
    assert count(world, e.RevocationContradicted) == 1
    world.tell(stale)
    assert body(world, certificate)["published_at"] is None
    assert [effect.effect_id for effect in watches(world)] == [f"{certificate.certificate_id}:published:r1"]


# ---------------------------------------------------------------- nobody can know


def test_a_list_that_is_late_is_said_once_and_may_still_come() -> None:
    world, certificate = active(facts(revocation_done="published", publication_wait_s=600))
    job_id = revoke(world, certificate)
    world.tell(accepted(certificate))
    due_at = world.now + timedelta(seconds=600)
    assert due_at in clock._moments(world.charger, world.facts, world.now)
    world.wait(seconds=599)
    assert not count(world, e.CertificateRevocationUnpublished)
    world.wait(seconds=1)
    world.wait(seconds=60)
    assert count(world, e.CertificateRevocationUnpublished) == 1
    assert world.charger.jobs[job_id].overdue
    assert world.charger.jobs[job_id].reason_code == "not-published-in-time"
    assert body(world, certificate)["unpublished"]["is_over"] is False  # type: ignore[index]
    world.tell(on_list(world, certificate))
    assert world.jobs[job_id].state == "succeeded"
    assert body(world, certificate)["unpublished"] is None


@pytest.mark.parametrize(("done", "ends"), [("ca", "succeeded"), ("published", "failed")])
def test_a_certificate_that_names_no_list_is_said_to_be_unknown_to_others(done: str, ends: str) -> None:
    world, certificate = active(facts(revocation_done=done), crl_address=None)
    job_id = revoke(world, certificate)
    world.tell(accepted(certificate))
    assert not watches(world)
    assert body(world, certificate)["unpublished"]["code"] == "no-list-named"  # type: ignore[index]
    assert world.jobs[job_id].state == ends
    assert told(world, certificate).state == "revoked"


def test_what_expired_before_it_was_listed_is_given_up() -> None:
    world, certificate = active(facts(revocation_done="published"))
    job_id = revoke(world, certificate)
    world.tell(accepted(certificate))
    world.tell(
        v.RevocationUnlisted(
            certificate_id=certificate.certificate_id, code="expired-unlisted", message="it expired"
        )
    )
    assert not watches(world)
    assert (world.jobs[job_id].state, world.jobs[job_id].reason_code) == ("failed", "expired-unlisted")


# ---------------------------------------------------------------- what is asked for with it


def decisions(world: World, rule: str) -> list[e.PolicyDecisionRecorded]:
    return [
        event for event in world.events if isinstance(event, e.PolicyDecisionRecorded) and event.rule == rule
    ]


def test_a_replacement_is_ordered_at_once_and_goes_before_others() -> None:
    world, certificate = active()
    revoke(world, certificate, revocation_reason="key_compromise", replace=True)
    known = told(world, certificate)
    assert known.replacement_job_id is not None
    job = world.charger.jobs[known.replacement_job_id]
    assert job.action == "issue"
    assert is_urgent(
        world.charger, job, policy_of(world.charger, world.facts, "charging_station", world.now), world.now
    )
    assert body(world, certificate)["replacement_job_id"] == job.job_id
    world.wait(hours=1)
    assert job.job_id in world.charger.jobs, "it is not the revoked certificate's job"


def test_a_replacement_of_what_is_merely_superseded_is_in_no_hurry() -> None:
    world, certificate = active()
    revoke(world, certificate, revocation_reason="superseded", replace=True)
    job = world.charger.jobs[told(world, certificate).replacement_job_id or ""]
    assert not is_urgent(
        world.charger, job, policy_of(world.charger, world.facts, "charging_station", world.now), world.now
    )


def test_a_replacement_asked_for_later_is_ordered_once() -> None:
    world, certificate = active()
    revoke(world, certificate)
    assert told(world, certificate).replacement_job_id is None
    for _ in range(2):
        revoke(world, certificate, replace=True)
    assert count(world, e.RevocationFollowUpOpened) == 1


def test_a_deletion_the_protocol_has_not_is_said_and_holds_nothing_up() -> None:
    world, certificate = active()
    job_id = revoke(world, certificate, delete=True)
    (decision,) = decisions(world, "deletion")
    assert (decision.job_id, decision.outcome) == (job_id, "refuse")
    assert decision.reason.startswith("station-certificate-stays:")
    assert told(world, certificate).revocation_requested_at == world.now
    assert told(world, certificate).deletion_job_id is None


def test_revoking_the_last_credential_is_done_and_said() -> None:
    world, certificate = active()
    job_id = revoke(world, certificate)
    assert world.charger.jobs[job_id].reason_code == "locks-out"


def test_revoking_one_of_a_charger_that_has_a_key_locks_nobody_out() -> None:
    world = World(key=KeyVerifier(generation=1, pepper_id="p", verifier="0" * 64, state="active"))
    certificate = world.to_installed()
    job_id = revoke(world, certificate)
    assert world.charger.jobs[job_id].reason_code is None


# ---------------------------------------------------------------- a compromised key


def test_every_certificate_of_a_compromised_key_is_refused_and_revoked() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    world, old = active_with(key)
    world.request("renew", certificate_id=old.certificate_id)
    world.carry_out()
    world.present_csr(pki.csr("SN-1", key=key))
    new = world.ca_issues()
    assert new.spki_sha256 == old.spki_sha256
    revoke(world, old, revocation_reason="key_compromise")
    states = {
        known.fingerprint_sha256: known.state for known in outgoing.admission(world.charger).credentials
    }
    assert states == {old.fingerprint_sha256: "revoked", new.fingerprint_sha256: "revoked"}
    owed = [
        f.reason for f in outgoing.effects(world.charger, world.facts) if isinstance(f, RevokeCertificate)
    ]
    assert owed == ["key_compromise"] * 2
    assert not [job for job in world.charger.jobs.values() if job.action == "renew"]


def test_what_is_being_made_for_a_compromised_key_is_not_wanted_any_more() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    world, old = active_with(key)
    renewal = world.request("renew", certificate_id=old.certificate_id).job_id
    world.carry_out()
    world.present_csr(pki.csr("SN-1", key=key))
    assert [job.attempt is not None for job in world.charger.jobs.values()] == [True]
    revoke(world, old, revocation_reason="key_compromise", replace=True)
    assert renewal is not None
    assert (world.jobs[renewal].state, world.jobs[renewal].reason_code) == ("failed", "csr-key-compromised")
    assert told(world, old).replacement_job_id not in (None, renewal)


def test_another_key_of_the_charger_is_left_alone() -> None:
    world, old = active()
    world.request("renew", certificate_id=old.certificate_id)
    world.carry_out()
    world.present_csr(pki.csr("SN-1"))
    new = world.ca_issues()
    revoke(world, old, revocation_reason="key_compromise")
    assert told(world, new).revocation_requested_at is None


def test_no_certificate_is_made_for_a_compromised_key_again() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    world, old = active_with(key)
    revoke(world, old, revocation_reason="key_compromise", replace=True)
    world.carry_out()
    world.present_csr(pki.csr("SN-1", key=key))
    refusals = [event.reason for event in world.events if isinstance(event, e.CSRRefused)]
    assert refusals == ["csr-key-compromised"]


# ---------------------------------------------------------------- not revoked, only taken out of use


def test_what_is_deactivated_is_refused_and_the_ca_hears_nothing_of_it() -> None:
    world, certificate = active()
    decision = world.request("deactivate", certificate_id=certificate.certificate_id)
    assert decision.refusal is None
    (known,) = outgoing.admission(world.charger).credentials
    assert known.state == "inactive"
    assert not outgoing.effects(world.charger, world.facts)
    assert certificate_body(world.charger, told(world, certificate))["revocation"] is None
    revoke(world, certificate)  # and it may be revoked afterwards
    assert told(world, certificate).revocation_requested_at == world.now


def test_asked_for_again_it_is_the_same_job_and_never_another_certificates() -> None:
    world, old = active()
    world.request("renew", certificate_id=old.certificate_id)
    world.carry_out()
    world.present_csr(pki.csr("SN-1"))
    new = world.ca_issues()
    first, second = revoke(world, old), revoke(world, new)
    assert first != second
    assert (revoke(world, new), revoke(world, old)) == (second, first)
    world.tell(v.RevocationAccepted(certificate_id=old.certificate_id))
    done = world.request("revoke", certificate_id=old.certificate_id).refusal
    assert done is not None
    assert (done.code, done.status) == ("already-revoked", 409)


def test_what_has_expired_is_not_revoked() -> None:
    world, own = active()
    over = msgspec.structs.replace(own, state="expired")
    world.state = msgspec.structs.replace(world.charger, certificates={own.certificate_id: over})
    refused = world.request("revoke", certificate_id=own.certificate_id).refusal
    assert refused is not None
    assert (refused.code, refused.status) == ("certificate-ended", 409)


def test_a_reason_that_no_ca_knows_is_refused() -> None:
    world, own = active()
    refused = world.request(
        "revoke", certificate_id=own.certificate_id, revocation_reason="bad weather"
    ).refusal
    assert refused is not None
    assert (refused.code, refused.field) == ("invalid-value", "reason")
    assert told(world, own).revocation_requested_at is None
