"""What a charger lists, reconciled in the ledger; what is deleted from it, and what never is."""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.certificate_hash import HashData, ReportedCertificate
from bfactors.charger import clock, inventory, outgoing
from bfactors.charger.inventory_view import inventory_body
from bfactors.charger.state import JobState
from bfactors.fleet.state import FleetFacts
from bfactors.instruction import DeleteCertificate, InstallAnchor, ListCertificates
from bfactors.ocpp import Answered, CallFailed, Disconnected, Silent
from bfactors.policy import Policy
from bfactors.x509 import fingerprint_sha256, hash_data, hash_data_over_spki, parse_certificate, split_chain
from tests.core import pki
from tests.core.world import World, fleet_facts

SPARE = HashData("SHA256", "ab" * 32, "cd" * 32, "0f")
OTHER = HashData("SHA256", "ab" * 32, "cd" * 32, "10")
CSMS = "CSMSRootCertificate"


def of(*data: HashData, use: str = CSMS) -> tuple[ReportedCertificate, ...]:
    return tuple(ReportedCertificate(use, one) for one in data)


def ours(facts: FleetFacts) -> tuple[HashData, ...]:
    return tuple(anchor.hash_data[0] for anchor in facts.bundles["backend_server"].anchors)


def listed(*more: HashData, facts: FleetFacts | None = None, profile: int = 2, **registration: Any) -> World:
    """A connected charger that lists our anchors and more, after an install-anchor job."""
    world = World(facts, **registration)
    world.connect(profile)
    world.request("install-anchor", purpose="backend_server", job_id="anchors")
    while [type(one) for one in world.orders()] != [ListCertificates]:
        world.carry_out()
    world.carry_out(listed=of(*ours(world.facts), *more))
    assert world.jobs["anchors"].state == "succeeded"
    return world


def differences(world: World) -> dict[str, int]:
    return world.charger.differences


def last(world: World, kind: type) -> Any:
    return next(event for event in reversed(world.events) if isinstance(event, kind))


def delete(world: World, ref: HashData = SPARE, **fields: Any) -> JobState | None:
    refusal = world.request("delete", job_id="delete", reported_ref=ref, **fields).refusal
    assert refusal is None, refusal
    return world.charger.jobs.get("delete")


def relist(world: World, *data: HashData) -> None:
    assert isinstance(world.carry_out(listed=of(*ours(world.facts), *data)), ListCertificates)


# ---------------------------------------------------------------- differences


def test_a_strange_root_is_a_difference_recorded_once() -> None:
    world = listed(SPARE)
    assert differences(world) == {"unknown-on-charger": 1, "foreign-root": 1}
    event = last(world, e.InventoryReconciled)
    assert {one.code for one in event.differences} == set(differences(world))
    before = world.names().count("InventoryReconciled")
    world.request("install-anchor", purpose="backend_server")
    inventory_listed(world, *ours(world.facts), SPARE)
    assert world.names().count("InventoryReconciled") == before
    inventory_listed(world, *ours(world.facts))
    assert differences(world) == {}
    assert last(world, e.InventoryReconciled).differences == ()


def inventory_listed(world: World, *data: HashData) -> None:
    """The list a charger is asked for when its last one is old."""
    world.wait(days=31)
    if world.charger.session is None:
        world.connect()
    assert isinstance(world.carry_out(listed=of(*data)), ListCertificates)


def test_an_anchor_that_vanished_is_missed() -> None:
    world = listed()
    inventory_listed(world, ours(world.facts)[0])
    assert differences(world) == {"not-reported": 1}


def test_an_event_of_many_differences_is_bounded_and_counts_them_all() -> None:
    many = tuple(HashData("SHA256", "ab" * 32, "cd" * 32, f"{n:x}") for n in range(1000, 1400))
    world = listed(*many)
    event = last(world, e.InventoryReconciled)
    assert len(event.differences) == inventory.DIFFERENCES_KEPT
    assert event.counts == {"unknown-on-charger": 400, "foreign-root": 400}


