"""From when on a charger cannot connect any more, unless somebody reaches it: by its credentials, and by its anchors."""

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from bfactors import command as c
from bfactors import event as e
from bfactors.admission import KeyVerifier, Speaker
from bfactors.charger import clock
from bfactors.charger.lockout import lockout, trust_bundle, whole_lockout
from bfactors.charger.outgoing import admission
from bfactors.charger.pending_key import PendingKey
from bfactors.charger.project import charger_row
from bfactors.charger.state import ChargerState
from bfactors.instruction import ObtainCsr
from bfactors.lockout import CAUSES, PREVENTED_BY, Lockout, body_of
from bfactors.notice import notice_of
from bfactors.ocpp import Silent
from bfactors.server_certificate import NotPresented, Presented, ServerCertificate
from bfactors.trust_end import NO_BUNDLE, TrustEnd, trust_ends
from tests.core import pki
from tests.core.test_charger_expired import admit, expired
from tests.core.test_departure import replace as swap
from tests.core.test_notice import row as row_of
from tests.core.test_rollback import come, in_force, mint
from tests.core.test_server_certificate import NEW, OLD, bundles, shown
from tests.core.world import World, fleet_facts
from tests.core.x509_maker import NOW

KEY = KeyVerifier(generation=1, pepper_id="p", verifier="0" * 64, state="active")


def end_of(world: World) -> Lockout:
    found = lockout(world.charger)
    assert found is not None
    return found


# ---------------------------------------------------------------- keys


def test_a_charger_with_a_key_that_nothing_ends_is_locked_out_never() -> None:
    world = World(key=KEY, key_origin="generated")
    assert lockout(world.charger) is None
    row = charger_row(world.charger)
    assert (row.locked_out_at, row.lockout_cause, row.trust_bundle) == (None, None, NO_BUNDLE)


def test_a_charger_without_any_credential_has_been_locked_out_from_the_start() -> None:
    world = World()
    assert end_of(world) == Lockout(at=world.now, cause="no-credential")


def test_a_charger_without_security_is_locked_out_never_and_is_shown_no_server_certificate() -> None:
    world = World(security_profile=0)
    assert lockout(world.charger) is None
    assert trust_bundle(world.charger) is None
    assert trust_bundle(World(security_profile=1, key=KEY).charger) is None


def test_a_key_that_is_withdrawn_at_a_date_locks_out_then_if_it_is_the_last() -> None:
    world = World(key=KEY, key_origin="generated")
    until = world.now + timedelta(days=30)
    doubted = PendingKey(
        generation=2,
        job_id="j",
        origin="generated",
        trigger="schedule",
        requested_at=world.now,
        admit_until=until,
        is_outlived=True,
    )
    second = replace(KEY, generation=2, state="pending")
    both = replace(world.charger, keys=(KEY, second), pending_keys=(doubted,))
    assert lockout(both) is None
    last = replace(both, keys=(second,))
    assert lockout(last) == Lockout(at=until, cause="key-withdrawn")
    assert lockout(replace(last, pending_keys=(replace(doubted, is_outlived=False),))) is None


# ---------------------------------------------------------------- certificates


def test_a_charger_on_profile_3_is_locked_out_when_its_certificate_ends() -> None:
    world = World()
    certificate = world.to_active()
    assert end_of(world) == Lockout(
        at=certificate.not_after, cause="certificate-expiry", certificate_id=certificate.certificate_id
    )


def test_a_successor_counts_once_it_is_installed_and_not_while_it_is_only_issued() -> None:
    world, first, second = renewing()
    assert world.charger.certificates[second].state == "issued"
    assert end_of(world).certificate_id == first
    world.carry_out()
    assert world.charger.certificates[second].state == "installed"
    assert end_of(world).certificate_id == second
    assert end_of(world).at == world.charger.certificates[second].not_after


def test_a_successor_whose_delivery_is_in_doubt_does_not_count() -> None:
    world, first, second = renewing()
    world.carry_out(Silent())
    assert world.charger.certificates[second].state == "issued"
    assert end_of(world).certificate_id == first


def test_a_revoked_certificate_locks_out_from_the_moment_it_is_refused() -> None:
    world = World()
    certificate = world.to_active()
    world.request("revoke", certificate_id=certificate.certificate_id, reason="key_compromise")
    assert end_of(world) == Lockout(
        at=world.now, cause="certificate-ended", certificate_id=certificate.certificate_id
    )


def test_what_only_a_grace_lets_in_is_locked_out_with_the_grace() -> None:
    world, first, second = renewing()
    world.carry_out()
    world.connect(3, world.charger.certificates[second].fingerprint_sha256)
    until = world.charger.certificates[first].admit_until
    assert until is not None
    assert end_of(world).certificate_id == second
    world.request("deactivate", certificate_id=second)
    assert end_of(world) == Lockout(at=until, cause="grace-end", certificate_id=first)


