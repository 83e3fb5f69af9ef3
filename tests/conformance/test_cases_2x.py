"""OCPP 2.0.1 and 2.1, the OCTT cases that `test_core_201` does not hold, against `run.py up`; each named after its case.

The first sentence of a test is its row in docs/conformance.md. Source: OCPP 2.0.1 part 6 sections 3.2, 3.14 and 3.15, errata
2025-09.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from tests.conformance.control_plane import ControlPlane
from tests.conformance.decision_service import deciding
from tests.conformance.operator_call import IN_BOTH_VERSIONS, called, new_root
from tests.conformance.raw_charger import HASHES, Call, Charger, Payload, Session, certificates
from tests.conformance.raw_secc import Secc
from tests.fakes.revocation import responding

pytestmark = pytest.mark.xdist_group("core-201")

STATION_CERTIFICATE = "ChargingStationCertificate"
LOG_URL = "https://logs.example/upload/"


# ---------------------------------------------------------------- A: keys and certificates


async def rotate(charger: Charger, session: Session, status: str) -> str:
    """Have the operator change the password, and answer as said; the password sent."""
    await charger.system.post(f"/api/v1/chargers/{charger.charger_id}/authorization-key", {})
    call = await session.expect("SetVariables")
    [entry] = call.payload["setVariableData"]
    assert (entry["component"]["name"], entry["variable"]["name"]) == ("SecurityCtrlr", "BasicAuthPassword")
    result = {"attributeStatus": status, "component": entry["component"], "variable": entry["variable"]}
    await session.answer(call, {"setVariableResult": [result]})
    password = str(entry["attributeValue"])
    assert 16 <= len(password) <= 40
    return password


@IN_BOTH_VERSIONS
async def test_TC_A_09_password_change_accepted(system: ControlPlane, tmp_path: Path) -> None:
    """A rotation sends SetVariables SecurityCtrlr/BasicAuthPassword; once the new key is seen the old one is refused."""
    charger = await Charger.registered(system, tmp_path, target_profile=2)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        password = await rotate(charger, session, "Accepted")
    async with charger.connected(authorization=charger.basic(password=password)) as session:
        await charger.boot(session)
    assert await charger.until_refused(authorization=charger.basic()) == 401


@IN_BOTH_VERSIONS
async def test_TC_A_10_password_change_rejected(system: ControlPlane, tmp_path: Path) -> None:
    """A charger that rejects the new password goes on with the old one."""
    charger = await Charger.registered(system, tmp_path, target_profile=2)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        await rotate(charger, session, "Rejected")
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)


@IN_BOTH_VERSIONS
async def test_TC_A_12_renewal_of_the_v2g_certificate(system: ControlPlane, tmp_path: Path) -> None:
    """SignV2GCertificate is triggered once the V2G root is listed; the chain comes from the V2G PKI, without its root."""
    charger = await Charger.enrolled(system, tmp_path)
    secc = await Secc.registered(charger)
    serials = []
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        for action in ("issue", "renew"):
            job_id = await system.order(charger.charger_id, action, purpose="secc_iso15118_2")
            told = await secc.obey(session, until="CertificateSigned")
            assert told["TriggerMessage"].payload == {"requestedMessage": "SignV2GCertificate"}
            assert told["CertificateSigned"].payload["certificateType"] == "V2GCertificate"
            await secc.obey(session, until="GetInstalledCertificateIds")
            job = await system.until_job(job_id, lambda job: job["state"] != "open")
            assert (job["state"], job["managed_identity_id"]) == ("succeeded", secc.identity_id)
            leaf, *issuers = certificates(secc.chain_pem)
            serials.append(leaf.serial_number)
            assert secc.key is not None
            assert leaf.public_key() == secc.key.public_key()
            assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == secc.secc_id
            issuers[-1].verify_directly_issued_by(secc.roots[0])
    assert len({*serials}) == 2
    told_of = await system.charger(charger.charger_id)
    slots = {(slot["managed_identity_id"], slot["purpose"]): slot["current"] for slot in told_of["slots"]}
    assert slots[secc.identity_id, "secc_iso15118_2"]["serial_number"] == f"{serials[1]:x}"
    station = slots[told_of["managed_identity_id"], "charging_station"]
    assert station["serial_number"] == f"{certificates(charger.chain_pem)[0].serial_number:x}"


@IN_BOTH_VERSIONS
async def test_TC_A_13_combined_certificate(system: ControlPlane, tmp_path: Path) -> None:
    """Dropped from certification; a CSR without a type gets a ChargingStationCertificate, never one leaf for two realms."""
    charger = await Charger.enrolled(system, tmp_path)
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        trigger = {"requestedMessage": "SignCombinedCertificate"}
        await called(charger, session, "TriggerMessage", trigger)
        csr = charger.new_csr()
        assert await session.call("SignCertificate", charger.signing(csr)) == {"status": "Accepted"}
        told = await charger.obey(session, until="CertificateSigned")
    signed = told["CertificateSigned"].payload
    assert signed["certificateType"] == STATION_CERTIFICATE
    assert charger.key is not None
    assert certificates(signed["certificateChain"])[0].public_key() == charger.key.public_key()
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)


# ---------------------------------------------------------------- M: certificates on the charger


async def install(system: ControlPlane, folder: Path, store: str) -> None:
    """Have the operator install a root in that store."""
    charger = await Charger.registered(system, folder)
    wanted = {"certificateType": store, "certificate": new_root(f"{store} of the test")}
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        call, told = await called(charger, session, "InstallCertificate", wanted)
        assert call.payload == wanted
        assert told == {"outcome": "answered", "payload": {"status": "Accepted"}}


@IN_BOTH_VERSIONS
async def test_TC_M_03_install_a_v2g_root(system: ControlPlane, tmp_path: Path) -> None:
    """InstallCertificate carries V2GRootCertificate and the configured PEM, letter by letter."""
    await install(system, tmp_path, "V2GRootCertificate")


@IN_BOTH_VERSIONS
async def test_TC_M_04_install_a_mobility_operators_root(system: ControlPlane, tmp_path: Path) -> None:
    """InstallCertificate carries MORootCertificate and the configured PEM, letter by letter."""
    await install(system, tmp_path, "MORootCertificate")


def hash_data(serial: str, algorithm: str = "SHA256") -> Payload:
    digits = HASHES[algorithm].digest_size * 2
    return {
        "hashAlgorithm": algorithm,
        "issuerNameHash": "a" * digits,
        "issuerKeyHash": "b" * digits,
        "serialNumber": serial,
    }


async def listing(
    system: ControlPlane, folder: Path, types: list[str], *reported: Payload
) -> tuple[Call, Payload]:
    """Have the operator list what the charger holds; what was asked, and what the operator was told."""
    charger = await Charger.registered(system, folder)
    asked = {"certificateType": types} if types else {}
    held = {"status": "Accepted", "certificateHashDataChain": list(reported)}
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        call, told = await called(charger, session, "GetInstalledCertificateIds", asked, held)
        assert call.payload == asked
        assert told == {"outcome": "answered", "payload": held}
        await charger.boot(session)
        return call, told


def held_in(store: str, serial: str = "01", **more: Any) -> Payload:
    return {"certificateType": store, "certificateHashData": hash_data(serial), **more}


@IN_BOTH_VERSIONS
async def test_TC_M_14_list_v2g_roots(system: ControlPlane, tmp_path: Path) -> None:
    """GetInstalledCertificateIds asks for V2GRootCertificate."""
    await listing(system, tmp_path, ["V2GRootCertificate"], held_in("V2GRootCertificate"))


@IN_BOTH_VERSIONS
async def test_TC_M_15_list_the_v2g_certificate_chain(system: ControlPlane, tmp_path: Path) -> None:
    """GetInstalledCertificateIds asks for V2GCertificateChain; the hashes of sub-CAs come back with it."""
    children = [hash_data("02", "SHA384"), hash_data("03", "SHA512")]
    chain = held_in("V2GCertificateChain", childCertificateHashData=children)
    await listing(system, tmp_path, ["V2GCertificateChain"], chain)


@IN_BOTH_VERSIONS
async def test_TC_M_16_list_mobility_operators_roots(system: ControlPlane, tmp_path: Path) -> None:
    """GetInstalledCertificateIds asks for MORootCertificate."""
    await listing(system, tmp_path, ["MORootCertificate"], held_in("MORootCertificate"))


@IN_BOTH_VERSIONS
async def test_TC_M_18_list_everything(system: ControlPlane, tmp_path: Path) -> None:
    """Everything is asked for by leaving the type out."""
    call, _ = await listing(
        system, tmp_path, [], held_in("CSMSRootCertificate"), held_in("V2GRootCertificate", "02")
    )
    assert call.payload == {}


async def with_a_spare_root(charger: Charger, session: Session) -> Payload:
    """Install a root nothing depends on and list it; its hash data, as the charger has it."""
    root = new_root("Spare root")
    wanted = {"certificateType": "CSMSRootCertificate", "certificate": root}
    await called(charger, session, "InstallCertificate", wanted)
    _, told = await called(
        charger, session, "GetInstalledCertificateIds", {"certificateType": ["CSMSRootCertificate"]}
    )
    ours = charger.hash_data(x509.load_pem_x509_certificate(root.encode()))
    listed = [entry["certificateHashData"] for entry in told["payload"]["certificateHashDataChain"]]
    assert ours in listed
    return ours


@IN_BOTH_VERSIONS
@pytest.mark.parametrize("algorithm", HASHES)
async def test_TC_M_20_delete_a_certificate(system: ControlPlane, tmp_path: Path, algorithm: str) -> None:
    """DeleteCertificate carries the hash data the charger listed, its algorithm included."""
    charger = await Charger.enrolled(system, tmp_path)
    charger.algorithm = algorithm
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        held = await with_a_spare_root(charger, session)
        call, told = await called(charger, session, "DeleteCertificate", {"certificateHashData": held})
        assert call.payload == {"certificateHashData": held}
        assert held["hashAlgorithm"] == algorithm
        assert told["payload"] == {"status": "Accepted"}
        assert held not in [
            entry["certificateHashData"] for entry in charger.listed()["certificateHashDataChain"]
        ]


@IN_BOTH_VERSIONS
async def test_TC_M_21_delete_failed(system: ControlPlane, tmp_path: Path) -> None:
    """Failed is what the operator is told, and the session goes on."""
    charger = await Charger.enrolled(system, tmp_path)
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        held = await with_a_spare_root(charger, session)
        deletion = {"certificateHashData": held}
        _, told = await called(charger, session, "DeleteCertificate", deletion, {"status": "Failed"})
        assert told == {"outcome": "answered", "payload": {"status": "Failed"}}
        await charger.boot(session)


# ---------------------------------------------------------------- M: what others decide


@IN_BOTH_VERSIONS
async def test_TC_M_24_certificate_status(system: ControlPlane, tmp_path: Path) -> None:
    """GetCertificateStatus is answered with the response of the certificate's own OCSP responder, revoked or not."""
    charger = await Charger.registered(system, tmp_path)
    async with responding() as responder, charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        responder.issuer.revoked.add(0x0B)
        for serial, status in ((0x0A, ocsp.OCSPCertStatus.GOOD), (0x0B, ocsp.OCSPCertStatus.REVOKED)):
            for algorithm in HASHES:
                data = responder.issuer.hash_data(serial, algorithm)
                request = {"ocspRequestData": {**data, "responderURL": f"{responder.url}/ocsp"}}
                answer = await session.call("GetCertificateStatus", request)
                assert answer["status"] == "Accepted"
                told = ocsp.load_der_ocsp_response(base64.b64decode(answer["ocspResult"], validate=True))
                assert (told.serial_number, told.certificate_status) == (serial, status)
                assert told.issuer_key_hash.hex() == data["issuerKeyHash"]


