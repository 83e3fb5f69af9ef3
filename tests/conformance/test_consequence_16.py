"""What follows from the requirements of OCPP 1.6, its security whitepaper and the ISO 15118 note, against `run.py up`."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from tests.conformance.control_plane import ControlPlane
from tests.conformance.decision_service import deciding
from tests.conformance.raw_charge_point import ChargePoint
from tests.conformance.raw_charger import ORGANIZATION, CallError, Payload, Session, certificates
from tests.conformance.test_consequence_2x import CAR_QUESTIONS, FAILED
from tests.fakes.revocation import responding

pytestmark = pytest.mark.xdist_group("cases-16")

EVENT_TIME = "2026-01-01T00:00:00Z"
PNC = "org.openchargealliance.iso15118pnc"


async def can(system: ControlPlane, point: ChargePoint, **capabilities: Any) -> None:
    """What the operator says of this charge point."""
    body = {"capabilities": capabilities, "reason": "as it is"}
    await system.put(f"/api/v1/chargers/{point.charger_id}/capabilities", body)


async def test_a_request_for_a_certificate_yields_one_for_the_chargers_own_identity_only(
    system: ControlPlane, tmp_path: Path
) -> None:
    point = await ChargePoint.enrolled(system, tmp_path)
    found: list[Payload] = await system.items(f"/api/v1/certificates?charger_id={point.charger_id}")
    assert [(each["purpose"], each["realm"]) for each in found] == [("charging_station", "charger-identity")]
    [name] = certificates(point.chain_pem)[0].subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert name.value == ORGANIZATION


async def test_a_transaction_nobody_decides_has_a_number_of_its_own(
    system: ControlPlane, tmp_path: Path
) -> None:
    point = await ChargePoint.registered(system, tmp_path)
    started = {"connectorId": 1, "idTag": "A1", "meterStart": 1, "timestamp": EVENT_TIME}
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        answer = await session.call("StartTransaction", started)
        assert answer["idTagInfo"] == {"status": "Invalid"}
        assert await session.call("StartTransaction", started) == answer, "told again, it is the same one"
        other = await session.call("StartTransaction", {**started, "meterStart": 2})
        assert other["transactionId"] != answer["transactionId"]
        stopped = {"transactionId": answer["transactionId"], "meterStop": 2, "timestamp": EVENT_TIME}
        assert await session.call("StopTransaction", stopped) == {}


async def test_a_transaction_gets_the_number_the_deciding_service_gives_it(
    system: ControlPlane, tmp_path: Path
) -> None:
    point = await ChargePoint.registered(system, tmp_path)
    started = {"connectorId": 1, "idTag": "A1", "meterStart": 1, "timestamp": EVENT_TIME}
    decided = {"transactionId": 4711, "idTagInfo": {"status": "Accepted"}}
    async with (
        deciding(system, lambda *_: decided) as asked,
        point.connected(authorization=point.basic()) as session,
    ):
        await point.boot(session)
        assert await session.call("StartTransaction", started) == decided
    assert asked == [("StartTransaction", started)]


# ---------------------------------------------------------------- ISO 15118 inside DataTransfer


async def enveloped(session: Session, action: str, content: Payload) -> Payload:
    """The answer inside an accepted envelope."""
    payload = {"vendorId": PNC, "messageId": action, "data": json.dumps(content)}
    answer = await session.call("DataTransfer", payload)
    assert answer["status"] == "Accepted"
    opened: Payload = json.loads(answer["data"])
    return opened


@pytest.mark.parametrize("action", CAR_QUESTIONS)
async def test_what_nobody_decides_is_failed_inside_the_envelope(
    system: ControlPlane, tmp_path: Path, action: str
) -> None:
    point = await ChargePoint.registered(system, tmp_path)
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        assert await enveloped(session, action, CAR_QUESTIONS[action]) == FAILED[action]


async def test_a_status_asked_for_in_the_envelope_is_that_of_the_certificates_responder(
    system: ControlPlane, tmp_path: Path
) -> None:
    point = await ChargePoint.registered(system, tmp_path)
    async with responding() as responder, point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        data = {**responder.issuer.hash_data(0x0A), "responderURL": f"{responder.url}/ocsp"}
        answer = await enveloped(session, "GetCertificateStatus", {"ocspRequestData": data})
        assert answer["status"] == "Accepted"
        told = ocsp.load_der_ocsp_response(base64.b64decode(answer["ocspResult"], validate=True))
        assert (told.serial_number, told.certificate_status) == (0x0A, ocsp.OCSPCertStatus.GOOD)


async def test_a_cars_request_in_the_envelope_is_decided_as_that_of_a_newer_charger(
    system: ControlPlane, tmp_path: Path
) -> None:
    point = await ChargePoint.registered(system, tmp_path)
    question = CAR_QUESTIONS["Get15118EVCertificate"]
    decided = {"status": "Accepted", "exiResponse": "gJg="}
    async with (
        deciding(system, lambda *_: decided) as asked,
        point.connected(authorization=point.basic()) as session,
    ):
        await point.boot(session)
        assert await enveloped(session, "Get15118EVCertificate", question) == decided
    assert asked == [("Get15118EVCertificate", question)]


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ({"vendorId": "somebody"}, "UnknownVendorId"),
        ({"vendorId": PNC, "messageId": "NotifyReport", "data": "{}"}, "UnknownMessageId"),
        ({"vendorId": PNC, "messageId": "SignCertificate", "data": "{"}, "Rejected"),
    ],
)
async def test_an_envelope_nobody_can_open_is_answered_with_its_status(
    system: ControlPlane, tmp_path: Path, payload: Payload, status: str
) -> None:
    point = await ChargePoint.registered(system, tmp_path)
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        assert await session.call("DataTransfer", payload) == {"status": status}


async def test_a_request_without_a_type_in_the_envelope_is_for_the_chargers_own_identity(
    system: ControlPlane, tmp_path: Path
) -> None:
    point = await ChargePoint.registered(system, tmp_path)
    await system.order(point.charger_id)
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        await point.obey(session, until="ExtendedTriggerMessage")
        told = await enveloped(session, "SignCertificate", {"csr": point.new_csr()})
        assert told == {"status": "Accepted"}
        signed = await point.obey(session, until="CertificateSigned")
    assert set(signed["CertificateSigned"].payload) == {"certificateChain"}
    found = await system.items(f"/api/v1/certificates?charger_id={point.charger_id}")
    assert [each["realm"] for each in found] == ["charger-identity"]


# ---------------------------------------------------------------- chargers as they are


async def test_a_charger_gets_its_chain_as_it_can_read_it(system: ControlPlane, tmp_path: Path) -> None:
    point = await ChargePoint.registered(system, tmp_path)
    await can(system, point, needs_crlf=True)
    await system.order(point.charger_id)
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        told = await point.obey(session, until="CertificateSigned")
    for pem in (
        told["InstallCertificate"].payload["certificate"],
        told["CertificateSigned"].payload["certificateChain"],
    ):
        assert pem.count("\r\n") == pem.count("\n") > 1
        assert x509.load_pem_x509_certificates(pem.encode())


async def test_a_charger_that_offers_no_subprotocol_is_refused_unless_it_is_known_for_it(
    system: ControlPlane, tmp_path: Path
) -> None:
    point = await ChargePoint.registered(system, tmp_path)
    assert await point.refusal(authorization=point.basic(), subprotocols=()) == 400
    await can(system, point, assume_version="1.6")
    await point.until_refused_no_more(authorization=point.basic(), subprotocols=())
    async with point.connected(authorization=point.basic(), subprotocols=()) as session:
        assert session.socket.subprotocol is None
        await point.boot(session)
    assert await point.refusal(authorization=point.basic(), subprotocols=("ocpp0.1",)) == 400


async def test_an_unknown_action_is_not_implemented_and_one_of_ours_not_supported(
    system: ControlPlane, tmp_path: Path
) -> None:
    point = await ChargePoint.registered(system, tmp_path)
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        for action, code in (("NotifyReport", "NotImplemented"), ("ClearCache", "NotSupported")):
            with pytest.raises(CallError, match=code):
                await session.call(action, {})
        with pytest.raises(CallError, match="OccurenceConstraintViolation"):
            await session.call("SignCertificate", {})
