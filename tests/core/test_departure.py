"""A unit leaves its position: decommissioned, or replaced by another. Whatever comes late, nothing of it works again."""

from datetime import timedelta

import msgspec
import pytest

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.admission import KeyVerifier
from bfactors.charger import outgoing
from bfactors.charger.clock import next_due
from bfactors.charger.decide import ChargerCommand, Decision
from bfactors.charger.departure import REFUSAL_REASON
from bfactors.charger.project import charger_row, project
from bfactors.effect import RevokeCertificate
from bfactors.identity_rule import cut_problem
from bfactors.refusal import Refusal
from tests.core import pki
from tests.core.world import ARN, World

REGISTERED = {"key": KeyVerifier(1, "p", "first", "active"), "key_origin": "generated"}


def new_key() -> dict[str, object]:
    return {"key": KeyVerifier(1, "p", "second", "active"), "key_origin": "generated"}


def decommission(world: World, **fields: object) -> Refusal | None:
    values = {"job_id": "leave", "charger_id": "CP-1", "reason": "depot closed", **fields}
    return world.command(c.DecommissionCharger(**values)).refusal  # type: ignore[arg-type]


def replace(world: World, **fields: object) -> Refusal | None:
    values = {
        "job_id": "swap",
        "charger_id": "CP-1",
        "managed_identity_id": "unit-2",
        "serial_number": "SN-2",
        "reason": "burnt out",
        **new_key(),
        **fields,
    }
    return world.command(c.ReplaceUnit(**values)).refusal  # type: ignore[arg-type]


def revocations(world: World) -> list[RevokeCertificate]:
    return [one for one in outgoing.effects(world.charger, world.facts) if isinstance(one, RevokeCertificate)]


def ca_revokes(world: World) -> None:
    for effect in revocations(world):
        world.tell(v.RevocationAccepted(certificate_id=effect.certificate_id))


def test_a_decommissioned_charger_is_refused_at_once_and_its_certificate_revoked() -> None:
    world = World(**REGISTERED)
    active = world.to_active()
    assert decommission(world) is None
    record = outgoing.admission(world.charger)
    assert (record.mode, record.refusal_reason, record.keys) == ("refused", REFUSAL_REASON, ())
    assert world.charger.session is None
    assert [one.certificate_id for one in revocations(world)] == [active.certificate_id]
    assert world.jobs["leave"].stage == "revoking"
    assert world.jobs["leave"].state == "open"
    ca_revokes(world)
    assert world.jobs["leave"].state == "succeeded"
    assert world.charger.certificates[active.certificate_id].state == "revoked"
    row = charger_row(world.charger)
    assert (row.decommissioned, row.connected) == (True, False)


def test_without_a_certificate_the_job_is_done_at_once() -> None:
    world = World(**REGISTERED)
    decommission(world)
    assert world.jobs["leave"].state == "succeeded"


def test_every_open_job_ends_but_revocations() -> None:
    world = World(**REGISTERED)
    active = world.to_active()
    world.request("renew")
    revoked = world.request("revoke", certificate_id=active.certificate_id, revocation_reason="superseded")
    decommission(world)
    assert {job.job_id: job.state for job in world.charger.jobs.values()} == {
        revoked.job_id: "open",
        "leave": "open",
    }
    assert not world.charger.instructions
    ca_revokes(world)
    assert not world.charger.jobs


def test_once_out_of_service_nothing_is_asked_of_it() -> None:
    world = World(**REGISTERED)
    world.to_active()
    decommission(world)
    refused = world.request().refusal
    assert refused is not None
    assert (refused.code, refused.status) == (REFUSAL_REASON, 409)
    assert "depot closed" in refused.message
    assert world.command(c.ChangeCharger(charger_id="CP-1", cohort="other")).refusal is not None
    again = world.command(
        c.RegisterCharger(
            charger_id="CP-1",
            managed_identity_id="x",
            serial_number="SN-9",
            family="f",
            site="s",
            cohort="c",
            security_profile=0,
        )
    )
    assert again.refusal is not None
    assert "replace" in again.refusal.message


def test_its_job_cannot_be_cancelled() -> None:
    world = World(**REGISTERED)
    world.to_active()
    decommission(world)
    refused = world.command(c.CancelJob(charger_id="CP-1", job_id="leave", reason="oops")).refusal
    assert refused is not None
    assert refused.code == "cannot-cancel"


