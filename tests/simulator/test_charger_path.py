"""The way from a password to a client certificate, as a conformant charger walks it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.charger import Charger, ChargerFamily, KeyType, TlsOffer
from tests.simulator.authority import fingerprint, pem
from tests.simulator.central_system import CentralSystem, Seen
from tests.simulator.conftest import FAMILY, MakeCharger, Pki


async def install_root(pki: Pki, seen: Seen) -> None:
    answer = await seen.call(
        "InstallCertificate",
        {"certificateType": "CSMSRootCertificate", "certificate": pem(pki.identity_root.certificate)},
    )
    assert answer == {"status": "Accepted"}


async def obtain_certificate(pki: Pki, csms: CentralSystem, seen: Seen) -> str:
    """Root, trigger, CSR and CertificateSigned; the answer is the new leaf's fingerprint."""
    await install_root(pki, seen)
    trigger = {"requestedMessage": "SignChargingStationCertificate"}
    assert await seen.call("TriggerMessage", trigger) == {"status": "Accepted"}
    chain = pki.identity.sign(await csms.csr(seen, len(seen.said("SignCertificate")) or 1))
    answer = await seen.call(
        "CertificateSigned", {"certificateChain": chain, "certificateType": "ChargingStationCertificate"}
    )
    assert answer == {"status": "Accepted"}
    return fingerprint(chain)


async def order_profile_3(csms: CentralSystem, seen: Seen) -> None:
    """Slot 2 for profile 3, priority 2 before 1, and a reset."""
    connection = {
        "ocppVersion": "OCPP20",
        "ocppTransport": "JSON",
        "ocppCsmsUrl": csms.url,
        "messageTimeout": 30,
        "securityProfile": 3,
        "ocppInterface": "Wired0",
    }
    profile = {"configurationSlot": 2, "connectionData": connection}
    assert await seen.call("SetNetworkProfile", profile) == {"status": "Accepted"}
    priority = {
        "component": {"name": "OCPPCommCtrlr"},
        "variable": {"name": "NetworkConfigurationPriority"},
        "attributeValue": "2,1",
    }
    answer = await seen.call("SetVariables", {"setVariableData": [priority]})
    assert answer["setVariableResult"][0]["attributeStatus"] == "Accepted"
    assert await seen.call("Reset", {"type": "OnIdle"}) == {"status": "Accepted"}


async def walk(pki: Pki, csms: CentralSystem, charger: Charger) -> Seen:
    """The whole path; the answer is the profile 3 session."""
    charger_id = charger.configuration.charger_id
    seen = await csms.session(charger_id, 2)
    mark = await obtain_certificate(pki, csms, seen)
    await order_profile_3(csms, seen)
    secured = await csms.session(charger_id, 3)
    assert secured.fingerprint == mark
    return secured


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
