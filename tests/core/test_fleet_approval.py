"""Fleet commands that need a second person: asked for, decided once, carried out as they were read."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.fleet import clock
from bfactors.fleet import decide as fleet
from bfactors.fleet.approval import KINDS, MOST_OPEN
from bfactors.fleet.state import FleetState
from bfactors.incident import Selector
from bfactors.policy import effective
from bfactors.x509 import parse_certificate
from tests.core import pki
from tests.core.ledger import Partition, asked, fact
from tests.core.world import evidence

ADA, BEN = "operator:ada", "operator:ben"
PURPOSE = "purpose:charging_station"
TWO = ["rollback", "waiver", "incident", "rollover", "policy", "trust-anchor-bundle"]


def setting(scope: str = PURPOSE, **values: object) -> c.SetPolicy:
    return c.SetPolicy(scope=scope, values=values, reason="because")


class Fleet:
    """A fleet's partition in which setting a policy takes two."""

    def __init__(self, approvals_needed: Any = None) -> None:
        self.state = FleetState()
        self.now = pki.BEGIN
        self.events: list[e.FleetEvent] = []
        needed = TWO if approvals_needed is None else approvals_needed
        self.say(setting(approvals_needed=needed), "system:start")
        bundles = setting("purpose:backend_server", approvals_needed=needed)
        self.say(bundles, "system:start")

    def say(self, command: fleet.FleetCommand, actor: str = ADA) -> fleet.FleetDecision:
        return self._take(fleet.decide_command(self.state, command, actor, self.now))

    def wait(self, **duration: float) -> fleet.FleetDecision:
        """Time passes, and the partition's clock rings."""
        self.now += timedelta(**duration)
        rang = evidence("", v.DeadlinePassed(at=self.now))
        return self._take(fleet.decide_evidence(self.state, rang, self.now))

    def _take(self, decision: fleet.FleetDecision) -> fleet.FleetDecision:
        self.state = decision.state
        self.events += decision.events
        return decision

    def decide(
        self, approval: dict[str, Any], actor: str = BEN, verdict: Any = "approve", **changes: Any
    ) -> fleet.FleetDecision:
        command = c.DecideFleetApproval(
            approval_id=approval["approval_id"],
            verdict=verdict,
            content_hash=approval["content_hash"],
            reason="read it",
        )
        return self.say(msgspec.structs.replace(command, **changes), actor)

    @property
    def validity_days(self) -> int:
        policies = self.state.facts.policies
        return effective(policies, purpose="charging_station", family="f", cohort="c").validity_days


def names(decision: fleet.FleetDecision) -> list[str]:
    return [type(event).__name__ for event in decision.events]


WANTED = setting(validity_days=90, approvals_needed=TWO)


def test_a_command_that_takes_two_waits_and_says_for_what() -> None:
    system = Fleet()
    held = system.say(WANTED)
    assert held.is_held
    assert names(held) == ["ApprovalRequested"]
    assert system.validity_days == 180
    shown = held.result
    assert (shown["kind"], shown["subject"], shown["state"]) == ("policy", PURPOSE, "open")
    assert shown["author"] == ADA
    assert shown["expires_at"] == system.now + timedelta(hours=72)
    assert shown["content"] == msgspec.to_builtins(WANTED)


def test_what_was_approved_is_carried_out_in_the_same_decision() -> None:
    system = Fleet()
    held = system.say(WANTED)
    given = system.decide(held.result)
    assert names(given) == ["ApprovalDecided", "PolicySetChanged"]
    assert given.refusal is None
    assert (given.result["state"], given.result["decided_by"]) == ("approved", BEN)
    assert system.validity_days == 90


def test_a_command_said_twice_opens_one_approval() -> None:
    system = Fleet()
    first, again = system.say(WANTED), system.say(WANTED, BEN)
    assert again.events == ()
    assert again.result == first.result
    other = system.say(setting(validity_days=91, approvals_needed=TWO))
    assert other.result["approval_id"] != first.result["approval_id"]


def test_an_approval_given_twice_or_late_or_never_does_nothing_more() -> None:
    system = Fleet()
    twice = system.say(WANTED).result
    system.decide(twice)
    again = system.decide(twice)
    assert again.refusal is not None
    assert (again.refusal.code, again.events) == ("approval-ended", ())
    late = system.say(setting(validity_days=60, approvals_needed=TWO)).result
    system.now += timedelta(hours=72)
    refused = system.decide(late)  # the clock has not rung yet
    assert refused.refusal is not None
    assert refused.refusal.code == "approval-ended"
    assert system.validity_days == 90
    lapsed = system.wait(seconds=0)
    assert names(lapsed) == ["ApprovalDecided"]
    assert system.state.approvals[late["approval_id"]].state == "expired"
    assert system.wait(days=1).events == ()
    assert clock.next_due(system.state) is None