def test_what_an_incident_refuses_is_no_way_in_on_a_grace_either() -> None:
    world, first, second = renewing()
    world.carry_out()
    world.connect(3, world.charger.certificates[second].fingerprint_sha256)
    world.request("deactivate", certificate_id=second)
    assert end_of(world).cause == "grace-end"
    struck = refused_by_incident(world.charger, first)
    assert {one.state for one in admission(struck).credentials} == {"inactive"}
    found = lockout(struck)
    assert found is not None
    assert found.cause == "certificate-ended"


def test_what_an_incident_refuses_is_no_way_in_by_a_permission_for_the_expired_either() -> None:
    world, _ = expired()
    [only] = world.charger.certificates
    admit(world, 7)
    assert end_of(world).cause == "expired-admission-end"
    struck = refused_by_incident(world.charger, only)
    assert [one.state for one in admission(struck).credentials] == ["inactive"]
    found = lockout(struck)
    assert found is not None
    assert found.at < world.now


def refused_by_incident(state: ChargerState, certificate_id: str) -> ChargerState:
    struck = replace(state.certificates[certificate_id], is_denied=True, incident_id="incident-1")
    return replace(state, certificates={**state.certificates, certificate_id: struck})


def test_an_expired_certificate_that_is_let_in_locks_out_when_the_permission_ends() -> None:
    world, _ = expired()
    assert end_of(world).cause == "certificate-expiry"
    assert end_of(world).at < world.now
    admit(world, 7)
    assert (end_of(world).cause, end_of(world).at) == ("expired-admission-end", world.now + timedelta(days=7))
    admit(world, None)
    assert end_of(world).cause == "certificate-expiry"


def test_a_charger_that_went_back_is_locked_out_with_the_way_back() -> None:
    world = in_force()
    assert end_of(world).cause == "certificate-expiry"
    generation = mint(world)
    world.carry_out()
    come(world, 2, generation=generation)
    way = world.charger.way_back
    assert way is not None
    assert end_of(world) == Lockout(at=way.ends_at, cause="way-back-end")


def test_a_charger_that_only_a_local_controller_speaks_for_is_locked_out_never() -> None:
    world = World(security_profile=3)
    assert end_of(world).cause == "no-credential"
    speaker = Speaker(controller_id="LC-1", fingerprint_sha256="a" * 64)
    assert lockout(replace(world.charger, spoken_for_by=(speaker,))) is None


def test_what_a_unit_that_left_had_lets_nobody_in_for_the_next_one() -> None:
    world = World(key=KEY, key_origin="generated")
    world.to_active()
    world.now += timedelta(days=3)
    assert swap(world) is None
    assert world.charger.certificates, "they stay until they are revoked"
    found = lockout(replace(world.charger, security_profile=3, keys=()))
    assert found == Lockout(at=world.now, cause="no-credential")


def test_every_cause_says_what_would_prevent_it() -> None:
    assert set(PREVENTED_BY) == set(CAUSES)
    assert body_of(None) is None
    said = body_of(Lockout(at=NOW, cause="anchor-expiry"))
    assert said is not None
    assert said["prevented_by"] == PREVENTED_BY["anchor-expiry"]


# ---------------------------------------------------------------- what they verify us with


def on_node(*certificates: ServerCertificate, waiting: tuple[ServerCertificate, ...] = ()) -> Presented:
    kept_back = tuple(NotPresented(certificate=each, code="x", message="", since=NOW) for each in waiting)
    return Presented(certificates=certificates, kept_back=kept_back)


def ends_of(history, *nodes: Presented) -> dict[str, tuple[str, datetime]]:  # type: ignore[no-untyped-def]
    return {end.bundle_id: (end.cause, end.at) for end in trust_ends(history, nodes)}


def test_a_bundle_ends_with_its_anchor_above_what_is_shown() -> None:
    history = bundles([OLD], [OLD, NEW])
    end = history[0].anchors[0].not_after
    assert ends_of(history, on_node(shown(OLD))) == {
        "bundle-1": ("anchor-expiry", end),
        "bundle-2": ("anchor-expiry", end),
    }


def test_nodes_that_say_nothing_end_nothing() -> None:
    assert ends_of(bundles([OLD])) == {}
    assert ends_of(bundles([OLD]), Presented()) == {}


def test_bundles_of_another_purpose_verify_no_server() -> None:
    assert ends_of(bundles([OLD], purpose="charging_station"), on_node(shown(OLD))) == {}


def test_a_certificate_of_another_issuer_that_waits_ends_who_does_not_hold_its_anchor() -> None:
    now_shown = shown(OLD)
    history = bundles([OLD], [OLD, NEW])
    found = ends_of(history, on_node(now_shown, waiting=(shown(NEW),)))
    assert found["bundle-1"] == ("server-issuer-change", now_shown.not_after)
    assert found[NO_BUNDLE] == ("server-issuer-change", now_shown.not_after)
    assert found["bundle-2"][0] == "anchor-expiry"


