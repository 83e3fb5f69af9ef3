"""Why a renewal that is due has not happened yet, as its row tells people; and how a certificate's row comes to be due."""

from datetime import timedelta
from typing import Any

import pytest

from bfactors import command as c
from bfactors.charger.project import certificate_row
from bfactors.fleet.state import SupervisorPause
from bfactors.ledger_row import CertificateRow
from bfactors.renewal_wait import waiting
from tests.core import pki
from tests.core.world import World

PAUSE = SupervisorPause(
    kind="cohort", name="c", state="paused", reason="school holidays", by="ada", at=pki.BEGIN
)


def row(job: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    about = {"family": "f", "cohort": "c", "purpose": "p", "connected": True}
    return about | {"job": job, "paused_reason": None, "renew_again_at": None} | fields


def job(waiting_for: str | None, held_by: str | None = None, message: str | None = None) -> dict[str, Any]:
    reason = None if message is None else {"code": "x", "message": message}
    return {"waiting_for": waiting_for, "held_by": held_by, "reason": reason, "stage": "issuing"}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (row(), "turn"),
        (row(connected=False), "turn"),
        (row(paused_reason="evidence x is quarantined"), "paused"),
        (row(renew_again_at=(pki.BEGIN + timedelta(hours=1)).isoformat()), "resting"),
        (row(renew_again_at=(pki.BEGIN - timedelta(hours=1)).isoformat()), "turn"),
        (row(job(None, "blackout/08:30")), "blackout"),
        (row(job(None, "family/f", "firmware crashes"), connected=False), "paused"),
        (row(job("connection"), connected=False), "offline"),
        (row(job("charger"), connected=False), "offline"),
        (row(job("ca"), connected=False), "ca"),
        (row(job("charger")), "charger"),
        (row(job("reconnect")), "reconnect"),
        (row(job("operator", message="no issuing CA")), "operator"),
        (row(job(None, "gate/x", "not confirmed")), "held"),
        (row(job(None)), "charger"),
    ],
)
def test_a_due_renewal_says_why_it_waits(given: dict[str, Any], code: str) -> None:
    found = waiting(given, {}, pki.BEGIN)
    assert found.code == code
    assert found.message


def test_a_pause_of_its_cohort_is_named_with_its_reason() -> None:
    found = waiting(row(), {"cohort/c": PAUSE}, pki.BEGIN)
    assert (found.code, found.message) == ("paused", "cohort/c is paused: school holidays")
    assert waiting(row(), {"cohort/another": PAUSE}, pki.BEGIN).code == "turn"


def row_of(world: World, certificate_id: str) -> CertificateRow:
    return certificate_row(world.charger, world.charger.certificates[certificate_id])


def test_a_certificate_is_due_from_its_window_until_another_has_taken_its_place() -> None:
    world = World()
    certificate = world.to_active()
    assert row_of(world, certificate.certificate_id).due_since is None
    world.wait(days=151)
    due_since = world.now
    assert row_of(world, certificate.certificate_id).due_since == due_since
    world.wait(days=16)
    found = row_of(world, certificate.certificate_id)
    assert (found.due_since, found.escalated_days) == (due_since, 14)
    world.request("renew", certificate_id=certificate.certificate_id)
    world.carry_out()
    world.present_csr(pki.csr("SN-1"))
    second = world.ca_issues()
    world.carry_out()
    assert row_of(world, certificate.certificate_id).due_since == due_since, "installed is not active"
    world.connect(3, second.fingerprint_sha256)
    found = row_of(world, certificate.certificate_id)
    assert (found.due_since, found.escalated_days) == (None, None)


def test_a_renewal_that_came_to_nothing_is_due_since_the_first_time() -> None:
    world = World()
    certificate = world.to_active()
    world.wait(days=151)
    due_since = world.now
    world.request("renew", job_id="first", certificate_id=certificate.certificate_id)
    world.command(c.CancelJob(charger_id="CP-1", job_id="first", reason="not now"))
    found = row_of(world, certificate.certificate_id)
    assert found.due_since == due_since
    assert found.renew_again_at is not None
    world.wait(days=2)
    assert world.charger.certificates[certificate.certificate_id].renewal_due
    assert row_of(world, certificate.certificate_id).due_since == due_since
