"""Incidents: what is chosen, what is refused at once, what is replaced first, and how it is staged, lifted and over."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.charger import clock, outgoing, plan, project
from bfactors.charger.evolve import evolve
from bfactors.charger.incident import target_state
from bfactors.charger.revoke import compromised_keys
from bfactors.charger.state import CertificateRecord
from bfactors.effect import IssueCertificate, RevokeCertificate
from bfactors.fleet import decide as fleet
from bfactors.fleet.state import FleetState
from bfactors.incident import Incident, Selector, Subject, came_later, has_turn, selects
from bfactors.policy import PolicyOverride, PolicySet
from tests.core import pki
from tests.core.test_first_contact import allowing, arrived
from tests.core.test_revocation import active_with
from tests.core.world import ARN, World, fleet_facts

OPENED = pki.BEGIN + timedelta(days=20)
SUBJECT = Subject(
    certificate_id="c1",
    purpose="charging_station",
    issuing_ca_id=ARN,
    spki_sha256="k1",
    state="active",
    issued_at=pki.BEGIN,
    not_after=pki.BEGIN + timedelta(days=365),
    family="acme-one",
    site="north",
    cohort="canary",
)


def selector(**criteria: object) -> Selector:
    return Selector(purpose="charging_station", **criteria)  # type: ignore[arg-type]


def incident(percent: int = 100, mode: str = "revoke", **criteria: object) -> Incident:
    return Incident(
        incident_id="incident-1",
        name="stolen laptop",
        reason="keys of a batch",
        mode="replace" if mode == "replace" else "revoke",
        revocation_reason="superseded",
        selector=selector(**(criteria or {"issuing_ca_ids": (ARN,)})),
        percent=percent,
        expected=1,
        author="operator:a",
        approver="operator:b",
        opened_at=OPENED,
    )


# ---------------------------------------------------------------- what is chosen


@pytest.mark.parametrize(
    "criteria",
    [
        {"issuing_ca_ids": ("other", ARN)},
        {"spki_sha256": ("k1",)},
        {"certificate_ids": ("c1",)},
        {"families": ("acme-one",), "sites": ("north",), "cohorts": ("canary", "x")},
        {"issued_from": pki.BEGIN, "issued_before": pki.BEGIN + timedelta(seconds=1)},
    ],
)
def test_what_every_criterion_names_is_chosen(criteria: dict[str, object]) -> None:
    assert selects(incident(**criteria), SUBJECT, OPENED)


@pytest.mark.parametrize(
    "criteria",
    [
        {"issuing_ca_ids": ("other",)},
        {"spki_sha256": ("k2",)},
        {"certificate_ids": ("c2",)},
        {"families": ("acme-one",), "cohorts": ("wave-2",)},
        {"sites": ("south",)},
        {"issued_from": pki.BEGIN + timedelta(seconds=1)},
        {"issued_before": pki.BEGIN},
    ],
)
def test_one_criterion_that_does_not_hold_is_enough(criteria: dict[str, object]) -> None:
    assert not selects(incident(**criteria), SUBJECT, OPENED)


@pytest.mark.parametrize(
    "change",
    [
        {"state": "revoked"},
        {"state": "expired"},
        {"not_after": OPENED},
        {"issued_at": OPENED + timedelta(seconds=1)},
        {"purpose": "other"},
    ],
)
def test_what_is_over_or_came_later_is_no_part_of_it(change: dict[str, object]) -> None:
    assert selects(incident(), SUBJECT, OPENED)
    assert not selects(incident(), replace(SUBJECT, **change), OPENED)


@given(st.text(min_size=1, max_size=20), st.integers(1, 99))
def test_a_charger_whose_turn_has_come_keeps_it(charger_id: str, percent: int) -> None:
    one = incident(percent)
    if has_turn(one, charger_id):
        assert all(has_turn(incident(more), charger_id) for more in range(percent, 101))


def test_stages_are_shares_of_the_fleet() -> None:
    turns = sum(has_turn(incident(10), f"CP-{number}") for number in range(4000))
    assert 300 < turns < 500
    assert all(has_turn(incident(100), f"CP-{number}") for number in range(100))


# ---------------------------------------------------------------- on a charger


def struck(world: World, one: Incident) -> None:
    """The fleet's decision arrives at the charger's partition."""
    world.facts = replace(world.facts, incidents={one.incident_id: one})
    assert plan.is_behind(world.charger, world.facts, world.now)
    world.tell(v.DeadlinePassed(at=world.now))


def enrolled() -> tuple[World, CertificateRecord]:
    world = World()
    return world, world.to_active()


def certificate(world: World, one: CertificateRecord) -> CertificateRecord:
    return world.charger.certificates[one.certificate_id]


def effects(world: World, kind: type) -> list[object]:
    return [one for one in outgoing.effects(world.charger, world.facts) if isinstance(one, kind)]


def test_all_are_refused_at_once_and_revoked_when_their_stage_begins() -> None:
    world, active = enrolled()
    none_yet = next(one for one in range(1, 100) if not has_turn(incident(one), "CP-1"))
    struck(world, incident(none_yet))
    [known] = outgoing.admission(world.charger).credentials
    assert known.state == "inactive"
    assert target_state(certificate(world, active)) == "denied"
    assert not effects(world, RevokeCertificate)
    struck(world, incident(100))
    assert outgoing.admission(world.charger).credentials[0].state == "revoked"
    assert len(effects(world, RevokeCertificate)) == 1
    world.tell(v.RevocationAccepted(certificate_id=active.certificate_id))
    assert target_state(certificate(world, active)) == "revoked"
    assert not plan.is_behind(world.charger, world.facts, world.now)


def test_what_moves_into_its_reach_is_marked_as_having_come_later() -> None:
    world, active = enrolled()
    world.now = OPENED + timedelta(hours=1)
    world.facts = replace(world.facts, incidents={"incident-1": incident(cohorts=("wave-2",))})
    world.tell(v.DeadlinePassed(at=world.now))
    assert not certificate(world, active).incident_id
    world.command(c.ChangeCharger(charger_id="CP-1", cohort="wave-2"))
    assert certificate(world, active).came_later
    assert project.certificate_row(world.charger, certificate(world, active)).came_later


def test_what_it_reached_from_the_start_did_not_come_later_wherever_it_moves() -> None:
    world, active = enrolled()
    world.now = OPENED - timedelta(hours=1)
    world.command(c.ChangeCharger(charger_id="CP-1", site="south"))
    world.now = OPENED + timedelta(hours=1)
    struck(world, incident(cohorts=("canary", "wave-2")))
    world.command(c.ChangeCharger(charger_id="CP-1", cohort="wave-2"))
    assert certificate(world, active).incident_id == "incident-1"
    assert not certificate(world, active).came_later


@pytest.mark.parametrize(
    ("criteria", "placed", "known", "expected"),
    [
        ({"cohorts": ("canary",)}, None, None, False),
        ({"cohorts": ("canary",)}, OPENED, None, False),
        ({"cohorts": ("canary",)}, OPENED + timedelta(seconds=1), None, True),
        ({"sites": ("north",)}, OPENED + timedelta(seconds=1), None, True),
        ({"families": ("acme-one",)}, OPENED + timedelta(seconds=1), None, True),
        ({"issuing_ca_ids": (ARN,)}, OPENED + timedelta(seconds=1), None, False),
        ({"issuing_ca_ids": (ARN,)}, None, OPENED + timedelta(seconds=1), True),
        ({"issuing_ca_ids": (ARN,)}, None, OPENED, False),
    ],
)
def test_what_came_later_is_what_was_moved_or_became_known_since(
    criteria: dict[str, object], placed: datetime | None, known: datetime | None, expected: bool
) -> None:
    assert came_later(incident(**criteria), placed, known) is expected


def test_a_leaf_that_shows_up_only_after_it_was_opened_came_later() -> None:
    world = World(fleet_facts(*allowing()), security_profile=3)
    early = replace(incident(families=("acme-one",)), opened_at=world.now - timedelta(minutes=1))
    world.facts = replace(world.facts, incidents={early.incident_id: early})
    arrived(world)
    [adopted] = world.charger.certificates.values()
    assert adopted.issued_at < early.opened_at
    assert (adopted.incident_id, adopted.came_later) == (early.incident_id, True)


def test_one_that_was_found_at_the_ca_is_known_since_then() -> None:
    world, active = enrolled()
    found = e.CertificateFoundAtCa(
        charger_id="CP-1",
        certificate_id="found",
        purpose=active.purpose,
        variant=active.variant,
        managed_identity_id=world.charger.managed_identity_id,
        issuing_ca_id=ARN,
        external_ref="arn:found",
        not_before=active.not_before,
        not_after=active.not_after,
        fingerprint_sha256="f0",
        serial_number="01",
        subject=active.subject,
        issuer=active.issuer,
        spki_sha256="k1",
        chain_pem=active.chain_pem,
        issued_at=active.issued_at,
        admit_until=None,
        report_ref="report",
    )
    assert evolve(world.charger, found, OPENED).certificates["found"].known_at == OPENED


def test_its_revocations_and_what_takes_the_place_of_what_it_struck_go_before_everything() -> None:
    world, _ = enrolled()
    struck(world, incident(100))
    [revoked] = effects(world, RevokeCertificate)
    assert isinstance(revoked, RevokeCertificate)
    assert (revoked.reason, revoked.is_incident) == ("superseded", True)
    world.connect(2)  # by a way back, say
    world.request()
    world.carry_out()
    world.present_csr()
    assert world.issue_effect().is_incident


def test_a_revocation_that_no_incident_asked_for_is_in_no_hurry() -> None:
    world, active = enrolled()
    world.request("revoke", certificate_id=active.certificate_id)
    [revoked] = effects(world, RevokeCertificate)
    assert isinstance(revoked, RevokeCertificate)
    assert not revoked.is_incident
    world.connect(2)
    world.request()
    world.carry_out()
    world.present_csr()
    assert not world.issue_effect().is_incident


def test_told_again_it_changes_nothing() -> None:
    world, _ = enrolled()
    struck(world, incident())
    world.tell(v.DeadlinePassed(at=world.now))  # its lock-out is told of
    count = len(world.events)
    for _ in range(3):
        world.tell(v.DeadlinePassed(at=world.now))
    assert len(world.events) == count


def test_a_refused_certificate_is_not_renewed_nor_proved_by_a_late_session() -> None:
    world, active = enrolled()
    none_yet = next(one for one in range(1, 100) if not has_turn(incident(one), "CP-1"))
    struck(world, incident(none_yet))
    refusal = world.request("renew").refusal
    assert refusal is not None
    assert refusal.code == "no-certificate"
    assert not certificate(world, active).is_usable


def through_a_replacement(world: World) -> Iterator[str]:
    """What the charger and the CA do, with a word for where it stands after each."""
    world.carry_out()  # the trigger
    yield "triggered"
    world.present_csr()
    [effect] = effects(world, IssueCertificate)
    assert isinstance(effect, IssueCertificate)
    assert effect.is_incident
    world.ca_issues()
    yield "issued"
    world.carry_out()
    yield "installed"


def test_replaced_first_it_is_revoked_only_when_the_new_one_was_seen_live() -> None:
    world, active = enrolled()
    world.now = OPENED + timedelta(hours=1)
    struck(world, incident(mode="replace"))
    assert target_state(certificate(world, active)) == "replacing"
    assert outgoing.admission(world.charger).credentials[0].state == "active"
    for _ in through_a_replacement(world):
        assert not effects(world, RevokeCertificate)
        assert certificate(world, active).is_usable
    slot = world.charger.slots["charging_station/default"]
    new = world.charger.certificates[slot.next or ""]
    world.connect(3, new.fingerprint_sha256)
    assert world.charger.certificates[new.certificate_id].state == "active"
    assert not world.charger.certificates[new.certificate_id].incident_id
    [effect] = effects(world, RevokeCertificate)
    assert isinstance(effect, RevokeCertificate)
    assert effect.certificate_id == active.certificate_id
    assert target_state(certificate(world, active)) == "revoking"


def test_a_replacement_that_failed_is_tried_again() -> None:
    world, active = enrolled()
    world.now = OPENED + timedelta(hours=1)
    struck(world, incident(mode="replace"))
    [job] = world.charger.jobs.values()
    world.command(c.CancelJob(charger_id="CP-1", job_id=job.job_id, reason="no"))
    assert not world.charger.jobs
    world.wait(hours=7)
    assert [one.action for one in world.charger.jobs.values()] == ["renew"]
    assert certificate(world, active).is_usable


def test_a_pause_holds_further_steps_and_lets_nobody_in() -> None:
    world, active = enrolled()
    struck(world, replace(incident(), state="paused"))
    assert target_state(certificate(world, active)) == "denied"
    assert not effects(world, RevokeCertificate)


def test_what_is_refused_and_not_revoked_in_its_time_is_over_with_its_date() -> None:
    world, active = enrolled()
    struck(world, replace(incident(), state="paused"))
    world.now = active.not_after - timedelta(hours=1)
    world.wait(seconds=0)
    assert clock.next_due(world.charger, world.facts, world.now) == active.not_after
    world.wait(hours=1)
    assert certificate(world, active).state == "expired"
    assert target_state(certificate(world, active)) == "ended"


def test_lifted_what_was_only_refused_is_let_in_again() -> None:
    world, active = enrolled()
    none_yet = next(one for one in range(1, 100) if not has_turn(incident(one), "CP-1"))
    struck(world, incident(none_yet))
    struck(world, replace(incident(none_yet), state="ended", is_lifted=True))
    assert outgoing.admission(world.charger).credentials[0].state == "active"
    assert not plan.is_behind(world.charger, world.facts, world.now)
    assert certificate(world, active).is_usable


def test_lifted_where_another_took_its_place_it_has_the_grace_of_one_that_was_replaced() -> None:
    world, active = enrolled()
    none_yet = next(one for one in range(1, 100) if not has_turn(incident(one), "CP-1"))
    world.now = OPENED + timedelta(hours=1)
    struck(world, incident(none_yet))
    world.connect(2)  # by a way back, say: it is given another
    world.request()
    world.carry_out()
    world.present_csr()
    other = world.ca_issues()
    world.carry_out()
    world.connect(3, other.fingerprint_sha256)
    struck(world, replace(incident(none_yet), state="ended", is_lifted=True))
    lifted = certificate(world, active)
    assert (lifted.state, lifted.is_denied) == ("superseded", False)
    assert lifted.admit_until is not None
    assert world.charger.slots["charging_station/default"].current == other.certificate_id


def test_lifted_what_a_second_incident_only_wants_replaced_is_let_in_and_replaced() -> None:
    world, active = enrolled()
    none_yet = next(one for one in range(1, 100) if not has_turn(incident(one), "CP-1"))
    world.now = OPENED + timedelta(hours=1)
    second = replace(incident(mode="replace"), incident_id="incident-2")
    first = incident(none_yet)
    world.facts = replace(world.facts, incidents={"incident-1": first, "incident-2": second})
    world.tell(v.DeadlinePassed(at=world.now))
    assert outgoing.admission(world.charger).credentials[0].state == "inactive"
    lifted = replace(first, state="ended", is_lifted=True)
    world.facts = replace(world.facts, incidents={"incident-1": lifted, "incident-2": second})
    assert plan.is_behind(world.charger, world.facts, world.now)
    world.tell(v.DeadlinePassed(at=world.now))
    assert outgoing.admission(world.charger).credentials[0].state == "active"
    assert not effects(world, RevokeCertificate)
    assert target_state(certificate(world, active)) == "replacing"


def compromising(percent: int = 100, **criteria: object) -> Incident:
    return replace(incident(percent, **criteria), revocation_reason="key_compromise")


def test_no_certificate_is_made_for_a_key_that_an_incident_calls_compromised_whatever_its_stage() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    world, active = active_with(key)
    none_yet = next(one for one in range(1, 100) if not has_turn(incident(one), "CP-1"))
    struck(world, compromising(none_yet))
    assert not effects(world, RevokeCertificate)
    world.connect(2)
    world.request()
    world.carry_out()
    world.present_csr(pki.csr("SN-1", key=key))
    assert not effects(world, IssueCertificate)
    assert world.names()[-2:] == ["CSRRefused", "CertificateJobFailed"]
    struck(world, replace(compromising(none_yet), state="ended", is_lifted=True))
    assert not certificate(world, active).is_key_compromised, "it was a mistake"


def test_what_is_asked_of_the_ca_for_such_a_key_is_wanted_no_more() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    world, _ = active_with(key)
    world.request("renew")
    world.carry_out()
    world.present_csr(pki.csr("SN-1", key=key))
    assert effects(world, IssueCertificate)
    none_yet = next(one for one in range(1, 100) if not has_turn(incident(one), "CP-1"))
    struck(world, compromising(none_yet))
    assert not effects(world, IssueCertificate)


def test_nor_for_the_key_of_a_factory_leaf_that_only_its_issuer_can_revoke() -> None:
    world = World(fleet_facts(*allowing()), security_profile=3)
    arrived(world)
    [adopted] = world.charger.certificates.values()
    world.now = OPENED + timedelta(hours=1)
    struck(world, compromising(certificate_ids=(adopted.certificate_id,)))
    assert compromised_keys(world.charger) == {adopted.spki_sha256}
    refused_in_general = replace(incident(), incident_id="incident-2")
    other = World(fleet_facts(*allowing()), security_profile=3)
    arrived(other)
    other.now = OPENED + timedelta(hours=1)
    struck(other, replace(refused_in_general, selector=selector(families=("acme-one",))))
    assert compromised_keys(other.charger) == frozenset()


def test_a_leaf_of_the_factory_that_an_incident_refuses_is_deactivated() -> None:
    world = World(fleet_facts(*allowing()), security_profile=3)
    arrived(world)
    [adopted] = world.charger.certificates.values()
    world.now = OPENED + timedelta(hours=1)
    struck(world, incident(certificate_ids=(adopted.certificate_id,)))
    assert certificate(world, adopted).state == "inactive"
    assert target_state(certificate(world, adopted)) == "ended"
    assert not plan.is_behind(world.charger, world.facts, world.now)


def test_a_leaf_of_the_factory_is_deactivated_once_another_has_taken_its_place() -> None:
    world = World(fleet_facts(*allowing()), security_profile=3)
    arrived(world)
    [adopted] = world.charger.certificates.values()
    world.now = OPENED + timedelta(hours=1)
    struck(world, incident(mode="replace", certificate_ids=(adopted.certificate_id,)))
    world.confirm_trust()
    for _ in through_a_replacement(world):
        assert certificate(world, adopted).is_usable
    slot = world.charger.slots["charging_station/default"]
    world.connect(3, world.charger.certificates[slot.next or ""].fingerprint_sha256)
    known = {one.certificate_id: one.state for one in outgoing.admission(world.charger).credentials}
    assert known[adopted.certificate_id] == "inactive", "and on no grace"
    assert not plan.is_behind(world.charger, world.facts, world.now)


def test_what_is_revoked_is_let_in_by_nothing() -> None:
    world, _ = enrolled()
    struck(world, incident())
    world.facts = replace(
        world.facts, incidents={"incident-1": replace(incident(), state="ended", is_lifted=True)}
    )
    world.tell(v.DeadlinePassed(at=world.now))
    assert outgoing.admission(world.charger).credentials[0].state == "revoked"


def test_of_two_incidents_the_one_that_refuses_goes_first() -> None:
    world, active = enrolled()
    world.now = OPENED + timedelta(hours=1)
    struck(world, incident(mode="replace"))
    second = replace(incident(), incident_id="incident-2", opened_at=OPENED + timedelta(hours=2))
    world.now = OPENED + timedelta(hours=3)
    struck(world, second)
    assert certificate(world, active).incident_id == "incident-2"
    assert outgoing.admission(world.charger).credentials[0].state == "revoked"


# ---------------------------------------------------------------- in the fleet's partition


def state() -> FleetState:
    """Of a fleet whose policy asks for no second person here."""
    override = PolicyOverride(scope="purpose:charging_station", values={"approvals_needed": ["rollback"]})
    return FleetState(facts=replace(fleet_facts(), policies=PolicySet(version=2, overrides=(override,))))


def open_one(before: FleetState, **fields: object) -> fleet.FleetDecision:
    values = {
        "incident_id": "incident-1",
        "name": "stolen laptop",
        "reason": "keys of a batch",
        "mode": "revoke",
        "revocation_reason": "key_compromise",
        "selector": selector(spki_sha256=("k1",)),
        "percent": 10,
        **fields,
    }
    return fleet.decide_command(before, c.OpenIncident(**values), "operator:a", OPENED)  # type: ignore[arg-type]


def change(before: FleetState, action: str, **fields: object) -> fleet.FleetDecision:
    values = {"incident_id": "incident-1", "action": action, "reason": "next", **fields}
    return fleet.decide_command(before, c.ChangeIncident(**values), "operator:a", OPENED)  # type: ignore[arg-type]


def test_by_default_it_takes_two_people() -> None:
    before = FleetState(facts=fleet_facts())
    held = open_one(before)
    assert held.is_held
    assert held.state.facts.incidents == {}
    shown = held.result
    approved = fleet.decide_command(
        held.state,
        c.DecideFleetApproval(
            approval_id=shown["approval_id"],
            verdict="approve",
            content_hash=shown["content_hash"],
            reason="yes",
        ),
        "operator:b",
        OPENED,
    )
    assert approved.refusal is None
    found = approved.state.facts.incidents["incident-1"]
    assert (found.author, found.approver, found.state) == ("operator:a", "operator:b", "running")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"name": " "}, "reason-missing"),
        ({"selector": Selector(purpose="charging_station")}, "selector-too-wide"),
        ({"selector": Selector(purpose="odd", families=("a",))}, "unknown-purpose"),
        ({"selector": selector(families=tuple(map(str, range(501))))}, "too-large"),
        ({"percent": 0}, "invalid-value"),
        ({"mode": "replace"}, "contradiction"),
    ],
)
def test_what_cannot_be_an_incident_is_refused(fields: dict[str, object], code: str) -> None:
    refused = open_one(state(), **fields).refusal
    assert refused is not None
    assert refused.code == code


def test_opened_twice_it_is_one() -> None:
    first = open_one(state())
    again = open_one(first.state)
    assert (again.refusal, again.events) == (None, ())
    other = open_one(first.state, mode="replace", revocation_reason="superseded").refusal
    assert other is not None
    assert other.code == "incident-exists"


def test_stages_go_forward_only() -> None:
    first = open_one(state())
    further = change(first.state, "advance", percent=50)
    assert further.state.facts.incidents["incident-1"].percent == 50
    back = change(further.state, "advance", percent=10).refusal
    assert back is not None
    assert back.code == "invalid-value"


def test_paused_resumed_and_ended() -> None:
    first = open_one(state())
    paused = change(first.state, "pause").state
    assert paused.facts.incidents["incident-1"].state == "paused"
    still = change(paused, "advance", percent=20).state
    assert still.facts.incidents["incident-1"].state == "paused"
    assert change(change(paused, "resume").state, "resume").events == ()
    over = change(paused, "end", lift=True).state
    assert over.facts.incidents["incident-1"].is_lifted
    refused = change(over, "resume").refusal
    assert refused is not None
    assert refused.code == "incident-ended"
    unknown = change(state(), "end").refusal
    assert unknown is not None
    assert unknown.status == 404


def test_policies_may_do_without_a_second_person() -> None:
    assert not open_one(state()).is_held