def test_one_of_the_same_issuer_that_waits_because_it_has_ended_changes_nothing() -> None:
    now_shown = shown(OLD)
    found = ends_of(bundles([OLD]), on_node(now_shown, waiting=(now_shown,)))
    assert found["bundle-1"][0] == "anchor-expiry"
    assert NO_BUNDLE not in found


def test_what_was_put_in_place_against_the_gate_has_locked_out_who_cannot_verify_it() -> None:
    now_shown = shown(NEW)
    found = ends_of(bundles([OLD]), on_node(now_shown))
    assert found == {"bundle-1": ("server-issuer-change", now_shown.not_before)}


@pytest.mark.parametrize(("days", "cause"), [(1, "anchor-expiry"), (4000, "certificate-expiry")])
def test_whichever_ends_first_locks_out(days: int, cause: str) -> None:
    world = World()
    world.to_active()
    held = world.charger.bundles["backend_server"].bundle_id
    assert trust_bundle(world.charger) == held
    end = TrustEnd(bundle_id=held, at=world.now + timedelta(days=days), cause="anchor-expiry")
    other = TrustEnd(bundle_id="another", at=world.now, cause="anchor-expiry")
    found = whole_lockout(world.charger, [other, end])
    assert found is not None
    assert found.cause == cause


def test_a_server_certificate_is_nothing_to_a_charger_that_is_shown_none() -> None:
    world = World(security_profile=1, key=KEY, key_origin="generated")
    end = TrustEnd(bundle_id=NO_BUNDLE, at=world.now, cause="server-issuer-change")
    assert whole_lockout(world.charger, [end]) is None


def renewing() -> tuple[World, str, str]:
    """A charger on profile 3 with a successor issued, and the order to install it open."""
    world = World()
    first = world.to_active()
    world.wait(days=100)
    world.request("renew", certificate_id=first.certificate_id)
    while not isinstance(world.carry_out(), ObtainCsr):
        pass
    world.present_csr(pki.csr("SN-1"))
    second = world.ca_issues()
    return world, first.certificate_id, second.certificate_id


# ---------------------------------------------------------------- who is told


def told(world: World) -> list[tuple[str, datetime]]:
    return [
        (each.cause, each.locked_out_at)
        for each in world.events
        if isinstance(each, e.ChargerLockoutForeseen)
    ]


def away_with(**policy: object) -> tuple[World, datetime]:
    """A charger on profile 3 that is gone, and the end of its certificate."""
    world = World(
        fleet_facts(c.SetPolicy(scope="purpose:charging_station", values=policy)) if policy else None
    )
    certificate = world.to_active()
    world.lose_session()
    return world, certificate.not_after


def test_somebody_is_told_once_so_many_days_before_and_the_clock_is_set_for_it() -> None:
    world, end = away_with()
    told_at = end - timedelta(days=5)
    world.now = told_at - timedelta(seconds=2)
    world.wait(seconds=1)
    assert told(world) == []
    assert clock.next_due(world.charger, world.facts, world.now) == told_at
    world.wait(seconds=1)
    assert told(world) == [("certificate-expiry", end)]
    world.wait(days=1)
    world.now = end
    world.wait(seconds=1)
    assert told(world) == [("certificate-expiry", end)], "the end itself is no other news"


def test_nobody_is_told_where_policy_says_so() -> None:
    world, end = away_with(lockout_notice_days=0)
    world.now = end
    world.wait(days=1)
    assert told(world) == []


def test_a_charger_that_was_reached_in_time_is_no_news_until_its_new_end_nears() -> None:
    world, first, second = renewing()
    world.carry_out()
    end = world.charger.certificates[first].not_after
    world.now = end - timedelta(days=1)
    world.wait(seconds=1)
    assert told(world) == []
    world.now = world.charger.certificates[second].not_after - timedelta(days=5)
    world.wait(seconds=1)
    assert [cause for cause, _ in told(world)] == ["certificate-expiry"]


def test_what_was_taken_from_a_charger_at_once_is_told_at_once() -> None:
    world = World()
    certificate = world.to_active()
    world.request("revoke", certificate_id=certificate.certificate_id, reason="key_compromise")
    due = clock.next_due(world.charger, world.facts, world.now)
    assert due is not None
    assert due <= world.now
    world.wait(seconds=0)
    assert [cause for cause, _ in told(world)] == ["certificate-ended"]


def test_a_charger_that_never_had_a_credential_is_no_news() -> None:
    world = World()
    world.wait(days=1)
    assert told(world) == []


def test_the_notice_names_the_date_the_cause_and_what_to_do() -> None:
    world, end = away_with()
    world.now = end - timedelta(days=5)
    world.wait(seconds=1)
    event = next(each for each in world.events if isinstance(each, e.ChargerLockoutForeseen))
    notice = notice_of(row_of(event))
    assert notice is not None
    assert (notice.kind, notice.severity) == ("lockout", "critical")
    assert f"{end:%Y-%m-%d}" in notice.text
    assert "renew its certificate" in notice.text