@pytest.mark.parametrize(
    ("actor", "verdict", "changes", "code", "status"),
    [
        (ADA, "approve", {}, "own-approval", 403),
        (ADA, "reject", {}, "own-approval", 403),
        (BEN, "withdraw", {}, "not-author", 403),
        (BEN, "approve", {"content_hash": "0" * 64}, "content-changed", 409),
        (BEN, "reject", {"content_hash": "0" * 64}, "content-changed", 409),
        (ADA, "withdraw", {"content_hash": "0" * 64}, "content-changed", 409),
        (BEN, "approve", {"approval_id": "none"}, "unknown-approval", 404),
    ],
)
def test_who_may_not_decide_is_told_why_and_changes_nothing(
    actor: str, verdict: str, changes: dict[str, Any], code: str, status: int
) -> None:
    system = Fleet()
    shown = system.say(WANTED).result
    refused = system.decide(shown, actor, verdict, **changes)
    assert refused.refusal is not None
    assert (refused.refusal.code, refused.refusal.status, refused.events) == (code, status, ())
    assert system.state.approvals[shown["approval_id"]].state == "open"


@pytest.mark.parametrize(
    ("actor", "verdict", "state"), [(BEN, "reject", "rejected"), (ADA, "withdraw", "withdrawn")]
)
def test_what_is_not_given_is_never_carried_out(actor: str, verdict: str, state: str) -> None:
    system = Fleet()
    shown = system.say(WANTED).result
    ended = system.decide(shown, actor, verdict)
    assert ended.result["state"] == state
    again = system.decide(shown)
    assert again.refusal is not None
    assert (again.refusal.code, again.refusal.status) == ("approval-ended", 409)
    assert again.refusal.message == f"the approval is {state}"
    assert system.validity_days == 180
    assert system.say(WANTED).result["approval_id"] != shown["approval_id"]


def test_what_is_too_long_to_be_read_is_not_asked_for() -> None:
    system = Fleet()
    named = tuple(f"{number:064x}" for number in range(500))
    long = Selector(
        purpose="charging_station",
        certificate_ids=named,
        spki_sha256=named,
        issuing_ca_ids=named,
        families=named,
    )
    refused = system.say(
        c.OpenIncident(
            incident_id="i1",
            name="many",
            reason="keys",
            mode="revoke",
            revocation_reason="superseded",
            selector=long,
            percent=100,
        )
    )
    assert refused.refusal is not None
    assert (refused.refusal.code, refused.events) == ("too-large", ())
    assert not system.state.approvals


STOLEN = c.OpenIncident(
    incident_id="i1",
    name="stolen laptop",
    reason="keys",
    mode="revoke",
    revocation_reason="superseded",
    selector=Selector(purpose="charging_station", families=("f",)),
    expected=3,
)


@pytest.mark.parametrize(
    ("afresh", "agreed"),
    [({"agreed": 5}, 5), ({}, None), ({"agreed": 5, "expected": 9, "percent": 1}, 5)],
)
def test_how_many_an_incident_reached_is_read_when_it_is_agreed_to_and_the_rest_is_as_it_was_asked(
    afresh: dict[str, int], agreed: int | None
) -> None:
    system = Fleet()
    shown = system.say(STOLEN).result
    assert "agreed" not in shown["content"]
    assert system.decide(shown, afresh=afresh).refusal is None
    opened = system.state.facts.incidents["i1"]
    assert (opened.agreed, opened.expected, opened.percent) == (agreed, 3, 100)
    assert opened.selector == STOLEN.selector


def test_the_hash_of_an_incident_is_of_its_rule_and_not_of_what_is_counted_later() -> None:
    system = Fleet()
    shown = system.say(STOLEN).result
    again = system.say(msgspec.structs.replace(STOLEN, agreed=7)).result
    assert again["approval_id"] == shown["approval_id"]
    wider = Selector(purpose="charging_station", families=("f", "g"))
    other = system.say(msgspec.structs.replace(STOLEN, selector=wider)).result
    assert other["content_hash"] != shown["content_hash"]


