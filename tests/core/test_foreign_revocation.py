"""Leaves that others issued: asked about ahead of time, refused once revoked, and what policy makes of not knowing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.admission import KnownCredential
from bfactors.charger import outgoing, plan
from bfactors.effect import CheckForeign, RevokeCertificate
from bfactors.x509 import parse_certificates
from tests.core.test_revocation_list import leaf, point
from tests.core.world import World, fleet_facts

LIST = "http://crl.example/1.crl"


def tracked(rule: str | None = None, *, names_a_list: bool = True) -> World:
    """A charger whose certificate somebody else issued."""
    values: dict[str, object] = {"factory_certificate": "allowed"}
    if rule is not None:
        values["foreign_revocation"] = rule
    policy = c.SetPolicy(scope="purpose:charging_station", values=values, reason="brownfield")
    world = World(fleet_facts(policy), security_profile=3)
    pem = leaf(x509.CRLDistributionPoints([point(LIST)])) if names_a_list else leaf()
    found = parse_certificates(pem)[0]
    world.now = found.not_before + timedelta(minutes=1)
    world.tell(
        v.SessionOpened(
            session_id="s1",
            node="n1",
            incarnation="i1",
            ocpp_version="2.0.1",
            security_profile=3,
            remote_address="192.0.2.1",
            opened_at=world.now,
            fingerprint_sha256=found.fingerprint_sha256,
            leaf_pem=pem,
        )
    )
    assert len(world.charger.certificates) == 1
    return world


def known(world: World) -> KnownCredential:
    (credential,) = outgoing.admission(world.charger).credentials
    return credential


def checks(world: World) -> list[CheckForeign]:
    found = outgoing.effects(world.charger, world.facts)
    return [effect for effect in found if isinstance(effect, CheckForeign)]


def said(world: World, status: str, **fields: object) -> v.ForeignRevocationSeen:
    (certificate_id,) = world.charger.certificates
    values: dict[str, object] = {"certificate_id": certificate_id, "status": status, **fields}
    return v.ForeignRevocationSeen(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "status", "unproven"),
    [
        ("off", "unchecked", "no"),
        ("soft", "unchecked", "admitted"),
        ("soft", "unknown", "admitted"),
        ("soft", "good", "no"),
        ("hard", "unchecked", "refused"),
        ("hard", "unknown", "refused"),
        ("hard", "good", "no"),
    ],
)
def test_policy_says_what_becomes_of_a_leaf_nobody_can_vouch_for(
    rule: str, status: str, unproven: str
) -> None:
    world = tracked(rule)
    if status != "unchecked":
        world.tell(said(world, status))
    assert (known(world).state, known(world).unproven) == ("active", unproven)


def test_it_is_asked_about_where_it_says_with_what_is_known_of_it() -> None:
    world = tracked()
    (check,) = checks(world)
    assert (check.crl_addresses, check.known_status) == ((LIST,), "unchecked")
    until = world.now + timedelta(days=1)
    world.tell(said(world, "good", good_until=until))
    (check,) = checks(world)
    assert (check.known_status, check.good_until) == ("good", until)


@pytest.mark.parametrize("world", [tracked("off"), tracked(names_a_list=False)], ids=["off", "no-list"])
def test_nobody_is_asked_by_policy_or_where_nobody_could_be(world: World) -> None:
    assert checks(world) == []


def test_a_revoked_one_is_refused_and_its_issuer_is_told_nothing() -> None:
    world = tracked("soft")
    world.tell(said(world, "revoked", source="crl", address=LIST, revoked_at=world.now))
    assert known(world).state == "revoked"
    assert not checks(world)
    assert not [f for f in outgoing.effects(world.charger, world.facts) if isinstance(f, RevokeCertificate)]
    events = len(world.events)
    world.tell(said(world, "good"))  # said late
    assert len(world.events) == events
    assert known(world).state == "revoked"


def test_what_is_said_again_is_no_event() -> None:
    world = tracked()
    for _ in range(2):
        world.tell(said(world, "unknown", code="issuer-unknown", message="x"))
    found = [event for event in world.events if isinstance(event, e.ForeignRevocationChecked)]
    assert [(event.status, event.reason_code) for event in found] == [("unknown", "issuer-unknown")]


def test_our_own_leaves_are_no_strangers() -> None:
    world = World(
        fleet_facts(c.SetPolicy(scope="purpose:charging_station", values={"foreign_revocation": "hard"}))
    )
    certificate = world.to_active()
    assert known(world).unproven == "no"
    assert not checks(world)
    events = len(world.events)
    fact = v.ForeignRevocationSeen(certificate_id=certificate.certificate_id, status="revoked")
    world.tell(fact)
    assert len(world.events) == events


def test_a_policy_that_changes_reaches_the_record() -> None:
    world = tracked("soft")
    stricter = c.SetPolicy(
        scope="purpose:charging_station",
        values={"factory_certificate": "allowed", "foreign_revocation": "hard"},
    )
    assert not plan.is_behind(world.charger, world.facts, world.now)
    world.facts = fleet_facts(stricter)
    assert plan.is_behind(world.charger, world.facts, world.now)
    world.wait(seconds=1)
    assert known(world).unproven == "refused"
