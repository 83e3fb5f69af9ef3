"""What the fleet partition decides: authorities, bundles, policies, pauses and who lives."""

import pytest
from msgspec.structs import replace

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.fleet import decide as fleet
from bfactors.fleet.control import client_trust, pauses, read_client_trust, read_pauses
from bfactors.fleet.state import FleetState
from bfactors.policy import PolicyOverride, PolicySet, effective, effective_with_origin
from tests.core import pki
from tests.core.world import evidence

AUTHORITY = c.RegisterAuthority(
    purpose="charging_station",
    authority_arn="arn:1",
    certificate_pem=pki.ca().pem,
    chain_pem="",
    signing_algorithm="SHA256WITHECDSA",
)
BUNDLE = c.CreateTrustAnchorBundle(bundle_id="b1", purpose="backend_server", anchors_pem=(pki.ca().root_pem,))
OTHER_ANCHORS = (pki.ca("Server").root_pem,)
LEAF = pki.ca().sign(pki.csr("SN-1"), pki.BEGIN, pki.END).removesuffix(pki.ca().pem)
PAUSE = c.SetSupervisorState(kind="family", name="acme", action="pause", reason="recall")


def policy(scope: str = "purpose:charging_station", **values: object) -> c.SetPolicy:
    return c.SetPolicy(scope=scope, values=values)


