"""A charger that comes with its factory's certificate: admitted by the edge's rules, tracked and enrolled by the ledger."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from bfactors import command as c
from bfactors import evidence as v
from bfactors.admission import (
    FACTORY_FLAG,
    AdmissionRecord,
    AdmissionRefused,
    KnownCredential,
    PresentedCredential,
    Speaker,
)
from bfactors.charger import outgoing, plan
from bfactors.fleet import control
from bfactors.fleet import decide as fleet
from bfactors.fleet.state import FleetState
from bfactors.identity_rule import Admitted, Upgrade, admit, cut_problem
from bfactors.path import PathCheck, TrustSet
from bfactors.x509 import certificate_of, fingerprint_sha256, parse_certificates, split_chain
from tests.core import pki
from tests.core.world import World, fleet_facts
from tests.core.x509_maker import NOW, Authority

OURS, FACTORY, OTHER = Authority.root(), Authority.root(), Authority.root()
TRUST = TrustSet.of(certificate_of(one.pair.der) for one in (OURS, FACTORY, OTHER))
LEAF = FACTORY.leaf("SN-1")
RECORD = AdmissionRecord(
    charger_id="CS-1",
    managed_identity_id="id-1",
    serial_number="SN-1",
    expected_common_name="depot-1-bay-1",
    organization="BetterFleet",
    family="acme",
    site="depot",
    cohort="pilot",
    allowed_profiles=(3,),
    factory_anchors=(FACTORY.pair.fingerprint,),
)


def outcome(leaf: object = LEAF, ended: dict[str, str] | None = None, **changes: object) -> str:
    """What the edge decides, in short."""
    record = replace(RECORD, **changes)
    decided = admit(
        Upgrade(
            charger_id="CS-1",
            ready=True,
            tls=True,
            record=record,
            now=NOW,
            trust=TRUST,
            paths=PathCheck(),
            verify_key=lambda verifier, password: False,
            credential=PresentedCredential(leaf.der),  # type: ignore[attr-defined]
            ended=ended or {},
            forgive_expired_leaf=record.expired_admitted_until is not None,
        )
    )
    if isinstance(decided, AdmissionRefused):
        return decided.reason
    assert isinstance(decided, Admitted)
    return f"{decided.security_profile} {' '.join(decided.flags)}".strip()


def test_a_leaf_of_the_factory_that_names_the_unit_is_let_in_for_its_own_certificate() -> None:
    assert outcome() == f"3 {FACTORY_FLAG}"


def test_nobody_else_is() -> None:
    assert outcome(factory_anchors=()) == "credential-unknown"
    assert outcome(OURS.leaf("SN-1")) == "credential-unknown", "our own CA made it and nobody knows it"
    assert outcome(OTHER.leaf("SN-1")) == "credential-unknown", "another family's factory"
    assert outcome(FACTORY.leaf("SN-1", "Acme Works")) == f"3 {FACTORY_FLAG}", "a factory knows no depot"
    assert outcome(FACTORY.leaf("SN-2")) == "common-name-mismatch"
    assert outcome(FACTORY.leaf("depot-1-bay-1")) == "common-name-mismatch", "a factory knows no bay"
    assert outcome(allowed_profiles=(2,)) == "profile-not-allowed"
    assert outcome(mode="refused") == "charger-refused"
    speaker = Speaker("controller", LEAF.fingerprint)
    assert outcome(spoken_for_by=(speaker,)).startswith("2 via-local-controller")


def test_a_unit_that_was_moved_does_not_come_back_under_a_leaf_that_was_revoked_where_it_stood() -> None:
    assert outcome(ended={LEAF.fingerprint: "revoked"}) == "credential-revoked"
    assert outcome(ended={LEAF.fingerprint: "inactive"}) == f"3 {FACTORY_FLAG}", "it left its old place"
    assert outcome(ended={"0" * 64: "revoked"}) == f"3 {FACTORY_FLAG}"


def test_an_expired_leaf_of_the_factory_is_forgiven_nobody() -> None:
    old = FACTORY.leaf("SN-1", not_after=NOW - timedelta(days=1), not_before=NOW - timedelta(days=9))
    later = NOW + timedelta(days=1)
    assert outcome(old, expired_admitted_until=later) == "leaf-expired"


def test_once_it_is_tracked_it_is_a_leaf_like_any_other() -> None:
    known = KnownCredential(LEAF.fingerprint, "c1", "active", NOW + timedelta(days=9))
    assert (
        outcome(credentials=(known,), factory_anchors=(), expected_common_name="SN-1", organization=None)
        == "3"
    )
    revoked = replace(known, state="revoked")
    assert outcome(credentials=(revoked,)) == "credential-revoked", "not once more as the factory's"


def test_its_session_lasts_until_the_ledger_has_heard_of_it() -> None:
    name = LEAF.fingerprint
    assert cut_problem(RECORD, name, None, (FACTORY_FLAG,)) is None
    for record, flags in ((RECORD, ()), (replace(RECORD, factory_anchors=()), (FACTORY_FLAG,))):
        problem = cut_problem(record, name, None, flags)
        assert problem is not None
        assert problem.code == "credential-unknown"


# ---------------------------------------------------------------- in the ledger


def allowing(**values: object) -> tuple[c.SetFactoryAnchors, c.SetPolicy]:
    return (
        c.SetFactoryAnchors(family="acme-one", anchors_pem=(pki.ca("Factory").root_pem,)),
        c.SetPolicy(
            scope="purpose:charging_station",
            values={"factory_certificate": "allowed", **values},
            reason="new",
        ),
    )


def arrived(world: World, flags: tuple[str, ...] = (FACTORY_FLAG,)) -> str:
    chain = pki.ca("Factory").sign(pki.csr("SN-1"), pki.BEGIN, pki.BEGIN + timedelta(days=3650))
    name = fingerprint_sha256(split_chain(chain)[0])
    world.sessions += 1
    world.tell(
        v.SessionOpened(
            session_id=f"s{world.sessions}",
            node="n1",
            incarnation="i1",
            ocpp_version="2.0.1",
            security_profile=3,
            remote_address="192.0.2.1",
            opened_at=world.now,
            fingerprint_sha256=name,
            flags=flags,
            leaf_pem=chain,
        )
    )
    return name


def test_the_record_names_the_factory_only_where_it_counts() -> None:
    [anchor] = parse_certificates(pki.ca("Factory").root_pem)
    facts = fleet_facts(*allowing())
    assert outgoing.admission(World(facts, security_profile=3).charger).factory_anchors == (
        anchor.fingerprint_sha256,
    )
    assert outgoing.admission(World(facts).charger).factory_anchors == (), "it connects with a password"
    assert outgoing.admission(World(facts, security_profile=3, family="other").charger).factory_anchors == ()
    only_anchors = fleet_facts(allowing()[0])
    assert outgoing.admission(World(only_anchors, security_profile=3).charger).factory_anchors == ()


def test_it_is_tracked_and_an_own_certificate_is_ordered_at_once() -> None:
    world = World(fleet_facts(*allowing()), security_profile=3)
    name = arrived(world)
    [tracked] = world.charger.certificates.values()
    assert (tracked.fingerprint_sha256, tracked.mode, tracked.state) == (name, "tracked-only", "active")
    [job] = world.charger.jobs.values()
    assert (job.action, job.reason) == ("issue", "it came with the certificate of its factory")
    record = outgoing.admission(world.charger)
    assert record.factory_anchors == (), "another unknown leaf is nobody's first contact now"
    assert [one.fingerprint_sha256 for one in record.credentials] == [name]


def test_then_it_goes_the_whole_way() -> None:
    world = World(fleet_facts(*allowing()), security_profile=3)
    name = arrived(world)
    world.confirm_trust()
    world.carry_out()
    world.present_csr()
    own = world.ca_issues()
    world.carry_out()
    world.connect(3, own.fingerprint_sha256)
    slot = world.charger.slots["charging_station/default"]
    assert slot.current == own.certificate_id
    factory = next(one for one in world.charger.certificates.values() if one.fingerprint_sha256 == name)
    assert factory.state == "superseded"


@pytest.mark.parametrize("action", ["revoke", "deactivate"])
def test_what_was_taken_from_a_charger_does_not_come_back_as_its_factorys(action: str) -> None:
    """A stolen charger still has the leaf its factory gave it."""
    world = World(fleet_facts(*allowing()), security_profile=3)
    world.request()
    arrived(world)
    world.confirm_trust()
    world.carry_out()
    world.present_csr()
    own = world.ca_issues()
    world.carry_out()
    world.connect(3, own.fingerprint_sha256)
    world.request(action, certificate_id=own.certificate_id, revocation_reason="key_compromise")
    assert world.charger.slots["charging_station/default"].current is None
    assert outgoing.admission(world.charger).factory_anchors == ()


def test_the_unit_that_takes_its_place_has_a_first_contact_of_its_own() -> None:
    world = World(fleet_facts(*allowing()), security_profile=3)
    arrived(world)
    replaced = c.ReplaceUnit(
        job_id="swap",
        charger_id="CP-1",
        managed_identity_id="unit-2",
        serial_number="SN-2",
        reason="burnt out",
        security_profile=3,
    )
    assert world.command(replaced).refusal is None
    assert outgoing.admission(world.charger).factory_anchors


def test_where_policy_only_tracks_nothing_is_ordered() -> None:
    world = World(fleet_facts(*allowing(mode="tracked-only")), security_profile=3)
    arrived(world)
    assert len(world.charger.certificates) == 1
    assert not world.charger.jobs


def test_when_the_factory_is_withdrawn_the_record_follows() -> None:
    world = World(fleet_facts(*allowing()), security_profile=3)
    world.facts = replace(fleet_facts(allowing()[1]), sequence=9)
    assert plan.is_behind(world.charger, world.facts, world.now)
    world.tell(v.DeadlinePassed(at=world.now))
    assert outgoing.admission(world.charger).factory_anchors == ()
    assert not plan.is_behind(world.charger, world.facts, world.now)


# ---------------------------------------------------------------- in the fleet's partition


def named(*texts: str, state: FleetState | None = None) -> fleet.FleetDecision:
    command = c.SetFactoryAnchors(family="acme", anchors_pem=texts)
    return fleet.decide_command(state or FleetState(facts=fleet_facts()), command, "operator:a", pki.BEGIN)


def test_every_node_trusts_the_factories_beside_our_own_cas() -> None:
    done = named(pki.ca("Factory").root_pem, pki.ca("Factory").root_pem)
    assert len(done.result["factory_anchors"]) == 1
    trusted = control.read_client_trust(control.client_trust(done.state.facts))
    assert len(trusted) == len(control.read_client_trust(control.client_trust(fleet_facts()))) + 1
    assert named(pki.ca("Factory").root_pem, state=done.state).events == ()
    gone = named(state=done.state)
    assert gone.result["factory_anchors"] == []


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (("rubbish",), "malformed-certificate"),
        ((pki.ca().pem,), "own-authority"),
        ((pki.ca("Factory").root_pem,) * 9, "too-large"),
    ],
)
def test_what_can_be_no_factory_is_refused(texts: tuple[str, ...], code: str) -> None:
    refused = named(*texts).refusal
    assert refused is not None
    assert refused.code == code
