"""A charger whose only credential is the one its factory gave it, on its first day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.conformance.control_plane import ControlPlane
from tests.conformance.raw_charger import CallError, Charger

pytestmark = pytest.mark.xdist_group("core-201")

FAMILY = "factory-one"


class Factory:
    """A maker's CA, and what it puts into its chargers."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._signed("Maker CA", self.key, is_ca=True)

    def _signed(self, name: str, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if is_ca else self.root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if is_ca:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        else:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
            builder = builder.add_extension(usage, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def equip(self, charger: Charger) -> None:
        charger.key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._signed(charger.serial, charger.key, is_ca=False)
        charger.chain_pem = leaf.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def pem(self) -> str:
        return self.root.public_bytes(serialization.Encoding.PEM).decode()


async def unboxed(system: ControlPlane, folder: Path, factory: Factory, number: int) -> Charger:
    """Registered with its serial number, and never given a password."""
    charger_id, serial = f"FC-{number}", f"FACTORY{number:04d}"
    body = {
        "charger_id": charger_id,
        "serial_number": serial,
        "family": FAMILY,
        "site": "depot",
        "cohort": "conformance",
        "organization": "Depot GmbH",
        "security_profile": 3,
    }
    await system.post("/api/v1/chargers", body)
    charger = Charger(system, folder, charger_id, serial, "no password at all")
    factory.equip(charger)
    return charger


async def test_it_is_let_in_pending_enrolled_and_then_a_charger_like_any_other(
    system: ControlPlane, tmp_path: Path
) -> None:
    factory = Factory()
    await system.put(f"/api/v1/families/{FAMILY}/factory-anchors", {"anchors": [factory.pem], "note": "x"})
    scope = f"/api/v1/policies/family:{FAMILY}/charging_station"
    early = await unboxed(system, tmp_path, factory, 1)
    assert await early.refusal(early.tls()) in (0, 403, 404), "policy has not allowed it"
    await system.put(scope, {"values": {"factory_certificate": "allowed"}, "reason": "new chargers"})
    while await early.refusal(early.tls()) != 101:  # each try is a moment; the test's timeout ends it
        assert await system.charger(early.charger_id)
    charger = await unboxed(system, tmp_path, factory, 2)
    while await charger.refusal(authorization=charger.basic()) == 404:
        assert await system.charger(charger.charger_id)
    path = f"/api/v1/certificates?charger_id={charger.charger_id}"
    async with charger.connected(charger.tls()) as session:
        station = {"vendorName": "Raw", "model": "One", "serialNumber": charger.serial}
        booted = await session.call("BootNotification", {"reason": "PowerUp", "chargingStation": station})
        assert booted["status"] == "Pending"
        with pytest.raises(CallError):
            await session.call("Heartbeat", {})
        await system.until_items(path, lambda found: [one["mode"] for one in found] == ["tracked-only"])
        await charger.obey(session, until="CertificateSigned")
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        await system.until_items(
            f"{path}&state=active", lambda found: [one["mode"] for one in found] == ["managed"]
        )
    stranger = await unboxed(system, tmp_path, Factory(), 3)
    assert await stranger.refusal(stranger.tls()) in (0, 403), "another maker's CA is trusted by nobody"
