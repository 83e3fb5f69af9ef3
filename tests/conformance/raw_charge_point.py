"""A charge point of OCPP 1.6 with nothing in it but `websockets` and `cryptography`: what a conformance tool would send."""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.conformance.control_plane import ControlPlane
from tests.conformance.raw_charger import (
    ORGANIZATION,
    Answer,
    Call,
    Charger,
    Payload,
    Session,
    _numbers,
)
from tests.patience import PATIENCE_S

CENTRAL_SYSTEM_ROOT = "CentralSystemRootCertificate"
_HEX_KEY = re.compile(r"(?:[0-9A-Fa-f]{2}){16,20}")
_TRIGGERS_CSR = "SignChargePointCertificate"


@dataclass
class ChargePoint(Charger):
    """As a `Charger`, in the messages of 1.6 and its security whitepaper."""

    version: ClassVar[str] = "1.6"

    @classmethod
    async def registered(
        cls,
        system: ControlPlane,
        folder: Path,
        *,
        target_profile: int = 3,
        security_profile: int = 2,
        authorization_key: str = "",
        **more: Any,
    ) -> ChargePoint:
        """A charge point the operator has just added, with a key given by them: 20 characters, sent as they are."""
        number = next(_numbers)
        key = authorization_key or secrets.token_urlsafe(15)
        body = {
            "charger_id": f"CP-{number:04d}",
            "serial_number": f"SN16-{number:06d}",
            "family": "raw-sixteen",
            "site": "depot",
            "cohort": "conformance",
            "organization": ORGANIZATION,
            "security_profile": security_profile,
            "target_security_profile": target_profile,
            "ocpp_versions": ["1.6"],
            "authorization_key": key,
        }
        await system.post("/api/v1/chargers", body | more)
        point = cls(system, folder, str(body["charger_id"]), str(body["serial_number"]), key)
        await point._until_known()
        return point

    @classmethod
    async def enrolled(cls, system: ControlPlane, folder: Path) -> ChargePoint:
        """One that holds a certificate and has connected with it."""
        point = await cls.registered(system, folder)
        await system.order(point.charger_id)
        async with point.connected(authorization=point.basic()) as session:
            await point.boot(session)
            await point.obey(session, until="CertificateSigned")
        async with point.connected(point.tls()) as session:
            await point.boot(session)
            await system.until_items(f"/api/v1/certificates?charger_id={point.charger_id}&state=active", bool)
        return point

    # ------------------------------------------------------------ connecting

    def basic(self, *, user: str | None = None, password: str | None = None) -> str:
        """The header of a key: of 32 or more digits the bytes they stand for, of a shorter one its text."""
        text = password or self.password
        octets = bytes.fromhex(text) if _HEX_KEY.fullmatch(text) else text.encode()
        return "Basic " + base64.b64encode(f"{user or self.charger_id}:".encode() + octets).decode()

    async def until_refused_no_more(self, **more: Any) -> None:
        """Try until the gateway has heard that it may."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while (status := await self.refusal(**more)) != 101:
            assert asyncio.get_running_loop().time() < deadline, f"still refused: {status}"

    # ------------------------------------------------------------ talking

    async def boot(self, session: Session) -> None:
        about = {
            "chargePointVendor": "Raw",
            "chargePointModel": "Sixteen",
            "chargePointSerialNumber": self.serial,
            "firmwareVersion": "1",
        }
        booted = await session.call("BootNotification", about)
        assert booted["status"] == "Accepted"
        assert booted["interval"] > 0
        status = {"connectorId": 0, "errorCode": "NoError", "status": "Available"}
        assert await session.call("StatusNotification", status) == {}

    async def obey(self, session: Session, *, until: str, **instead: Answer) -> dict[str, Call]:
        told: dict[str, Call] = {}
        while until not in told:
            call = await session.next_call()
            told[call.action] = call
            await session.answer(call, (instead.get(call.action) or self._as_told)(call))
            is_trigger = call.payload.get("requestedMessage") == _TRIGGERS_CSR
            if is_trigger and until != "ExtendedTriggerMessage":
                assert await session.call("SignCertificate", {"csr": self.new_csr()}) == {
                    "status": "Accepted"
                }
        return told

    def _as_told(self, call: Call) -> Payload:
        match call.action:
            case "GetConfiguration":
                return {"unknownKey": call.payload.get("key", [])}
            case "DeleteCertificate":
                wanted = call.payload["certificateHashData"]
                for fingerprint, root in list(self.roots.items()):
                    if self.hash_data(root) == wanted:
                        del self.roots[fingerprint]
                        return {"status": "Accepted"}
                return {"status": "NotFound"}
            case _:
                return super()._as_told(call)

    def listed(self) -> Payload:
        if not self.roots:
            return {"status": "NotFound"}
        entries = [self.hash_data(root) for root in self.roots.values()]
        return {"status": "Accepted", "certificateHashData": entries}


def fingerprint(pem: str) -> str:
    """Lower hex SHA-256 of a certificate."""
    return x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex()
