"""The renewal actor: one command a renewal, at a pace, until somebody owns the partition - and nothing while paused."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from actors.issuance import Settled, Wanted
from actors.mailbox import MailboxState
from actors.renewal import AGAIN_AFTER_S, RenewalActor, RenewalPorts, command_of, pace_of
from bfactors.command import CommandAnswer, CommandEnvelope, RequestJob
from bfactors.effect import RevokeCertificate, StartRenewal
from bfactors.errors import NotOwner
from bfactors.identity import partition_of
from bfactors.refusal import Refusal
from bfactors.urgency import Urgency
from tests.fakes.ca import ARN, CountedMetrics, ManualTime, settle


class Desk:
    """A command door that answers as told, and the actor before it."""

    def __init__(self, per_minute: float = 60.0) -> None:
        self.time = ManualTime()
        self.metrics = CountedMetrics()
        self.sent: list[tuple[float, int, CommandEnvelope]] = []
        self.answers: list[CommandAnswer | BaseException] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: list[BaseException] = []
        ports = RenewalPorts(
            commands=self,
            clock=self.time,
            metrics=self.metrics,
            sleep=self.time.sleep,
            uniform=lambda low, high: (low + high) / 2,
            room_s=self.room_s,
        )
        self.room = dict.fromkeys(Urgency, 0.0)
        self.looked: list[tuple[str, Urgency]] = []
        self.actor = RenewalActor("charging_station", ports, per_minute=per_minute)
        self.actor.start(lambda _, error, __: self.failures.append(error))

    async def serve(
        self, partition: int, handle: Callable[[CommandEnvelope], Awaitable[CommandAnswer]]
    ) -> None:
        raise NotImplementedError

    async def withdraw(self, partition: int) -> None:
        raise NotImplementedError

    async def request(self, partition: int, command: CommandEnvelope) -> CommandAnswer:
        self.sent.append((self.time.elapsed_s, partition, command))
        await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else CommandAnswer()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def room_s(self, authority_arn: str, urgency: Urgency) -> float:
        self.looked.append((authority_arn, urgency))
        await asyncio.sleep(0)
        return self.room[urgency]

    def want(self, *names: str, ends_in: timedelta | None = None, authority_arn: str = "") -> None:
        ends_at = None if ends_in is None else self.time.now() + ends_in
        for name in names:
            assert self.actor.tell(Wanted(renewal(name, ends_at, authority_arn)))

    def jobs(self) -> list[str]:
        return [body.job_id for _, _, command in self.sent if isinstance(body := command.body, RequestJob)]

    def times(self) -> list[float]:
        return [at_s for at_s, _, _ in self.sent]


def renewal(name: str = "a", ends_at: datetime | None = None, authority_arn: str = "") -> StartRenewal:
    return StartRenewal(
        effect_id=f"{name}:renew",
        charger_id=f"CP-{name}",
        purpose="charging_station",
        certificate_id=f"certificate-{name}",
        job_id=f"job-{name}",
        due_reason="renewal-window",
        replaces_until=ends_at,
        authority_arn=authority_arn,
    )


def no_owner() -> NotOwner:
    return NotOwner("the owner of partition 3")


async def test_a_renewal_that_is_due_becomes_a_command_to_the_chargers_partition() -> None:
    desk = Desk()
    desk.want("a")
    await desk.time.advance(1)
    ((_, partition, command),) = desk.sent
    assert partition == partition_of("CP-a")
    assert command.body == RequestJob(
        job_id="job-a",
        charger_id="CP-a",
        purpose="charging_station",
        action="renew",
        reason="due for renewal",
        certificate_id="certificate-a",
        due_reason="renewal-window",
    )
    assert (command.idempotency_key, command.role) == ("", "system")
    assert command == command_of(renewal("a")), "whoever sends it sends the same"


async def test_renewals_leave_at_the_pace_and_in_order() -> None:
    desk = Desk(per_minute=30)
    desk.want(*"abcde")
    await desk.time.advance(60)
    assert desk.jobs() == [f"job-{name}" for name in "abcde"]
    assert desk.times() == [2.0, 4.0, 6.0, 8.0, 10.0]


async def test_the_pace_holds_for_those_that_come_later_too() -> None:
    desk = Desk(per_minute=60)
    for name in "abc":
        desk.want(name)
        await desk.time.advance(0.4)
    await desk.time.advance(10)
    times = desk.times()
    assert all(later - earlier >= 0.99 for earlier, later in pairwise(times))


async def test_a_turn_waits_until_its_ca_has_room_for_what_is_in_no_hurry() -> None:
    desk = Desk(per_minute=60)
    desk.room[Urgency.ROUTINE] = 0.3
    desk.want("a", "b", ends_in=timedelta(days=30), authority_arn=ARN)
    await desk.time.advance(60)
    assert desk.jobs() == []
    assert set(desk.looked) == {(ARN, Urgency.ROUTINE)}
    assert len(desk.looked) <= 60, "once a second"
    desk.want("soon", ends_in=timedelta(days=5), authority_arn=ARN)
    await desk.time.advance(3)
    assert desk.jobs() == ["job-soon"], "there is room for what ends soon"
    desk.room[Urgency.ROUTINE] = 0.0
    await desk.time.advance(5)
    assert desk.jobs() == ["job-soon", "job-a", "job-b"]


async def test_where_no_ca_is_known_nobody_is_asked_for_room() -> None:
    desk = Desk()
    desk.room = dict.fromkeys(Urgency, 9.0)
    desk.want("a")
    await desk.time.advance(2)
    assert (desk.jobs(), desk.looked) == (["job-a"], [])


async def test_a_pause_and_a_drain_end_the_wait_for_room() -> None:
    desk = Desk()
    desk.room[Urgency.ROUTINE] = 5.0
    desk.want("a", ends_in=timedelta(days=30), authority_arn=ARN)
    await desk.time.advance(10)
    desk.actor.set_paused(True)
    await desk.time.advance(10)
    looked = len(desk.looked)
    await desk.time.advance(60)
    assert len(desk.looked) == looked
    desk.room[Urgency.ROUTINE] = 0.0
    desk.actor.set_paused(False)
    await desk.time.advance(3)
    assert desk.jobs() == ["job-a"]


async def test_what_ends_first_passes_ten_thousand_that_have_time() -> None:
    desk = Desk(per_minute=60)
    desk.want(*(f"routine-{number}" for number in range(10_000)), ends_in=timedelta(days=30))
    await settle(10_000)
    assert desk.metrics.gauges["bf_renewal_waiting", "charging_station"] == 10_000
    await desk.time.advance(10)
    desk.want("week", ends_in=timedelta(days=6))
    desk.want("last-safe", ends_in=timedelta(days=2))
    began = len(desk.sent)
    await desk.time.advance(3)
    assert desk.jobs()[began:] == ["job-last-safe", "job-week", "job-routine-10"]


async def test_one_from_before_turns_went_by_the_end_comes_after_those_that_name_theirs() -> None:
    desk = Desk()
    desk.want("old")
    desk.want("a", ends_in=timedelta(days=30))
    await desk.time.advance(5)
    assert desk.jobs() == ["job-a", "job-old"]


async def test_a_rested_renewal_takes_its_turn_by_its_end_too() -> None:
    desk = Desk()
    desk.answers = [CommandAnswer(refusal=Refusal("paused", "the purpose is paused"))]
    desk.want("urgent", ends_in=timedelta(days=1))
    await desk.time.advance(AGAIN_AFTER_S)
    desk.want(*(f"routine-{number}" for number in range(50)), ends_in=timedelta(days=30))
    await desk.time.advance(5)
    assert "job-urgent" in desk.jobs()[1:4]


@pytest.mark.parametrize(("rate", "purposes"), [*itertools.product((0.5, 20.0, 25.0), (1, 2, 7))])
def test_four_nodes_start_no_more_renewals_than_the_ca_takes_calls(rate: float, purposes: int) -> None:
    assert 0 < 4 * purposes * pace_of(rate, purposes) / 60 <= rate + 1e-9


async def test_a_partition_without_an_owner_is_asked_again_with_the_same_command() -> None:
    desk = Desk()
    desk.answers = [no_owner(), CommandAnswer(retry=True), no_owner()]
    desk.want("a")
    await desk.time.advance(60)
    assert len(desk.sent) == 4
    assert len({command.command_id for _, _, command in desk.sent}) == 1
    gaps = [later - earlier for earlier, later in pairwise(desk.times())]
    assert gaps == sorted(gaps)
    assert gaps[0] >= 1


async def test_a_partition_without_an_owner_holds_up_no_other() -> None:
    desk = Desk()
    desk.answers = [no_owner()]
    desk.want("a", "b")
    await desk.time.advance(2)
    assert desk.jobs() == ["job-a", "job-b"] or desk.jobs() == ["job-a", "job-a", "job-b"]


async def test_a_renewal_given_again_is_sent_once() -> None:
    desk = Desk()
    desk.want("a", "a")
    await desk.time.advance(5)
    desk.want("a")
    await desk.time.advance(60)
    assert desk.jobs() == ["job-a"]


async def test_a_renewal_settled_and_wanted_again_before_its_turn_is_sent_once() -> None:
    desk = Desk()
    desk.want("b", "a")
    for _ in range(3):
        desk.actor.tell(Settled("a:renew"))
        desk.want("a")
    await desk.time.advance(AGAIN_AFTER_S * 2)
    assert desk.jobs() == ["job-b", "job-a"]


async def test_a_renewal_settled_before_its_turn_is_not_sent() -> None:
    desk = Desk()
    desk.want("a", "b")
    desk.actor.tell(Settled("a:renew"))
    await desk.time.advance(60)
    assert desk.jobs() == ["job-b"]


async def test_a_renewal_settled_while_nobody_answers_is_given_up() -> None:
    desk = Desk()
    desk.answers = [no_owner() for _ in range(100)]
    desk.want("a")
    await desk.time.advance(10)
    desk.actor.tell(Settled("a:renew"))
    await desk.time.advance(120)
    sent = len(desk.sent)
    await desk.time.advance(600)
    assert len(desk.sent) == sent


async def test_nothing_is_sent_while_paused_and_all_of_it_afterwards() -> None:
    desk = Desk()
    desk.actor.set_paused(True)
    desk.want("a", "b")
    await desk.time.advance(600)
    assert desk.sent == []
    assert desk.actor.is_idle
    desk.actor.set_paused(False)
    await desk.time.advance(2)
    assert desk.jobs() == ["job-a", "job-b"]


async def test_a_pause_in_the_middle_holds_the_next_one() -> None:
    desk = Desk()
    desk.want("a", "b")
    await desk.time.advance(1)
    desk.actor.set_paused(True)
    await desk.time.advance(60)
    assert desk.jobs() == ["job-a"]
    desk.actor.set_paused(False)
    desk.actor.set_paused(False)
    await desk.time.advance(60)
    assert desk.jobs() == ["job-a", "job-b"]


async def test_a_refused_renewal_has_its_turn_again_much_later() -> None:
    desk = Desk()
    desk.answers = [CommandAnswer(refusal=Refusal("paused", "the purpose is paused"))]
    desk.want("a")
    await desk.time.advance(AGAIN_AFTER_S - 5)
    assert desk.jobs() == ["job-a"]
    await desk.time.advance(10)
    assert desk.jobs() == ["job-a", "job-a"]
    assert desk.metrics.counts == {
        ("bf_renewals_started_total", "charging_station", "paused"): 1,
        ("bf_renewals_started_total", "charging_station", "ok"): 1,
    }


async def test_a_renewal_whose_job_came_to_nothing_at_once_does_not_spin() -> None:
    desk = Desk()
    desk.want("a")
    await desk.time.advance(1)
    for _ in range(5):  # the ledger opens a job, it fails, and the renewal is due again
        desk.actor.tell(Settled("a:renew"))
        desk.want("a")
        await desk.time.advance(10)
    assert desk.jobs() == ["job-a"]
    desk.want("b")
    await desk.time.advance(2)
    assert desk.jobs() == ["job-a", "job-b"]
    await desk.time.advance(AGAIN_AFTER_S)
    assert desk.jobs() == ["job-a", "job-b", "job-a"]


async def test_other_effects_are_left_to_their_own_actor() -> None:
    desk = Desk()
    revoke = RevokeCertificate(
        effect_id="c:revoke",
        charger_id="CP-1",
        purpose="charging_station",
        certificate_id="c",
        authority_arn=ARN,
        serial_number="1",
        reason="superseded",
    )
    desk.actor.tell(Wanted(revoke))
    await desk.time.advance(60)
    assert (desk.sent, desk.actor.is_idle) == ([], True)


async def test_a_drain_ends_at_once_and_sends_nothing_more() -> None:
    desk = Desk()
    desk.answers = [CommandAnswer(refusal=Refusal("paused", "")), no_owner()]
    desk.want(*"abc")
    await desk.time.advance(2)
    assert len(desk.sent) == 2
    await desk.actor.drain()
    assert desk.actor.state is MailboxState.STOPPED
    assert len(desk.sent) == 2


async def test_a_drain_waits_for_the_answer_of_a_command_that_has_left() -> None:
    desk = Desk()
    desk.gate.clear()
    desk.want("a")
    await desk.time.advance(1)
    draining = asyncio.ensure_future(desk.actor.drain())
    await settle()
    assert not draining.done()
    desk.gate.set()
    await draining
    assert desk.metrics.counts == {("bf_renewals_started_total", "charging_station", "ok"): 1}


async def test_an_error_nobody_foresaw_fails_the_actor() -> None:
    desk = Desk()
    desk.answers = [ZeroDivisionError("a bug")]
    desk.want("a")
    await desk.time.advance(1)
    assert desk.actor.state is MailboxState.FAILED
    assert [type(error) for error in desk.failures] == [ZeroDivisionError]


@pytest.mark.parametrize("per_minute", [0, -1])
async def test_a_pace_that_never_comes_to_anything_is_refused(per_minute: float) -> None:
    settings: dict[str, Any] = {"per_minute": per_minute}
    with pytest.raises(ValueError, match="pace"):
        Desk(**settings)
