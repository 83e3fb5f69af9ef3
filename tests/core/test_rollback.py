"""The way back from profile 3 to 2: two people, a fresh key, an end - and never the old key again."""

from datetime import timedelta
from typing import Any

import pytest

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.admission import KeyVerifier
from bfactors.approval import Approval
from bfactors.capability import Capabilities
from bfactors.charger import outgoing
from bfactors.charger.decide import Decision, decide_command
from bfactors.charger.state import MigrationState
from bfactors.instruction import (
    ReadSettings,
    Reboot,
    SetNetworkProfile,
    SetProfilePriority,
    WriteAuthorizationKey,
)
from bfactors.ocpp import Answered
from bfactors.refusal import Refusal
from tests.core.charger_model import _key
from tests.core.world import World

AUTHOR, OTHER = "operator:ada", "operator:grace"


def on_profile_3(**capabilities: Any) -> World:
    world = World(key=_key(), key_origin="generated")
    world.to_active()
    if capabilities:
        known = Capabilities(**capabilities)
        world.command(c.SetChargerCapabilities(charger_id="CP-1", capabilities=known, reason="data sheet"))
    return world


def said_by(world: World, actor: str, command: Any) -> Decision:
    context = world.context()
    from msgspec.structs import replace

    return world._take(decide_command(world.state, command, replace(context, actor=actor)))


def ask(world: World, **fields: Any) -> Decision:
    values = {
        "job_id": "back",
        "charger_id": "CP-1",
        "target_profile": 2,
        "reason": "the CA is down",
        "ends_at": world.now + timedelta(days=7),
        "approval_id": "approval-1",
        **fields,
    }
    return said_by(world, AUTHOR, c.OpenMigration(**values))


def decide(world: World, actor: str = OTHER, **fields: Any) -> Decision:
    values = {
        "charger_id": "CP-1",
        "approval_id": "approval-1",
        "verdict": "approve",
        "content_hash": approval(world).content_hash,
        "reason": "agreed",
        **fields,
    }
    return said_by(world, actor, c.DecideApproval(**values))


def approval(world: World) -> Approval:
    return world.charger.approvals["approval-1"]


def case_of(world: World) -> MigrationState:
    assert world.charger.migration is not None
    return world.charger.migration


def admitted(world: World) -> tuple[int, ...]:
    return outgoing.admission(world.charger).allowed_profiles


def code_of(decision: Decision) -> str:
    assert isinstance(decision.refusal, Refusal)
    return decision.refusal.code


def mint(world: World) -> int:
    """The fresh key is made; its generation."""
    (key,) = world.charger.pending_keys
    verifier = KeyVerifier(key.generation, "p", f"{key.generation:064x}", "pending")
    world.tell(v.KeyMinted(job_id=key.job_id, generation=key.generation, keys=(verifier,)))
    return key.generation


def come(world: World, profile: int, *, generation: int | None = None) -> None:
    (leaf,) = [one for one in world.charger.certificates.values() if one.state == "active"]
    world.sessions += 1
    world.tell(
        v.SessionOpened(
            session_id=f"s{world.sessions}",
            node="n1",
            incarnation="i1",
            ocpp_version="2.0.1",
            security_profile=profile,
            remote_address="192.0.2.1",
            opened_at=world.now,
            fingerprint_sha256=leaf.fingerprint_sha256 if profile == 3 else None,
            key_generation=generation,
        )
    )


def in_force(**capabilities: Any) -> World:
    world = on_profile_3(**capabilities)
    assert ask(world).refusal is None
    assert decide(world).refusal is None
    return world


# ---------------------------------------------------------------- asking


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"target_profile": 1}, "profile-lowered"),
        ({"ends_at": None}, "end-missing"),
        ({"reason": ""}, "reason-missing"),
    ],
)
def test_a_way_back_is_asked_for_properly_or_refused(fields: dict[str, Any], code: str) -> None:
    assert code_of(ask(on_profile_3(), **fields)) == code