def test_twice_is_once() -> None:
    world = World(**REGISTERED)
    world.to_active()
    decommission(world)
    count = len(world.events)
    assert decommission(world) is None
    assert decommission(world, job_id="other") is None  # the open job is answered
    assert len(world.events) == count
    ca_revokes(world)
    refused = decommission(world, job_id="third")
    assert refused is not None
    assert refused.code == REFUSAL_REASON


@pytest.mark.parametrize("leave", [decommission, replace])
def test_a_certificate_the_ca_had_under_way_is_revoked_when_it_comes(leave: object) -> None:
    world = World(**REGISTERED)
    world.request()
    world.connect()
    world.confirm_trust()
    world.carry_out()
    world.present_csr()
    effect = world.issue_effect()
    leave(world)  # type: ignore[operator]
    assert not [
        one for one in outgoing.effects(world.charger, world.facts) if one.effect_id == effect.effect_id
    ]
    chain = pki.ca().sign(effect.csr_pem, effect.not_before, effect.not_after)
    arn = f"{ARN}/certificate/1"
    world.tell(
        v.IssuanceCompleted(job_id=effect.job_id, attempt=effect.attempt, external_ref=arn, chain_pem=chain)
    )
    (late,) = world.charger.certificates.values()
    assert late.state == "superseded"
    assert [one.certificate_id for one in revocations(world)] == [late.certificate_id]
    issued = next(event for event in world.events if isinstance(event, e.CertificateIssued))
    assert issued.managed_identity_id == "unit-1"


def test_the_ca_that_would_not_revoke_is_shown_with_its_reason() -> None:
    world = World(**REGISTERED)
    active = world.to_active()
    decommission(world)
    body = v.RevocationRefused(
        certificate_id=active.certificate_id, code="ca-refused", message="InvalidStateException: disabled"
    )
    world.tell(body)
    world.tell(body)
    job = world.charger.jobs["leave"]
    assert (job.stage, job.waiting_for, job.reason_code) == ("revoking", "operator", "ca-refused")
    ca_revokes(world)
    assert world.jobs["leave"].state == "succeeded"


def test_a_session_that_comes_late_is_closed_and_proves_nothing() -> None:
    world = World(**REGISTERED)
    active = world.to_active()
    decommission(world)
    decision = world.tell(
        v.SessionOpened(
            session_id="late",
            node="n2",
            incarnation="i2",
            ocpp_version="2.0.1",
            security_profile=3,
            remote_address="192.0.2.1",
            opened_at=world.now,
            fingerprint_sha256=active.fingerprint_sha256,
        )
    )
    assert decision.displaced is not None
    assert decision.displaced.session_id == "late"
    assert world.charger.session is None


def test_a_csr_that_comes_late_leads_to_nothing() -> None:
    world = World(**REGISTERED)
    world.to_active()
    session = world.charger.session
    assert session is not None
    decommission(world)
    world.tell(
        v.CsrReceived(
            session_id=session.session_id, message_id="m", purpose="charging_station", csr=pki.csr("SN-1")
        )
    )
    assert set(world.charger.jobs) == {"leave"}


def test_time_changes_nothing_more() -> None:
    world = World(**REGISTERED)
    world.to_active()
    decommission(world)
    ca_revokes(world)
    assert next_due(world.charger, world.facts, world.now) is None
    count = len(world.events)
    world.wait(days=400)
    assert len(world.events) == count


def test_a_ca_that_stays_away_makes_the_job_overdue() -> None:
    world = World(**REGISTERED)
    world.to_active()
    decommission(world)
    due = next_due(world.charger, world.facts, world.now)
    assert due is not None
    world.wait(seconds=(due - world.now).total_seconds())
    assert world.charger.jobs["leave"].overdue


@pytest.mark.parametrize("leave", [decommission, replace])
def test_what_was_ordered_for_no_job_is_ordered_no_more(leave: object) -> None:
    world = World(**REGISTERED)
    world.tells_settings = True
    world.to_active()
    world.wait(days=40)
    assert world.charger.instructions
    leave(world)  # type: ignore[operator]
    assert not world.charger.instructions


