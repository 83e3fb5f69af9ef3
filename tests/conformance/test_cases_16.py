"""OCPP 1.6 with the security whitepaper, the central system's side of the OCTT cases, against `run.py up`.

Each test is named after its case. Source: the OCA's OCPP 1.6 test cases for central systems, as restated in public.
"""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from websockets.exceptions import InvalidStatus

from tests.conformance.control_plane import ControlPlane
from tests.conformance.operator_call import new_root, until_live, while_ordered
from tests.conformance.raw_charge_point import CENTRAL_SYSTEM_ROOT, ChargePoint, fingerprint
from tests.conformance.raw_charger import HASHES, Call, Payload, Session, certificates
from tests.conformance.test_core_201 import SUITES, accepted_by, check_server_certificate, limited

pytestmark = pytest.mark.xdist_group("cases-16")

EVENT_TIME = "2026-01-01T00:00:00Z"
LOG_URL = "https://logs.example/upload/1"


async def called(
    system: ControlPlane, point: ChargePoint, session: Session, action: str, payload: Payload, answer: Payload
) -> tuple[Call, Payload]:
    """An operator's call by hand: what reached the charge point, and what the operator was told."""

    async def deeds() -> Call:
        call = await session.expect(action)
        await session.answer(call, answer)
        return call

    await until_live(point, session)
    return await while_ordered(
        system.post(f"/api/v1/chargers/{point.charger_id}/ocpp/{action}", payload), deeds()
    )


# ---------------------------------------------------------------- keys and certificates


async def test_TC_073_update_of_the_charge_points_password(system: ControlPlane, tmp_path: Path) -> None:
    """ChangeConfiguration AuthorizationKey with 16 to 20 bytes in hex; once the new key is seen the old one is refused."""
    point = await ChargePoint.registered(system, tmp_path, target_profile=2)
    old = point.basic()
    async with point.connected(authorization=old) as session:
        await point.boot(session)
        await system.post(f"/api/v1/chargers/{point.charger_id}/authorization-key", {})
        told = await point.obey(session, until="ChangeConfiguration")
    change = told["ChangeConfiguration"].payload
    assert change["key"] == "AuthorizationKey"
    assert 16 <= len(bytes.fromhex(change["value"])) <= 20
    point.password = change["value"]
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
    assert await point.until_refused(authorization=old) == 401


async def test_TC_074_renewal_of_the_charge_points_certificate(system: ControlPlane, tmp_path: Path) -> None:
    """ExtendedTriggerMessage, CSR Accepted, chain without the root; the job ends when the new leaf is seen live."""
    point = await ChargePoint.enrolled(system, tmp_path)
    [old_leaf, *_] = certificates(point.chain_pem)
    async with point.connected(point.tls()) as session:
        await point.boot(session)
        job_id = await system.order(point.charger_id, "renew")
        told = await point.obey(session, until="CertificateSigned")
    assert told["ExtendedTriggerMessage"].payload == {"requestedMessage": "SignChargePointCertificate"}
    signed = told["CertificateSigned"].payload
    assert set(signed) == {"certificateChain"}
    leaf, *issuers = certificates(signed["certificateChain"])
    assert leaf.fingerprint(hashes.SHA256()) != old_leaf.fingerprint(hashes.SHA256())
    assert point.key is not None
    assert leaf.public_key() == point.key.public_key()
    [name] = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == point.serial
    root = next(
        pem
        for pem in system.anchors
        if x509.load_pem_x509_certificate(pem.encode()).subject == issuers[-1].issuer
    )
    assert accepted_by(root, leaf, issuers)
    async with point.connected(point.tls()) as session:
        await point.boot(session)
        await system.until_job(job_id, lambda job: job["state"] == "succeeded")
        new = leaf.fingerprint(hashes.SHA256()).hex()
        shown = await system.until_charger(
            point.charger_id,
            lambda found: found["session"] and found["session"]["fingerprint_sha256"] == new,
        )
        assert shown["session"]["ocpp_version"] == "1.6"


async def test_TC_075_2_install_a_central_system_root(system: ControlPlane, tmp_path: Path) -> None:
    """Every anchor of the bundle is installed as CentralSystemRootCertificate, letter by letter, and listed."""
    point = await ChargePoint.registered(system, tmp_path)
    sent: list[Payload] = []

    def keep(call: Call) -> Payload:
        sent.append(call.payload)
        return point._as_told(call)

    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        await system.order(point.charger_id)
        told = await point.obey(session, until="GetInstalledCertificateIds", InstallCertificate=keep)
    assert {each["certificateType"] for each in sent} == {CENTRAL_SYSTEM_ROOT}
    assert {fingerprint(each["certificate"]) for each in sent} == {fingerprint(pem) for pem in system.anchors}
    assert told["GetInstalledCertificateIds"].payload == {"certificateType": CENTRAL_SYSTEM_ROOT}
    shown = await system.until_charger(point.charger_id, lambda found: found["trust_anchors"])
    assert shown["trust_anchors"][0]["rung"] == "listed"