def newer_bundle(facts: FleetFacts) -> FleetFacts:
    made = fleet_facts(
        c.CreateTrustAnchorBundle(
            bundle_id="bundle-2",
            purpose="backend_server",
            anchors_pem=(pki.ca().root_pem,),
        )
    )
    assert made.sequence == facts.sequence
    return made


def test_an_anchor_of_no_current_bundle_is_old_once_the_charger_confirmed_the_newer() -> None:
    world = listed()
    old = next(
        a
        for a in world.facts.bundles["backend_server"].anchors
        if a.fingerprint_sha256 == fingerprint_sha256(split_chain(pki.ca("Server").root_pem)[0])
    )
    world.facts = newer_bundle(world.facts)
    assert [a.fingerprint_sha256 for b in world.facts.past for a in b.anchors] == [old.fingerprint_sha256]
    assert not differences(world)
    refusal = world.request("delete", fingerprint_sha256=old.fingerprint_sha256).refusal
    assert refusal is not None
    assert refusal.code == "anchor-of-live-session", "the newer bundle is not confirmed yet"
    inventory_listed(world, *ours(world.facts), old.hash_data[0])
    assert world.charger.bundles["backend_server"].bundle_id == "bundle-2"
    assert differences(world) == {"retired-still-listed": 1}
    assert not [one for one in world.orders() if isinstance(one, DeleteCertificate)], "never by itself"
    assert delete_by_fingerprint(world, old.fingerprint_sha256) == old.hash_data[0]


def delete_by_fingerprint(world: World, fingerprint: str) -> HashData:
    assert world.request("delete", job_id="delete", fingerprint_sha256=fingerprint).refusal is None
    relist(world, parse_old(world, fingerprint))
    (order,) = world.orders()
    assert isinstance(order, DeleteCertificate)
    return order.hash_data


def parse_old(world: World, fingerprint: str) -> HashData:
    return next(
        a.hash_data[0] for b in world.facts.past for a in b.anchors if a.fingerprint_sha256 == fingerprint
    )


def with_another_root(*dropped: str) -> FleetFacts:
    roots = [pki.ca().root_pem, *(pki.ca(n).root_pem for n in ("Server", "Coming") if n not in dropped)]
    return fleet_facts(
        c.CreateTrustAnchorBundle(bundle_id="bundle-2", purpose="backend_server", anchors_pem=tuple(roots))
    )


def test_a_list_of_one_store_leaves_the_others_as_they_were() -> None:
    world = listed()
    world.wait(days=31)
    v2g = of(SPARE, use="V2GRootCertificate")
    world.carry_out(listed=of(*ours(world.facts)) + v2g)
    world.facts = with_another_root()
    world.request("install-anchor", purpose="backend_server", job_id="again")
    assert isinstance(world.carry_out(), InstallAnchor)
    assert world.orders() == [ListCertificates(purpose="backend_server")]
    world.carry_out(listed=of(*ours(world.facts)))
    assert world.jobs["again"].state == "succeeded"
    assert world.charger.reported == (*v2g, *of(*ours(world.facts)))


def test_an_anchor_on_its_way_out_is_neither_strange_nor_old_before_the_newer_bundle_is_confirmed() -> None:
    world = listed()
    before = ours(world.facts)
    world.facts = with_another_root("Server")
    inventory_listed(world, *before)
    assert differences(world) == {}
    world.request("install-anchor", purpose="backend_server", job_id="newer")
    assert isinstance(world.carry_out(), InstallAnchor)
    world.carry_out(listed=of(*dict.fromkeys((*before, *ours(world.facts)))))
    assert world.jobs["newer"].state == "succeeded"
    assert differences(world) == {"retired-still-listed": 1}


# ---------------------------------------------------------------- recognising what is listed


def in_base64(one: HashData) -> HashData:
    def packed(text: str) -> str:
        return base64.b64encode(bytes.fromhex(text)).decode()

    return HashData(
        one.algorithm,
        packed(one.issuer_name_hash),
        packed(one.issuer_key_hash),
        str(int(one.serial_number, 16)),
    )


