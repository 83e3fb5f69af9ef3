"""Waivers: what they set aside, above which policies, from when to when, and how they end."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.admission import AdmissionRecord
from bfactors.charger import clock as charger_clock
from bfactors.charger import outgoing
from bfactors.fleet import clock, waiver
from bfactors.fleet import decide as fleet
from bfactors.fleet.charger_policy import policy_for, policy_with_origin
from bfactors.fleet.state import FleetFacts, FleetState
from bfactors.notice import KINDS
from bfactors.ocpp import CallFailed
from bfactors.policy import Policy
from bfactors.waiver import EXEMPTIONS, RULES, exemption
from tests.core import pki
from tests.core.ledger import Partition, asked, fact, registration
from tests.core.world import World, evidence, fleet_facts

ADA, BEN = "operator:ada", "operator:ben"
NOW = pki.BEGIN + timedelta(days=10)
END = NOW + timedelta(days=30)
PURPOSE = "charging_station"


def wanted(subject: str = "charger:CP-1", rule: str = "validity_days", value: Any = 60, **fields: Any) -> Any:
    values: dict[str, Any] = {
        "waiver_id": f"w-{subject}-{rule}",
        "subject": subject,
        "purpose": PURPOSE,
        "rule": rule,
        "value": value,
        "reason": "a recall",
        "ends_at": END,
        "family": "acme-one" if subject.startswith("charger:") else "",
        "cohort": "canary" if subject.startswith("charger:") else "",
        **fields,
    }
    return c.RequestWaiver(**values)


def policy(scope: str = f"purpose:{PURPOSE}", **values: object) -> c.SetPolicy:
    return c.SetPolicy(scope=scope, values=values)


class Fleet:
    """The fleet's partition, and two people."""

    def __init__(self) -> None:
        self.state = FleetState()
        self.now = NOW
        self.events: list[str] = []

    def say(self, command: fleet.FleetCommand, actor: str = ADA) -> fleet.FleetDecision:
        return self._take(fleet.decide_command(self.state, command, actor, self.now))

    def decide(self, held: fleet.FleetDecision, verdict: Any = "approve", actor: str = BEN) -> Any:
        decision = c.DecideFleetApproval(
            approval_id=held.result["approval_id"],
            verdict=verdict,
            content_hash=held.result["content_hash"],
            reason="seen",
        )
        return self.say(decision, actor)

    def grant(self, command: c.RequestWaiver) -> Any:
        held = self.say(command)
        assert held.refusal is None, held.refusal
        assert held.is_held
        given = self.decide(held)
        assert given.refusal is None, given.refusal
        return given

    def wait_until(self, at: datetime) -> fleet.FleetDecision:
        self.now = at
        rang = evidence("", v.DeadlinePassed(at=at))
        return self._take(fleet.decide_evidence(self.state, rang, at))

    def _take(self, decision: fleet.FleetDecision) -> fleet.FleetDecision:
        self.state = decision.state
        self.events += [type(event).__name__ for event in decision.events]
        return decision

    def held(self, charger_id: str = "CP-1", **changes: Any) -> Policy:
        whose: dict[str, Any] = {"family": "acme-one", "cohort": "canary", "now": self.now, **changes}
        return policy_for(self.state.facts, PURPOSE, charger_id=charger_id, **whose)


def refused(decision: fleet.FleetDecision) -> tuple[str, str | None]:
    assert decision.refusal is not None
    assert decision.events == ()
    return decision.refusal.code, decision.refusal.field


# ---------------------------------------------------------------- its way


def test_a_waiver_asked_for_twice_or_late_or_never_is_one_waiver() -> None:
    system = Fleet()
    held = system.say(wanted())
    again = system.say(wanted())
    assert again.result["approval_id"] == held.result["approval_id"]
    assert again.events == ()
    system.decide(held)
    twice = system.say(wanted())
    assert (twice.events, twice.is_held, twice.result["state"]) == ((), False, "in-force")
    never = system.say(wanted("charger:CP-2"))
    system.wait_until(NOW + timedelta(hours=72))
    assert system.state.approvals[never.result["approval_id"]].state == "expired"
    assert system.state.waivers["w-charger:CP-2-validity_days"].state == "rejected"
    late = system.decide(never)
    assert refused(late)[0] == "approval-ended"


