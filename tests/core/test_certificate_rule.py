"""What policy says of a certificate and of who issues it: its extended key usage, its names, its shortest life, its mode."""

from datetime import timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bfactors import command as c
from bfactors import evidence as v
from bfactors.charger import clock, outgoing
from bfactors.check.leaf import findings
from bfactors.effect import StartRenewal
from bfactors.policy import Policy
from bfactors.purpose import purpose
from bfactors.x509 import parse_certificate, parse_certificates
from tests.core import pki
from tests.core.world import World, fleet_facts

P = "charging_station"
SCOPE = f"purpose:{P}"
BLANK = "BlankEndEntityCertificate_APIPassthrough/V1"


def policy(**values: object) -> c.SetPolicy:
    return c.SetPolicy(scope=SCOPE, values=values)


def follow(world: World, **values: object) -> None:
    """Policy changes, and the charger is looked at again as its partition does."""
    world.facts = fleet_facts(policy(**values)) if values else fleet_facts()
    world.wait(seconds=1)


def awaiting_csr(world: World) -> World:
    world.request()
    world.connect()
    world.confirm_trust()
    world.carry_out()
    return world


# ---------------------------------------------------------------- extended key usage


@pytest.mark.parametrize(
    ("values", "template"),
    [({}, "EndEntityClientAuthCertificate/V1"), ({"extended_key_usage": "none"}, BLANK)],
)
def test_the_ca_is_asked_for_the_extended_key_usage_that_policy_wants(
    values: dict[str, object], template: str
) -> None:
    world = awaiting_csr(World(fleet_facts(policy(**values)) if values else None))
    world.present_csr()
    assert world.issue_effect().template == template


@pytest.mark.parametrize(
    ("template", "usages", "objection"),
    [
        (BLANK, (), None),
        (BLANK, ("client",), "leaf-usage-excess"),
        ("EndEntityClientAuthCertificate/V1", ("client",), None),
        ("EndEntityClientAuthCertificate/V1", ("client", "server"), "leaf-usage-excess"),
        ("EndEntityClientAuthCertificate/V1", ("server",), "leaf-usage-missing"),
    ],
)
def test_what_comes_back_is_held_against_the_choice(
    template: str, usages: tuple[str, ...], objection: str | None
) -> None:
    csr, begin = pki.csr("SN-1"), pki.BEGIN
    end = begin + timedelta(days=30)
    found = findings(
        chain=parse_certificates(pki.ca().sign(csr, begin, end, usages=usages)),
        csr_pem=csr,
        authority=parse_certificate(pki.ca().pem),
        purpose=purpose(P),
        template=template,
        not_before=begin,
        not_after=end,
    )
    assert [finding.reason for finding in found] == ([objection] if objection else [])


def test_a_leaf_without_any_key_usage_is_refused_where_the_template_gives_none() -> None:
    csr, begin = pki.csr("SN-1"), pki.BEGIN
    end = begin + timedelta(days=30)
    chain = pki.ca().sign(csr, begin, end, usages=(), key_usage=False)
    found = findings(
        chain=parse_certificates(chain),
        csr_pem=csr,
        authority=parse_certificate(pki.ca().pem),
        purpose=purpose(P),
        template=BLANK,
        not_before=begin,
        not_after=end,
    )
    assert [finding.reason for finding in found] == ["leaf-usage-missing"]


@pytest.mark.parametrize(
    ("common_name", "organization", "domain_component", "is_refused"),
    [
        ("SN-1", "Depot", "CPO", False),
        ("SN-2", "Depot", "CPO", True),
        ("SN-1", "Other", "CPO", True),
        ("SN-1", None, "CPO", True),
        ("SN-1", "Depot", None, True),
        ("SN-1", "Depot", "MO", True),
    ],
)
def test_a_subject_that_the_ca_changed_is_refused(
    common_name: str, organization: str | None, domain_component: str | None, is_refused: bool
) -> None:
    key, begin = ec.generate_private_key(ec.SECP256R1()), pki.BEGIN
    end = begin + timedelta(days=30)
    signed = pki.csr(common_name, organization, key, domain_component=domain_component)
    found = findings(
        chain=parse_certificates(pki.ca().sign(signed, begin, end)),
        csr_pem=pki.csr("SN-1", key=key, domain_component="CPO"),
        authority=parse_certificate(pki.ca().pem),
        purpose=purpose(P),
        template=purpose(P).template,
        not_before=begin,
        not_after=end,
    )
    assert [finding.reason for finding in found] == ["leaf-subject-differs"] * is_refused


# ---------------------------------------------------------------- alternative names


@pytest.mark.parametrize(("rule", "reason"), [("as-asked", None), ("none", "csr-asks-for-alternative-name")])
def test_policy_says_whether_a_csr_may_ask_for_alternative_names(rule: str, reason: str | None) -> None:
    world = awaiting_csr(World(fleet_facts(policy(alternative_names=rule, max_attempts=4))))
    decision = world.present_csr(pki.csr("SN-1", uri="urn:charger:1"))
    refused = [event.reason for event in decision.events if type(event).__name__ == "CSRRefused"]  # type: ignore[union-attr]
    assert refused == ([reason] if reason else [])


# ---------------------------------------------------------------- the CA's end


def test_a_leaf_is_cut_at_its_ca_s_end_down_to_the_shortest_that_policy_allows() -> None:
    facts = fleet_facts(policy(shortest_validity_days=20))
    end = World().now + timedelta(days=40)
    authority = msgspec.structs.replace(facts.authorities[P], not_after=end)
    world = awaiting_csr(World(msgspec.structs.replace(facts, authorities={P: authority})))
    world.present_csr()
    assert world.issue_effect().not_after < end