def over_spki(world: World) -> list[HashData]:
    found = []
    for anchor in world.facts.bundles["backend_server"].anchors:
        certificate = parse_certificate(anchor.pem)
        found.append(hash_data_over_spki(certificate, certificate, "SHA256"))
    return found


@pytest.mark.parametrize("odd", ["base64 and decimal", "over the whole key", "upper case"])
def test_the_trust_gate_opens_for_chargers_that_write_hashes_their_own_way(odd: str) -> None:
    world = World()
    world.connect()
    world.request()
    for _ in world.facts.bundles["backend_server"].anchors:
        world.carry_out()
    plain = ours(world.facts)
    written = {
        "base64 and decimal": [in_base64(one) for one in plain],
        "over the whole key": over_spki(world),
        "upper case": [
            HashData("SHA256", a.issuer_name_hash.upper(), a.issuer_key_hash.upper(), a.serial_number.upper())
            for a in plain
        ],
    }
    world.carry_out(listed=of(*written[odd]))
    assert world.charger.bundles["backend_server"].rung == "listed"


def test_an_anchor_in_a_store_where_it_verifies_nothing_of_ours_confirms_nothing() -> None:
    world = World()
    world.connect()
    world.request()
    for _ in world.facts.bundles["backend_server"].anchors:
        world.carry_out()
    world.carry_out(listed=of(*ours(world.facts), use="V2GRootCertificate"))
    assert "backend_server" not in world.charger.bundles


# ---------------------------------------------------------------- when the list is asked for


def test_a_charger_is_asked_to_list_by_policy_and_once() -> None:
    world = World()
    world.connect()
    due = inventory.due_at(world.charger, Policy())
    assert due is not None
    assert world.charger.registered_at <= due <= world.charger.registered_at + timedelta(days=30)
    world.wait(seconds=(due - world.now).total_seconds())
    assert world.orders() == [ListCertificates()]
    world.carry_out(Answered("NotFound"))
    assert world.charger.listed_everything
    following = inventory.due_at(world.charger, Policy())
    assert following is not None
    assert timedelta(days=27) <= following - world.now <= timedelta(days=30)
    assert clock.next_due(world.charger, world.facts, world.now) == following


def test_the_first_lists_of_a_fleet_are_spread_over_what_policy_says_and_later_ones_over_a_tenth_of_it() -> (
    None
):
    chargers = [World(managed_identity_id=f"unit-{number}") for number in range(24)]
    for days in (30, 10):
        every, policy = timedelta(days=days), Policy(inventory_every_days=days)
        firsts, seconds = [], []
        for world in chargers:
            world.connect()
            first = inventory.due_at(world.charger, policy)
            heard = world.now
            later = inventory.due_at(replace(world.charger, reported_at=heard), policy)
            assert first is not None
            assert later is not None
            firsts.append(first - world.charger.registered_at)
            seconds.append(later - heard)
        assert min(firsts) < every * 0.3 < every * 0.7 < max(firsts) <= every
        assert every * 0.9 <= min(seconds) < every * 0.95 < max(seconds) <= every


@pytest.mark.parametrize("outcome", [CallFailed("InternalError"), Answered("Rejected")])
def test_a_charger_that_will_not_list_is_left_alone_until_the_next_time(outcome: Any) -> None:
    world = World()
    world.connect()
    world.wait(days=31)
    world.carry_out(outcome)
    assert not world.orders()
    due = clock.next_due(world.charger, world.facts, world.now)
    assert due is not None
    assert due > world.now + timedelta(days=26)


def test_a_charger_that_cannot_list_is_not_asked_again() -> None:
    world = World()
    world.connect()
    world.wait(days=31)
    world.carry_out(CallFailed("NotSupported"))
    assert inventory.due_at(world.charger, Policy()) is None


def test_nobody_is_asked_where_policy_says_never() -> None:
    world = World()
    world.connect()
    assert inventory.due_at(world.charger, Policy(inventory_every_days=0)) is None