def test_a_waiver_is_asked_for_by_one_and_granted_by_another() -> None:
    system = Fleet()
    assert system.held().validity_days == 180
    held = system.say(wanted())
    assert system.events == ["ApprovalRequested", "WaiverRequested"]
    assert system.held().validity_days == 180
    assert not fleet.changes_facts(held.events)
    given = system.decide(held)
    assert system.events[2:] == ["ApprovalDecided", "WaiverGranted"]
    assert fleet.changes_facts(given.events)
    assert system.held().validity_days == 60
    one = system.state.waivers["w-charger:CP-1-validity_days"]
    assert (one.author, one.approver, one.state, one.granted_at) == (ADA, BEN, "in-force", NOW)


@pytest.mark.parametrize(
    ("verdict", "actor", "state"), [("reject", BEN, "rejected"), ("withdraw", ADA, "withdrawn")]
)
def test_a_waiver_not_granted_is_over_and_can_be_asked_for_anew(verdict: str, actor: str, state: str) -> None:
    system = Fleet()
    system.decide(system.say(wanted()), verdict, actor)
    assert system.events[2:] == ["ApprovalDecided", "WaiverRejected"]
    one = system.state.waivers["w-charger:CP-1-validity_days"]
    assert (one.state, one.end_reason) == (
        "rejected",
        f"its approval is {verdict}{'n' if verdict == 'withdraw' else 'ed'}: seen",
    )
    system.grant(wanted(waiver_id="w2"))
    assert system.held().validity_days == 60


def test_where_policy_asks_for_nobody_else_it_is_in_force_at_once() -> None:
    system = Fleet()
    system.say(policy(approvals_needed=["rollback"]), "system:start")
    done = system.say(wanted())
    assert [type(event).__name__ for event in done.events] == ["WaiverRequested", "WaiverGranted"]
    assert (done.is_held, done.result["approver"]) == (False, None)


# ---------------------------------------------------------------- what it stands above


def test_a_charger_s_waiver_stands_above_its_cohort_s_above_every_policy_field_by_field() -> None:
    system = Fleet()
    system.say(policy(f"cohort:canary/{PURPOSE}", validity_days=100, max_attempts=9, renewal_spread_days=2))
    system.grant(wanted("cohort:canary", "validity_days", 90))
    system.grant(wanted("cohort:canary", "max_attempts", 3))
    system.grant(wanted("charger:CP-1", "validity_days", 60))
    found, origin = policy_with_origin(
        system.state.facts, PURPOSE, charger_id="CP-1", family="acme-one", cohort="canary", now=NOW
    )
    assert (found.validity_days, found.max_attempts, found.renewal_spread_days) == (60, 3, 2)
    assert origin["validity_days"] == "waiver:w-charger:CP-1-validity_days"
    assert origin["max_attempts"] == "waiver:w-cohort:canary-max_attempts"
    assert origin["renewal_spread_days"] == f"cohort:canary/{PURPOSE}"
    assert origin["last_safe_days"] == "built-in"
    assert system.held() == found
    assert (system.held("CP-2").validity_days, system.held("CP-2").max_attempts) == (90, 3)
    assert system.held("CP-1", cohort="rest").max_attempts == Policy().max_attempts


def test_a_waiver_of_one_purpose_is_none_of_another() -> None:
    system = Fleet()
    system.grant(wanted())
    other = policy_for(
        system.state.facts, "backend_server", charger_id="CP-1", family="acme-one", cohort="canary", now=NOW
    )
    assert other.validity_days == Policy().validity_days


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"subject": "site:north"}, "invalid-value", "subject"),
        ({"subject": "charger:"}, "invalid-value", "subject"),
        ({"purpose": "teapot"}, "unknown-purpose", "purpose"),
        ({"reason": "  "}, "reason-missing", "reason"),
        ({"rule": "lunch"}, "not-waivable", "rule"),
        ({"rule": "approvals_needed", "value": ["rollback"]}, "not-waivable", "rule"),
        ({"rule": "waiver_longest_days", "value": 900}, "not-waivable", "rule"),
        ({"rule": "trust-gate", "value": 1}, "invalid-value", "value"),
        ({"ends_at": NOW}, "end-out-of-range", "ends_at"),
        ({"ends_at": NOW + timedelta(days=90, seconds=1)}, "end-out-of-range", "ends_at"),
        ({"value": "long"}, "invalid-value", "value"),
        ({"value": None}, "invalid-value", "value"),
        ({"value": 0}, "contradiction", "value"),
        ({"value": 20}, "contradiction", "rule"),
        ({"value": 1096}, "realm-rule", "value"),
        ({"rule": "confirm_rung", "value": "hoped"}, "contradiction", "value"),
    ],
)
def test_what_cannot_be_waived_is_refused_with_its_reason(
    changes: dict[str, Any], code: str, field: str
) -> None:
    assert refused(Fleet().say(wanted(**changes))) == (code, field)


