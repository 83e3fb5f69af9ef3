"""A charger that goes back to its old certificate: when that counts as discarding the new one, and what follows."""

from datetime import timedelta

import pytest

from bfactors import command as c
from bfactors import evidence as v
from bfactors.charger import outgoing
from bfactors.instruction import InstallLeaf, ObtainCsr
from bfactors.ocpp import Answered, Disconnected
from tests.core.test_charger_reconnect import kinds, renewing
from tests.core.world import World

CODE = "renewed-certificate-discarded"


def report_discarded(world: World, session_id: str | None = None) -> None:
    assert world.charger.session is not None
    world.tell(
        v.SecurityEventReported(
            session_id=session_id or world.charger.session.session_id,
            event_type="DiscardedRenewedClientCertificate",
            charger_time="2026-01-01T00:00:00Z",
            tech_info="handshake failed",
        )
    )


def state_of(world: World, fingerprint: str) -> str:
    return next(k.state for k in world.charger.certificates.values() if k.fingerprint_sha256 == fingerprint)


def next_key(world: World) -> str:
    """Asked for another key, it brings one; the new leaf's fingerprint."""
    world.wait_for_order()
    assert isinstance(world.carry_out(), ObtainCsr)
    world.present_csr()
    fingerprint = world.ca_issues().fingerprint_sha256
    assert isinstance(world.carry_out(), InstallLeaf)
    return fingerprint


def test_coming_back_once_with_the_old_certificate_is_no_verdict() -> None:
    world, old, new = renewing()
    world.connect(3, old)
    assert state_of(world, new) == "installed"
    assert world.charger.jobs["renewal"].reason_code == "reconnected-with-old-certificate"
    world.connect(3, new)
    assert world.jobs["renewal"].state == "succeeded"


@pytest.mark.parametrize("times", [1, 2, 3, 5])
def test_coming_back_so_often_as_the_policy_says_discards_it(times: int) -> None:
    world, old, new = renewing(discarded_reconnects=times)
    for _ in range(times - 1):
        world.connect(3, old)
    assert state_of(world, new) == "installed"
    world.connect(3, old)
    assert state_of(world, new) == "superseded"
    job = world.charger.jobs["renewal"]
    assert (job.reason_code, job.failures, job.certificate_id) == (CODE, 1, None)
    assert "CertificateDiscarded" in world.names()
    assert kinds(world) == [], "the next key is asked for after a back-off"
    newer = next_key(world)
    world.connect(3, newer)
    assert world.jobs["renewal"].state == "succeeded"
    assert state_of(world, newer) == "active"


def test_staying_on_the_old_one_for_as_long_as_the_policy_says_discards_it() -> None:
    world, old, new = renewing(discarded_after_s=7200, reconnect_close_s=0)
    world.wait(hours=3)
    assert state_of(world, new) == "installed", "it has not come back at all"
    world.connect(3, old)
    assert state_of(world, new) == "superseded"


def test_the_clock_discards_it_when_the_time_is_over() -> None:
    world, old, new = renewing(discarded_after_s=7200, reconnect_close_s=0)
    world.connect(3, old)
    world.wait(seconds=7199)
    assert state_of(world, new) == "installed"
    world.wait(seconds=1)
    assert state_of(world, new) == "superseded"


def test_with_neither_number_nor_time_it_waits_for_ever_and_is_overdue() -> None:
    world, old, new = renewing(discarded_reconnects=0, discarded_after_s=0)
    for _ in range(20):
        world.connect(3, old)
        world.wait(days=1)
    assert state_of(world, new) == "installed"
    assert world.charger.jobs["renewal"].overdue


def test_a_leaf_that_is_not_valid_yet_is_waited_for() -> None:
    world, old, new = renewing(discarded_reconnects=1, not_before_skew_s=0)
    certificate = next(k for k in world.charger.certificates.values() if k.fingerprint_sha256 == new)
    world.now = certificate.not_before - timedelta(seconds=5)
    world.connect(3, old)
    assert state_of(world, new) == "installed"


def test_the_chargers_own_word_counts_at_once() -> None:
    world, old, new = renewing()
    world.connect(3, old)
    report_discarded(world)
    assert state_of(world, new) == "superseded"
    job = world.charger.jobs["renewal"]
    assert job.reason_code == CODE
    assert "handshake failed" in (job.reason_message or "")


def test_its_word_about_a_leaf_whose_answer_was_lost_counts_too() -> None:
    world, old, _ = renewing()
    world.connect(3, old)
    report_discarded(world)
    world.wait_for_order()
    world.carry_out()
    world.present_csr()
    newer = world.ca_issues().fingerprint_sha256
    world.carry_out(Disconnected())
    world.connect(3, old)
    report_discarded(world)
    assert state_of(world, newer) == "superseded"
    assert not any(isinstance(i.body, InstallLeaf) for i in world.charger.instructions.values())