# ---------------------------------------------------------------- deletions


def test_a_deletion_lists_judges_echoes_and_lists_again() -> None:
    shouting = HashData("SHA256", "AB" * 32, "CD" * 32, "0F")
    world = listed(shouting)
    job = delete(world, SPARE)
    assert job is not None
    assert (job.stage, job.waiting_for) == ("deleting", "charger")
    relist(world, shouting)
    assert world.carry_out() == DeleteCertificate(CSMS, shouting)
    assert world.charger.jobs["delete"].carried_out
    assert "CertificateDeleted" not in world.names()
    relist(world)
    assert world.jobs["delete"].state == "succeeded"
    deleted = last(world, e.CertificateDeleted)
    assert (deleted.rung, deleted.reported.hash_data) == ("listed", shouting)
    assert not differences(world)


def test_what_is_gone_already_needs_no_deletion() -> None:
    world = listed(SPARE)
    delete(world)
    relist(world)
    assert world.jobs["delete"].state == "succeeded"
    assert not world.orders()


def test_not_found_is_success_once_the_list_agrees() -> None:
    world = listed(SPARE)
    delete(world)
    relist(world, SPARE)
    world.carry_out(Answered("NotFound"))
    relist(world)
    assert world.jobs["delete"].state == "succeeded"


def test_what_is_still_listed_is_deleted_again_and_in_the_end_given_up() -> None:
    world = listed(SPARE)
    delete(world)
    relist(world, SPARE)
    for _ in range(Policy().max_attempts):
        world.wait_for_order()
        assert isinstance(world.carry_out(), DeleteCertificate)
        relist(world, SPARE)
    ended = world.jobs["delete"]
    assert (ended.state, ended.reason_code) == ("failed", "still-listed")
    assert "CertificateDeleted" not in world.names()


def test_where_policy_takes_the_charger_at_its_word_its_answer_ends_the_deletion() -> None:
    facts = fleet_facts(
        c.SetPolicy(scope="purpose:charging_station", values={"confirm_rung": "accepted"}, reason="x")
    )
    world = World(facts)
    world.connect()
    world.wait(days=31)
    relist(world, SPARE)
    delete(world)
    relist(world, SPARE)
    world.carry_out()
    assert world.jobs["delete"].state == "succeeded"
    assert last(world, e.CertificateDeleted).rung == "accepted"
    assert SPARE not in [one.hash_data for one in world.charger.reported]


@pytest.mark.parametrize(
    ("outcome", "code", "remembered"),
    [
        (Answered("Failed"), "delete-certificate-refused", False),
        (CallFailed("NotSupported"), "cannot-delete", True),
        (CallFailed("NotImplemented"), "cannot-delete", True),
    ],
)
def test_a_refused_deletion_ends_with_its_reason(outcome: Any, code: str, remembered: bool) -> None:
    world = listed(SPARE)
    delete(world)
    relist(world, SPARE)
    world.carry_out(outcome)
    assert (world.jobs["delete"].state, world.jobs["delete"].reason_code) == ("failed", code)
    assert world.charger.capabilities.cannot_delete is remembered
    if remembered:
        refusal = world.request("delete", reported_ref=SPARE).refusal
        assert refusal is not None
        assert refusal.code == "cannot-delete"


def test_an_error_may_pass_and_the_deletion_is_tried_again() -> None:
    world = listed(SPARE)
    delete(world)
    relist(world, SPARE)
    world.carry_out(CallFailed("InternalError"))
    world.wait_for_order()
    assert isinstance(world.carry_out(), DeleteCertificate)


@pytest.mark.parametrize("outcome", [Disconnected(), Silent()])
def test_a_deletion_nobody_knows_the_end_of_is_looked_at_and_done_again(outcome: Any) -> None:
    world = listed(SPARE)
    delete(world)
    relist(world, SPARE)
    world.carry_out(outcome)
    if isinstance(outcome, Disconnected):
        session = world.charger.session
        assert session is not None
        world.tell(v.SessionClosed(session_id=session.session_id, reason="gone"))
        assert not world.orders()
        assert not [i for i in world.charger.instructions.values() if isinstance(i.body, DeleteCertificate)]
        world.connect()
    world.wait_for_order()
    assert isinstance(world.carry_out(Answered("NotFound")), DeleteCertificate)
    relist(world)
    assert world.jobs["delete"].state == "succeeded"