def test_a_rule_that_is_waived_already_is_not_waived_again_by_somebody_else() -> None:
    system = Fleet()
    system.grant(wanted())
    assert refused(system.say(wanted(waiver_id="other", value=61)))[0] == "waiver-in-force"
    system.say(c.EndWaiver(waiver_id="w-charger:CP-1-validity_days", reason="done"))
    system.grant(wanted(waiver_id="other", value=61))


def test_two_asked_for_at_once_do_not_both_come_into_force() -> None:
    system = Fleet()
    first, second = system.say(wanted()), system.say(wanted(waiver_id="w2", value=61))
    system.decide(first)
    over = system.decide(second)
    assert over.refusal is not None
    assert over.refusal.code == "waiver-in-force"
    assert system.state.waivers["w2"].state == "rejected"
    assert system.held().validity_days == 60


def test_a_policy_that_a_waiver_would_contradict_is_refused() -> None:
    system = Fleet()
    system.grant(wanted("cohort:canary"))
    said = system.say(policy(renew_before_days=70))
    assert said.refusal is not None
    assert said.refusal.code == "contradiction"
    assert "w-cohort:canary-validity_days" in said.refusal.message
    system.now = END
    assert system.say(policy(renew_before_days=70)).refusal is None


def test_a_waiver_that_has_come_to_contradict_is_passed_over() -> None:
    system = Fleet()
    system.grant(wanted("charger:CP-1", "validity_days", 60))
    system.say(policy("cohort:slow/charging_station", renew_before_days=70))
    moved = system.held(cohort="slow")  # the charger moved there
    assert (moved.validity_days, moved.renew_before_days) == (180, 70)


# ---------------------------------------------------------------- its end


@pytest.mark.parametrize(
    ("at", "days"),
    [(END - timedelta(microseconds=1), 60), (END, 180), (END + timedelta(days=1), 180)],
)
def test_it_holds_up_to_its_end_and_not_at_it_whoever_has_noticed(at: datetime, days: int) -> None:
    system = Fleet()
    system.grant(wanted())
    assert system.held(now=at).validity_days == days


@pytest.mark.parametrize("state", ["requested", "rejected", "ended"])
def test_what_was_never_granted_or_has_been_ended_holds_at_no_time(state: str) -> None:
    system = Fleet()
    system.grant(wanted())
    one = system.state.waivers["w-charger:CP-1-validity_days"]
    assert one.holds(NOW)
    assert not msgspec.structs.replace(one, state=state).holds(NOW)


def test_it_is_announced_once_and_ends_by_itself_once() -> None:
    system = Fleet()
    system.grant(wanted())
    soon = END - timedelta(days=7)
    assert clock.next_due(system.state) == soon
    assert system.wait_until(soon - timedelta(seconds=1)).events == ()
    (ending,) = system.wait_until(soon).events
    assert isinstance(ending, e.WaiverEnding)
    assert not fleet.changes_facts((ending,))
    assert clock.next_due(system.state) == END
    assert system.wait_until(soon + timedelta(days=1)).events == ()
    (ended,) = system.wait_until(END).events
    assert isinstance(ended, e.WaiverEnded)
    assert ended.cause == "date-passed"
    assert system.state.facts.waivers == {}
    assert clock.next_due(system.state) is None
    assert system.wait_until(END + timedelta(days=1)).events == ()


def test_a_short_one_is_announced_in_its_second_half_and_none_if_policy_says_so() -> None:
    system = Fleet()
    system.grant(wanted(ends_at=NOW + timedelta(days=2)))
    assert clock.next_due(system.state) == NOW + timedelta(days=1)
    system = Fleet()
    system.say(policy(waiver_alert_days=0))
    system.grant(wanted())
    assert clock.next_due(system.state) == END