@pytest.mark.parametrize("algorithm", HASHES)
async def test_TC_076_delete_a_certificate(system: ControlPlane, tmp_path: Path, algorithm: str) -> None:
    """DeleteCertificate carries the hash data the charge point listed, its algorithm included."""
    point = await ChargePoint.registered(system, tmp_path)
    point.algorithm = algorithm
    root = new_root(f"Deleted {algorithm}")
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        await until_live(point, session)

        async def operator(action: str, payload: Payload) -> Payload:
            path = f"/api/v1/chargers/{point.charger_id}/ocpp/{action}"
            _, answer = await while_ordered(system.post(path, payload), point.obey(session, until=action))
            assert answer["outcome"] == "answered"
            return dict(answer["payload"])

        for pem in (*system.anchors, root):
            install = {"certificateType": CENTRAL_SYSTEM_ROOT, "certificate": pem}
            assert await operator("InstallCertificate", install) == {"status": "Accepted"}
        held = await operator("GetInstalledCertificateIds", {"certificateType": CENTRAL_SYSTEM_ROOT})
        mine = point.hash_data(x509.load_pem_x509_certificate(root.encode()))
        assert mine["hashAlgorithm"] == algorithm
        assert mine in held["certificateHashData"]
        assert await operator("DeleteCertificate", {"certificateHashData": mine}) == {"status": "Accepted"}
    assert set(point.roots) == {fingerprint(pem) for pem in system.anchors}


async def test_TC_077_invalid_charge_point_certificate(system: ControlPlane, tmp_path: Path) -> None:
    """The event is answered, and the job of the rejected leaf fails with that reason."""
    point = await ChargePoint.registered(system, tmp_path)
    job_id = await system.order(point.charger_id)
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        await point.obey(
            session, until="CertificateSigned", CertificateSigned=lambda _: {"status": "Rejected"}
        )
        event = {"type": "InvalidChargePointCertificate", "timestamp": EVENT_TIME}
        assert await session.call("SecurityEventNotification", event) == {}
        job = await system.until_job(job_id, lambda job: job["reason"])
        assert (job["state"], job["reason"]["code"]) == ("failed", "certificate-rejected-by-charger")
        assert await system.until_items(
            f"/api/v1/security-events?charger_id={point.charger_id}&kind={event['type']}", bool
        )


async def test_TC_078_invalid_central_system_certificate(system: ControlPlane, tmp_path: Path) -> None:
    """Rejected is what the operator is told, and the event is answered."""
    point = await ChargePoint.registered(system, tmp_path)
    install = {"certificateType": CENTRAL_SYSTEM_ROOT, "certificate": new_root("Refused")}
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        call, told = await called(
            system, point, session, "InstallCertificate", install, {"status": "Rejected"}
        )
        assert call.payload == install
        assert told == {"outcome": "answered", "payload": {"status": "Rejected"}}
        event = {"type": "InvalidCentralSystemCertificate", "timestamp": EVENT_TIME}
        assert await session.call("SecurityEventNotification", event) == {}
        await point.boot(session)


# ---------------------------------------------------------------- logs and firmware


async def test_TC_079_get_the_security_log(system: ControlPlane, tmp_path: Path) -> None:
    """GetLog asks for the SecurityLog; every status of the upload is answered."""
    point = await ChargePoint.registered(system, tmp_path)
    asked = {"logType": "SecurityLog", "requestId": 79, "log": {"remoteLocation": LOG_URL}}
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        answer = {"status": "Accepted", "filename": "security.log"}
        call, told = await called(system, point, session, "GetLog", asked, answer)
        assert call.payload == asked
        assert told == {"outcome": "answered", "payload": answer}
        for status in ("Uploading", "Uploaded"):
            assert await session.call("LogStatusNotification", {"status": status, "requestId": 79}) == {}
        assert await session.call("LogStatusNotification", {"status": "Idle"}) == {}
        assert await session.call("DiagnosticsStatusNotification", {"status": "Uploaded"}) == {}


UPDATED = (
    "Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting", "Installed",
)  # fmt: skip
FORGED = ("Downloading", "Downloaded", "InvalidSignature")


async def report(session: Session, statuses: tuple[str, ...], request_id: int) -> None:
    for status in statuses:
        sent = {"status": status, "requestId": request_id}
        assert await session.call("SignedFirmwareStatusNotification", sent) == {}