def test_a_deletion_that_became_unsafe_while_the_charger_was_away_is_not_sent() -> None:
    world = listed(SPARE)
    job = delete(world)
    assert job is not None
    for anchor in ours(world.facts):
        assert anchor != SPARE
    relisted = of(SPARE)
    world.carry_out(listed=relisted)
    ended = world.jobs["delete"]
    assert (ended.state, ended.reason_code) == ("failed", "last-central-system-root")
    assert not world.orders()


def test_a_deletion_does_not_leave_once_a_new_bundle_needs_the_root() -> None:
    root = pki.ca("Coming")
    certificate = parse_certificate(root.root_pem)
    data = hash_data(certificate, certificate, "SHA256")
    world = listed(data)
    delete(world, data)
    relist(world, data)
    assert world.orders() == [DeleteCertificate(CSMS, data)]
    world.facts = fleet_facts(
        c.CreateTrustAnchorBundle(
            bundle_id="bundle-2",
            purpose="backend_server",
            anchors_pem=(pki.ca().root_pem, pki.ca("Server").root_pem, root.root_pem),
        )
    )
    assert not world.orders()
    world.tell(v.DeadlinePassed(at=world.now))
    assert (world.jobs["delete"].state, world.jobs["delete"].reason_code) == (
        "failed",
        "anchor-of-live-session",
    )


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("connected", [True, False])
def test_no_anchor_in_force_is_deleted_by_a_job(which: int, connected: bool) -> None:
    world = listed(SPARE)
    if not connected:
        session = world.charger.session
        assert session is not None
        world.tell(v.SessionClosed(session_id=session.session_id, reason="gone"))
    refusal = world.request("delete", reported_ref=ours(world.facts)[which]).refusal
    assert refusal is not None
    assert (refusal.code, refusal.status) == ("anchor-of-live-session", 409)


def without_tls() -> World:
    """On plain WebSocket no anchor is live: only the last root is protected."""
    world = World(security_profile=1)
    world.connect(1)
    world.wait(days=31)
    world.carry_out(listed=of(SPARE, OTHER))
    return world


def test_two_deletions_at_once_leave_a_root() -> None:
    world = without_tls()
    assert world.request("delete", job_id="one", reported_ref=SPARE).refusal is None
    assert world.request("delete", job_id="two", reported_ref=OTHER).refusal is None
    assert isinstance(world.carry_out(listed=of(SPARE, OTHER)), ListCertificates)
    assert world.orders() == [DeleteCertificate(CSMS, SPARE)]
    assert world.jobs["two"].reason_code == "last-central-system-root"


def test_a_deletion_by_hand_under_way_counts_as_gone_for_a_job_and_what_it_deleted_is_off_the_list() -> None:
    world = without_tls()
    named = json.dumps(
        {
            "certificateHashData": {
                "hashAlgorithm": "SHA256",
                "issuerNameHash": "ab" * 32,
                "issuerKeyHash": "cd" * 32,
                "serialNumber": "0f",
            }
        }
    )
    call = c.CallCharger(call_id="h", charger_id="CP-1", action="DeleteCertificate", payload=named)
    assert world.command(call).refusal is None
    refusal = world.request("delete", reported_ref=OTHER).refusal
    assert refusal is not None
    assert refusal.code == "last-central-system-root"
    world.carry_out(Answered("Accepted", payload='{"status":"Accepted"}'))
    assert world.charger.reported == of(OTHER)
    refusal = world.request("delete", reported_ref=OTHER).refusal
    assert refusal is not None
    assert refusal.code == "last-central-system-root"


