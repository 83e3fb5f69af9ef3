"""What changes a key without anybody asking: each rule when it has a reason, and never when it would disturb."""

from datetime import timedelta

import pytest

from bfactors import command as c
from bfactors import evidence as v
from bfactors.charger import clock
from bfactors.charger.key_trigger import TRIGGERS, scheduled_at
from bfactors.policy import KEY_ROTATION_TRIGGERS, Policy, problems
from tests.core.key_world import KeyWorld, with_policy

ALL = {"key_rotation_triggers": KEY_ROTATION_TRIGGERS}


def reports(kind: str) -> v.SecurityEventReported:
    return v.SecurityEventReported(session_id="s1", event_type=kind, charger_time="then")


def displace(world: KeyWorld, times: int) -> None:
    world.connect(key=1)
    for _ in range(times):
        world.now += timedelta(seconds=20)
        world.connect(key=1)


def provoke(world: KeyWorld, name: str) -> None:
    """What each rule is there for."""
    match name:
        case "suspected-leak":
            world.tell(reports("TamperDetectionActivated"))
        case "used-from-two-places":
            displace(world, 4)
        case "owner-changed":
            world.command(c.ChangeCharger(charger_id="CP-1", organization="Other"))
        case "installer-changed":
            world.command(c.ChangeCharger(charger_id="CP-1", installer="Sparks Ltd"))
            assert not world.charger.pending_keys  # nobody is known to have known it before
            world.command(c.ChangeCharger(charger_id="CP-1", installer="Volts Ltd"))
        case "factory-key" | "first-contact":
            world.connect(key=1)
        case "schedule":
            world.wait(days=365)


REGISTERED = {
    "factory-key": {"key_origin": "factory"},
    "first-contact": {"key_origin": "given"},
}


def test_the_policy_names_the_rules_of_the_table() -> None:
    assert {trigger.name for trigger in TRIGGERS} == set(KEY_ROTATION_TRIGGERS)
    assert problems(Policy(key_rotation_triggers=("odd",)))


@pytest.mark.parametrize("name", KEY_ROTATION_TRIGGERS)
def test_each_rule_starts_a_rotation_in_its_name(name: str) -> None:
    world = KeyWorld(with_policy(key_rotation_triggers=(name,)), **REGISTERED.get(name, {}))
    provoke(world, name)
    assert world.pending.trigger == name
    assert world.rotation.state == "open"
    assert world.rotation.reason


@pytest.mark.parametrize("name", KEY_ROTATION_TRIGGERS)
def test_no_rule_starts_what_policy_does_not_want(name: str) -> None:
    others = tuple(other for other in KEY_ROTATION_TRIGGERS if other != name)
    wanted = [] if name == "factory-key" else list(others)  # a factory key was given, too
    world = KeyWorld(with_policy(key_rotation_triggers=wanted), **REGISTERED.get(name, {}))
    provoke(world, name)
    assert world.charger.pending_keys == ()


@pytest.mark.parametrize("name", KEY_ROTATION_TRIGGERS)
def test_no_rule_starts_anything_for_a_charger_with_a_certificate(name: str) -> None:
    world = KeyWorld(
        with_policy(**ALL),
        **{**REGISTERED.get(name, {}), "security_profile": 3, "target_security_profile": 3},
    )
    provoke(world, name)
    assert world.charger.jobs == {}


def test_the_built_in_policy_leaves_given_keys_and_flapping_chargers_alone() -> None:
    world = KeyWorld(key_origin="given", key_weakness="low-entropy-key")
    displace(world, 6)
    assert world.charger.jobs == {}


@pytest.mark.parametrize("weakness", ["factory-key", "default-key", "key-from-identity"])
def test_a_key_anybody_can_guess_is_changed_when_its_charger_comes(weakness: str) -> None:
    world = KeyWorld(key_origin="given", key_weakness=weakness)
    assert world.charger.jobs == {}
    world.connect(key=1)
    assert world.pending.trigger == "factory-key"


def test_three_displacements_are_no_second_place() -> None:
    world = KeyWorld(with_policy(**ALL))
    displace(world, 3)
    assert world.charger.jobs == {}
    world.now += timedelta(minutes=11)
    world.connect(key=1)
    assert world.charger.jobs == {}
    assert "SecurityEventRecorded" not in world.names()


def test_displacements_are_recorded_whatever_policy_does_about_them() -> None:
    world = KeyWorld()
    displace(world, 4)
    assert world.charger.security_events[-1].kind == "DuplicateIdentity"


def test_the_schedule_is_spread_over_its_last_twelfth() -> None:
    dues = set()
    for number in range(40):
        world = KeyWorld(managed_identity_id=f"unit-{number}")
        due = scheduled_at(world.charger, Policy())
        assert due is not None
        age = due - world.now
        assert timedelta(days=365) * 11 / 12 <= age <= timedelta(days=365)
        dues.add(due)
    assert len(dues) == 40
    assert scheduled_at(world.charger, Policy(key_rotation_days=0)) is None


def test_the_clock_rings_for_the_schedule_and_rests() -> None:
    world = KeyWorld()
    due = clock.next_due(world.charger, world.facts, world.now)
    while due is not None and not world.charger.jobs:
        assert due <= world.now + timedelta(days=400)
        world.now = max(world.now, due)
        world.tell(v.DeadlinePassed(at=due))
        due = clock.next_due(world.charger, world.facts, world.now)
    assert world.pending.trigger == "schedule"
    assert due is None or due > world.now


def test_no_rule_starts_a_rotation_right_after_another() -> None:
    world = KeyWorld(key_origin="factory")
    world.connect(key=1)
    world.mint()
    world.command(c.CancelJob(charger_id="CP-1", job_id=world.rotation.job_id, reason="no"))
    world.connect(key=1)
    assert world.charger.jobs == {}
    world.now += timedelta(days=1, seconds=1)
    world.connect(key=1)
    assert len(world.charger.jobs) == 1


def test_a_new_owner_does_not_wait_for_the_rest() -> None:
    world = KeyWorld()
    world.connect(key=1)
    world.rotate()
    world.mint()
    world.connect(key=2)
    world.command(c.ChangeCharger(charger_id="CP-1", organization="Other"))
    assert world.pending.trigger == "owner-changed"


def test_a_charger_on_its_way_to_a_certificate_is_left_alone() -> None:
    world = KeyWorld(key_origin="factory", target_security_profile=3)
    world.request()
    world.connect(key=1)
    assert world.charger.pending_keys == ()
    [job_id] = world.charger.jobs
    world.command(c.CancelJob(charger_id="CP-1", job_id=job_id, reason="no"))
    assert world.pending.trigger == "factory-key"