class Fleet:
    def __init__(self) -> None:
        self.state = FleetState()

    def command(self, command: fleet.FleetCommand) -> fleet.FleetDecision:
        decision = fleet.decide_command(self.state, command, "operator:ada", pki.BEGIN)
        self.state = decision.state
        return decision

    def tell(self, body: v.EvidenceBody) -> fleet.FleetDecision:
        decision = fleet.decide_evidence(self.state, evidence("", body), pki.BEGIN)
        self.state = decision.state
        return decision

    def trust(self, node: str, incarnation: str, *fingerprints: str) -> None:
        self.tell(v.NodeTrustReported(node=node, incarnation=incarnation, fingerprints=fingerprints))


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (replace(AUTHORITY, purpose="teapot"), "unknown-purpose"),
        (replace(AUTHORITY, certificate_pem="nonsense"), "malformed-certificate"),
        (replace(AUTHORITY, certificate_pem=LEAF), "not-a-ca"),
        (replace(BUNDLE, purpose="teapot"), "unknown-purpose"),
        (replace(BUNDLE, anchors_pem=()), "empty-bundle"),
        (replace(BUNDLE, anchors_pem=("nonsense",)), "malformed-certificate"),
        (replace(BUNDLE, anchors_pem=(pki.ca().pem,)), "not-a-root"),
        (replace(PAUSE, kind="teapot"), "unknown-supervisor"),
        (replace(PAUSE, action="explode"), "invalid-value"),
        (replace(PAUSE, reason="  "), "reason-missing"),
        (policy("teapot"), "invalid-scope"),
        (policy("purpose:teapot"), "invalid-scope"),
        (policy("cohort:/charging_station"), "invalid-scope"),
        (policy(no_such_field=1), "invalid-value"),
        (policy(validity_days="long"), "invalid-value"),
        (policy(validity_days=0), "contradiction"),
        (policy(renew_before_days=180), "contradiction"),
        (policy(renew_before_days=-1), "contradiction"),
        (policy(escalate_before_days=[50]), "contradiction"),
        (policy(superseded_grace_days=-1), "contradiction"),
        (policy(last_safe_days=-1), "contradiction"),
        (policy(max_attempts=0), "contradiction"),
        (policy(csr_wait_s=0), "contradiction"),
        (policy(confirm_rung="hoped"), "contradiction"),
        (policy(subject_match="similar"), "contradiction"),
        (policy(factory_certificate="maybe"), "contradiction"),
        (policy(key_algorithms=[]), "contradiction"),
        (policy(key_algorithms=["rsa-512"]), "contradiction"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_its_reason_and_changes_nothing(
    command: fleet.FleetCommand, code: str
) -> None:
    system = Fleet()
    decision = system.command(command)
    assert decision.refusal is not None
    assert decision.refusal.code == code
    assert decision.refusal.message
    assert decision.events == ()
    assert decision.state == FleetState()


@pytest.mark.parametrize("command", [AUTHORITY, BUNDLE, PAUSE, policy(validity_days=90)])
def test_a_command_said_twice_is_recorded_once(command: fleet.FleetCommand) -> None:
    system = Fleet()
    assert len(system.command(command).events) == 1
    again = system.command(command)
    assert (again.refusal, again.events) == (None, ())


def test_an_authority_with_another_chain_or_algorithm_is_news() -> None:
    system = Fleet()
    system.command(AUTHORITY)
    assert len(system.command(replace(AUTHORITY, signing_algorithm="SHA384WITHECDSA")).events) == 1
    assert system.state.facts.authorities["charging_station"].signing_algorithm == "SHA384WITHECDSA"


def test_the_same_anchors_in_any_order_are_no_new_version() -> None:
    system = Fleet()
    both = (pki.ca().root_pem, *OTHER_ANCHORS)
    system.command(replace(BUNDLE, anchors_pem=both))
    again = system.command(replace(BUNDLE, bundle_id="b2", anchors_pem=both[::-1]))
    assert again.events == ()
    assert again.result["bundle_id"] == "b1"
    assert again.result["version"] == 1


def test_versions_of_a_bundle_only_grow_and_none_is_forgotten() -> None:
    system = Fleet()
    system.command(BUNDLE)
    second = system.command(replace(BUNDLE, bundle_id="b2", anchors_pem=OTHER_ANCHORS))
    third = system.command(replace(BUNDLE, bundle_id="b3"))
    assert (second.result["version"], third.result["version"]) == (2, 3)
    assert sorted(system.state.history) == ["b1", "b2", "b3"]
    assert system.state.facts.bundles["backend_server"].bundle_id == "b3"


def test_what_a_restart_says_again_does_not_take_back_an_operators_bundle() -> None:
    system = Fleet()
    system.command(BUNDLE)
    system.command(replace(BUNDLE, bundle_id="b2", anchors_pem=OTHER_ANCHORS))
    again = system.command(BUNDLE)
    assert (again.refusal, again.events) == (None, ())
    assert system.state.facts.bundles["backend_server"].bundle_id == "b2"


def test_a_bundle_never_changes_under_its_id() -> None:
    system = Fleet()
    system.command(BUNDLE)
    refusal = system.command(replace(BUNDLE, anchors_pem=OTHER_ANCHORS)).refusal
    assert refusal is not None
    assert (refusal.code, refusal.status) == ("bundle-exists", 409)


def test_a_purposes_policy_may_not_contradict_what_a_cohort_says_on_top_of_it() -> None:
    system = Fleet()
    system.command(policy("cohort:canary/charging_station", renew_before_days=100))
    refusal = system.command(policy(validity_days=90)).refusal
    assert refusal is not None
    assert refusal.code == "contradiction"
    assert "canary" in refusal.message
    assert system.command(policy(validity_days=120)).refusal is None


def test_taking_an_override_back_may_not_leave_a_contradiction_either() -> None:
    system = Fleet()
    system.command(policy(validity_days=365))
    system.command(policy("cohort:canary/charging_station", renew_before_days=300))
    refusal = system.command(policy()).refusal
    assert refusal is not None
    assert refusal.code == "contradiction"


def test_a_resumed_supervisor_is_no_longer_in_the_facts_and_a_drained_one_is() -> None:
    system = Fleet()
    system.command(PAUSE)
    assert system.state.facts.pauses["family/acme"].by == "operator:ada"
    system.command(replace(PAUSE, action="drain"))
    assert system.state.facts.pauses["family/acme"].state == "draining"
    assert read_pauses(pauses(system.state.facts)) == system.state.facts.pauses
    system.command(replace(PAUSE, action="resume", reason="fixed"))
    assert system.state.facts.pauses == {}


def test_client_trust_holds_the_issuers_of_purposes_that_open_sessions_and_no_others() -> None:
    system = Fleet()
    system.command(AUTHORITY)
    other = replace(AUTHORITY, purpose="backend_server", certificate_pem=pki.ca("Server").pem)
    system.command(other)
    assert read_client_trust(client_trust(system.state.facts)) == (pki.ca().pem,)
    assert read_client_trust(b"") == ()


# ---------------------------------------------------------------- connect nodes


def test_the_same_trust_said_again_is_no_news() -> None:
    system = Fleet()
    system.trust("n1", "i1", "aa", "bb")
    report = v.NodeTrustReported(node="n1", incarnation="i1", fingerprints=("bb", "aa"))
    assert system.tell(report).events == ()


def test_a_node_that_verifies_nothing_yet_closes_the_gate_by_name() -> None:
    system = Fleet()
    system.trust("n1", "i1", "aa")
    system.trust("n2", "i2")
    assert system.state.facts.blind_nodes("aa") == ["n2"]
    system.trust("n2", "i2", "aa")
    assert system.state.facts.blind_nodes("aa") == []


def test_a_late_report_of_a_nodes_last_life_does_not_hide_its_present_one() -> None:
    system = Fleet()
    system.trust("n1", "i2", "aa")
    system.trust("n1", "i1")
    assert system.state.facts.blind_nodes("aa") == ["n1"]
    system.tell(v.NodeLost(node="n1", incarnation="i1"))
    assert system.state.facts.blind_nodes("aa") == []
    assert len(system.state.facts.nodes) == 1


def test_the_loss_of_a_life_nobody_knows_is_no_news() -> None:
    system = Fleet()
    system.trust("n1", "i1", "aa")
    assert system.tell(v.NodeLost(node="n1", incarnation="other")).events == ()
    assert len(system.tell(v.NodeLost(node="n1", incarnation="i1")).events) == 1


def test_only_what_others_must_know_changes_the_facts() -> None:
    system = Fleet()
    handshake = system.tell(v.HandshakeFailed(remote_address="192.0.2.1", count=3))
    assert not fleet.changes_facts(handshake.events)
    refused = v.ConnectionRefused(remote_address="192.0.2.1", reason="charger-unknown", http_status=404)
    assert not fleet.changes_facts(system.tell(refused).events)
    assert fleet.changes_facts(system.command(PAUSE).events)


# ---------------------------------------------------------------- policies


def test_a_cohort_overrides_a_purpose_overrides_the_built_in_field_by_field() -> None:
    policies = PolicySet(
        version=3,
        overrides=(
            PolicyOverride(scope="cohort:canary/charging_station", values={"validity_days": 30}),
            PolicyOverride(scope="purpose:charging_station", values={"validity_days": 90, "max_attempts": 2}),
            PolicyOverride(scope="cohort:rest/charging_station", values={"max_attempts": 9}),
        ),
    )
    found, origin = effective_with_origin(policies, purpose="charging_station", family="f", cohort="canary")
    assert (found.validity_days, found.max_attempts, found.last_safe_days) == (30, 2, 3)
    assert origin["validity_days"] == "cohort:canary/charging_station"
    assert origin["max_attempts"] == "purpose:charging_station"
    assert origin["last_safe_days"] == "built-in"
    assert effective(policies, purpose="charging_station", family="f", cohort="canary") == found
    assert effective(policies, purpose="backend_server", family="f", cohort="canary").validity_days == 180


def test_policy_sets_of_the_same_version_with_other_values_are_not_mistaken_for_each_other() -> None:
    for days in (10, 20, 10):
        override = PolicyOverride(scope="purpose:charging_station", values={"validity_days": days})
        policies = PolicySet(version=2, overrides=(override,))
        assert effective(policies, purpose="charging_station", family="f", cohort="c").validity_days == days


def test_a_list_that_is_overdue_is_on_record_and_changes_nothing_another_partition_decides_by() -> None:
    fleet_ = Fleet()
    before = fleet_.state.facts
    stale = v.RevocationListStale(
        purpose="charging_station",
        authority_arn="arn:1",
        address="http://crl.example/1.crl",
        list_number="9",
        this_update=pki.BEGIN,
        next_update=pki.END,
    )
    decision = fleet_.tell(stale)
    (event,) = decision.events
    assert isinstance(event, e.RevocationListOverdue)
    assert (event.address, event.next_update) == (stale.address, stale.next_update)
    assert not fleet.changes_facts(decision.events)
    assert fleet_.state.facts == before
