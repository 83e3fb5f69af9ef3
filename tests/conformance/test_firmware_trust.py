"""Firmware trust over the wire, against `run.py up`: manufacturer roots in, listed and out again, updates followed.

Its operator has a token of its own; the admin token of operations is refused.
"""

from __future__ import annotations

import base64
import dataclasses
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conformance.control_plane import Body, ControlPlane
from tests.conformance.operator_call import IN_BOTH_VERSIONS, new_root
from tests.conformance.raw_charge_point import ChargePoint
from tests.conformance.raw_charger import Call, Charger, Payload, Session

pytestmark = pytest.mark.xdist_group("firmware-trust")

ROOT = "/api/v1/firmware-trust"
STORE = "ManufacturerRootCertificate"


def firmware_admin(system: ControlPlane) -> ControlPlane:
    """The same system, as its firmware admin."""
    token = (system.folder / "data" / "secrets" / "firmware.token").read_text().strip()
    return dataclasses.replace(system, token=token)


async def recorded(admin: ControlPlane) -> tuple[str, str]:
    """A manufacturer's root as PEM, and its id."""
    pem = new_root("Maker of the test")
    made = await admin.post(f"{ROOT}/anchors", {"manufacturer": "Maker", "pem": pem})
    return pem, str(made["anchor_id"])


