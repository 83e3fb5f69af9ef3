"""A migration case: its prerequisites, its steps, what sets it back, and that nobody is ever locked out by it."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.capability import Capabilities
from bfactors.charger import clock, outgoing
from bfactors.charger.network_slot import choose, slots_in
from bfactors.charger.prerequisite import CHECKS, Question, check
from bfactors.charger.state import ClockFact, MigrationState
from bfactors.fleet import decide as fleet
from bfactors.fleet.state import FleetState
from bfactors.instruction import (
    InstallAnchor,
    ListCertificates,
    ObtainCsr,
    RaiseSecurityProfile,
    ReadSettings,
    Reboot,
    SetNetworkProfile,
    SetProfilePriority,
)
from bfactors.ocpp import Answered, CallFailed, Disconnected, ReadSetting, Silent
from bfactors.policy import Policy
from bfactors.refusal import Refusal
from bfactors.server_certificate import anchor_of
from bfactors.x509 import parse_certificate
from tests.core import pki
from tests.core.world import World, evidence, fleet_facts

TO_3 = {"target_profile": 3, "reason": "wave 2"}


def case_of(world: World) -> MigrationState:
    assert world.charger.migration is not None
    return world.charger.migration


def migrate(world: World, **fields: Any) -> Any:
    values = {"job_id": f"migration-{len(world.events)}", "charger_id": "CP-1", **TO_3, **fields}
    return world.command(c.OpenMigration(**values))


def release(world: World, **fields: Any) -> Any:
    return world.command(c.ReleaseMigration(charger_id="CP-1", **{"reason": "looked at", **fields}))


def slots(*numbers: int) -> Answered:
    value = ",".join(map(str, numbers))
    return Answered("Accepted", settings=(ReadSetting("network-priority", value),))


def admitted(world: World) -> tuple[int, ...]:
    return outgoing.admission(world.charger).allowed_profiles


# ---------------------------------------------------------------- the way up


def test_an_order_alone_brings_a_charger_from_2_to_3_certificate_and_all() -> None:
    world = World(target_security_profile=2)
    assert admitted(world) == (2,)
    job_id = migrate(world).job_id
    assert job_id is not None
    assert case_of(world).state == "pending"
    assert world.charger.target_security_profile == 3
    world.connect()
    world.confirm_trust()
    world.carry_out()
    world.present_csr()
    leaf = world.ca_issues()
    world.carry_out()
    assert [type(one) for one in world.to_reset()] == [
        ReadSettings,
        SetNetworkProfile,
        SetProfilePriority,
        Reboot,
    ]
    world.connect(3, leaf.fingerprint_sha256)
    assert (case_of(world).state, world.jobs[job_id].state) == ("completed", "succeeded")
    assert {job.state for job in world.jobs.values()} == {"succeeded"}
    assert (world.charger.jobs, world.charger.instructions) == ({}, {})
    assert admitted(world) == (3,)


def test_a_charger_on_plain_websocket_goes_by_profile_2_and_is_given_no_anchor_before() -> None:
    world = World(security_profile=1, key=_key())
    migrate(world)
    world.connect(1)
    assert world.orders() == []
    job = world.charger.jobs[case_of(world).job_id]
    assert job.reason_code == "insecure-transport"
    assert case_of(world).missing == ("trust-anchor-not-confirmed",)


def test_one_that_lists_the_anchors_already_goes_on_from_profile_1_to_2_and_then_to_3() -> None:
    world = World(security_profile=1, key=_key())
    world.connect(1)
    migrate(world)
    world.list_on_its_own()
    assert [type(one) for one in world.to_reset()][1:] == [SetNetworkProfile, SetProfilePriority, Reboot]
    assert case_of(world).to_profile == 2
    assert admitted(world) == (1, 2, 3)
    world.connect(2)
    assert (case_of(world).state, case_of(world).from_profile) == ("pending", 2)
    assert admitted(world) == (2, 3)
    assert [type(one) for one in world.orders()] == [ObtainCsr]


def test_one_that_is_to_stay_on_profile_2_is_done_when_it_is_seen_there() -> None:
    world = World(security_profile=1, target_security_profile=1, key=_key())
    world.connect(1)
    migrate(world, target_profile=2)
    world.list_on_its_own()
    world.to_reset()
    world.connect(2)
    assert case_of(world).state == "completed"
    assert admitted(world) == (2,)


def test_an_installed_certificate_implies_a_case_once() -> None:
    world = World()
    world.to_installed()
    case = case_of(world)
    assert world.charger.jobs[case.job_id].action == "migrate"
    assert world.names().count("MigrationOpened") == 1
    world.wait(seconds=5)
    world.connect()
    assert world.names().count("MigrationOpened") == 1


def test_the_order_for_a_certificate_is_overdue_with_the_migration_that_is_to_use_it() -> None:
    world = World()
    world.to_installed()
    world.to_reset()
    world.wait(minutes=16)
    late = {job.action: (job.overdue, job.reason_code) for job in world.charger.jobs.values()}
    assert late == {"issue": (True, "not-reconnected"), "migrate": (True, "not-reconnected")}
    names = world.names()
    world.wait(hours=1)
    assert world.names()[len(names) :].count("CertificateJobOverdue") == 0


def test_a_case_of_older_code_that_another_job_carried_is_taken_over() -> None:
    world = World()
    world.to_installed()
    issue = next(job for job in world.charger.jobs.values() if job.action == "issue")
    old = MigrationState(job_id=issue.job_id, step="set-network-profile")
    jobs = {issue.job_id: issue}
    world.state = replace(world.charger, migration=old, jobs=jobs, instructions={})
    world.wait(seconds=1)
    assert world.charger.jobs[case_of(world).job_id].action == "migrate"
    assert world.orders()


# ---------------------------------------------------------------- commands


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"target_profile": 2}, "profile-in-use"),
        ({"target_profile": 1}, "profile-lowered"),
        ({"reason": " "}, "reason-missing"),
    ],
)
def test_an_order_that_leads_nowhere_is_refused(fields: dict[str, Any], code: str) -> None:
    refusal = migrate(World(), **fields).refusal
    assert isinstance(refusal, Refusal)
    assert refusal.code == code


def test_the_same_order_again_is_answered_with_its_job_and_an_ended_id_opens_nothing() -> None:
    world = World()
    first = migrate(world, job_id="one").job_id
    assert migrate(world, job_id="two").job_id == first == "one"
    world.command(c.CancelJob(charger_id="CP-1", job_id="one", reason="later"))
    assert case_of(world).state == "cancelled"
    refusal = migrate(world, job_id="one").refusal
    assert refusal is not None
    assert refusal.code == "job-ended"


def test_a_cancelled_case_is_not_implied_again_by_the_certificate_that_implied_it() -> None:
    world = World()
    world.to_installed()
    world.command(c.CancelJob(charger_id="CP-1", job_id=case_of(world).job_id, reason="later"))
    world.wait(seconds=1)
    world.connect()
    assert world.orders() == []
    (job,) = world.charger.jobs.values()
    assert (job.waiting_for, job.reason_code) == ("operator", "migration-cancelled")
    assert migrate(world).refusal is None
    assert [type(one) for one in world.orders()] == [ReadSettings]


def test_a_profile_the_charger_was_told_of_stays_admitted_after_the_target_was_lowered() -> None:
    world = World(security_profile=1, key=_key())
    world.state = replace(world.charger, offered_profile=3, target_security_profile=2)
    assert admitted(world) == (1, 2, 3)


# ---------------------------------------------------------------- prerequisites


def question(world: World, to_profile: int = 3) -> Question:
    return Question(world.charger, world.facts, Policy(), to_profile, world.now)


def test_every_check_is_asked_and_none_is_met_by_a_charger_that_has_nothing() -> None:
    world = World(facts=replace(fleet_facts(), bundles={}, authorities={}, nodes={}))
    outcomes = check(question(world))
    assert [one.code for one in outcomes] == [one.code for one in CHECKS if 3 in one.profiles]
    unmet = {one.code for one in outcomes if not one.is_met}
    assert unmet == {
        "trust-anchor-not-confirmed",
        "gateway-does-not-verify-issuer",
        "client-certificate-not-installed",
    }
    assert all(one.message for one in outcomes)


def ready() -> World:
    world = World()
    world.to_installed()
    return world


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"capabilities": Capabilities(max_chain_chars=10)}, "chain-too-long"),
        ({"capabilities": Capabilities(trust_store_slots=1)}, "trust-store-too-small"),
        ({"capabilities": Capabilities(network_slots=(1,))}, "network-slots-too-few"),
        ({"bundles": {}}, "trust-anchor-not-confirmed"),
        ({"certificates": {}}, "client-certificate-not-installed"),
    ],
)
def test_each_fact_of_the_charger_is_a_check_of_its_own(change: dict[str, Any], code: str) -> None:
    world = ready()
    assert all(one.is_met for one in check(question(world)))
    world.state = replace(world.charger, **change)
    assert [one.code for one in check(question(world)) if not one.is_met] == [code]


@pytest.mark.parametrize(
    ("minutes", "is_met"), [(0, True), (4, True), (-4, True), (6, False), (-6, False), (60 * 24 * 365, False)]
)
def test_a_clock_is_sane_within_five_minutes(minutes: int, is_met: bool) -> None:
    world = ready()
    told = ClockFact(offset_s=minutes * 60, observed_at=world.now)
    world.state = replace(world.charger, clock=told)
    found = {one.code: one for one in check(question(world))}["charger-clock-wrong"]
    assert found.is_met is is_met


def test_a_clock_nobody_knows_counts_as_sane_and_the_check_says_so() -> None:
    found = {one.code: one for one in check(question(ready()))}["charger-clock-wrong"]
    assert found.is_met
    assert "clock-unknown" in found.message


@pytest.mark.parametrize("covered", [True, False])
def test_a_server_certificate_must_lead_to_an_anchor_the_charger_holds(covered: bool) -> None:
    world = ready()
    shown = anchor_of([parse_certificate(pki.ca("Server" if covered else "Stranger").root_pem)])
    report = v.NodeTrustReported(
        node="n1",
        incarnation="i1",
        fingerprints=tuple(world.facts.nodes["i1"].fingerprints),
        server_anchors=(shown,),
    )
    told = fleet.decide_evidence(FleetState(facts=world.facts), evidence("", report), world.now)
    world.facts = told.state.facts
    unmet = [one.code for one in check(question(world)) if not one.is_met]
    assert unmet == ([] if covered else ["server-certificate-not-covered"])


def test_a_prerequisite_that_fails_on_the_way_stops_the_next_step_and_lets_it_go_on() -> None:
    world = ready()
    world.carry_out()
    facts = world.facts
    world.facts = replace(facts, nodes={})
    world.wait(seconds=1)
    assert world.orders() == []
    assert (case_of(world).state, case_of(world).missing) == ("pending", ("gateway-does-not-verify-issuer",))
    job = world.charger.jobs[case_of(world).job_id]
    assert (job.stage, job.held_by) == ("held", "prerequisite/gateway-does-not-verify-issuer")
    world.facts = facts
    world.wait(seconds=1)
    assert case_of(world).state == "active"
    world.to_reset()


def test_a_certificate_is_asked_for_once_and_its_failure_is_for_a_person_to_look_at() -> None:
    world = World(target_security_profile=2)
    migrate(world)
    issue = next(job for job in world.charger.jobs.values() if job.action == "issue")
    world.command(c.CancelJob(charger_id="CP-1", job_id=issue.job_id, reason="no"))
    assert (case_of(world).state, case_of(world).reason_code) == ("quarantine", "certificate-job-failed")
    assert release(world).refusal is None
    assert any(job.action == "issue" for job in world.charger.jobs.values())


# ---------------------------------------------------------------- slots


@pytest.mark.parametrize(
    ("priority", "known", "in_use", "refused", "expected"),
    [
        ((), (), 0, (), (1, 2)),
        ((1,), (), 0, (), (1, 2)),
        ((2,), (), 0, (), (2, 1)),
        ((2, 1), (), 2, (), (2, 3)),
        ((2, 1), (1, 2), 2, (), (2, 1)),
        ((2, 1), (1, 2), 1, (), (1, 2)),
        ((0,), (0, 1, 2), 0, (), (0, 1)),
        ((1,), (1, 5, 6), 0, (), (1, 5)),
        ((1,), (1, 5, 6), 0, (5,), (1, 6)),
        ((1,), (), 0, (2,), (1, 3)),
        ((1,), (), 0, (2, 3), (1, 2)),
        ((4,), (), 9, (), (4, 2)),
    ],
)
def test_the_slot_to_write_is_a_free_one(
    priority: Any, known: Any, in_use: int, refused: Any, expected: Any
) -> None:
    assert choose(priority, known, in_use=in_use, refused=refused) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", (1,)),
        ("2,1", (2, 1)),
        (" 2, 1 ", (2, 1)),
        ("0", (0,)),
        ("", ()),
        ("a", ()),
        ("1,", ()),
        (None, ()),
        ("1,1", (1,)),
        ("-1", ()),
        ("9" * 30, ()),
    ],
)
def test_a_priority_is_read_as_the_charger_writes_it(text: str | None, expected: Any) -> None:
    assert slots_in(text) == expected


def test_a_slot_in_use_leaves_the_priority_before_it_is_written() -> None:
    world = World()
    world.command(
        c.SetChargerCapabilities(
            charger_id="CP-1", capabilities=Capabilities(network_slots=(1, 2)), reason="two"
        )
    )
    world.to_installed()
    world.carry_out(slots(2, 1))
    told = world.to_reset()
    assert [one.slots for one in told if isinstance(one, SetProfilePriority)] == [(2,), (1, 2)]
    assert [one.slot for one in told if isinstance(one, SetNetworkProfile)] == [1]


@pytest.mark.parametrize("answer", [Answered("Rejected"), CallFailed("NotSupported"), Silent()])
def test_a_charger_that_does_not_tell_its_slots_is_taken_to_be_like_most(answer: Any) -> None:
    world = ready()
    assert isinstance(world.carry_out(answer), ReadSettings)
    told = world.to_reset()
    assert [one.slots for one in told if isinstance(one, SetProfilePriority)] == [(2, 1)]


def test_a_second_try_does_not_write_the_slot_that_is_in_the_priority_by_now() -> None:
    world = ready()
    world.carry_out(slots(1))
    world.to_reset()
    world.connect()
    world.wait_for_order()
    world.carry_out(slots(2, 1))
    assert world.carry_out() == SetNetworkProfile(3, "wss://csms.example:9443/ocpp", 3)
    assert world.orders() == [SetProfilePriority((3, 1))]


# ---------------------------------------------------------------- set-backs


def test_a_fall_back_is_tried_again_more_slowly_each_time_and_then_left_to_a_person() -> None:
    world = ready()
    pauses = []
    for _ in range(5):
        world.wait_for_order()
        world.to_reset()
        world.connect()
        case = case_of(world)
        if case.not_before is not None:
            pauses.append(case.not_before - world.now)
    assert pauses == [timedelta(seconds=seconds) for seconds in (60, 240, 960, 3840)]
    assert (case_of(world).state, case_of(world).reason_code) == ("quarantine", "fell-back-to-old-profile")
    assert world.orders() == []
    assert admitted(world) == (2, 3)
    assert world.names().count("MigrationQuarantined") == world.names().count("SecurityEventEscalated") == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answered("Rejected"), "set-network-profile-refused"),
        (Answered("Failed", "SomethingElse"), "set-network-profile-refused"),
        (Answered("Rejected", "NoSecurityDowngrade"), "security-downgrade-refused"),
        (Answered("Rejected", "InvalidNetworkConf"), "network-configuration-invalid"),
        (Answered("Rejected", "PriorityNetworkConf"), "network-slot-in-use"),
        (CallFailed("InternalError"), "set-network-profile-refused"),
    ],
)
def test_a_refused_step_sets_the_case_back_with_the_chargers_reason(answer: Any, code: str) -> None:
    world = ready()
    world.carry_out(slots(1))
    assert isinstance(world.carry_out(answer), SetNetworkProfile)
    case = case_of(world)
    assert (case.reason_code, case.failures, case.step) == (code, 1, "")
    assert world.orders() == []


def test_a_slot_the_charger_does_not_have_is_not_tried_again_at_once() -> None:
    world = ready()
    world.carry_out(slots(1))
    world.carry_out(Answered("Rejected", "InvalidConfSlot"))
    world.wait_for_order()
    world.carry_out(slots(1))
    (order,) = world.orders()
    assert isinstance(order, SetNetworkProfile)
    assert order.slot == 3


def test_silence_is_asked_again_and_in_the_end_sets_the_case_back() -> None:
    world = ready()
    world.carry_out(slots(1))
    for _ in range(5):
        world.wait_for_order()
        assert isinstance(world.carry_out(Silent()), SetNetworkProfile)
    assert case_of(world).reason_code == "set-network-profile-unanswered"


@pytest.mark.parametrize("outcome", [Silent(), Disconnected()])
def test_a_reset_that_was_not_answered_counts_as_done_until_the_charger_shows_otherwise(outcome: Any) -> None:
    world = ready()
    for _ in range(3):
        world.carry_out()
    assert isinstance(world.carry_out(outcome), Reboot)
    assert case_of(world).awaits_reconnect


def test_a_step_on_its_way_when_the_session_ends_is_sent_again_on_the_next() -> None:
    world = ready()
    world.carry_out(slots(1))
    (order,) = world.orders()
    world.carry_out(Disconnected())
    world.lose_session()
    world.connect()
    assert world.orders() == [order]
    assert case_of(world).failures == 0


# ---------------------------------------------------------------- locked out


def away(world: World) -> World:
    world.to_reset()
    world.lose_session()
    return world


def test_a_charger_seen_on_neither_profile_goes_into_quarantine_and_nothing_is_refused() -> None:
    world = away(ready())
    due = clock.next_due(world.charger, world.facts, world.now)
    assert due is not None
    world.wait(hours=5, minutes=59)
    assert case_of(world).state == "active"
    world.wait(minutes=1)
    case = case_of(world)
    assert (case.state, case.reason_code) == ("quarantine", "locked-out")
    assert admitted(world) == (2, 3)
    (leaf,) = outgoing.admission(world.charger).credentials
    assert leaf.state == "installed"
    job = world.charger.jobs[case.job_id]
    assert (job.stage, job.held_by, job.reason_code) == ("held", "quarantine", "locked-out")
    raised = [event for event in world.events if isinstance(event, e.SecurityEventEscalated)]
    assert [event.kind for event in raised] == ["MigrationQuarantined"]


def test_a_charger_that_waits_for_a_car_before_it_resets_is_not_locked_out() -> None:
    world = ready()
    world.to_reset()
    world.wait(days=2)
    assert case_of(world).state == "active"
    world.lose_session()
    world.wait(hours=5)
    assert case_of(world).state == "active"


def test_one_in_quarantine_that_is_seen_on_the_new_profile_has_arrived() -> None:
    world = away(ready())
    world.wait(hours=7)
    (leaf,) = world.charger.certificates.values()
    world.connect(3, leaf.fingerprint_sha256)
    case = case_of(world)
    assert (case.state, case.reason_code) == ("completed", "locked-out")
    completed = [event for event in world.events if isinstance(event, e.MigrationCompleted)]
    assert [event.from_state for event in completed] == ["quarantine"]
    assert admitted(world) == (3,)


def test_one_in_quarantine_that_is_seen_on_the_old_profile_stays_there_and_says_so() -> None:
    world = away(ready())
    world.wait(hours=7)
    world.connect()
    assert (case_of(world).state, case_of(world).reason_code) == ("quarantine", "back-on-old-profile")
    assert world.orders() == []
    assert world.names().count("SecurityEventEscalated") == 1


def test_a_release_starts_again_and_an_end_leaves_the_charger_as_it_is() -> None:
    world = away(ready())
    assert release(world).refusal is not None
    world.wait(hours=7)
    world.connect()
    assert release(world).refusal is None
    assert (case_of(world).state, case_of(world).failures) == ("active", 0)
    assert [type(one) for one in world.orders()] == [ReadSettings]
    away(world)
    world.wait(hours=7)
    release(world, ends=True)
    assert case_of(world).state == "cancelled"
    world.connect()
    assert world.orders() == []
    assert admitted(world) == (2, 3)


# ---------------------------------------------------------------- 1.6


def test_a_charger_of_16_is_told_by_a_key_and_reset_and_tried_again_likewise() -> None:
    world = World(ocpp_versions=("1.6",))
    world.request()
    world.connect(version="1.6")
    world.confirm_trust()
    world.carry_out()
    world.present_csr()
    world.ca_issues()
    world.carry_out()
    for _ in range(2):
        world.wait_for_order()
        assert world.to_reset() == [RaiseSecurityProfile(3), Reboot(when="immediate")]
        world.connect(version="1.6")
    assert case_of(world).failures == 2


def _key() -> Any:
    from tests.core.charger_model import _key as key

    return key()


def test_anchors_of_a_newer_bundle_are_brought_by_the_case_before_its_next_step() -> None:
    world = ready()
    roots = (pki.ca().root_pem, pki.ca("Server").root_pem, pki.ca("Third").root_pem)
    newer = c.CreateTrustAnchorBundle(bundle_id="bundle-2", purpose="backend_server", anchors_pem=roots)
    world.facts = fleet_facts(newer)
    world.wait(seconds=1)
    assert case_of(world).missing == ("trust-anchor-not-confirmed",)
    assert [type(one) for one in world.orders()] == [InstallAnchor]
    world.carry_out()
    assert [type(one) for one in world.orders()] == [ListCertificates]
    world.list_all_anchors()
    assert [type(one) for one in world.orders()] == [ReadSettings]


def test_anchors_and_certificate_are_one_jobs_work_where_both_are_missing() -> None:
    world = World(target_security_profile=2)
    world.connect()
    migrate(world)
    assert [type(one) for one in world.orders()] == [InstallAnchor, InstallAnchor]