def test_a_way_back_in_force_ends_with_the_charger() -> None:
    world = World(**REGISTERED)
    world.to_active()
    back = c.OpenMigration(
        job_id="back",
        charger_id="CP-1",
        target_profile=2,
        reason="broken TLS stack",
        ends_at=world.now + timedelta(days=3),
        approval_id="a1",
    )
    world.command(back)
    asked = world.charger.approvals["a1"]
    world.actor = "somebody else"
    agreed = c.DecideApproval(
        charger_id="CP-1", approval_id="a1", verdict="approve", content_hash=asked.content_hash, reason="yes"
    )
    assert world.command(agreed).refusal is None
    assert world.charger.way_back is not None
    decommission(world)
    assert world.charger.way_back is None
    ca_revokes(world)
    assert next_due(world.charger, world.facts, world.now) is None


# ---------------------------------------------------------------- another unit


def test_a_new_unit_has_an_identity_and_a_key_of_its_own() -> None:
    world = World(**REGISTERED)
    old = world.to_active()
    assert replace(world) is None
    charger = world.charger
    assert (charger.serial_number, charger.managed_identity_id) == ("SN-2", "unit-2")
    assert charger.expected_common_name == "SN-2"
    assert (charger.site, charger.cohort, charger.security_profile) == ("north", "canary", 2)
    record = outgoing.admission(charger)
    assert record.mode == "accepted"
    assert [(key.generation, key.verifier) for key in record.keys] == [(2, "second")]
    assert [(one.fingerprint_sha256, one.state) for one in record.credentials] == [
        (old.fingerprint_sha256, "revoked")
    ]
    assert all((slot.current, slot.next) == (None, None) for slot in charger.slots.values())
    assert not charger.bundles
    assert world.jobs["swap"].state == "open"
    ca_revokes(world)
    assert world.jobs["swap"].state == "succeeded"


def test_the_old_units_certificates_stay_its_own() -> None:
    world = World(**REGISTERED)
    old = world.to_active()
    replace(world)
    before = world.charger
    ca_revokes(world)
    rows = project(before, world.charger, world.jobs, world.facts)
    assert [(row.certificate_id, row.managed_identity_id) for row in rows.certificates] == [
        (old.certificate_id, "unit-1")
    ]


def test_the_new_unit_goes_the_whole_way() -> None:
    world = World(**REGISTERED)
    old = world.to_active()
    replace(world)
    ca_revokes(world)
    world.now += timedelta(minutes=5)
    world.connect(key=2)
    world.request()
    world.confirm_trust()
    world.carry_out()
    world.present_csr(pki.csr("SN-2"))
    new = world.ca_issues()
    world.carry_out()
    world.to_reset()
    world.connect(3, new.fingerprint_sha256)
    slot = world.charger.slots["charging_station/default"]
    assert slot.current == new.certificate_id != old.certificate_id
    assert world.charger.security_profile == 3


@pytest.mark.parametrize(
    "shown", [{"key": 1}, {"fingerprint": "old", "profile": 3}, {"profile": 3, "fingerprint": None}]
)
def test_the_old_unit_proves_nothing_for_the_new_one(shown: dict[str, object]) -> None:
    """Its session was opened before its node had heard; the fact of it arrives after the replacement."""
    world = World(**REGISTERED)
    old = world.to_active()
    replace(world)
    fingerprint = old.fingerprint_sha256 if shown.get("fingerprint") == "old" else None
    decision = world.tell(
        v.SessionOpened(
            session_id="late",
            node="n1",
            incarnation="i1",
            ocpp_version="2.0.1",
            security_profile=int(str(shown.get("profile", 2))),
            remote_address="192.0.2.1",
            opened_at=world.now,
            fingerprint_sha256=fingerprint,
            key_generation=shown.get("key"),  # type: ignore[arg-type]
            managed_identity_id="unit-1",
        )
    )
    assert decision.displaced is not None
    assert (world.charger.session, world.charger.security_profile) == (None, 2)
    world.tell(
        v.CsrReceived(session_id="late", message_id="m", purpose="charging_station", csr=pki.csr("SN-2"))
    )
    assert set(world.charger.jobs) == {"swap"}


