"""What is done to one charger past the rules: held back where policy says so, carried out as it was read."""

from datetime import timedelta
from typing import Any

import pytest

from bfactors import command as c
from bfactors import event as e
from bfactors.charger import clock
from bfactors.charger.break_glass import MOST_OPEN
from bfactors.charger.decide import ChargerCommand, Decision
from bfactors.fleet.state import FleetFacts
from bfactors.instruction import Reboot
from tests.core import test_departure as departure
from tests.core.ledger import Partition, asked
from tests.core.test_charger_expired import expired
from tests.core.world import World, fleet_facts

ADA, BEN = "operator:ada", "operator:ben"


def facts(*needed: str) -> FleetFacts:
    values: dict[str, object] = {"approvals_needed": ["rollback", "waiver", "incident", "rollover", *needed]}
    return fleet_facts(c.SetPolicy(scope="purpose:charging_station", values=values))


def in_two(world: World, *needed: str) -> World:
    world.facts = facts(*(needed or ("break-glass",)))
    return world


def say(world: World, command: ChargerCommand, actor: str = ADA) -> Decision:
    world.actor = actor
    return world.command(command)


def admission(world: World, days: float = 7, reason: str = "was in the workshop") -> c.AdmitExpired:
    return c.AdmitExpired(charger_id="CP-1", until=world.now + timedelta(days=days), reason=reason)


def decide(
    world: World, held: Decision, actor: str = BEN, verdict: Any = "approve", **changes: Any
) -> Decision:
    assert held.held_by is not None
    approval = world.charger.approvals[held.held_by]
    values = {"content_hash": approval.content_hash, **changes}
    command = c.DecideApproval(
        charger_id="CP-1", approval_id=held.held_by, verdict=verdict, reason="seen", **values
    )
    return say(world, command, actor)


def names(decision: Decision) -> list[str]:
    return [type(event).__name__ for event in decision.events]


def in_quarantine() -> World:
    """A charger that was reset and not seen again."""
    world = World()
    world.to_installed()
    assert isinstance(world.to_reset()[-1], Reboot)
    world.lose_session()
    world.wait(hours=7)
    return world


def test_by_the_built_in_policy_one_person_does_it() -> None:
    world, _ = expired()
    assert say(world, admission(world)).held_by is None
    assert world.charger.expired_admission is not None


def test_an_expired_certificate_is_let_in_when_somebody_else_agrees() -> None:
    world = in_two(expired()[0])
    held = say(world, admission(world))
    assert "ApprovalRequested" in names(held)
    assert world.charger.expired_admission is None
    given = decide(world, held)
    assert names(given)[:2] == ["ApprovalDecided", "ExpiredCertificateAdmitted"]
    admitted = next(event for event in given.events if isinstance(event, e.ExpiredCertificateAdmitted))
    decided = next(event for event in given.events if isinstance(event, e.ApprovalDecided))
    assert (admitted.actor, decided.decided_by) == (ADA, BEN)
    assert world.charger.expired_admission is not None


def test_asked_for_twice_it_is_one_approval_and_given_twice_it_is_done_once() -> None:
    world = in_two(expired()[0])
    held, again = say(world, admission(world)), say(world, admission(world), BEN)
    assert again.held_by == held.held_by
    assert again.events == ()
    decide(world, held)
    twice = decide(world, held)
    assert twice.refusal is not None
    assert (twice.refusal.code, twice.events) == ("approval-ended", ())


def test_taking_it_back_takes_one() -> None:
    world, _ = expired()
    say(world, admission(world))
    in_two(world)
    taken = say(world, c.AdmitExpired(charger_id="CP-1", until=None, reason="came back"))
    assert taken.held_by is None
    assert world.charger.expired_admission is None


@pytest.mark.parametrize(
    ("actor", "verdict", "changes", "code"),
    [
        (ADA, "approve", {}, "own-approval"),
        (ADA, "reject", {}, "own-approval"),
        (BEN, "withdraw", {}, "not-author"),
        (BEN, "approve", {"content_hash": "0" * 64}, "content-changed"),
    ],
)
def test_who_may_not_decide_is_told_why(actor: str, verdict: str, changes: dict[str, Any], code: str) -> None:
    world = in_two(expired()[0])
    refused = decide(world, say(world, admission(world)), actor, verdict, **changes)
    assert refused.refusal is not None
    assert (refused.refusal.code, refused.events) == (code, ())


@pytest.mark.parametrize(
    ("actor", "verdict", "state"), [(BEN, "reject", "rejected"), (ADA, "withdraw", "withdrawn")]
)
def test_what_is_not_given_is_not_done(actor: str, verdict: str, state: str) -> None:
    world = in_two(expired()[0])
    held = say(world, admission(world))
    decide(world, held, actor, verdict)
    assert world.charger.approvals[held.held_by or ""].state == state
    assert world.charger.expired_admission is None


