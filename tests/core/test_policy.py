"""Policies: whose values win, what a change would come to, and why some values may not be set."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfactors import command as c
from bfactors.capability import Capabilities
from bfactors.fleet import decide as fleet
from bfactors.fleet.policy import MOST_OVERRIDES
from bfactors.fleet.state import FleetFacts, FleetState
from bfactors.policy import Policy, PolicyOverride, PolicySet, differences, effective, effective_with_origin
from bfactors.policy_scope import Scope, parse_scope, scopes_of
from bfactors.purpose import PurposeSpec, purposes
from bfactors.realm import RULES, loosened
from tests.core import pki

P = "charging_station"
PURPOSE, FAMILY, COHORT = f"purpose:{P}", f"family:acme/{P}", f"cohort:north/{P}"


class Fleet:
    def __init__(self) -> None:
        self.state = FleetState()
        self.now = pki.BEGIN

    def do(self, command: fleet.FleetCommand) -> fleet.FleetDecision:
        decision = fleet.decide_command(self.state, command, "operator:ada", self.now)
        self.state = decision.state
        return decision

    def set(self, scope: str, **values: object) -> str | None:
        refusal = self.do(c.SetPolicy(scope=scope, values=values)).refusal
        return refusal.code if refusal is not None else None


# ---------------------------------------------------------------- scopes


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        (PURPOSE, Scope("purpose", "", P)),
        (FAMILY, Scope("family", "acme", P)),
        (COHORT, Scope("cohort", "north", P)),
        (f"family:ABB/Terra:184/{P}", Scope("family", "ABB/Terra:184", P)),
        (f"cohort:/{P}", None),
        ("cohort:north/", None),
        ("cohort:north", None),
        ("purpose:", None),
        (f"charger:CP-1/{P}", None),
        ("", None),
    ],
)
def test_a_scope_is_read_as_it_is_written(text: str, scope: Scope | None) -> None:
    assert parse_scope(text) == scope


@given(st.text(min_size=1), st.text(min_size=1))
def test_whatever_a_family_or_cohort_is_called_its_scopes_lead_back_to_it(family: str, cohort: str) -> None:
    found = [parse_scope(text) for text in scopes_of(purpose=P, family=family, cohort=cohort)]
    assert found == [Scope("purpose", "", P), Scope("family", family, P), Scope("cohort", cohort, P)]


# ---------------------------------------------------------------- precedence

VALUES = st.fixed_dictionaries(
    {},
    optional={
        "validity_days": st.integers(60, 300),
        "max_attempts": st.integers(1, 9),
        "csr_wait_s": st.integers(1, 900),
    },
)


@given(
    st.lists(st.tuples(st.sampled_from((PURPOSE, FAMILY, COHORT, f"family:other/{P}")), VALUES), max_size=5)
)
def test_cohort_wins_over_family_over_purpose_over_built_in_field_by_field(
    said: list[tuple[str, dict[str, object]]],
) -> None:
    latest = dict(said)
    overrides = tuple(PolicyOverride(scope=scope, values=values) for scope, values in latest.items())
    policies = PolicySet(version=2, overrides=overrides)
    policy, origin = effective_with_origin(policies, purpose=P, family="acme", cohort="north")
    for field in ("validity_days", "max_attempts", "csr_wait_s"):
        winner = next((s for s in (COHORT, FAMILY, PURPOSE) if field in latest.get(s, {})), None)
        wanted = getattr(Policy(), field) if winner is None else latest[winner][field]
        assert getattr(policy, field) == wanted
        assert origin[field] == (winner or "built-in")
    assert effective(policies, purpose=P, family="acme", cohort="north") == policy
    assert effective(policies, purpose="backend_server", family="acme", cohort="north") == Policy()


def test_a_difference_names_the_field_with_both_values() -> None:
    assert differences(Policy(), Policy(validity_days=90)) == {"validity_days": (180, 90)}
    assert differences(Policy(), Policy()) == {}


# ---------------------------------------------------------------- what may not be set


def test_a_purpose_may_not_contradict_what_a_family_and_a_cohort_say_together() -> None:
    system = Fleet()
    assert system.set(FAMILY, validity_days=90) is None
    assert system.set(COHORT, renew_before_days=60, escalate_before_days=[14]) is None
    assert (
        system.set(f"family:other/{P}", validity_days=50) == "contradiction"
    )  # 60 of 50 days, in cohort north
    refusal = system.do(c.SetPolicy(scope=COHORT, values={"renew_before_days": 100})).refusal
    assert refusal is not None
    assert refusal.message.startswith("in family acme, renew_before_days")
    assert system.set(COHORT, renew_before_days=80) is None


def test_values_that_were_needed_by_another_scope_cannot_be_taken_away() -> None:
    system = Fleet()
    assert system.set(PURPOSE, validity_days=365) is None
    assert system.set(FAMILY, renew_before_days=300) is None
    refusal = system.do(c.SetPolicy(scope=PURPOSE, values={})).refusal
    assert refusal is not None
    assert (refusal.code, refusal.field) == ("contradiction", "renew_before_days")
    assert "in family acme" in refusal.message


@pytest.mark.parametrize("spec", purposes().values(), ids=lambda spec: spec.name)
def test_every_purpose_has_defaults_that_its_realm_allows_and_cannot_loosen_them(spec: PurposeSpec) -> None:
    assert loosened(spec, Policy()) == []
    longest = RULES[spec.realm].longest_validity_days
    system = Fleet()
    assert system.set(f"purpose:{spec.name}", validity_days=longest) is None
    assert system.set(f"purpose:{spec.name}", validity_days=longest + 1) == "realm-rule"


def test_a_lifetime_beyond_the_ca_s_is_refused_where_it_is_set_and_only_there() -> None:
    system = Fleet()
    authority = c.RegisterAuthority(
        purpose=P,
        authority_arn="arn:1",
        certificate_pem=pki.ca().pem,
        chain_pem="",
        signing_algorithm="SHA256WITHECDSA",
    )
    assert system.do(authority).refusal is None
    system.now = system.state.facts.authorities[P].not_after - timedelta(days=100)
    assert system.set(PURPOSE, validity_days=101) == "authority-cannot"
    assert system.set(PURPOSE, validity_days=100) is None
    system.now += timedelta(days=50)
    assert (
        system.set(COHORT, max_attempts=3) is None
    )  # the lifetime is an older decision, and cut at the CA's end


def test_a_family_is_not_asked_for_what_it_cannot_do() -> None:
    system = Fleet()
    can = Capabilities(key_types=("rsa-2048",), cannot_list=True)
    assert system.do(c.SetFamilyFacts(family="acme", capabilities=can)).refusal is None
    assert system.set(FAMILY, key_algorithms=["ec-secp256r1"]) == "family-cannot"
    assert system.set(FAMILY, confirm_rung="listed") == "family-cannot"
    assert system.set(FAMILY, key_algorithms=["rsa-2048"], confirm_rung="accepted") is None
    assert system.set(FAMILY, max_attempts=3) is None  # says nothing about what it cannot do


def test_the_number_of_scopes_is_bounded() -> None:
    system = Fleet()
    overrides = tuple(
        PolicyOverride(scope=f"cohort:c{n}/{P}", values={"max_attempts": 2}) for n in range(MOST_OVERRIDES)
    )
    system.state = FleetState(facts=FleetFacts(policies=PolicySet(version=2, overrides=overrides)))
    assert system.set("cohort:one-more/charging_station", max_attempts=3) == "too-many-scopes"
    assert system.set("cohort:c7/charging_station", max_attempts=3) is None
    assert system.set("cohort:c7/charging_station") is None