@pytest.mark.parametrize("days", [-1, 0, 31, 400])
def test_its_end_lies_ahead_and_not_too_far(days: int) -> None:
    world = on_profile_3()
    assert code_of(ask(world, ends_at=world.now + timedelta(days=days))) == "end-out-of-range"


def test_a_charger_on_profile_2_has_no_way_further_down() -> None:
    world = World(key=_key())
    assert code_of(ask(world, target_profile=1)) == "profile-lowered"


def test_asked_for_it_waits_and_nothing_is_open() -> None:
    world = on_profile_3()
    ask(world)
    case = case_of(world)
    assert (case.state, case.to_profile, world.charger.jobs["back"].stage) == (
        "rollback",
        2,
        "awaiting-approval",
    )
    assert admitted(world) == (3,)
    assert world.orders() == []
    assert world.charger.pending_keys == ()


# ---------------------------------------------------------------- four eyes


def test_its_author_cannot_approve_it_nor_reject_it() -> None:
    world = on_profile_3()
    ask(world)
    for verdict in ("approve", "reject"):
        assert code_of(decide(world, AUTHOR, verdict=verdict)) == "own-approval"
    assert admitted(world) == (3,)


def test_an_approver_who_read_something_else_approves_nothing() -> None:
    world = on_profile_3()
    ask(world)
    assert code_of(decide(world, content_hash="0" * 64)) == "content-changed"
    assert code_of(decide(world, approval_id="approval-9")) == "unknown-approval"
    assert admitted(world) == (3,)


def test_a_rejection_ends_it() -> None:
    world = on_profile_3()
    ask(world)
    decide(world, verdict="reject")
    assert (world.jobs["back"].state, world.jobs["back"].reason_code) == ("failed", "approval-not-given")
    assert case_of(world).state == "cancelled"
    assert code_of(decide(world)) == "approval-ended"
    assert admitted(world) == (3,)


def test_nobody_decides_in_time_and_it_lapses() -> None:
    world = on_profile_3()
    ask(world)
    world.wait(hours=72)
    assert approval(world).state == "expired"
    assert world.jobs["back"].state == "failed"
    assert code_of(decide(world)) == "approval-ended"


@pytest.mark.parametrize("actor", [AUTHOR, OTHER])
def test_its_approval_is_not_withdrawn_but_its_job_cancelled(actor: str) -> None:
    world = on_profile_3()
    ask(world)
    assert code_of(decide(world, actor, verdict="withdraw")) == "held-by-job"
    assert approval(world).state == "open"


def test_a_cancelled_one_takes_its_approval_along() -> None:
    world = on_profile_3()
    ask(world)
    world.command(c.CancelJob(charger_id="CP-1", job_id="back", reason="not needed"))
    assert approval(world).state == "withdrawn"
    assert admitted(world) == (3,)


# ---------------------------------------------------------------- in force


def test_in_force_both_profiles_are_admitted_with_a_fresh_key_only() -> None:
    world = on_profile_3()
    old = {key.generation for key in world.charger.keys}
    assert old
    ask(world)
    decide(world)
    assert admitted(world) == (2, 3)
    (way,) = [event for event in world.events if isinstance(event, e.RollbackStarted)]
    assert outgoing.admission(world.charger).way_back_until == way.ends_at, "the edge ends it without asking"
    assert world.charger.keys == (), "the old key opens no session again"
    generation = mint(world)
    assert generation not in old
    assert generation > way.after_generation
    assert [type(one) for one in world.orders()] == [WriteAuthorizationKey]
    world.carry_out()
    assert world.charger.jobs["back"].waiting_for == "visit"
    (leaf,) = outgoing.admission(world.charger).credentials
    assert leaf.state == "active"