def test_a_manufacturer_root_is_none_of_this_workflow() -> None:
    world = World()
    world.connect()
    world.wait(days=31)
    root = of(SPARE, use="ManufacturerRootCertificate")
    world.carry_out(listed=of(*ours(world.facts)) + root)
    assert not differences(world)
    refusal = world.request("delete", reported_ref=SPARE).refusal
    assert refusal is not None
    assert refusal.code == "firmware-trust-apart"


def test_a_chargers_own_certificate_is_not_deleted_over_ocpp() -> None:
    world = World()
    certificate = world.to_active()
    refusal = world.request("delete", certificate_id=certificate.certificate_id).refusal
    assert refusal is not None
    assert refusal.code == "station-certificate-stays"


def test_a_deletion_is_asked_for_twice_and_made_once_and_can_be_given_up() -> None:
    world = listed(SPARE)
    delete(world)
    again = world.request("delete", job_id="second", reported_ref=SPARE)
    assert again.job_id == "delete"
    world.command(c.CancelJob(charger_id="CP-1", job_id="delete", reason="changed my mind"))
    assert not world.orders()
    assert world.jobs["delete"].state == "cancelled"


# ---------------------------------------------------------------- anchors


def test_one_anchor_is_installed_and_listed_without_a_certificate_job() -> None:
    world = World()
    world.connect()
    anchor = world.facts.bundles["backend_server"].anchors[1]
    fingerprint = anchor.fingerprint_sha256
    world.request("install-anchor", purpose="backend_server", job_id="a", fingerprint_sha256=fingerprint)
    order = world.carry_out()
    assert isinstance(order, InstallAnchor)
    assert order.fingerprint_sha256 == fingerprint
    world.carry_out(listed=of(anchor.hash_data[0]))
    assert world.jobs["a"].state == "succeeded"
    assert "backend_server" not in world.charger.bundles, "the bundle has another anchor"


def test_anchors_that_are_not_listed_after_all_fail_the_job_in_the_end() -> None:
    world = World()
    world.connect()
    world.request("install-anchor", purpose="backend_server", job_id="a")
    for _ in range(40):
        if "a" not in world.charger.jobs:
            break
        world.wait_for_order()
        world.carry_out(listed=of(SPARE))
    assert (world.jobs["a"].state, world.jobs["a"].reason_code) == ("failed", "trust-anchor-not-listed")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"purpose": "charging_station"}, "no-trust-anchor-bundle"),
        ({"purpose": "backend_server", "fingerprint_sha256": "00" * 32}, "unknown-anchor"),
    ],
)
def test_there_must_be_something_to_install(fields: dict[str, Any], code: str) -> None:
    refusal = World().request("install-anchor", **fields).refusal
    assert refusal is not None
    assert refusal.code == code


# ---------------------------------------------------------------- leaves seen in sessions


def stranger() -> tuple[str, str]:
    chain = pki.ca("Factory").sign(pki.csr("SN-1"), pki.BEGIN, pki.END)
    return split_and_fingerprint(chain), chain


def split_and_fingerprint(chain: str) -> str:
    return fingerprint_sha256(split_chain(chain)[0])


def opened_with(world: World, fingerprint: str, leaf_pem: str | None) -> None:
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
            fingerprint_sha256=fingerprint,
            leaf_pem=leaf_pem,
        )
    )


def brownfield(allowed: str = "allowed") -> World:
    scope = "purpose:charging_station"
    return World(
        fleet_facts(c.SetPolicy(scope=scope, values={"factory_certificate": allowed}, reason="brownfield")),
        security_profile=3,
    )


def test_a_brownfield_leaf_seen_in_a_session_is_adopted_as_tracked() -> None:
    world = brownfield()
    fingerprint, chain = stranger()
    opened_with(world, fingerprint, chain)
    (certificate,) = world.charger.certificates.values()
    assert (certificate.mode, certificate.state, certificate.authority) == (
        "tracked-only",
        "active",
        "charger",
    )
    assert world.charger.slots["charging_station/default"].current == certificate.certificate_id
    assert not differences(world)
    assert not outgoing.effects(world.charger, world.facts)
    opened_with(world, fingerprint, chain)
    assert world.names().count("CertificateAdopted") == 1
    refusal = world.request("revoke", certificate_id=certificate.certificate_id).refusal
    assert refusal is not None
    assert refusal.code == "not-ours-to-revoke"