async def contract(system: ControlPlane, folder: Path, action: str) -> None:
    """Ask for a car's contract certificate, and get what the broker says."""
    charger = await Charger.registered(system, folder)
    exi = base64.b64encode(b"\x80\x98" * 1800).decode()
    answer = {"status": "Accepted", "exiResponse": exi}
    async with (
        deciding(system, lambda *_: answer) as asked,
        charger.connected(authorization=charger.basic()) as session,
    ):
        await charger.boot(session)
        request = {
            "iso15118SchemaVersion": "urn:iso:15118:2:2013:MsgDef",
            "action": action,
            "exiRequest": exi,
        }
        assert await session.call("Get15118EVCertificate", request) == answer
        assert asked == [("Get15118EVCertificate", request)]


@IN_BOTH_VERSIONS
async def test_TC_M_26_install_a_contract_certificate(system: ControlPlane, tmp_path: Path) -> None:
    """The car's request is handed to the deciding service, and its EXI answer back, unaltered."""
    await contract(system, tmp_path, "Install")


@IN_BOTH_VERSIONS
async def test_TC_M_28_update_a_contract_certificate(system: ControlPlane, tmp_path: Path) -> None:
    """As TC_M_26, with action Update."""
    await contract(system, tmp_path, "Update")


# ---------------------------------------------------------------- N: logs