def test_a_session_of_the_old_unit_is_cut_whatever_it_was_opened_with() -> None:
    world = World(security_profile=0)
    record = outgoing.admission(world.charger)
    replace(world, key=None, key_origin=None)
    problem = cut_problem(outgoing.admission(world.charger), None, None, (), record.managed_identity_id)
    assert problem is not None
    assert problem.code == "unit-replaced"
    assert cut_problem(record, None, None, (), record.managed_identity_id) is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"serial_number": "SN-1"}, "same-unit"),
        ({"serial_number": ""}, "invalid-value"),
        ({"security_profile": 4}, "invalid-value"),
        ({"key": None}, "key-missing"),
        ({"reason": " "}, "reason-missing"),
    ],
)
def test_what_cannot_be_a_new_unit_is_refused(fields: dict[str, object], code: str) -> None:
    world = World(**REGISTERED)
    refused = replace(world, **fields)
    assert refused is not None
    assert refused.code == code
    assert world.charger.serial_number == "SN-1"


def test_a_name_that_was_no_serial_number_stays() -> None:
    world = World(expected_common_name="depot-7-bay-2", **REGISTERED)
    replace(world)
    assert world.charger.expected_common_name == "depot-7-bay-2"


def test_a_position_out_of_service_is_filled_again_even_by_the_same_unit() -> None:
    world = World(**REGISTERED)
    world.to_active()
    decommission(world)
    assert replace(world, serial_number="SN-1") is None
    assert world.charger.decommissioned_at is None
    assert outgoing.admission(world.charger).mode == "accepted"
    assert set(world.charger.jobs) == {"leave", "swap"}
    ca_revokes(world)
    assert not world.charger.jobs


def test_a_way_back_ends_with_its_unit() -> None:
    world = World(**REGISTERED)
    world.to_active()
    world.command(
        c.OpenMigration(
            job_id="back",
            charger_id="CP-1",
            target_profile=2,
            reason="broken TLS stack",
            ends_at=world.now + timedelta(days=3),
            approval_id="a1",
        )
    )
    replace(world)
    assert world.charger.way_back is None
    assert world.jobs["back"].state == "cancelled"
    assert world.charger.approvals["a1"].state == "withdrawn"


# ---------------------------------------------------------------- at any moment


class Recorded(World):
    """Remembers every message, to be told to another world."""

    def __init__(self) -> None:
        self.told: list[tuple[timedelta, object]] = []
        super().__init__(**REGISTERED)

    def tell(self, body: v.EvidenceBody) -> Decision:
        self.told.append((self.now - pki.BEGIN, body))
        return super().tell(body)

    def command(self, command: ChargerCommand) -> Decision:
        if not isinstance(command, c.RegisterCharger):
            self.told.append((self.now - pki.BEGIN, command))
        return super().command(command)


def whole_way() -> list[tuple[timedelta, object]]:
    world = Recorded()
    world.to_active()
    world.request("renew")
    world.carry_out()
    world.present_csr()
    world.ca_issues()
    world.carry_out()
    return world.told


WAY = whole_way()


@pytest.mark.parametrize("leave", [decommission, replace])
@pytest.mark.parametrize("at", range(len(WAY) + 1))
def test_wherever_it_leaves_nothing_that_follows_brings_the_old_unit_back(at: int, leave: object) -> None:
    """All its evidence and the CA's still arrive, in order; a command is not given again to a unit that has left."""
    world = World(**REGISTERED)
    for n, (after, message) in enumerate(WAY):
        world.now = pki.BEGIN + after
        if n == at:
            assert leave(world) is None  # type: ignore[operator]
        if isinstance(message, v.SessionOpened):
            world.tell(msgspec.structs.replace(message, managed_identity_id="unit-1"))
        elif isinstance(message, v.EvidenceBody):
            world.tell(message)
        elif n < at:
            world.command(message)  # type: ignore[arg-type]
    if at == len(WAY):
        assert leave(world) is None  # type: ignore[operator]
    record = outgoing.admission(world.charger)
    assert {one.state for one in record.credentials} <= {"revoked", "rejected"}
    assert all(key.generation > 1 for key in record.keys)
    assert (world.charger.session, world.charger.instructions) == (None, {})
    assert set(world.charger.jobs) <= {"leave", "swap"}
    assert world.charger.security_profile == 2 or record.mode == "refused"
    ca_revokes(world)
    assert not world.charger.jobs
    assert not outgoing.effects(world.charger, world.facts)