def test_it_lapses_and_no_job_s_end_withdraws_it() -> None:
    world = in_two(expired()[0])
    held = say(world, admission(world))
    world.wait(seconds=1)
    assert world.charger.approvals[held.held_by or ""].state == "open"
    due = clock.next_due(world.charger, world.facts, world.now)
    assert due is not None
    assert due <= world.charger.approvals[held.held_by or ""].expires_at
    world.wait(hours=72)
    assert world.charger.approvals[held.held_by or ""].state == "expired"
    assert world.charger.expired_admission is None


def test_what_cannot_be_done_any_more_ends_and_says_why() -> None:
    world = in_two(expired()[0])
    held = say(world, admission(world, days=1))
    world.now += timedelta(days=2)
    stale = decide(world, held)
    assert stale.refusal is not None
    assert (stale.refusal.code, stale.refusal.status) == ("invalid-value", 409)
    assert names(stale) == ["ApprovalDecided"]
    assert world.charger.approvals[held.held_by or ""].state == "stale"
    assert world.charger.expired_admission is None


def test_what_would_be_refused_is_not_asked_for_and_open_ones_are_bounded() -> None:
    world = in_two(expired()[0])
    assert say(world, admission(world, days=90)).refusal is not None
    for number in range(MOST_OPEN):
        assert say(world, admission(world, reason=f"r{number}")).held_by is not None
    refused = say(world, admission(world, reason="one more")).refusal
    assert refused is not None
    assert refused.code == "too-many-approvals"


def test_giving_up_a_migration_below_profile_3_takes_two_and_trying_again_one() -> None:
    world = in_two(in_quarantine())
    held = say(world, c.ReleaseMigration(charger_id="CP-1", reason="leave it", ends=True))
    assert held.held_by is not None
    assert world.charger.migration is not None
    assert world.charger.migration.state == "quarantine"
    decide(world, held)
    assert world.charger.migration.state == "cancelled"
    world = in_two(in_quarantine())
    again = say(world, c.ReleaseMigration(charger_id="CP-1", reason="once more"))
    assert (again.held_by, again.refusal) == (None, None)


def test_the_fold_answers_with_the_approval_and_keeps_the_end_of_a_stale_one() -> None:
    world = in_two(expired()[0])
    partition = Partition(facts=world.facts)
    partition.now = world.now
    partition.states["CP-1"] = world.charger
    batch = partition.commit(asked(admission(world, days=1)))
    (answer,) = partition.answers
    assert answer.is_held
    (row,) = batch.approvals
    partition.now += timedelta(days=2)
    approval = next(one for one in partition.states["CP-1"].approvals.values() if one.state == "open")  # type: ignore[union-attr]
    word = c.DecideApproval(
        charger_id="CP-1",
        approval_id=row.approval_id,
        verdict="approve",
        content_hash=approval.content_hash,
        reason="late",
    )
    late = partition.commit(c.CommandEnvelope(command_id="c2", actor=BEN, role="pki-admin", body=word))
    assert partition.answers[-1].refusal is not None
    assert [row.state for row in late.approvals] == ["stale"]
    partition.check_chain()


@pytest.mark.parametrize("leave", [departure.decommission, departure.replace])
def test_what_was_asked_for_one_unit_is_not_done_to_the_next(leave: Any) -> None:
    world = in_two(expired()[0])
    held = say(world, admission(world))
    leave(world)
    assert held.held_by is not None
    assert world.charger.approvals[held.held_by].state == "stale"
    refused = decide(world, held).refusal
    assert refused is not None
    assert world.charger.expired_admission is None


def test_what_was_rejected_can_be_asked_for_again_and_counts_for_nothing_open() -> None:
    world = in_two(expired()[0])
    first = say(world, admission(world))
    for days in range(1, MOST_OPEN):
        say(world, admission(world, days=days))
    assert say(world, admission(world, days=20)).refusal is not None
    decide(world, first, verdict="reject")
    again = say(world, admission(world))
    assert again.held_by not in (None, first.held_by)
    assert world.charger.approvals[again.held_by or ""].state == "open"
    decide(world, again)
    assert world.charger.expired_admission is not None


def test_a_decided_approval_is_decided_once_whatever_time_passes() -> None:
    world = in_two(expired()[0])
    held = say(world, admission(world))
    decide(world, held)
    before = [event for event in world.events if isinstance(event, e.ApprovalDecided)]
    world.wait(days=5)
    assert world.charger.approvals[held.held_by or ""].state == "approved"
    assert [event for event in world.events if isinstance(event, e.ApprovalDecided)] == before