def test_a_leaf_that_is_brought_along_to_another_position_is_a_certificate_of_its_own_there() -> None:
    fingerprint, chain = stranger()
    worlds = [brownfield(), brownfield()]
    worlds[1].state = replace(worlds[1].charger, charger_id="CP-2")
    for world in worlds:
        opened_with(world, fingerprint, chain)
    here, there = (set(world.charger.certificates) for world in worlds)
    assert len(here | there) == 2, "or the rows of one would be overwritten by the other's partition"


@pytest.mark.parametrize(("allowed", "tells"), [("refused", True), ("allowed", False)])
def test_a_strange_leaf_that_may_not_be_adopted_is_a_difference(allowed: str, tells: bool) -> None:
    world = brownfield(allowed)
    fingerprint, chain = stranger()
    opened_with(world, fingerprint, chain if tells else None)
    assert not world.charger.certificates
    assert differences(world) == {"seen-unknown": 1}


def test_a_leaf_that_is_not_the_one_of_the_handshake_is_not_adopted() -> None:
    world = brownfield()
    opened_with(world, "ab" * 32, stranger()[1])
    assert not world.charger.certificates


# ---------------------------------------------------------------- what a person sees


def test_each_certificate_is_shown_with_its_accounts_side_by_side() -> None:
    world = listed(SPARE)
    body = inventory_body(world.charger, world.facts)
    first, *_, stray = body["reported_certificates"]
    assert first["hash_data"] == ours(world.facts)[0]
    assert (first["sources"], first["match"], first["differences"]) == (["issued", "reported"], "exact", [])
    assert (stray["sources"], stray["match"]) == (["reported"], None)
    assert [one["code"] for one in stray["differences"]] == ["unknown-on-charger", "foreign-root"]


HEX = st.text("0123456789abcdefABCDEF", min_size=1, max_size=64)
ENTRIES = st.lists(
    st.builds(
        ReportedCertificate,
        st.sampled_from(
            [CSMS, "V2GRootCertificate", "ManufacturerRootCertificate", "V2GCertificateChain", "?"]
        ),
        st.one_of(
            st.builds(HashData, st.sampled_from(["SHA256", "SHA384", "SHA512"]), HEX, HEX, HEX),
            st.sampled_from([*ours(fleet_facts()), SPARE, in_base64(ours(fleet_facts())[0])]),
        ),
        st.just(()) | st.just((SPARE,)),
    ),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(lists=st.lists(ENTRIES, min_size=1, max_size=3), which=st.integers(0, 20))
def test_whatever_a_charger_lists_no_anchor_in_force_and_no_last_root_is_ever_told_to_go(
    lists: list[list[ReportedCertificate]], which: int
) -> None:
    world = World()
    world.connect()
    for entries in lists:
        world.wait(days=31)
        while any(isinstance(one, ListCertificates) for one in world.orders()):
            world.carry_out(listed=tuple(entries))
        assert world.charger.reported == tuple(entries)
        inventory_body(world.charger, world.facts)
        if entries:
            target = entries[which % len(entries)].hash_data
            world.request("delete", job_id=f"d{len(world.events)}", reported_ref=target)
        while any(isinstance(one, ListCertificates) for one in world.orders()):
            world.carry_out(listed=tuple(entries))
        for order in world.orders():
            if isinstance(order, DeleteCertificate):
                assert order.hash_data in [one.hash_data for one in world.charger.reported]
                kept = inventory.reconciled(world.charger, world.facts)
                row, _ = next(pair for pair in kept.entries() if pair[1].hash_data == order.hash_data)
                assert row.held is None or row.held.is_retired
                assert "manufacturer-root" not in row.stores
                world.carry_out(Answered("Failed"))