def test_a_ca_that_ends_before_the_shortest_leaf_holds_the_job_and_says_what_to_do() -> None:
    facts = fleet_facts(policy(shortest_validity_days=41))
    end = World().now + timedelta(days=40)
    authority = msgspec.structs.replace(facts.authorities[P], not_after=end)
    world = World(msgspec.structs.replace(facts, authorities={P: authority}))
    world.request()
    world.connect()
    world.confirm_trust()
    (job,) = world.charger.jobs.values()
    assert (job.stage, job.held_by) == ("held", "trust-gate/issuing-authority-ends-too-soon")
    assert "roll over" in (job.reason_message or "")


# ---------------------------------------------------------------- tracked only


def test_where_certificates_are_tracked_only_no_job_is_opened_and_the_reason_is_said() -> None:
    world = World(fleet_facts(policy(mode="tracked-only")))
    refusal = world.request().refusal
    assert refusal is not None
    assert (refusal.code, refusal.status) == ("tracked-only", 409)
    world.connect()
    world.present_csr()
    assert world.charger.jobs == {}
    assert "CSRHeldBack" in world.names()


def test_a_job_that_is_open_when_its_scope_becomes_tracked_only_issues_nothing_and_can_go_on_later() -> None:
    world = awaiting_csr(World())
    follow(world, mode="tracked-only")
    (job,) = world.charger.jobs.values()
    assert (job.stage, job.held_by, job.reason_code) == ("held", "policy/tracked-only", "tracked-only")
    world.present_csr()
    assert outgoing.effects(world.charger, world.facts) == []
    follow(world)
    assert next(iter(world.charger.jobs.values())).stage == "awaiting-csr"
    world.present_csr()
    assert world.issue_effect().authority_arn


def test_what_is_with_the_ca_already_is_finished() -> None:
    world = awaiting_csr(World())
    world.present_csr()
    follow(world, mode="tracked-only")
    assert world.ca_issues().state == "issued"


def test_where_certificates_are_tracked_only_their_end_is_told_and_not_moved() -> None:
    world = World()
    certificate = world.to_active()
    world.facts = fleet_facts(policy(mode="tracked-only"))
    due = clock.next_due(world.charger, world.facts, world.now)
    seen = 0
    while due is not None and due <= certificate.not_after:
        world.now = max(world.now, due)
        world.tell(v.DeadlinePassed(at=world.now))
        assert not [x for x in outgoing.effects(world.charger, world.facts) if isinstance(x, StartRenewal)]
        assert not world.charger.jobs
        following = clock.next_due(world.charger, world.facts, world.now)
        assert following is None or following > world.now, "it would ring for ever"
        due, seen = following, seen + 1
    assert "CertificateRenewalDue" not in world.names()
    assert "CertificateExpiryEscalated" in world.names()
    assert "CertificateExpired" in world.names()
    assert seen >= 3


def test_a_renewal_that_was_due_is_not_started_any_more() -> None:
    world = World()
    world.to_active()
    while not outgoing.effects(world.charger, world.facts):
        world.wait(days=1)
    follow(world, mode="tracked-only")
    assert outgoing.effects(world.charger, world.facts) == []


# ---------------------------------------------------------------- not while charging


@pytest.mark.parametrize("values", [{}, {"not_while_charging": True}])
def test_the_session_is_told_with_each_order_whether_it_waits_for_cars(values: dict[str, object]) -> None:
    world = World(fleet_facts(policy(reconnect_close_s=60, **values)))
    certificate = world.to_active()
    world.request("renew", certificate_id=certificate.certificate_id)
    world.carry_out()
    world.present_csr()
    world.ca_issues()
    world.carry_out()
    world.wait(seconds=61)
    (order,) = outgoing.orders(world.charger, world.facts, world.now)
    assert (type(order.body).__name__, order.waits_for_cars) == ("CloseSession", bool(values))


# ---------------------------------------------------------------- what may not be set


@pytest.mark.parametrize(
    ("scope", "values", "code"),
    [
        (SCOPE, {"mode": "brokered"}, "purpose-cannot"),
        (SCOPE, {"mode": "tracked-only"}, None),
        (SCOPE, {"mode": "elsewhere"}, "contradiction"),
        (SCOPE, {"extended_key_usage": "none"}, None),
        ("purpose:backend_server", {"extended_key_usage": "none"}, "purpose-cannot"),
        (SCOPE, {"extended_key_usage": "server-auth"}, "contradiction"),
        (SCOPE, {"alternative_names": "none"}, None),
        (SCOPE, {"alternative_names": "dns"}, "contradiction"),
        (SCOPE, {"shortest_validity_days": 181}, "contradiction"),
        (SCOPE, {"shortest_validity_days": 0}, "contradiction"),
    ],
)
def test_combinations_that_cannot_work_are_refused_with_their_reason(
    scope: str, values: dict[str, object], code: str | None
) -> None:
    from bfactors.fleet import decide as fleet
    from bfactors.fleet.state import FleetState

    command = c.SetPolicy(scope=scope, values=values)
    refusal = fleet.decide_command(FleetState(), command, "operator:ada", pki.BEGIN).refusal
    assert (refusal.code if refusal else None) == code
    if refusal is not None:
        assert refusal.field in values


def test_every_default_works_with_every_other() -> None:
    from bfactors.policy import problems

    assert problems(Policy()) == []
