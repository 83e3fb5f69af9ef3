"""A charger whose certificate has expired: let in by an operator's word, Pending, renewed at once, and no longer than that."""

from datetime import timedelta

import pytest

from bfactors import command as c
from bfactors import evidence as v
from bfactors.charger import clock, outgoing
from bfactors.identity_rule import admits_expired, cut_problem
from bfactors.instruction import ObtainCsr
from tests.core.world import World, fleet_facts

FLAG = ("expired-credential",)


def expired() -> tuple[World, str]:
    """A charger on profile 3 that was away until its certificate had ended; the certificate's fingerprint."""
    world = World()
    certificate = world.to_active()
    assert world.charger.session is not None
    world.tell(v.SessionClosed(session_id=world.charger.session.session_id, reason="gone"))
    world.now = certificate.not_after + timedelta(days=2)
    world.wait(seconds=1)
    for job_id in list(world.charger.jobs):
        world.command(c.CancelJob(charger_id="CP-1", job_id=job_id, reason="clean slate"))
    return world, certificate.fingerprint_sha256


def admit(world: World, days: float | None = 7, reason: str = "was in the workshop"):  # type: ignore[no-untyped-def]
    until = None if days is None else world.now + timedelta(days=days)
    return world.command(c.AdmitExpired(charger_id="CP-1", until=until, reason=reason))


def come_back(world: World, fingerprint: str, flags: tuple[str, ...] = FLAG) -> None:
    world.tell(
        v.SessionOpened(
            session_id=f"back-{len(world.events)}",
            node="n1",
            incarnation="i1",
            ocpp_version="2.0.1",
            security_profile=3,
            remote_address="192.0.2.1",
            opened_at=world.now,
            fingerprint_sha256=fingerprint,
            flags=flags,
        )
    )


def test_nobody_is_let_in_unless_an_operator_says_so() -> None:
    world, _ = expired()
    assert not admits_expired(outgoing.admission(world.charger), world.now)


def test_the_edge_knows_the_end_by_itself() -> None:
    world, _ = expired()
    admit(world, 7)
    record = outgoing.admission(world.charger)
    assert admits_expired(record, world.now)
    assert not admits_expired(record, world.now + timedelta(days=7))


def test_it_is_renewed_as_soon_as_it_is_there_whatever_pauses() -> None:
    world, old = expired()
    admit(world)
    pause = c.SetSupervisorState(kind="family", name="acme-one", action="pause", reason="recall")
    world.facts = fleet_facts(pause)
    come_back(world, old)
    (job,) = world.charger.jobs.values()
    assert (job.action, job.held_by) == ("issue", None)
    assert ObtainCsr in [type(body) for body in world.orders()]


def test_the_new_leaf_seen_ends_it() -> None:
    world, old = expired()
    admit(world)
    come_back(world, old)
    world.carry_out()
    world.present_csr()
    new = world.ca_issues()
    world.carry_out()
    world.connect(3, new.fingerprint_sha256)
    assert world.charger.certificates[new.certificate_id].state == "active"
    assert world.charger.expired_admission is None
    assert (
        world.names()[-1] == "CertificateJobSucceeded" or "ExpiredCertificateAdmissionEnded" in world.names()
    )
    assert outgoing.admission(world.charger).expired_admitted_until is None


def test_the_date_ends_it_and_the_session_that_lives_on_it() -> None:
    world, old = expired()
    admit(world, 1)
    come_back(world, old)
    due_at = clock.next_due(world.charger, world.facts, world.now)
    assert due_at is not None
    world.wait(days=1)
    assert world.charger.expired_admission is None
    record = outgoing.admission(world.charger)
    problem = cut_problem(record, old, None, FLAG)
    assert problem is not None
    assert problem.code == "credential-expired"
    assert cut_problem(record, old, None, ()) is None, "a leaf that expires during a session cuts nothing"


def test_an_operator_may_take_it_back() -> None:
    world, _ = expired()
    admit(world)
    assert admit(world, None).refusal is None
    assert world.charger.expired_admission is None
    refusal = admit(world, None).refusal
    assert refusal is not None
    assert refusal.code == "not-admitted-expired"


@pytest.mark.parametrize(
    ("days", "reason", "code"),
    [
        (-1, "x", "invalid-value"),
        (0, "x", "invalid-value"),
        (31, "x", "invalid-value"),
        (7, " ", "reason-missing"),
    ],
)
def test_it_needs_an_end_that_is_near_and_a_reason(days: float, reason: str, code: str) -> None:
    world, _ = expired()
    refusal = admit(world, days, reason).refusal
    assert refusal is not None
    assert refusal.code == code
    assert world.charger.expired_admission is None


def test_a_charger_without_a_certificate_needs_none() -> None:
    refusal = admit(World()).refusal
    assert refusal is not None
    assert refusal.code == "no-certificate-in-use"


def test_it_holds_for_as_long_as_the_charger_comes_back_with_the_expired_one() -> None:
    world, old = expired()
    admit(world)
    come_back(world, old)
    come_back(world, old)
    assert world.charger.expired_admission is not None
    assert len(world.charger.jobs) == 1