async def ask_for_log(
    charger: Charger, session: Session, kind: str, request_id: int, answer: Payload
) -> None:
    wanted = {"logType": kind, "requestId": request_id, "log": {"remoteLocation": LOG_URL}}
    call, told = await called(charger, session, "GetLog", wanted, answer)
    assert call.payload == wanted
    assert told == {"outcome": "answered", "payload": answer}


async def report(session: Session, request_id: int, *statuses: str) -> None:
    for status in statuses:
        told = {"status": status, "requestId": request_id}
        assert await session.call("LogStatusNotification", told) == {}


async def collected(system: ControlPlane, folder: Path, kind: str) -> None:
    charger = await Charger.registered(system, folder)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        await ask_for_log(charger, session, kind, 25, {"status": "Accepted", "filename": "log.tgz"})
        await report(session, 25, "Uploading", "Uploaded")
        assert await session.call("LogStatusNotification", {"status": "Idle"}) == {}


@IN_BOTH_VERSIONS
async def test_TC_N_25_diagnostics_log(system: ControlPlane, tmp_path: Path) -> None:
    """GetLog asks for the DiagnosticsLog; every status of the upload is answered."""
    await collected(system, tmp_path, "DiagnosticsLog")


@IN_BOTH_VERSIONS
async def test_TC_N_34_log_request_rejected(system: ControlPlane, tmp_path: Path) -> None:
    """Rejected is what the operator is told, and the session goes on."""
    charger = await Charger.registered(system, tmp_path)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        await ask_for_log(charger, session, "DiagnosticsLog", 34, {"status": "Rejected"})
        await charger.boot(session)


@IN_BOTH_VERSIONS
async def test_TC_N_35_security_log(system: ControlPlane, tmp_path: Path) -> None:
    """GetLog asks for the SecurityLog; every status of the upload is answered."""
    await collected(system, tmp_path, "SecurityLog")


@IN_BOTH_VERSIONS
async def test_TC_N_36_second_log_while_the_first_is_uploaded(system: ControlPlane, tmp_path: Path) -> None:
    """Two requests have two ids; the statuses of both are answered, AcceptedCanceled of the first among them."""
    charger = await Charger.registered(system, tmp_path)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        await ask_for_log(charger, session, "SecurityLog", 1, {"status": "Accepted", "filename": "1.log"})
        await report(session, 1, "Uploading")
        answer = {"status": "AcceptedCanceled", "filename": "2.log"}
        await ask_for_log(charger, session, "SecurityLog", 2, answer)
        await report(session, 1, "AcceptedCanceled")
        await report(session, 2, "Uploading", "Uploaded")