@dataclasses.dataclass(frozen=True)
class Maker:
    """A manufacturer who signs firmware."""

    root_pem: str
    signer_pem: str
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls) -> Maker:
        now = datetime.now(UTC)
        root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        unique = secrets.token_hex(4)
        root_name, name = (
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{part} {unique}")])
            for part in ("Maker", "Firmware signer")
        )

        def made(subject: x509.Name, holder: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> str:
            certificate = (
                x509.CertificateBuilder()
                .subject_name(subject)
                .issuer_name(root_name)
                .public_key(holder.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - timedelta(days=1))
                .not_valid_after(now + timedelta(days=30))
                .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
                .sign(root_key, hashes.SHA256())
            )
            return certificate.public_bytes(serialization.Encoding.PEM).decode()

        return cls(made(root_name, root_key, is_ca=True), made(name, key, is_ca=False), key)

    def signature(self, firmware: bytes) -> str:
        return base64.b64encode(self.key.sign(firmware, ec.ECDSA(hashes.SHA256()))).decode()


def path_of(charger: Charger) -> str:
    return f"{ROOT}/chargers/{charger.charger_id}"


async def until(admin: ControlPlane, charger: Charger, work_id: str) -> Body:
    """Until that work has ended; the charger's firmware trust then."""

    def has_ended(shown: Body) -> bool:
        return any(work["work_id"] == work_id and work["state"] != "open" for work in shown["work"])

    return await admin._until(lambda: admin._ask("GET", path_of(charger), None), has_ended)


def manufacturer_s(charger: Charger, call: Call) -> Payload:
    """Its list, as a store of manufacturers' roots."""
    listed = charger.listed()
    for entry in listed.get("certificateHashDataChain", ()):
        entry["certificateType"] = STORE
    return listed


async def install(admin: ControlPlane, charger: Charger, session: Session) -> dict[str, Call]:
    """Have a recorded root installed; it is listed after that without being asked for."""
    pem, anchor_id = await recorded(admin)
    order = {"anchor_id": anchor_id, "reason": "TC"}
    work = await admin.post(f"{path_of(charger)}/install", order)
    told = await charger.obey(
        session,
        until="GetInstalledCertificateIds",
        GetInstalledCertificateIds=lambda call: manufacturer_s(charger, call),
    )
    assert told["InstallCertificate"].payload == {"certificateType": STORE, "certificate": pem}
    await until(admin, charger, work["work_id"])

    def is_listed(shown: Body) -> bool:
        return [(root["seen"], root["anchor_id"]) for root in shown["roots"]] == [("listed", anchor_id)]

    await admin._until(lambda: admin._ask("GET", path_of(charger), None), is_listed)
    gone = await admin.post(f"{path_of(charger)}/delete", {"anchor_id": anchor_id, "reason": "TC"})
    deleted = await charger.obey(session, until="DeleteCertificate")
    shown = await until(admin, charger, gone["work_id"])
    assert shown["roots"] == []
    assert charger.roots == {}
    return told | deleted


@IN_BOTH_VERSIONS
async def test_TC_M_02_install_a_manufacturer_root(system: ControlPlane, tmp_path: Path) -> None:
    """A manufacturer root is installed, listed and deleted through firmware trust alone; a call by hand is refused."""
    charger = await Charger.registered(system, tmp_path)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        told = await install(firmware_admin(system), charger, session)
        assert told["GetInstalledCertificateIds"].payload == {"certificateType": [STORE]}
        by_hand = {"certificateType": STORE, "certificate": new_root("By hand")}
        with pytest.raises(AssertionError, match="other-realm"):
            await system.post(f"/api/v1/chargers/{charger.charger_id}/ocpp/InstallCertificate", by_hand)


@IN_BOTH_VERSIONS
async def test_TC_M_13_list_manufacturer_roots(system: ControlPlane, tmp_path: Path) -> None:
    """Manufacturer roots are listed through firmware trust alone; an order waits for the charger to connect."""
    admin = firmware_admin(system)
    charger = await Charger.registered(system, tmp_path)
    work = await admin.post(f"{path_of(charger)}/list", {"reason": "TC"})
    with pytest.raises(AssertionError, match="forbidden"):
        await system.post(f"{path_of(charger)}/list", {"reason": "TC"})
    with pytest.raises(AssertionError, match="forbidden"):
        await admin.get(f"/api/v1/chargers/{charger.charger_id}")
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        call = await session.expect("GetInstalledCertificateIds")
        assert call.payload == {"certificateType": [STORE]}
        await session.answer(call, {"status": "NotFound"})
        shown = await until(admin, charger, work["work_id"])
        assert shown["listed_at"] is not None
        for status in ("Downloading", "Downloaded", "InvalidSignature"):
            told = {"status": status, "requestId": 7}
            assert await session.call("FirmwareStatusNotification", told) == {}

        def is_followed(shown: Body) -> bool:
            steps = [each["status"] for update in shown["updates"] for each in update["statuses"]]
            return steps == ["Downloading", "Downloaded", "InvalidSignature"]

        await admin._until(lambda: admin._ask("GET", path_of(charger), None), is_followed)


@IN_BOTH_VERSIONS
async def test_TC_M_17_list_two_types_at_once(system: ControlPlane, tmp_path: Path) -> None:
    """Firmware trust asks for CSMSRootCertificate and ManufacturerRootCertificate in one request: no root may be in both."""
    admin = firmware_admin(system)
    charger = await Charger.registered(system, tmp_path)
    work = await admin.post(f"{path_of(charger)}/compare", {"reason": "TC"})
    stores = ["CSMSRootCertificate", STORE]
    root = {
        "hashAlgorithm": "SHA256",
        "issuerNameHash": "a" * 64,
        "issuerKeyHash": "b" * 64,
        "serialNumber": "01",
    }
    entries = [{"certificateType": store, "certificateHashData": root} for store in stores]
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        call = await session.expect("GetInstalledCertificateIds")
        assert call.payload == {"certificateType": stores}
        await session.answer(call, {"status": "Accepted", "certificateHashDataChain": entries})
        shown = await until(admin, charger, work["work_id"])
        assert [found["hash_data"]["serial_number"] for found in shown["shared_roots"]] == ["01"]
        assert (await system.get(f"/api/v1/chargers/{charger.charger_id}"))["reported_certificates"] == []
        by_hand = f"/api/v1/chargers/{charger.charger_id}/ocpp/GetInstalledCertificateIds"
        with pytest.raises(AssertionError, match="other-realm"):
            await system.post(by_hand, {"certificateType": stores})


async def test_TC_075_1_install_a_manufacturer_root(system: ControlPlane, tmp_path: Path) -> None:
    """Through firmware trust alone: installed as ManufacturerRootCertificate, listed, and deleted again."""
    point = await ChargePoint.registered(system, tmp_path)
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        told = await install(firmware_admin(system), point, session)
    assert told["GetInstalledCertificateIds"].payload == {"certificateType": STORE}


# ---------------------------------------------------------------- signed updates

UPDATED = (
    "Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting", "Installed",
)  # fmt: skip
FORGED = ("Downloading", "Downloaded", "InvalidSignature")
RETRIEVE_AT = "2026-01-01T00:00:00.000Z"


async def updating(
    system: ControlPlane, charger: Charger, statuses: tuple[str, ...], action: str, notification: str
) -> Call:
    """Order signed firmware, and have the charger report as told; what it was ordered with."""
    admin = firmware_admin(system)
    maker = Maker.new()
    made = await admin.post(f"{ROOT}/anchors", {"manufacturer": "Maker", "pem": maker.root_pem})
    order = {
        "anchor_id": made["anchor_id"],
        "location": "https://firmware.example/1.bin",
        "retrieve_at": RETRIEVE_AT,
        "signing_certificate": maker.signer_pem,
        "signature": maker.signature(b"firmware"),
        "reason": "TC",
    }
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        work = await admin.post(f"{path_of(charger)}/update", order)
        call = await session.expect(action)
        await session.answer(call, {"status": "Accepted"})
        await until(admin, charger, work["work_id"])
        for status in statuses:
            told = {"status": status, "requestId": call.payload["requestId"]}
            assert await session.call(notification, told) == {}
        if statuses is FORGED:
            event = {"type": "InvalidFirmwareSignature", "timestamp": RETRIEVE_AT}
            assert await session.call("SecurityEventNotification", event) == {}

        def is_followed(shown: Body) -> bool:
            (update,) = shown["updates"]
            is_told = statuses is not FORGED or update["security_event"] == "InvalidFirmwareSignature"
            return is_told and tuple(each["status"] for each in update["statuses"]) == statuses

        shown = await admin._until(lambda: admin._ask("GET", path_of(charger), None), is_followed)
        assert shown["updates"][0]["work_id"] == work["work_id"]
        seen = (await system.get(f"/api/v1/chargers/{charger.charger_id}"))["firmware_update"]
        assert (seen["status"], seen["request_id"]) == (statuses[-1], call.payload["requestId"])
    assert call.payload["firmware"] == {
        "location": order["location"],
        "retrieveDateTime": RETRIEVE_AT,
        "signingCertificate": order["signing_certificate"],
        "signature": order["signature"],
    }
    return call


@pytest.mark.parametrize("statuses", [UPDATED, FORGED], ids=["TC_080", "TC_081"])
async def test_TC_080_and_TC_081_signed_firmware(
    system: ControlPlane, tmp_path: Path, statuses: tuple[str, ...]
) -> None:
    """SignedUpdateFirmware carries location, signature and a signer that a recorded root vouches for; it is followed."""
    point = await ChargePoint.registered(system, tmp_path)
    await updating(system, point, statuses, "SignedUpdateFirmware", "SignedFirmwareStatusNotification")


@IN_BOTH_VERSIONS
@pytest.mark.parametrize("statuses", [UPDATED, FORGED], ids=["installed", "forged"])
async def test_signed_firmware_is_ordered_and_followed(
    system: ControlPlane, tmp_path: Path, statuses: tuple[str, ...]
) -> None:
    charger = await Charger.registered(system, tmp_path)
    await updating(system, charger, statuses, "UpdateFirmware", "FirmwareStatusNotification")


async def test_what_operations_trust_is_refused_and_the_other_way_round(system: ControlPlane) -> None:
    admin = firmware_admin(system)
    body = {"manufacturer": "Maker", "pem": system.anchors[0]}
    with pytest.raises(AssertionError, match="firmware-hierarchy"):
        await admin.post(f"{ROOT}/anchors", body)
    pem, _ = await recorded(admin)
    bundle = {"purpose": "backend_server", "anchors": [*system.anchors, pem]}
    with pytest.raises(AssertionError, match="firmware-hierarchy"):
        await system.post("/api/v1/trust-anchor-bundles", bundle)