def test_a_charger_switched_on_site_is_let_in_and_the_certificate_lives_on() -> None:
    world = in_force()
    generation = mint(world)
    world.carry_out()
    come(world, 2, generation=generation)
    assert "RollbackUsed" in world.names()
    assert world.charger.security_profile == 3, "the floor stays where it was"
    assert (case_of(world).state, admitted(world)) == ("rollback", (2, 3))
    assert not any(isinstance(event, e.CertificateRevocationRequested) for event in world.events)


def test_a_charger_known_to_allow_a_downgrade_is_told_once_it_has_its_key() -> None:
    world = in_force(allows_downgrade=True)
    generation = mint(world)
    assert [type(one) for one in world.orders()] == [WriteAuthorizationKey]
    world.carry_out()
    told = world.to_reset()
    assert [type(one) for one in told] == [ReadSettings, SetNetworkProfile, SetProfilePriority, Reboot]
    assert [one.security_profile for one in told if isinstance(one, SetNetworkProfile)] == [2]
    come(world, 2, generation=generation)
    assert case_of(world).failures == 0
    assert world.charger.jobs["back"].waiting_for == "end-of-rollback"


def test_one_that_refuses_to_go_down_is_left_to_a_visit_and_never_put_in_quarantine() -> None:
    world = in_force(allows_downgrade=True)
    mint(world)
    world.carry_out()
    for _ in range(5):
        world.wait_for_order()
        world.carry_out()
        assert isinstance(world.carry_out(Answered("Rejected", "NoSecurityDowngrade")), SetNetworkProfile)
    assert (case_of(world).state, world.charger.jobs["back"].waiting_for) == ("rollback", "visit")
    assert world.orders() == []


# ---------------------------------------------------------------- its end


def test_at_its_end_profile_2_is_refused_again_and_its_key_is_retired() -> None:
    world = in_force()
    generation = mint(world)
    world.carry_out()
    come(world, 2, generation=generation)
    world.wait(days=7)
    assert (admitted(world), world.charger.keys, world.charger.way_back) == ((3,), (), None)
    assert (case_of(world).state, world.jobs["back"].state) == ("completed", "succeeded")
    assert world.charger.jobs == {}


def test_one_that_nobody_used_ends_all_the_same() -> None:
    world = in_force()
    mint(world)
    world.wait(days=7)
    assert (admitted(world), world.charger.keys) == ((3,), ())
    assert world.jobs["back"].state == "cancelled"
    assert world.charger.jobs == {}


def test_the_first_session_back_on_profile_3_ends_it_but_not_one_before_it_was_used() -> None:
    world = in_force()
    generation = mint(world)
    world.carry_out()
    come(world, 3)
    assert admitted(world) == (2, 3)
    come(world, 2, generation=generation)
    come(world, 3)
    assert (admitted(world), world.charger.keys) == ((3,), ())
    (ended,) = [event for event in world.events if isinstance(event, e.RollbackEnded)]
    assert ended.reason == "back-on-profile-3"


def test_a_cancelled_job_closes_the_way() -> None:
    world = in_force()
    mint(world)
    world.command(c.CancelJob(charger_id="CP-1", job_id="back", reason="not needed"))
    assert (admitted(world), world.charger.keys, world.charger.way_back) == ((3,), (), None)


def test_a_charger_that_went_back_is_brought_up_again_by_an_order() -> None:
    world = in_force()
    generation = mint(world)
    world.carry_out()
    come(world, 2, generation=generation)
    up = c.OpenMigration(job_id="up", charger_id="CP-1", target_profile=3, reason="CA is back")
    assert said_by(world, AUTHOR, up).refusal is None
    assert world.jobs["back"].state == "succeeded"
    assert admitted(world) == (2, 3), "until it has been seen up there"
    world.to_reset()
    come(world, 3)
    assert (case_of(world).state, world.jobs["up"].state) == ("completed", "succeeded")
    assert (admitted(world), world.charger.keys) == ((3,), ())


def test_a_second_way_back_needs_the_first_to_end() -> None:
    world = in_force()
    assert code_of(ask(world, job_id="again", approval_id="approval-2")) == "migration-under-way"
