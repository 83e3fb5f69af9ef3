"""What the issuance actor asks for again, how often, until when - and when it leaves a CA alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from bfactors import evidence as v
from bfactors.ca import (
    AlreadyDone,
    MalformedCsr,
    NotActive,
    Permanent,
    QuotaExhausted,
    Transient,
)
from tests.actors.test_issuance import Desk, lost, throttled
from tests.fakes.ca import settle

# ---------------------------------------------------------------- asking again


async def test_a_call_that_failed_is_repeated_with_the_same_order_until_it_is_answered() -> None:
    desk = Desk()
    desk.ca.fail("issue", lost(), took_effect=True)
    desk.ca.fail("issue", throttled(), times=3)
    await desk.ask()
    await desk.time.advance(60)
    assert desk.called("issue") == 5
    assert len(set(map(msgspec.json.encode, desk.ca.orders))) == 1
    assert len(desk.ca.made) == 1
    assert desk.facts(v.IssuanceCompleted)
    assert desk.facts(v.IssuanceAttemptLapsed) == []


async def test_repeats_become_rarer_and_none_leaves_after_the_time_for_calls() -> None:
    desk = Desk()
    desk.ca.fail("issue", throttled(), times=1000)
    effect = await desk.ask()
    await desk.time.advance(10)
    early = desk.called("issue")
    await desk.time.advance(229)
    assert desk.called("issue") < 30 < early * 10
    assert desk.facts(v.IssuanceAttemptLapsed) == []
    await desk.time.advance(2)
    assert desk.facts(v.IssuanceAttemptLapsed) == [
        v.IssuanceAttemptLapsed(job_id="job", attempt=1, in_doubt=False)
    ]
    await desk.time.advance(60)
    lapsed_at = desk.journal.index(("acked", "IssuanceAttemptLapsed"))
    assert ("issue", effect.token) not in desk.journal[lapsed_at:]
    assert ("issue", "job-2") in desk.journal[lapsed_at:]


async def test_an_attempt_with_one_call_left_unanswered_lapses_in_doubt() -> None:
    desk = Desk()
    desk.ca.fail("issue", throttled())
    desk.ca.fail("issue", lost())
    desk.ca.fail("issue", throttled(), times=1000)
    await desk.ask()
    await desk.time.advance(241)
    assert [fact.in_doubt for fact in desk.facts(v.IssuanceAttemptLapsed)] == [True]


async def test_after_a_lapse_the_next_attempt_asks_under_its_own_token() -> None:
    desk = Desk()
    desk.ca.fail("issue", throttled(), times=12)
    await desk.ask()
    while desk.called("issue") < 12:
        await desk.time.advance(10)
    await desk.time.advance(300)
    assert {made.order.token for made in desk.ca.made.values()} <= {"job-1", "job-2"}
    assert len(desk.ca.made) == 1
    assert desk.outstanding == {}


async def test_an_effect_found_only_after_its_time_lapses_in_doubt_without_a_call() -> None:
    desk = Desk()
    effect = desk.issue()
    await desk.time.advance(241)
    desk.new_actor()
    desk.ca.fail("issue", throttled(), times=1000)
    desk.want(effect)
    await settle()
    assert [(fact.attempt, fact.in_doubt) for fact in desk.facts(v.IssuanceAttemptLapsed)] == [(1, True)]
    assert "job-1" not in {token for operation, token in desk.journal if operation == "issue"}


@pytest.mark.parametrize(("given_after_s", "in_doubt"), [(1.0, False), (3.0, True)])
async def test_an_effect_that_came_late_may_have_been_in_other_hands(
    given_after_s: float, in_doubt: bool
) -> None:
    desk = Desk()
    desk.ca.fail("issue", throttled(), times=1000)
    effect = desk.issue()
    await desk.time.advance(given_after_s)
    desk.want(effect)
    await desk.time.advance(240)
    assert [fact.in_doubt for fact in desk.facts(v.IssuanceAttemptLapsed)] == [in_doubt]


async def test_an_effect_decided_before_the_actor_was_born_is_in_doubt_however_soon_it_comes() -> None:
    desk = Desk()
    desk.ca.fail("issue", throttled(), times=1000)
    effect = desk.issue()
    await desk.time.advance(0.5)
    desk.new_actor()
    desk.want(effect)
    await desk.time.advance(240)
    assert [fact.in_doubt for fact in desk.facts(v.IssuanceAttemptLapsed)] == [True]


# ---------------------------------------------------------------- refusals, holds


@pytest.mark.parametrize(
    "error",
    [
        MalformedCsr("MalformedCSRException", "the CSR cannot be read"),
        Permanent("AccessDeniedException", "CA policy denied: no"),
        AlreadyDone("RequestAlreadyProcessedException", "what?"),
    ],
)
async def test_a_refusal_for_good_is_recorded_with_the_cas_own_words(error: Permanent) -> None:
    desk = Desk()
    desk.ca.fail("issue", error)
    await desk.ask()
    await desk.time.advance(300)
    assert desk.facts(v.IssuanceRefused) == [
        v.IssuanceRefused(job_id="job", attempt=1, code=error.code, message=error.message)
    ]
    assert desk.called("issue") == 1


async def test_a_failure_nobody_explains_is_refused_after_a_few_times() -> None:
    desk = Desk()
    desk.ca.fail("issue", Transient("RequestFailedException", "failed", bounded=True), times=1000)
    await desk.ask()
    await desk.time.advance(200)
    assert [fact.code for fact in desk.facts(v.IssuanceRefused)] == ["RequestFailedException"]
    assert desk.called("issue") == 5


async def test_operators_see_why_a_throttled_call_takes_long_and_are_told_once() -> None:
    desk = Desk()
    desk.ca.fail("issue", throttled(), times=8)
    await desk.ask()
    assert desk.facts(v.IssuanceDelayed) == []
    await desk.time.advance(200)
    assert [fact.code for fact in desk.facts(v.IssuanceDelayed)] == ["ThrottlingException"]
    assert desk.facts(v.IssuanceCompleted)


@pytest.mark.parametrize(
    "error",
    [
        QuotaExhausted("LimitExceededException", "no more", retry_after_s=30),
        NotActive("InvalidStateException", "DISABLED", retry_after_s=30),
    ],
)
async def test_a_ca_that_cannot_serve_is_left_alone_by_everything_that_waits_for_it(error: Any) -> None:
    desk = Desk()
    desk.ca.fail("issue", error)
    await desk.ask(job_id="a")
    assert [fact.code for fact in desk.facts(v.IssuanceDelayed)] == [error.code]
    for job in "bcd":
        await desk.ask(job_id=job)
    await desk.time.advance(29)
    assert desk.called("issue") == 1
    await desk.time.advance(1)
    assert len(desk.facts(v.IssuanceCompleted)) == 4
    assert len(desk.ca.made) == 4


async def test_an_attempt_held_past_its_time_lapses_only_when_the_hold_ends() -> None:
    desk = Desk()
    desk.ca.fail("issue", NotActive("InvalidStateException", "DISABLED", retry_after_s=300))
    await desk.ask()
    await desk.time.advance(299)
    assert desk.facts(v.IssuanceAttemptLapsed) == []
    await desk.time.advance(1)
    assert [fact.in_doubt for fact in desk.facts(v.IssuanceAttemptLapsed)] == [False]
    assert [fact.attempt for fact in desk.facts(v.IssuanceCompleted)] == [2]


# ---------------------------------------------------------------- fetching


async def test_a_certificate_that_is_not_ready_is_asked_for_less_and_less_often() -> None:
    desk = Desk()
    desk.ca.ready_after = timedelta(seconds=10)
    await desk.ask()
    at_s = [desk.time.elapsed_s]
    seen = desk.called("fetch")
    while desk.facts(v.IssuanceCompleted) == []:
        await desk.time.advance(0.1)
        if desk.called("fetch") > seen:
            seen = desk.called("fetch")
            at_s.append(round(desk.time.elapsed_s, 1))
    assert at_s[:7] == pytest.approx([0, 0.2, 0.6, 1.4, 3.0, 5.0, 7.0], abs=0.11)
    assert desk.facts(v.IssuanceDelayed) == []


async def test_a_certificate_that_takes_too_long_stays_pending_and_is_never_asked_for_anew() -> None:
    desk = Desk(issuing_at_once=1)
    desk.ca.ready_after = timedelta(hours=2)
    await desk.ask(job_id="slow")
    await desk.time.advance(59)
    assert desk.facts(v.IssuanceDelayed) == []
    await desk.time.advance(3)
    (delayed,) = desk.facts(v.IssuanceDelayed)
    assert (delayed.job_id, delayed.code) == ("slow", "RequestInProgressException")
    before = desk.called("fetch")
    await desk.time.advance(3600)
    assert 50 < desk.called("fetch") - before < 70
    desk.ca.ready_after = timedelta()
    await desk.ask(job_id="quick")
    assert [fact.job_id for fact in desk.facts(v.IssuanceCompleted)] == ["quick"], (
        "a pending one holds no place"
    )
    await desk.time.advance(60)
    assert [fact.job_id for fact in desk.facts(v.IssuanceCompleted)] == ["quick", "slow"]
    assert desk.called("issue") == 2


async def test_a_restart_while_pending_goes_on_from_the_reference() -> None:
    desk = Desk()
    desk.ca.ready_after = timedelta(hours=1)
    await desk.ask()
    await desk.time.advance(600)
    desk.restart()
    await desk.time.advance(3600)
    assert desk.called("issue") == 1
    assert len(desk.facts(v.IssuanceCompleted)) == 1


async def test_a_refusal_to_hand_out_the_certificate_is_recorded() -> None:
    desk = Desk()
    desk.ca.fail("fetch", Permanent("AccessDeniedException", "CA policy denied: no"))
    await desk.ask()
    assert [fact.code for fact in desk.facts(v.IssuanceRefused)] == ["AccessDeniedException"]


async def test_silence_while_fetching_is_outlived() -> None:
    desk = Desk()
    desk.ca.fail("fetch", lost(), times=5)
    desk.ca.fail("fetch", NotActive("InvalidStateException", "DISABLED", retry_after_s=30))
    await desk.ask()
    await desk.time.advance(60)
    assert desk.facts(v.IssuanceCompleted)
