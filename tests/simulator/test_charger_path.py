"""The way from a password to a client certificate, as a conformant charger walks it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from simulator.charger import Charger, ChargerFamily, ChargerMemory, KeyType, TlsOffer
from tests.simulator.central_system import CentralSystem, Payload, Seen
from tests.simulator.conftest import FAMILY, MakeCharger, Pki
from tests.simulator.errand import obtain_certificate, order_profile_3, walk


@pytest.mark.parametrize(
    "family",
    [
        FAMILY,
        replace(FAMILY, key_type=KeyType.RSA2048),
        replace(FAMILY, tls_offer=TlsOffer.ECDSA_PAIR),
        replace(FAMILY, tls_offer=TlsOffer.RSA_PAIR),
        replace(FAMILY, boots_on_every_connection=False),
    ],
    ids=["p256", "rsa", "ecdsa-suites", "rsa-suites", "quiet"],
)
async def test_a_charger_climbs_from_a_password_to_its_certificate(
    family: ChargerFamily, pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger(family=family)
    secured = await walk(pki, csms, charger)

    seen = await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.security_profile == 3)
    assert seen.session_fingerprint == secured.fingerprint == seen.credential_fingerprint
    assert seen.renewed_fingerprint is None
    assert (seen.slot, seen.priority, seen.network_profiles) == (2, (2,), {2: 3})
    assert secured.presented == 2
    assert secured.said("BootNotification")[0]["reason"] == "RemoteReset"
    assert secured.said("BootNotification")[0]["chargingStation"]["serialNumber"] == "SN0001"
    if family.tls_offer is not TlsOffer.MODERN:
        assert ("ECDSA" in secured.cipher) == (family.tls_offer is TlsOffer.ECDSA_PAIR)


async def renewable(pki: Pki, csms: CentralSystem, make_charger: MakeCharger, **changes: Any) -> Charger:
    """A charger that has walked the path already."""
    charger = await make_charger(**changes)
    await walk(pki, csms, charger)
    return charger


async def test_a_charger_on_profile_3_reconnects_with_each_new_certificate_and_drops_the_old(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await renewable(pki, csms, make_charger)
    first = await csms.session("depot-1", 3)
    mark = await obtain_certificate(pki, csms, first)
    seen = await charger.wait_for(
        lambda snapshot: snapshot.is_accepted and snapshot.session_fingerprint == mark
    )
    assert seen.installed_fingerprints == (mark,)
    assert first.fingerprint != mark


async def test_a_charger_whose_new_certificate_is_refused_returns_with_the_old_and_says_so(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await renewable(pki, csms, make_charger)
    old = await csms.session("depot-1", 3)
    csms.refuses = lambda charger_id, profile, mark: 403 if mark != old.fingerprint else 0
    new = await obtain_certificate(pki, csms, old)

    await csms.wait_for(lambda: [seen for seen in csms.sessions if seen.said("SecurityEventNotification")])
    await csms.wait_for(
        lambda: (
            "DiscardedRenewedClientCertificate"
            in [event["type"] for event in csms.sessions[-1].said("SecurityEventNotification")]
        )
    )
    back = csms.sessions[-1]
    assert back.fingerprint == old.fingerprint != new
    assert csms.refused == [("depot-1", 403)] * 2
    assert charger.snapshot().installed_fingerprints == (old.fingerprint,)


async def test_a_busy_central_system_does_not_cost_a_new_certificate(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await renewable(pki, csms, make_charger)
    old = await csms.session("depot-1", 3)
    csms.refuses = lambda charger_id, profile, mark: 503 if len(csms.refused) < 3 else 0
    new = await obtain_certificate(pki, csms, old)
    seen = await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 3)
    assert len(csms.refused) == 3
    assert seen.installed_fingerprints == (new,)


async def test_a_charger_refused_on_profile_3_falls_back_to_its_former_slot(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger()
    csms.refuses = lambda charger_id, profile, mark: 403 if profile == 3 else 0
    first = await csms.session("depot-1", 2)
    mark = await obtain_certificate(pki, csms, first)
    await order_profile_3(csms, first)
    seen = await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert (seen.slot, seen.security_profile, seen.renewed_fingerprint) == (1, 2, mark)
    assert seen.network_profiles == {1: 2, 2: 3}

    csms.refuses = lambda charger_id, profile, mark: 0
    charger.cut()
    seen = await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 3)
    assert (seen.slot, seen.security_profile, seen.network_profiles) == (2, 3, {2: 3})


async def test_a_charger_that_is_cut_off_after_its_boot_was_not_accepted_goes_back_to_the_former_slot(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await make_charger()
    first = await csms.session("depot-1", 2)
    await obtain_certificate(pki, csms, first)

    def hang_up(seen: Seen) -> Payload:
        if seen.profile == 3:
            seen.socket.transport.abort()
        return {"status": "Accepted", "interval": 300}

    csms.boot = hang_up
    await order_profile_3(csms, first)
    seen = await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert (seen.slot, seen.connections) == (1, 4)


async def test_what_a_charger_holds_survives_a_restart_of_the_simulator(
    pki: Pki, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger = await renewable(pki, csms, make_charger)
    before = charger.snapshot()
    dumped = json.loads(json.dumps(charger.dump_memory()))
    await charger.stop()
    again = await make_charger(
        charger_id="depot-1",
        serial_number="SN0001",
        memory=lambda configuration: ChargerMemory.load(dumped, configuration),
    )
    seen = await again.wait_for(lambda snapshot: snapshot.is_accepted)
    assert seen.session_fingerprint == before.credential_fingerprint
    assert seen.root_fingerprints == before.root_fingerprints
    assert (seen.security_profile, seen.priority) == (3, (2,))
    assert again.dump_memory() | {"security_events": []} == dumped | {"security_events": []}
