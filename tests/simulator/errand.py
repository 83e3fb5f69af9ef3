"""What a test's central system asks of a charger, step by step."""

from __future__ import annotations

from simulator.charger import Charger
from tests.simulator.authority import fingerprint, pem
from tests.simulator.central_system import CentralSystem, Payload, Seen
from tests.simulator.conftest import Pki

TRIGGER = {"requestedMessage": "SignChargingStationCertificate"}


async def install_root(pki: Pki, seen: Seen) -> None:
    answer = await seen.call(
        "InstallCertificate",
        {"certificateType": "CSMSRootCertificate", "certificate": pem(pki.identity_root.certificate)},
    )
    assert answer == {"status": "Accepted"}


async def obtain_certificate(pki: Pki, csms: CentralSystem, seen: Seen) -> str:
    """Root, trigger, CSR and CertificateSigned; the answer is the new leaf's fingerprint."""
    await install_root(pki, seen)
    chain = pki.identity.sign(await csr(csms, seen))
    assert await seen.call("CertificateSigned", signed(chain)) == {"status": "Accepted"}
    return fingerprint(chain)


async def csr(csms: CentralSystem, seen: Seen) -> str:
    """The CSR that answers a trigger."""
    before = len(seen.said("SignCertificate"))
    assert await seen.call("TriggerMessage", TRIGGER) == {"status": "Accepted"}
    return await csms.csr(seen, before + 1)


def signed(chain: str) -> Payload:
    return {"certificateChain": chain, "certificateType": "ChargingStationCertificate"}


def network_profile(url: str, security_profile: int, slot: int = 2) -> Payload:
    connection = {
        "ocppVersion": "OCPP20",
        "ocppTransport": "JSON",
        "ocppCsmsUrl": url,
        "messageTimeout": 30,
        "securityProfile": security_profile,
        "ocppInterface": "Wired0",
    }
    return {"configurationSlot": slot, "connectionData": connection}


def variable(component: str, name: str, value: str | None = None) -> Payload:
    entry: Payload = {"component": {"name": component}, "variable": {"name": name}}
    return entry if value is None else entry | {"attributeValue": value}


async def set_variable(seen: Seen, component: str, name: str, value: str) -> str:
    """The attributeStatus of one variable's writing."""
    answer = await seen.call("SetVariables", {"setVariableData": [variable(component, name, value)]})
    return str(answer["setVariableResult"][0]["attributeStatus"])


async def order_profile_3(csms: CentralSystem, seen: Seen) -> None:
    """Slot 2 for profile 3, priority 2 before 1, and a reset."""
    assert await seen.call("SetNetworkProfile", network_profile(csms.url, 3)) == {"status": "Accepted"}
    assert await set_variable(seen, "OCPPCommCtrlr", "NetworkConfigurationPriority", "2,1") == "Accepted"
    assert await seen.call("Reset", {"type": "OnIdle"}) == {"status": "Accepted"}


async def walk(pki: Pki, csms: CentralSystem, charger: Charger) -> Seen:
    """The whole path; the answer is the profile 3 session."""
    charger_id = charger.configuration.charger_id
    seen = await csms.session(charger_id, 2)
    mark = await obtain_certificate(pki, csms, seen)
    await order_profile_3(csms, seen)
    secured = await csms.session(charger_id, 3)
    assert secured.fingerprint == mark
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.security_profile == 3)
    return secured


async def install_root_16(pki: Pki, seen: Seen) -> None:
    root = {
        "certificateType": "CentralSystemRootCertificate",
        "certificate": pem(pki.identity_root.certificate),
    }
    assert await seen.call("InstallCertificate", root) == {"status": "Accepted"}


async def csr_16(csms: CentralSystem, seen: Seen) -> str:
    """The CSR that answers an extended trigger."""
    before = len(seen.said("SignCertificate"))
    trigger = {"requestedMessage": "SignChargePointCertificate"}
    assert await seen.call("ExtendedTriggerMessage", trigger) == {"status": "Accepted"}
    return await csms.csr(seen, before + 1)


async def obtain_certificate_16(pki: Pki, csms: CentralSystem, seen: Seen) -> str:
    """Root, trigger, CSR and CertificateSigned in 1.6; the answer is the new leaf's fingerprint."""
    await install_root_16(pki, seen)
    chain = pki.identity.sign(await csr_16(csms, seen))
    assert await seen.call("CertificateSigned", {"certificateChain": chain}) == {"status": "Accepted"}
    return fingerprint(chain)


async def change_key(seen: Seen, key: str, value: str) -> str:
    """The status of one configuration key's writing in 1.6."""
    return str((await seen.call("ChangeConfiguration", {"key": key, "value": value}))["status"])