@pytest.mark.parametrize("case", ["same session", "new leaf live", "older session", "not sent"])
def test_an_event_that_cannot_be_about_the_leaf_changes_nothing(case: str) -> None:
    world, old, new = renewing()
    match case:
        case "same session":
            report_discarded(world)
            expected = "installed"
        case "new leaf live":
            world.connect(3, new)
            report_discarded(world)
            expected = "active"
        case "older session":
            world.connect(3, old)
            report_discarded(world, "s1")
            expected = "installed"
        case _:
            world.connect(3, old)
            report_discarded(world)
            world.wait_for_order()
            world.carry_out()
            world.present_csr()
            new = world.ca_issues().fingerprint_sha256
            report_discarded(world)
            expected = "issued"
    assert state_of(world, new) == expected


def test_a_discarded_leaf_stays_admitted_for_the_grace_and_is_active_when_it_is_used_after_all() -> None:
    world, old, new = renewing(discarded_reconnects=1)
    world.connect(3, old)
    known = {k.fingerprint_sha256: k for k in outgoing.admission(world.charger).credentials}
    assert (known[old].state, known[new].state) == ("active", "superseded")
    assert known[new].admit_until == world.now + timedelta(days=14)
    world.connect(3, new)
    assert (state_of(world, old), state_of(world, new)) == ("superseded", "active")
    assert world.jobs["renewal"].state == "succeeded"
    assert world.charger.instructions == {}


def test_a_late_change_leaves_the_next_leaf_on_its_way() -> None:
    world, old, new = renewing(discarded_reconnects=2)
    world.connect(3, old)
    world.connect(3, old)
    newer = next_key(world)
    world.connect(3, new)
    slot = world.charger.slots["charging_station/default"]
    assert world.charger.certificates[slot.current or ""].fingerprint_sha256 == new
    assert world.charger.certificates[slot.next or ""].fingerprint_sha256 == newer
    world.connect(3, newer)
    assert state_of(world, newer) == "active"
    assert world.jobs["renewal"].state == "succeeded"


def test_a_leaf_that_was_in_use_once_takes_no_place_back() -> None:
    world, old, new = renewing()
    world.connect(3, new)
    world.connect(3, old)
    assert (state_of(world, old), state_of(world, new)) == ("superseded", "active")


def test_a_first_leaf_that_a_second_key_overtook_counts_when_it_is_used() -> None:
    """Otherwise nothing would be current, nothing renewed, and the charger locked out with the end of the grace."""
    world = World()
    first = world.to_installed()
    for _ in range(3):
        world.carry_out()
    world.present_csr()
    assert state_of(world, first.fingerprint_sha256) == "superseded"
    job = next(iter(world.charger.jobs))
    world.tell(v.IssuanceRefused(job_id=job, attempt=2, code="Denied", message="no"))
    assert world.jobs[job].state == "failed"
    world.connect(3, first.fingerprint_sha256)
    assert state_of(world, first.fingerprint_sha256) == "active"


def test_a_charger_that_discards_every_leaf_is_given_up_with_the_reason_and_keeps_its_old_one() -> None:
    world, old, _ = renewing(discarded_reconnects=1)
    for attempt in range(5):
        world.connect(3, old)
        if attempt < 4:
            next_key(world)
    job = world.jobs["renewal"]
    assert (job.state, job.reason_code) == ("failed", CODE)
    assert state_of(world, old) == "active"
    assert world.charger.instructions == {}
    assert world.names().count("CertificateDiscarded") == 5


def test_a_compromised_key_is_not_let_in_by_the_grace_of_a_discarded_leaf() -> None:
    world, old, new = renewing(discarded_reconnects=1)
    world.connect(3, old)
    certificate = next(k for k in world.charger.certificates.values() if k.fingerprint_sha256 == new)
    world.command(
        c.RequestJob(
            job_id="revocation",
            charger_id="CP-1",
            purpose="charging_station",
            action="revoke",
            reason="leaked",
            certificate_id=certificate.certificate_id,
            revocation_reason="key_compromise",
        )
    )
    known = {k.fingerprint_sha256: k.state for k in outgoing.admission(world.charger).credentials}
    assert known[new] == "revoked"
    world.connect(3, new)
    assert state_of(world, new) != "active"


def test_answers_that_come_after_the_leaf_was_discarded_change_nothing() -> None:
    world, old, new = renewing(discarded_reconnects=1)
    sent = next(b for b in reversed(world.events) if type(b).__name__ == "InstructionSettled")
    world.connect(3, old)
    before = len(world.events)
    world.tell(
        v.InstructionAnswered(
            instruction_id=sent.instruction_id,  # type: ignore[attr-defined]
            decision=1,
            session_id="s2",
            outcome=Answered("Accepted"),
        )
    )
    assert len(world.events) == before
    assert state_of(world, new) == "superseded"