def test_where_nobody_need_agree_nobody_counted() -> None:
    system = Fleet(["rollback"])
    system.say(msgspec.structs.replace(STOLEN, agreed=7))
    assert system.state.facts.incidents["i1"].agreed is None


def test_what_a_bundle_is_noted_for_is_why_it_is_asked_for() -> None:
    system = Fleet()
    bundle = c.CreateTrustAnchorBundle(
        bundle_id="b1", purpose="backend_server", anchors_pem=(pki.ca().root_pem,), note="next year's root"
    )
    assert system.say(bundle).result["reason"] == "next year's root"
    assert system.say(WANTED).result["reason"] == "because"


def test_what_was_written_against_another_state_is_stale() -> None:
    system = Fleet()
    first = system.say(WANTED).result
    second = system.say(setting("cohort:c/charging_station", max_attempts=2)).result
    given = system.decide(first)
    assert names(given) == ["ApprovalDecided", "PolicySetChanged", "ApprovalDecided"]
    over = system.state.approvals[second["approval_id"]]
    assert over.state == "stale"
    assert "policy version 3" in (over.decision_reason or "")
    refused = system.decide(second)
    assert refused.refusal is not None
    assert refused.refusal.code == "approval-ended"


def test_a_bundle_is_stale_when_another_has_come_and_not_when_a_policy_has() -> None:
    system = Fleet()
    bundle = c.CreateTrustAnchorBundle(
        bundle_id="b1", purpose="backend_server", anchors_pem=(pki.ca().root_pem,)
    )
    shown = system.say(bundle).result
    system.decide(system.say(WANTED).result)
    assert system.state.approvals[shown["approval_id"]].state == "open"
    other = msgspec.structs.replace(bundle, bundle_id="b2", anchors_pem=(pki.ca("Server").root_pem,))
    system.say(other, "system:start")
    assert system.state.approvals[shown["approval_id"]].state == "stale"


def test_what_cannot_be_done_any_more_ends_with_the_reason() -> None:
    system = Fleet()
    authority = c.RegisterAuthority(
        purpose="charging_station",
        authority_arn="arn:1",
        certificate_pem=pki.ca().pem,
        chain_pem="",
        signing_algorithm="SHA256WITHECDSA",
    )
    system.now = parse_certificate(pki.ca().pem).not_after - timedelta(days=500)
    longest = setting(validity_days=1000, approvals_needed=TWO)
    shown = system.say(longest).result
    system.say(authority, "system:start")  # no policy changed; but the CA ends sooner
    refused = system.decide(shown)
    assert refused.refusal is not None
    assert (refused.refusal.code, refused.refusal.status) == ("authority-cannot", 409)
    assert names(refused) == ["ApprovalDecided"]
    assert system.state.approvals[shown["approval_id"]].state == "stale"


@pytest.mark.parametrize(
    ("command", "held"),
    [
        (setting(approvals_needed=["rollback", "incident"]), True),
        (setting("cohort:c/charging_station", approvals_needed=["rollback"]), True),
        (setting(approvals_needed=["rollback", "waiver", "incident", "policy"]), False),
        (setting(validity_days=90), False),
    ],
)
def test_taking_a_kind_out_takes_two_and_putting_one_in_does_not(command: c.SetPolicy, held: bool) -> None:
    system = Fleet(["rollback", "waiver", "incident"])
    said = system.say(command)
    assert said.refusal is None
    assert said.is_held is held


def test_taking_an_override_back_that_put_a_kind_in_takes_two() -> None:
    system = Fleet(["rollback"])
    scope = "cohort:c/charging_station"
    assert not system.say(setting(scope, approvals_needed=["rollback", "waiver"])).is_held
    assert system.say(setting(scope)).is_held


def test_a_cohort_where_policies_take_two_is_not_passed_by_way_of_its_purpose() -> None:
    system = Fleet(["rollback"])
    system.say(setting("cohort:c/charging_station", approvals_needed=["rollback", "policy"]), "system:start")
    assert system.say(setting(validity_days=90, approvals_needed=["rollback"])).is_held


def test_rollback_cannot_be_taken_out_and_no_other_kind_be_made_up() -> None:
    for needed in ([], ["waiver"], ["rollback", "lunch"]):
        refused = Fleet().say(setting(approvals_needed=needed)).refusal
        assert refused is not None
        assert (refused.code, refused.field) == ("contradiction", "approvals_needed")


