"""From one CA of a purpose to the next: what each step needs, what it changes, and what is never taken away."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from bfactors import command as c
from bfactors import evidence as v
from bfactors.charger import outgoing
from bfactors.effect import StartRenewal
from bfactors.fleet import clock
from bfactors.policy import Policy
from bfactors.x509 import fingerprint_sha256, split_chain
from tests.core import pki
from tests.core.rollover_world import ARN, NEXT_ARN, P, RollingFleet, described
from tests.core.world import World


def states(system: RollingFleet) -> dict[str, str]:
    return {each.arn: each.state for each in system.state.facts.authorities_of(P)}


# ---------------------------------------------------------------- registering


def test_a_second_ca_of_a_purpose_is_trusted_and_issues_nothing_until_it_is_rolled_over_to() -> None:
    system = RollingFleet()
    system.do(described(NEXT_ARN))
    assert states(system) == {ARN: "current", NEXT_ARN: "incoming"}
    assert set(system.trusted) == {pki.ca().pem, pki.ca("Next").pem}
    assert system.state.facts.issuing(P) == system.state.facts.authorities[P]


def test_a_ca_is_found_by_its_purpose_and_arn_together() -> None:
    system = RollingFleet()
    system.do(described(NEXT_ARN))
    facts = system.state.facts
    for arn in (ARN, NEXT_ARN):
        found = facts.authority_of(P, arn)
        assert found is not None
        assert (found.purpose, found.arn) == (P, arn)
        assert facts.authority_of("backend_server", arn) is None
    assert facts.authority_of(P, ARN + "x") is None


def test_registering_again_changes_nothing_also_when_it_is_retired() -> None:
    system = RollingFleet()
    system.to_step("renewal")
    assert system.do(described(NEXT_ARN)).events == ()
    assert system.do(described(ARN)).events == ()
    assert system.advance() is None
    decision = system.do(described(ARN))
    assert (decision.events, decision.refusal, decision.result["state"]) == ((), None, "retired")
    assert system.trusted == (pki.ca("Next").pem,)


def test_a_ca_whose_certificate_was_renewed_stays_what_it_was() -> None:
    system = RollingFleet()
    system.do(described(NEXT_ARN))
    system.do(msgspec.structs.replace(described(NEXT_ARN), signing_algorithm="SHA384WITHECDSA"))
    assert states(system) == {ARN: "current", NEXT_ARN: "incoming"}


def test_the_number_of_cas_is_bounded() -> None:
    system = RollingFleet()
    for number in range(3):
        command = msgspec.structs.replace(described(NEXT_ARN), authority_arn=f"arn:{number}")
        assert system.do(command).refusal is None
    refusal = system.do(msgspec.structs.replace(described(NEXT_ARN), authority_arn="arn:9")).refusal
    assert refusal is not None
    assert refusal.code == "too-many-authorities"


# ---------------------------------------------------------------- a policy that names one


def test_a_cohort_can_be_given_certificates_of_another_ca_by_policy() -> None:
    system = RollingFleet()
    system.do(described(NEXT_ARN))
    values = {"authority": system.id_of(NEXT_ARN)}
    assert system.do(c.SetPolicy(scope=f"cohort:canary/{P}", values=values)).refusal is None
    system.verifies()
    world = system.add()
    (certificate,) = world.charger.certificates.values()
    assert certificate.issuing_ca_id == NEXT_ARN


def test_a_policy_names_no_ca_that_is_unknown_or_is_being_left() -> None:
    system = RollingFleet()
    refusal = system.do(c.SetPolicy(scope=f"purpose:{P}", values={"authority": "0" * 16})).refusal
    assert refusal is not None
    assert (refusal.code, refusal.field) == ("authority-cannot", "authority")
    assert system.id_of(ARN) in refusal.message
    system.to_step("gateways")
    values = {"authority": system.id_of(ARN)}
    refusal = system.do(c.SetPolicy(scope=f"purpose:{P}", values=values)).refusal
    assert refusal is not None
    assert refusal.code == "authority-cannot"


def test_a_ca_that_a_policy_names_is_not_left() -> None:
    system = RollingFleet()
    system.do(described(NEXT_ARN))
    system.do(c.SetPolicy(scope=f"cohort:canary/{P}", values={"authority": system.id_of(ARN)}))
    assert system.start() == "policy-names-authority"


# ---------------------------------------------------------------- beginning


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"reason": " "}, "reason-missing"),
        ({"purpose": "contract"}, "no-issuing-authority"),
        ({"to_id": "0" * 16}, "unknown-authority"),
        ({"leaving_id": "0" * 16}, "unknown-authority"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], code: str) -> None:
    system = RollingFleet()
    system.do(described(NEXT_ARN))
    assert system.start(**values) == code
    assert system.state.facts.rollovers == {}


def test_the_current_ca_is_left_for_itself_never() -> None:
    assert RollingFleet().start(to=ARN) == "same-authority"


def test_there_is_one_rollover_of_a_purpose_at_a_time_and_the_same_one_twice_is_one() -> None:
    system = RollingFleet()
    system.to_step("gateways")
    assert system.start() == "rollover-under-way"
    before = system.state
    assert system.start(rollover_id="r1") is None
    assert system.state == before


def test_a_rollover_that_ended_is_not_begun_again_by_its_late_repetition() -> None:
    system = RollingFleet()
    system.to_step("gateways")
    assert system.abort() is None
    assert system.start(rollover_id="r1") is None
    assert system.state.facts.rollovers == {}


def test_a_ca_that_is_not_active_or_ends_before_its_leaves_is_no_successor() -> None:
    system = RollingFleet()
    system.do(described(NEXT_ARN))
    system.tell(v.AuthorityObserved(purpose=P, authority_arn=NEXT_ARN, status="DISABLED"))
    assert system.start() == "authority-not-active"
    system.tell(v.AuthorityObserved(purpose=P, authority_arn=NEXT_ARN, status="ACTIVE"))
    system.now = pki.END - timedelta(days=100)
    assert system.start() == "authority-ends-too-soon"


def test_a_ca_whose_root_nobody_knows_cannot_be_brought_to_chargers() -> None:
    system = RollingFleet()
    system.do(msgspec.structs.replace(described(NEXT_ARN), root_pem=""))
    assert system.start() == "root-unknown"


# ---------------------------------------------------------------- step by step


def test_no_step_before_every_gateway_verifies_the_new_ca() -> None:
    system = RollingFleet()
    system.do(described(NEXT_ARN))
    assert system.start() is None
    assert system.advance() == "gateway-does-not-verify-issuer"
    system.verifies()
    assert system.advance() is None
    assert system.state.facts.rollovers[P].step == "anchors"


def test_the_new_root_comes_into_the_bundle_that_chargers_confirm_and_only_if_it_is_missing() -> None:
    system = RollingFleet()
    system.to_step("anchors")
    bundle = system.state.facts.bundles["backend_server"]
    assert bundle.version == 2
    assert fingerprint_sha256(split_chain(pki.ca("Next").root_pem)[0]) in {
        anchor.fingerprint_sha256 for anchor in bundle.anchors
    }
    again = RollingFleet()
    roots = (pki.ca().root_pem, pki.ca("Server").root_pem, pki.ca("Next").root_pem)
    again.do(c.CreateTrustAnchorBundle(bundle_id="b2", purpose="backend_server", anchors_pem=roots))
    again.to_step("anchors")
    assert again.state.facts.bundles["backend_server"].bundle_id == "b2"


def test_a_bundle_that_needs_a_second_person_is_not_made_behind_the_second_person_s_back() -> None:
    system = RollingFleet()
    values = {"approvals_needed": [*Policy().approvals_needed, "trust-anchor-bundle"]}
    assert system.do(c.SetPolicy(scope="purpose:backend_server", values=values)).refusal is None
    system.do(described(NEXT_ARN))
    assert system.start() is None
    system.verifies()
    assert system.advance() == "trust-anchor-bundle-needs-approval"
    assert system.state.facts.bundles["backend_server"].version == 1


def test_from_the_overlap_on_the_new_ca_issues_and_what_is_with_the_old_is_finished_there() -> None:
    system = RollingFleet()
    world = system.add()
    (certificate,) = world.charger.certificates.values()
    world.request("renew", certificate_id=certificate.certificate_id)
    world.carry_out()
    world.present_csr()
    system.to_step("overlap")
    assert states(system) == {ARN: "outgoing", NEXT_ARN: "current"}
    assert world.issue_effect().authority_arn == ARN
    assert world.ca_issues().issuing_ca_id == ARN
    other = system.add()
    (certificate,) = other.charger.certificates.values()
    assert certificate.issuing_ca_id == NEXT_ARN


def renewals(world: Any) -> list[str]:
    effects = outgoing.effects(world.charger, world.facts)
    return [each.due_reason for each in effects if isinstance(each, StartRenewal)]


def test_in_the_renewal_step_every_certificate_of_the_old_ca_is_due_and_none_before() -> None:
    system = RollingFleet()
    world = system.add()
    system.to_step("overlap")
    assert renewals(world) == []
    system.verifies()
    assert system.advance() is None
    system.hears(world)
    assert renewals(world) == ["ca-rollover"]
    system.finish(world)
    assert [each.issuing_ca_id for each in world.charger.certificates.values() if each.state == "active"] == [
        NEXT_ARN
    ]
    assert renewals(world) == []


@pytest.mark.parametrize(("after_days", "wanted"), [(100, ["ca-rollover"]), (300, [])])
def test_what_ends_before_the_named_day_is_left_to_end_by_itself(after_days: int, wanted: list[str]) -> None:
    system = RollingFleet()
    world = system.add()
    system.do(described(NEXT_ARN))
    assert system.start(renew_after=system.now + timedelta(days=after_days)) is None
    while system.state.facts.rollovers[P].step != "renewal":
        system.verifies()
        assert system.advance() is None
    system.hears(world)
    assert renewals(world) == wanted


def test_where_certificates_are_tracked_only_a_rollover_renews_none() -> None:
    system = RollingFleet()
    world = system.add()
    system.to_step("renewal")
    system.do(c.SetPolicy(scope=f"purpose:{P}", values={"mode": "tracked-only"}))
    system.hears(world)
    assert renewals(world) == []


def test_the_old_ca_is_retired_only_when_nothing_hangs_on_it_and_everybody_has_heard() -> None:
    system = RollingFleet()
    world, away = system.add(), system.add()
    away.lose_session()
    system.to_step("renewal")
    system.finish(world)
    assert system.advance() == "authority-in-use"
    system.now += timedelta(days=15)  # the grace of the one that was replaced is over
    system.everybody_hears()
    assert system.advance() == "authority-in-use"  # the charger that was away all the time
    away.connect(3, next(iter(away.charger.certificates.values())).fingerprint_sha256)
    system.finish(away)
    system.now += timedelta(days=15)
    system.everybody_hears()
    assert system.advance(heard_sequence=0) == "not-heard-everywhere"
    assert system.advance() is None
    assert states(system) == {NEXT_ARN: "current"}
    assert [(each.arn, each.state) for each in system.state.retired] == [(ARN, "retired")]
    assert system.trusted == (pki.ca("Next").pem,)
    assert system.state.facts.rollovers == {}


def test_a_partition_that_has_not_heard_could_still_ask_the_old_ca_and_holds_its_retirement_up() -> None:
    system = RollingFleet()
    before = system.state.facts
    system.to_step("renewal")
    late = World(before)
    system.chargers.append(late)
    assert system.hanging(ARN) == 0
    assert late.facts.issuing(P) == before.authorities[P]
    assert system.advance() == "not-heard-everywhere"
    system.hears(late)
    assert system.advance() is None
    current = late.facts.issuing(P)
    assert current is not None
    assert current.arn == NEXT_ARN


def test_a_step_asked_for_twice_is_taken_once_and_one_ahead_is_refused() -> None:
    system = RollingFleet()
    system.to_step("overlap")
    before = system.state
    assert system.advance(step="gateways") is None
    assert system.state == before
    assert system.advance(step="renewal") == "other-step"
    assert system.advance(step="elsewhere") == "other-step"
    assert system.advance(reason="") == "reason-missing"
    assert RollingFleet().advance() == "no-rollover"


# ---------------------------------------------------------------- by two people


def start_command(system: RollingFleet, **values: Any) -> c.StartRollover:
    system.do(described(NEXT_ARN))
    return c.StartRollover(
        **{"rollover_id": "r1", "purpose": P, "to_id": system.id_of(NEXT_ARN), "reason": "x"} | values
    )


def last_step(**values: Any) -> c.AdvanceRollover:
    return c.AdvanceRollover(**{"purpose": P, "step": "renewal", "reason": "x"} | values)


def one_person(system: RollingFleet) -> None:
    values = {"approvals_needed": ["rollback", "waiver", "incident"]}
    system.do(c.SetPolicy(scope=f"purpose:{P}", values=values), "system:start")


def test_it_begins_and_ends_with_two_people_and_goes_on_with_one() -> None:
    system = RollingFleet()
    held = system.do(start_command(system))
    assert (held.is_held, system.state.facts.rollovers) == (True, {})
    assert system.agree(held).refusal is None
    system.verifies()
    for step in ("gateways", "anchors", "overlap"):
        assert system.state.facts.rollovers[P].step == step
        taken = system.do(c.AdvanceRollover(purpose=P, step=step, reason="x"))
        assert (taken.refusal, taken.is_held) == (None, False)
    held = system.do(last_step(heard_sequence=system.state.facts.sequence))
    assert (held.is_held, states(system)) == (True, {ARN: "outgoing", NEXT_ARN: "current"})
    system.agree(held, hanging=0, heard_sequence=system.state.facts.sequence)
    assert states(system) == {NEXT_ARN: "current"}


def test_where_policy_leaves_it_out_one_is_enough() -> None:
    system = RollingFleet()
    one_person(system)
    assert not system.do(start_command(system)).is_held
    assert P in system.state.facts.rollovers


@pytest.mark.parametrize(
    "changes", [{"certificate_pem": pki.ca("Server").pem}, {"root_pem": pki.ca("Server").root_pem}]
)
def test_its_beginning_is_agreed_to_for_exactly_that_certificate_and_root_of_the_new_ca(
    changes: dict[str, str],
) -> None:
    system = RollingFleet()
    held = system.do(start_command(system))
    assert system.do(msgspec.structs.replace(described(NEXT_ARN), **changes)).events
    assert system.state.approvals[held.result["approval_id"]].state == "stale"
    refused = system.agree(held).refusal
    assert refused is not None
    assert (refused.code, system.state.facts.rollovers) == ("approval-ended", {})


def test_of_two_beginnings_the_one_that_is_agreed_to_last_comes_too_late() -> None:
    system = RollingFleet()
    first = system.do(start_command(system))
    second = system.do(start_command(system, rollover_id="r2", reason="y"))
    assert system.agree(first).refusal is None
    assert system.state.approvals[second.result["approval_id"]].state == "stale"
    system.abort()
    assert system.agree(second).refusal is not None
    assert system.state.facts.rollovers == {}


@pytest.mark.parametrize("how", ["aborted", "ended"])
def test_an_end_is_not_agreed_to_once_the_rollover_has_moved_on(how: str) -> None:
    system = RollingFleet()
    system.to_step("renewal")
    held = system.do(last_step(heard_sequence=system.state.facts.sequence))
    if how == "aborted":
        system.abort()
    else:
        system.do(last_step(heard_sequence=system.state.facts.sequence), "system:start")
    before = states(system)
    assert system.state.approvals[held.result["approval_id"]].state == "stale"
    refused = system.agree(held, heard_sequence=system.state.facts.sequence).refusal
    assert refused is not None
    assert (refused.code, states(system)) == ("approval-ended", before)


@pytest.mark.parametrize(
    ("hanging", "behind", "code"),
    [(1, 0, "authority-in-use"), (0, 1, "not-heard-everywhere"), (0, None, "not-heard-everywhere")],
)
def test_what_hangs_on_the_old_ca_counts_when_it_is_agreed_to_and_not_when_it_was_asked_for(
    hanging: int, behind: int | None, code: str
) -> None:
    system = RollingFleet()
    system.to_step("renewal")
    heard = system.state.facts.sequence
    held = system.do(last_step(heard_sequence=heard))
    afresh = {"hanging": hanging} | ({} if behind is None else {"heard_sequence": heard - behind})
    refused = system.agree(held, **afresh).refusal
    assert refused is not None
    assert refused.code == code
    assert system.state.approvals[held.result["approval_id"]].state == "open"
    assert states(system) == {ARN: "outgoing", NEXT_ARN: "current"}
    assert system.agree(held, hanging=0, heard_sequence=heard).refusal is None
    assert states(system) == {NEXT_ARN: "current"}


def test_an_end_asked_for_again_under_other_counts_is_the_same_approval() -> None:
    system = RollingFleet()
    system.to_step("renewal")
    first = system.do(last_step(heard_sequence=system.state.facts.sequence))
    again = system.do(last_step(heard_sequence=system.state.facts.sequence + 5))
    assert first.result["approval_id"] == again.result["approval_id"]


def test_what_is_refused_anyway_is_not_asked_for() -> None:
    system = RollingFleet()
    system.to_step("renewal")
    asked_before = len(system.state.approvals)
    said = system.do(last_step(hanging=1, heard_sequence=system.state.facts.sequence))
    assert said.refusal is not None
    assert (said.refusal.code, len(system.state.approvals)) == ("authority-in-use", asked_before)
    assert not said.is_held


# ---------------------------------------------------------------- giving it up


@pytest.mark.parametrize("step", ["gateways", "anchors", "overlap", "renewal"])
def test_an_abort_takes_back_who_issues_and_no_trust(step: str) -> None:
    system = RollingFleet()
    system.to_step(step)
    trusted = system.trusted
    assert system.abort() is None
    assert states(system) == {ARN: "current", NEXT_ARN: "incoming"}
    assert set(system.trusted) == set(trusted)
    assert system.abort() == "no-rollover"


def test_after_an_abort_the_new_ca_can_be_emptied_and_retired_in_its_turn() -> None:
    system = RollingFleet()
    system.to_step("overlap")
    world = system.add()
    system.abort()
    assert system.start(to=ARN, leaving_id=system.id_of(NEXT_ARN)) is None
    while system.state.facts.rollovers[P].step != "renewal":
        system.verifies()
        assert system.advance() is None
        system.everybody_hears()
    assert states(system) == {ARN: "current", NEXT_ARN: "outgoing"}
    system.finish(world)
    system.now += timedelta(days=15)
    system.everybody_hears()
    assert system.advance() is None
    assert states(system) == {ARN: "current"}


# ---------------------------------------------------------------- alarms


def test_a_ca_s_own_word_on_its_state_is_recorded_when_it_changes() -> None:
    system = RollingFleet()
    body = v.AuthorityObserved(purpose=P, authority_arn=ARN, status="DISABLED")
    assert [type(each).__name__ for each in system.tell(body).events] == ["AuthorityStatusChanged"]
    assert system.tell(body).events == ()
    assert system.tell(msgspec.structs.replace(body, authority_arn="arn:other")).events == ()


def test_the_end_of_a_ca_is_told_once_at_each_window_and_by_the_nearest_alone() -> None:
    system = RollingFleet()
    told = []
    while (due := clock.next_due(system.state)) is not None and due <= pki.END:
        system.now = max(system.now, due)
        events = system.tell(v.DeadlinePassed(at=system.now)).events
        assert events, "it would ring for ever"
        told += [event.days_left for event in events]  # type: ignore[union-attr]
    assert told == [365, 180, 90, 30, 14, 7, 1]
    late = RollingFleet()
    late.now = pki.END - timedelta(days=20)
    (event,) = late.tell(v.DeadlinePassed(at=late.now)).events
    assert event.days_left == 30  # type: ignore[union-attr]


def test_a_rollover_that_stands_for_a_week_is_told_once_a_step() -> None:
    system = RollingFleet()
    system.to_step("anchors")
    names = []
    for _ in range(3):
        system.now += timedelta(days=7)
        names += [type(each).__name__ for each in system.tell(v.DeadlinePassed(at=system.now)).events]
    assert names == ["CaRolloverStalled"]
    system.advance()
    system.now += timedelta(days=7)
    assert [type(each).__name__ for each in system.tell(v.DeadlinePassed(at=system.now)).events] == [
        "CaRolloverStalled"
    ]
