"""Who has a place, what is given twice or given up, and how the issuance actor ends."""

from __future__ import annotations

from datetime import timedelta

from actors.issuance import Wanted
from actors.mailbox import MailboxState
from bfactors import evidence as v
from bfactors.ca import (
    NotActive,
    Permanent,
)
from bfactors.effect import StartRenewal
from tests.actors.test_issuance import Desk, lost, throttled
from tests.actors.test_issuance_revocation import revocation
from tests.fakes.ca import settle

# ---------------------------------------------------------------- given again, settled, places


async def test_an_effect_given_again_is_not_doubled_at_any_stage() -> None:
    desk = Desk()
    desk.ca.ready_after = timedelta(seconds=5)
    effect = desk.issue()
    for _ in range(3):
        desk.want(effect)
    await settle()
    desk.want(effect)
    await desk.time.advance(10)
    assert len(desk.facts(v.IssuanceCompleted)) == 1
    assert desk.called("issue") == 1
    fetched = desk.called("fetch")
    desk.actor.tell(Wanted(effect))  # the ledger has settled it already: this one overtook the news
    await desk.time.advance(1)
    assert desk.called("issue") <= 2
    assert len(desk.ca.made) == 1
    assert desk.called("fetch") >= fetched


async def test_what_is_reported_is_not_carried_out_again_before_it_is_settled() -> None:
    desk = Desk()
    desk.ca.fail("issue", Permanent("AccessDeniedException", ""))
    effect = desk.issue()
    desk.actor.tell(Wanted(effect))  # not known to the ledger of this test: nothing settles it
    await settle()
    desk.actor.tell(Wanted(effect))
    await desk.time.advance(60)
    assert desk.called("issue") == 1


async def test_a_new_life_ahead_of_the_ledger_tells_the_same_facts_under_the_same_ids() -> None:
    desk = Desk()
    desk.ledger_lags = True
    await desk.ask()
    told = dict(desk.evidence)
    assert desk.kinds() == ["IssuanceRequested", "IssuanceCompleted"]
    desk.restart()
    await desk.time.advance(10)
    assert desk.called("issue") == 2
    assert len(desk.ca.made) == 1
    assert desk.evidence == told


async def test_only_so_many_certificates_are_in_the_making_and_the_rest_follow_in_order() -> None:
    desk = Desk(issuing_at_once=2)
    desk.ca.ready_after = timedelta(seconds=1)
    for number in range(5):
        desk.want(desk.issue(job_id=f"j{number}"))
    await settle()
    assert desk.called("issue") == 2
    assert desk.metrics.gauges["bf_issuance_waiting", "charging_station", "IssueCertificate"] == 3
    await desk.time.advance(10)
    assert [order.token for order in desk.ca.orders] == [f"j{number}-1" for number in range(5)]
    assert len(desk.facts(v.IssuanceCompleted)) == 5


async def test_what_ends_soon_goes_before_routine_and_an_incident_needs_no_free_place() -> None:
    desk = Desk(issuing_at_once=1)
    desk.ca.ready_after = timedelta(seconds=1)
    now = desk.time.now()
    for job_id, until in (("a", None), ("b", now + timedelta(days=20)), ("soon", now + timedelta(days=6))):
        desk.want(desk.issue(job_id=job_id, replaces_until=until))
    await settle()
    assert [order.token for order in desk.ca.orders] == ["a-1"]
    desk.want(desk.issue(job_id="stolen", is_incident=True))
    await settle()
    assert [order.token for order in desk.ca.orders] == ["a-1", "stolen-1"]
    await desk.time.advance(10)
    assert [order.token for order in desk.ca.orders] == ["a-1", "stolen-1", "soon-1", "b-1"]
    assert [order.urgency for order in desk.ca.orders] == [2, 0, 1, 2]


async def test_an_effect_given_up_before_its_turn_is_not_carried_out() -> None:
    desk = Desk(issuing_at_once=1)
    desk.ca.ready_after = timedelta(seconds=1)
    desk.want(desk.issue(job_id="a"))
    desk.want(desk.issue(job_id="b"))
    await settle()
    desk.settle("b:1")
    await desk.time.advance(10)
    assert [order.token for order in desk.ca.orders] == ["a-1"]


async def test_an_effect_given_up_before_any_call_left_makes_no_call() -> None:
    desk = Desk()
    desk.ca.fail("issue", throttled())
    await desk.ask()
    desk.settle("job:1")
    await desk.time.advance(300)
    assert desk.ca.made == {}
    assert desk.kinds() == []


async def test_an_effect_given_up_after_a_call_left_is_completed_and_its_certificate_recorded() -> None:
    desk = Desk()
    desk.ca.fail("issue", lost(), took_effect=True)
    await desk.ask()
    desk.settle("job:1")
    await desk.time.advance(30)
    assert len(desk.ca.made) == 1
    assert len(desk.facts(v.IssuanceCompleted)) == 1


async def test_a_pause_changes_nothing_for_what_was_decided() -> None:
    desk = Desk()
    desk.actor.set_paused(True)
    await desk.ask()
    assert desk.facts(v.IssuanceCompleted)


async def test_renewals_are_left_to_their_own_actor() -> None:
    desk = Desk()
    desk.want(
        StartRenewal(
            effect_id="c:renew",
            charger_id="CP-1",
            purpose="charging_station",
            certificate_id="c",
            job_id="j",
            due_reason="renewal-window",
        )
    )
    await desk.time.advance(10)
    assert (desk.journal, desk.actor.is_idle) == ([], True)


# ---------------------------------------------------------------- ends


async def test_an_error_nobody_foresaw_fails_the_actor_and_the_next_one_goes_on() -> None:
    desk = Desk()
    desk.ca.rewrite = lambda _: (_ for _ in ()).throw(ZeroDivisionError("a bug"))
    await desk.ask()
    assert desk.actor.state is MailboxState.FAILED
    assert [type(error) for error in desk.failures] == [ZeroDivisionError]
    desk.ca.rewrite = lambda chain: chain
    desk.restart()
    await settle()
    assert len(desk.ca.made) == 1
    assert len(desk.facts(v.IssuanceCompleted)) == 1


async def test_a_drain_finishes_the_calls_and_leaves_what_only_waits_to_the_next() -> None:
    desk = Desk(issuing_at_once=2)
    desk.ca.ready_after = timedelta(hours=1)
    await desk.ask(job_id="pending")
    await desk.time.advance(120)
    desk.ca.ready_after = timedelta()
    desk.want(desk.issue(job_id="calling"))
    await settle(3)
    await desk.actor.drain()
    assert [fact.job_id for fact in desk.facts(v.IssuanceCompleted)] == ["calling"]
    desk.restart()
    await settle()
    assert [fact.job_id for fact in desk.facts(v.IssuanceCompleted)] == ["calling", "pending"]
    assert desk.called("issue") == 2


async def test_a_drain_does_not_wait_for_a_ca_that_is_left_alone_and_records_no_lapse() -> None:
    desk = Desk()
    desk.ca.fail("issue", NotActive("InvalidStateException", "DISABLED", retry_after_s=300))
    desk.ca.fail("revoke", NotActive("InvalidStateException", "DISABLED", retry_after_s=300))
    await desk.ask()
    desk.want(revocation())
    await settle()
    await desk.actor.drain()
    assert desk.kinds() == ["IssuanceDelayed"]
    assert set(desk.outstanding) == {"job:1", "c:revoke"}