def test_what_is_refused_or_changes_nothing_is_not_asked_for() -> None:
    system = Fleet()
    assert system.say(setting(validity_days=0)).refusal is not None
    same = system.say(setting(approvals_needed=TWO))
    assert (same.is_held, same.events) == (False, ())


def test_open_approvals_are_bounded_and_ended_ones_forgotten() -> None:
    system = Fleet()
    for number in range(MOST_OPEN):
        assert system.say(setting(validity_days=100 + number, approvals_needed=TWO)).is_held
    refused = system.say(WANTED).refusal
    assert refused is not None
    assert refused.code == "too-many-approvals"
    first = next(iter(system.state.approvals.values()))
    given = system.decide({"approval_id": first.approval_id, "content_hash": first.content_hash})
    assert (
        len(given.state.approvals) == MOST_OPEN
    )  # one given, all others stale with it: each is still shown once
    assert {one.state for one in given.state.approvals.values()} == {"approved", "stale"}
    for number in range(MOST_OPEN):
        shown = system.say(setting(validity_days=200 + number, approvals_needed=TWO)).result
        system.decide(shown, ADA, "withdraw")
    assert len(system.state.approvals) == MOST_OPEN


def test_the_partition_wakes_at_the_first_approval_that_lapses_and_shows_every_end() -> None:
    partition = Partition(0)
    partition.fleet = Fleet().state
    partition.facts = partition.fleet.facts
    batch = partition.commit(asked(WANTED))
    (timer,) = batch.timers
    assert (timer.key, timer.due_at) == ("fleet", partition.now + timedelta(hours=72))
    assert [row.state for row in batch.approvals] == ["open"]
    assert partition.answers[-1].is_held
    early = partition.commit(fact(v.DeadlinePassed(at=partition.now), ""))
    assert early.events == []
    assert early.timers == [timer]
    partition.now += timedelta(hours=72)
    over = partition.commit(fact(v.DeadlinePassed(at=partition.now), "", "later"))
    assert [row.state for row in over.approvals] == ["expired"]
    assert [row.due_at for row in over.timers] == [None]
    partition.check_chain()


def test_kinds_are_told_apart_by_their_names_and_commands() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    commands = [command for kind in KINDS for command in kind.commands]
    assert len(set(commands)) == len(commands) > len(KINDS)


class Moment(msgspec.Struct, frozen=True):
    who: str
    what: str
    hours: int


MOMENTS = st.lists(
    st.builds(
        Moment,
        st.sampled_from([ADA, BEN, "operator:cid"]),
        st.sampled_from(["ask", "approve", "reject", "withdraw", "wrong-hash", "other"]),
        st.sampled_from([0, 0, 1, 40]),
    ),
    max_size=14,
)


@settings(max_examples=200, deadline=None)
@given(MOMENTS)
def test_nothing_is_ever_done_that_one_person_wanted_alone(moments: list[Moment]) -> None:
    system = Fleet()
    days = 90
    for moment in moments:
        system.wait(hours=moment.hours)
        opened = [one for one in system.state.approvals.values() if one.state == "open"]
        if moment.what in ("ask", "other"):
            days += moment.what == "other"
            system.say(setting(validity_days=days, approvals_needed=TWO), moment.who)
        for one in opened:
            shown = {"approval_id": one.approval_id, "content_hash": one.content_hash}
            if moment.what == "wrong-hash":
                system.decide(shown, moment.who, "approve", content_hash="f" * 64)
            elif moment.what in ("approve", "reject", "withdraw"):
                system.decide(shown, moment.who, moment.what)
    done = [event for event in system.events if isinstance(event, e.PolicySetChanged)][2:]
    asks = {one.approval_id: one for one in system.events if isinstance(one, e.ApprovalRequested)}
    ends = [event for event in system.events if isinstance(event, e.ApprovalDecided)]
    approved = [event for event in ends if event.state == "approved"]
    assert len(done) == len(approved)
    assert len({event.approval_id for event in ends}) == len(ends)  # each ends once
    for event, change in zip(approved, done, strict=True):
        ask = asks[event.approval_id]
        assert event.decided_by != ask.author
        assert change.override.values == msgspec.json.decode(ask.content)["content"]["values"]
    assert all(one.state != "open" or one.expires_at > system.now for one in system.state.approvals.values())


def test_a_fleet_state_from_before_approvals_reads_as_one_without() -> None:
    raw = msgspec.json.decode(msgspec.json.encode(FleetState()))
    del raw["approvals"]
    assert msgspec.convert(raw, FleetState).approvals == {}