def test_it_is_ended_by_hand_once_and_says_by_what() -> None:
    system = Fleet()
    system.grant(wanted())
    end = c.EndWaiver(waiver_id="w-charger:CP-1-validity_days", reason="recall over")
    done = system.say(end)
    assert done.result["state"] == "ended"
    assert system.held().validity_days == 180
    assert refused(system.say(end)) == ("waiver-not-in-force", "waiver_id")
    assert refused(system.say(msgspec.structs.replace(end, waiver_id="none")))[0] == "unknown-waiver"
    system.say(wanted("charger:CP-2"))
    early = msgspec.structs.replace(end, waiver_id="w-charger:CP-2-validity_days")
    assert refused(system.say(early))[0] == "waiver-not-in-force"


def test_what_is_shown_is_over_at_its_end() -> None:
    system = Fleet()
    one = system.grant(wanted()).state.waivers["w-charger:CP-1-validity_days"]
    assert waiver.body(one, END - timedelta(seconds=1))["state"] == "in-force"
    assert waiver.body(one, END)["state"] == "ended"
    assert waiver.body(one, END)["charger_id"] == "CP-1"


def test_the_fleet_s_partition_wakes_at_its_end_also_after_a_restart() -> None:
    partition = Partition(0)
    system = Fleet()
    system.now = partition.now
    system.grant(wanted())
    partition.fleet, partition.facts = system.state, system.state.facts
    batch = partition.commit(asked(policy(max_attempts=4)))
    assert [(row.key, row.due_at) for row in batch.timers] == [("fleet", END - timedelta(days=7))]
    # the state as another owner reads it back
    partition.fleet = msgspec.json.decode(msgspec.json.encode(partition.fleet), type=FleetState)
    partition.now = END
    over = partition.commit(fact(v.DeadlinePassed(at=END), ""))
    assert [event.event for event in over.events] == ["WaiverEnded"]
    assert [row.due_at for row in over.timers] == [None]


# ---------------------------------------------------------------- chargers


def with_waivers(*commands: c.RequestWaiver) -> FleetFacts:
    """Facts in which these are in force."""
    system = Fleet()
    for command in commands:
        system.grant(command)
    facts = fleet_facts()
    return msgspec.structs.replace(facts, waivers=system.state.facts.waivers, sequence=facts.sequence + 1)


def admission(world: World) -> AdmissionRecord:
    return outgoing.admission(world.charger)


def test_a_charger_wakes_when_a_waiver_that_reaches_it_ends_and_goes_by_its_policy_again() -> None:
    world = World(with_waivers(wanted("cohort:canary", "subject_match", "contains")))
    world.request()
    assert admission(world).subject_match == "contains"
    due = charger_clock.next_due(world.charger, world.facts, END - timedelta(seconds=1))
    assert due is not None
    assert due <= END
    assert END in set(_moments(world))
    world.now = END
    world.tell(v.DeadlinePassed(at=END))  # the fleet's partition has said nothing yet
    assert admission(world).subject_match == "exact"
    assert END not in set(_moments(world))


def _moments(world: World) -> list[datetime]:
    return list(charger_clock._moments(world.charger, world.facts, world.now))


def test_a_waiver_of_another_cohort_or_charger_wakes_nobody_here() -> None:
    world = World(with_waivers(wanted("cohort:rest"), wanted("charger:CP-2")))
    world.request()
    assert END not in set(_moments(world))


def test_a_change_of_waivers_has_every_charger_looked_at() -> None:
    partition = Partition()
    partition.commit(asked(registration()))
    facts = with_waivers(wanted())
    changed = v.FleetFactsChanged(facts=msgspec.structs.replace(facts, sequence=partition.facts.sequence + 1))
    fold = partition.fold([])
    fold.evidence(fact(changed, ""), 1)
    assert fold.everyone_concerned


def test_the_trust_gate_is_waived_for_a_charger_that_cannot_list_and_says_so() -> None:
    world = World(with_waivers(wanted("charger:CP-1", "trust-gate", None)))
    assert _gate_of_one_that_cannot_list(world).reason_code != "cannot-confirm-trust-anchor"
    names = [type(event).__name__ for event in world.events]
    assert names.count("TrustGateWaived") == names.count("TrustAnchorBundleConfirmed") == 1
    (waived,) = (event for event in world.events if isinstance(event, e.TrustGateWaived))
    assert waived.waiver_id == "w-charger:CP-1-trust-gate"


