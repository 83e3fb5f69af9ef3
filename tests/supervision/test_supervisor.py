"""A supervisor's children: crashes stay with the one that crashed, until there are too many of them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pykka
import pytest

from actors.mailbox import Mailbox, MailboxState
from supervisors.child import ChildSpec, Lost, Refused, Restarted, Started, create
from supervisors.lane import Lane
from supervisors.status import Standing
from tests.patience import PATIENCE_S
from tests.supervision.fleet import Owner, Parrot, Wait, World


def test_a_crash_restarts_that_child_and_leaves_the_others_alone(world: World) -> None:
    family = world.tree.family("acme")
    crashing, calm = Owner(family, "a"), Owner(family, "b")
    first, untouched = crashing.latest, calm.latest

    crashing.crash()

    restarted = crashing.wait_restarted()
    assert restarted.actor is not first.actor
    assert restarted.lane is first.lane
    assert restarted.cause == "failed: ValueError"
    assert crashing.answers()
    assert calm.answers()
    assert calm.latest is untouched
    status = world.wait_status(lambda status: status.restarts == 1 and status.children == 2)
    assert status.state is Standing.RUNNING


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(3), KeyboardInterrupt()])
def test_what_is_no_exception_but_leaks_from_a_handler_is_a_crash_like_any_other(
    world: World, error: BaseException
) -> None:
    family = world.tree.family("acme")
    crashing, calm = Owner(family, "a"), Owner(family, "b")
    lane = calm.latest.lane

    crashing.crash(error)

    assert crashing.wait_restarted().lane is lane
    assert calm.answers()


def test_a_base_exception_in_a_supervisor_stops_no_other_actor_and_it_is_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_all = threading.Event()
    monkeypatch.setattr(pykka.ActorRegistry, "stop_all", stopped_all.set)
    struck, other = Owner(world.tree.family("acme"), "a"), Owner(world.tree.family("other"), "b")
    assert struck.answers()
    assert other.answers()
    untouched = other.latest

    # A name that cannot be hashed is nothing the supervisor's own code foresaw; a BaseException is the trap.
    world.tree.family("acme").stop_child(_Poison())  # type: ignore[arg-type]

    assert struck.wait_restarted().cause.startswith("the supervisor itself failed")
    assert struck.answers()
    assert other.answers()
    assert other.latest is untouched
    other.crash()
    other.wait_restarted()  # its supervisor still works
    assert not stopped_all.is_set()


class _Poison:
    def __hash__(self) -> int:
        raise asyncio.CancelledError


def test_a_factory_that_fails_is_tried_again_and_then_given_up(world: World) -> None:
    tries: list[Lane] = []

    def broken(lane: Lane) -> Mailbox[Any]:
        tries.append(lane)
        raise RuntimeError("no such unit")

    family = world.tree.family("acme")
    calm = Owner(family, "calm")
    broken_one = Owner(family, "broken", broken)
    world.wait_now("acme", lambda status: status.restarts == 2)  # at once, and then only after a delay
    world.clock.now += 10.0
    world.tick(calm)
    world.wait_now("acme", lambda status: status.restarts == 3)
    world.clock.now += 10.0
    world.tick(calm)

    assert broken_one.wait_for_one(Lost).reason == "failed too often: RuntimeError"
    assert len(tries) == 4
    assert not any(isinstance(item, Started | Restarted) for item in broken_one.heard)
    assert calm.answers()


def test_a_failing_begin_is_a_failed_start(world: World) -> None:
    class NeverBegins(Parrot):
        begun = 0

        async def begin(self) -> None:
            NeverBegins.begun += 1
            if NeverBegins.begun == 1:
                raise ConnectionError("the database is away")

    owner = Owner(
        world.tree.purpose("charging_station"), "issuance", lambda lane: NeverBegins("issuance", lane)
    )

    assert owner.wait_restarted().cause == "failed: ConnectionError"
    assert owner.answers()


def test_a_second_restart_waits_for_its_delay(world: World) -> None:
    owner, calm = Owner(world.tree.purpose("contract"), "a"), Owner(world.tree.purpose("contract"), "b")
    owner.crash()
    owner.wait_restarted(1)
    owner.crash()
    world.wait_now("contract", lambda status: status.restarts == 2)
    world.clock.now += 0.9
    world.tick(calm)
    assert calm.answers()
    assert sum(isinstance(item, Restarted) for item in owner.heard) == 1

    world.clock.now += 0.1
    world.tick(calm)

    owner.wait_restarted(2)
    assert owner.answers()


def test_a_spent_budget_replaces_the_whole_supervisor_with_a_new_lane(world: World) -> None:
    scheme = world.tree.purpose("contract")
    owners = [Owner(scheme, str(number)) for number in range(22)]
    first = owners[0].latest
    for owner in owners[:20]:
        owner.crash()
        owner.wait_restarted()
    calm = Owner(world.tree.family("acme"), "calm")
    assert calm.answers()

    owners[20].crash()  # the purpose's limit is twenty

    cause = "too many restarts, the last of 20: ValueError"
    for owner in owners:
        owner.wait_for(lambda heard: heard and getattr(heard[-1], "cause", None) == cause)
        assert owner.latest.lane is not first.lane
        assert owner.answers()
    assert not first.lane.is_current()
    assert owners[0].latest.lane.generation == 2
    assert not any(isinstance(item, Restarted) for item in calm.heard)
    assert calm.answers()
    assert world.exits.heard == []


def spend_everything(world: World, kind: str, name: str) -> None:
    """Let one supervisor fail until its parent stops replacing it."""
    supervised = getattr(world.tree, kind)(name)
    for _ in range(4):
        supervised.stop_child(_Poison())  # a supervisor that cannot even look a name up fails as a whole


def test_a_family_that_fails_again_and_again_is_failed_alone_until_resumed(world: World) -> None:
    owner, other = Owner(world.tree.family("acme"), "a"), Owner(world.tree.family("other"), "b")
    assert owner.answers()

    spend_everything(world, "family", "acme")

    owner.wait_for_one(Lost)
    status = world.wait_status(lambda status: status.state is Standing.FAILED)
    assert (status.name, status.children) == ("acme", 0)
    assert status.reason == "the supervisor itself failed: CancelledError"
    late = Owner(world.tree.family("acme"), "late")
    assert late.wait_for_one(Refused).reason.startswith("failed: the supervisor itself failed")
    assert other.answers()
    assert world.exits.heard == []

    world.tree.apply_pause("family", "acme", False, "looked at")

    world.wait_now("acme", lambda status: status.state is Standing.RUNNING and status.children == 1)
    owner.wait_for(lambda heard: heard and getattr(heard[-1], "cause", None) == "resumed")
    assert owner.answers()


def test_a_ledger_that_fails_again_and_again_ends_the_process(world: World) -> None:
    owner = Owner(world.tree.ledger(), "partition 3")
    assert owner.answers()

    spend_everything(world, "ledger", "ledger")

    world.exits.wait_for(len)
    assert world.exits.heard == [
        "ledger ledger failed again and again: the supervisor itself failed: CancelledError"
    ]


def test_failures_all_over_the_process_end_it(world: World) -> None:
    owners = [Owner(world.tree.family(f"family {number}"), "a") for number in range(4)]
    for number, owner in enumerate(owners):
        assert owner.answers()
        for _ in range(3):
            world.tree.family(f"family {number}").stop_child(_Poison())  # type: ignore[arg-type]

    world.exits.wait_for(len)
    assert len(world.exits.heard) == 1
    assert world.exits.heard[0].startswith("too many supervisors failed, the last family family ")


def test_a_stopped_child_finishes_what_it_has_in_hand(world: World) -> None:
    family = world.tree.family("acme")
    owner = Owner(family, "a")
    wait = Wait()
    owner.tell(wait)
    assert wait.entered.wait(PATIENCE_S)
    actor, lane = owner.latest.actor, owner.latest.lane

    family.stop_child("a")
    world.wait_now("acme", lambda status: status.children == 0)
    again = Owner(family, "a")  # the name is free at once
    assert again.answers()
    assert not actor.is_idle

    lane.submit(wait.gate.set)
    lane.run(actor.stop()).result(PATIENCE_S)
    assert actor.is_idle


def test_a_name_is_supervised_once(world: World) -> None:
    family = world.tree.family("acme")
    first = Owner(family, "a")
    assert first.answers()
    assert Owner(family, "a").wait_for_one(Refused).reason == "a child of this name is already supervised"
    assert first.answers()


def test_an_owner_that_cannot_be_told_does_not_hurt_its_supervisor(world: World) -> None:
    def deaf(_: object) -> None:
        raise asyncio.CancelledError

    family = world.tree.family("acme")
    family.start_child("a", lambda lane: Parrot("a", lane), deaf)
    assert Owner(family, "b").answers()
    assert world.wait_status(lambda status: status.children == 2).restarts == 0


def test_a_replaced_supervisor_publishes_nothing_over_its_successor(world: World) -> None:
    owner = Owner(world.tree.family("acme"), "a")
    assert owner.answers()
    world.settle()
    before = len(world.statuses.heard)

    world.tree.family("acme").stop_child(_Poison())  # type: ignore[arg-type]

    owner.wait_restarted()
    world.settle()
    assert [status.restarts for status in world.statuses.heard[before:]] == [1, 1]  # opened, then its child


def test_an_actor_made_for_a_supervisor_that_has_ended_is_abandoned() -> None:
    lane = Lane.open("a")
    made: list[Parrot] = []

    def factory(lane: Lane) -> Parrot:
        made.append(Parrot("a", lane))
        return made[0]

    async def make() -> None:
        create(ChildSpec("a", factory), lane, 1, False, lambda _: False)

    lane.run(make()).result(PATIENCE_S)
    assert made[0].state is MailboxState.ABANDONED
    lane.close()
    assert lane.join(PATIENCE_S)