@pytest.mark.parametrize("statuses", [UPDATED, FORGED], ids=["TC_080", "TC_081"])
async def test_TC_080_and_TC_081_every_status_of_a_signed_update_is_answered(
    system: ControlPlane, tmp_path: Path, statuses: tuple[str, ...]
) -> None:
    """Every status of a signed update is answered, the event of a bad signature too."""
    point = await ChargePoint.registered(system, tmp_path)
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        await report(session, statuses, 80)
        assert await session.call("FirmwareStatusNotification", {"status": "Installed"}) == {}
        if statuses is FORGED:
            event = {"type": "InvalidFirmwareSignature", "timestamp": EVENT_TIME}
            assert await session.call("SecurityEventNotification", event) == {}


# ---------------------------------------------------------------- profiles


async def test_TC_083_upgrade_of_the_security_profile(system: ControlPlane, tmp_path: Path) -> None:
    """ChangeConfiguration SecurityProfile, Reset Hard; once profile 3 is seen the old one is refused."""
    point = await ChargePoint.registered(system, tmp_path)
    job_id = await system.order(point.charger_id)
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        told = await point.obey(session, until="CertificateSigned")
        async with asyncio.timeout(5):
            told |= await point.obey(session, until="Reset")
    assert told["ChangeConfiguration"].payload == {"key": "SecurityProfile", "value": "3"}
    assert told["Reset"].payload == {"type": "Hard"}
    async with point.connected(point.tls()) as session:
        await point.boot(session)
    await system.until_job(job_id, lambda job: job["state"] == "succeeded")
    assert await point.until_refused(authorization=point.basic()) == 403
    async with point.connected(point.tls()) as session:
        await point.boot(session)


async def test_TC_085_basic_authentication_valid(system: ControlPlane, tmp_path: Path) -> None:
    """401 without a header, with a wrong key or another user; a key of 16 to 20 characters is sent as it is."""
    point = await ChargePoint.registered(system, tmp_path)
    assert len(point.password) == 20
    assert await point.refusal() == 401, "without an Authorization header"
    wrong = secrets.token_urlsafe(15)
    assert await point.refusal(authorization=point.basic(password=wrong)) == 401
    assert await point.refusal(authorization=point.basic(user="another")) == 401
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)


@pytest.mark.parametrize("octets", [16, 20])
async def test_TC_085_a_key_of_32_or_more_digits_is_hex(
    system: ControlPlane, tmp_path: Path, octets: int
) -> None:
    """A key of 32 to 40 hex digits stands for the bytes that the header carries."""
    point = await ChargePoint.registered(system, tmp_path, authorization_key=secrets.token_hex(octets))
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)


@pytest.mark.parametrize("suite", SUITES)
async def test_TC_086_server_certificate_valid(system: ControlPlane, tmp_path: Path, suite: str) -> None:
    """All four suites over TLS 1.2, with an ECDSA and an RSA certificate whose CN is the host's name."""
    point = await ChargePoint.registered(system, tmp_path)
    context = limited(system.tls(), suite)
    async with point.connected(context, authorization=point.basic()) as session:
        tls = session.socket.transport.get_extra_info("ssl_object")
        assert (tls.version(), tls.cipher()[0]) == ("TLSv1.2", suite)
        check_server_certificate(tls.getpeercert(binary_form=True), SUITES[suite])
        await point.boot(session)


async def test_TC_087_client_certificate_valid(system: ControlPlane, tmp_path: Path) -> None:
    """A known leaf opens a session over each of the four suites and over TLS 1.3."""
    point = await ChargePoint.enrolled(system, tmp_path)
    for suite in SUITES:
        async with point.connected(limited(point.tls(), suite)) as session:
            await point.boot(session)
    async with point.connected(point.tls()) as session:
        await point.boot(session)
        await system.until_charger(
            point.charger_id, lambda found: found["session"] and found["session"]["security_profile"] == 3
        )


async def test_TC_088_subprotocol(system: ControlPlane, tmp_path: Path) -> None:
    """400 without an upgrade where no offered version is known; else exactly ocpp1.6."""
    point = await ChargePoint.registered(system, tmp_path)
    with pytest.raises(InvalidStatus) as refused:
        async with point.connected(authorization=point.basic(), subprotocols=("ocpp0.1",)):
            pass
    assert refused.value.response.status_code == 400
    assert "Upgrade" not in refused.value.response.headers
    both = ("ocpp0.1", "ocpp1.6")
    async with point.connected(authorization=point.basic(), subprotocols=both) as session:
        assert session.socket.subprotocol == "ocpp1.6"
        await point.boot(session)