def test_without_the_waiver_and_after_it_the_gate_stays_shut() -> None:
    world = World()
    assert _gate_of_one_that_cannot_list(world).reason_code == "cannot-confirm-trust-anchor"
    short = NOW + timedelta(hours=1)
    world = World(with_waivers(wanted("charger:CP-1", "trust-gate", None, ends_at=short)))
    world.now = short
    assert _gate_of_one_that_cannot_list(world).reason_code == "cannot-confirm-trust-anchor"


def _gate_of_one_that_cannot_list(world: World) -> Any:
    world.request()
    world.connect()
    world.carry_out()
    world.carry_out()
    world.carry_out(CallFailed("NotSupported"))
    (job,) = world.charger.jobs.values()
    return job


def test_an_exemption_holds_for_its_charger_its_purpose_and_its_time() -> None:
    system = Fleet()
    system.grant(wanted("cohort:canary", "unqualified-family", None))
    waivers = system.state.facts.waivers
    whose: dict[str, Any] = {"charger_id": "CP-1", "cohort": "canary", "purpose": PURPOSE, "now": NOW}
    assert exemption(waivers, "unqualified-family", **whose) is not None
    for changes in ({"cohort": "rest"}, {"purpose": "backend_server"}, {"now": END}):
        assert exemption(waivers, "unqualified-family", **(whose | changes)) is None
    assert exemption(waivers, "trust-gate", **whose) is None
    assert system.held() == Policy()  # an exemption is no value of a policy


def test_rules_are_policy_fields_or_exemptions_and_what_governs_waivers_is_neither() -> None:
    assert set(EXEMPTIONS) <= set(RULES)
    assert not {"approvals_needed", "approval_valid_hours", "waiver_longest_days"} & set(RULES)
    assert "mode" not in RULES, "what is owed to CAs and clocks is derived without a time (charger.outgoing)"
    assert set(RULES) - set(EXEMPTIONS) <= set(Policy.__struct_fields__)


def test_somebody_is_told_before_and_when_one_ends() -> None:
    assert {"WaiverGranted", "WaiverEnding", "WaiverEnded", "ApprovalRequested"} <= set(KINDS)


def test_waivers_are_bounded() -> None:
    system = Fleet()
    system.say(policy(approvals_needed=["rollback"]), "system:start")
    for number in range(waiver.MOST_WAIVERS):
        assert system.say(wanted(f"charger:C{number}")).refusal is None
    assert refused(system.say(wanted("charger:one-more")))[0] == "too-many-waivers"
    for number in range(waiver.MOST_WAIVERS):
        system.say(c.EndWaiver(waiver_id=f"w-charger:C{number}-validity_days", reason="over"))
    assert len(system.state.waivers) == 200


def test_an_id_that_was_used_for_another_waiver_is_refused_even_if_one_word_differs() -> None:
    system = Fleet()
    system.grant(wanted(waiver_id="w1"))
    other = system.say(wanted(waiver_id="w1", reason="something else")).refusal
    assert other is not None
    assert (other.code, other.status) == ("waiver-exists", 409)
    assert system.say(wanted(waiver_id="w1")).events == ()


def test_a_waiver_from_before_a_realm_had_its_rule_is_passed_over_with_the_charger_s_others() -> None:
    system = Fleet()
    system.grant(wanted(waiver_id="w1"))
    [one] = system.state.waivers.values()
    longer = msgspec.structs.replace(one, waiver_id="w2", value=1096)
    other = msgspec.structs.replace(one, waiver_id="w3", rule="max_attempts", value=9)
    waivers = {one.subject: (longer, other)}
    facts = msgspec.structs.replace(system.state.facts, waivers=waivers)
    named: dict[str, Any] = {"charger_id": "CP-1", "family": "acme-one", "cohort": "canary", "now": NOW}
    held = policy_for(facts, "charging_station", **named)
    assert (held.validity_days, held.max_attempts) == (180, Policy().max_attempts)
    kept = msgspec.structs.replace(facts, waivers={one.subject: (other,)})
    assert policy_for(kept, "charging_station", **named).max_attempts == 9
