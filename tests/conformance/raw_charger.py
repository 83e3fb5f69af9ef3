"""A charger with nothing in it but `websockets` and `cryptography`: what a conformance tool would put on the wire."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from tests.conformance.control_plane import ControlPlane
from tests.patience import PATIENCE_S

HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}
ORGANIZATION = "Depot GmbH"

Payload = dict[str, Any]
Answer = Callable[["Call"], Payload]
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Call:
    """What the central system asked."""

    message_id: str
    action: str
    payload: Payload


class CallError(Exception):
    """Its CALLERROR."""


class Session:
    """One open WebSocket; a task reads it and sorts calls from answers."""

    def __init__(self, socket: ClientConnection, since: datetime) -> None:
        self.socket = socket
        self.since = since
        """A moment before it was opened."""
        self._calls: asyncio.Queue[Call] = asyncio.Queue()
        self._expected: dict[str, asyncio.Future[Payload]] = {}
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for text in self.socket:
                kind, message_id, *rest = json.loads(text)
                if kind == 2:
                    self._calls.put_nowait(Call(message_id, *rest))
                elif kind == 3:
                    self._expected.pop(message_id).set_result(rest[0])
                else:
                    self._expected.pop(message_id).set_exception(CallError(rest[0], rest[1]))
        except ConnectionClosed:
            pass

    async def close(self) -> None:
        await self.socket.close()
        await self._reader

    async def closed(self) -> int | None:
        """Wait until the central system has closed; its code."""
        async with asyncio.timeout(PATIENCE_S):
            await self.socket.wait_closed()
        return self.socket.close_code

    async def call(self, action: str, payload: Payload) -> Payload:
        """Raises CallError."""
        message_id = f"raw-{next(_numbers)}"
        answer = self._expected[message_id] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps([2, message_id, action, payload]))
        async with asyncio.timeout(PATIENCE_S):
            return await answer

    @property
    def waiting_calls(self) -> int:
        """What the central system asked and nobody looked at."""
        return self._calls.qsize()

    async def next_call(self) -> Call:
        async with asyncio.timeout(PATIENCE_S):
            return await self._calls.get()

    async def expect(self, action: str) -> Call:
        call = await self.next_call()
        assert call.action == action, call
        return call

    async def answer(self, call: Call, payload: Payload) -> None:
        await self.socket.send(json.dumps([3, call.message_id, payload]))


@dataclass
class Charger:
    """Its memory: what it was commissioned with, and what it has been sent since."""

    version: ClassVar[str] = "2.0.1"
    """What the chargers of a test speak; the fixture `version` turns it."""

    system: ControlPlane
    folder: Path
    charger_id: str
    serial: str
    password: str
    algorithm: str = "SHA256"
    roots: dict[str, x509.Certificate] = field(default_factory=dict)
    key: ec.EllipticCurvePrivateKey | None = None
    chain_pem: str = ""
    """The leaf in use, issuers upward."""
    address: str = "127.0.0.1"
    """Where it connects from."""
    pending_key: ec.EllipticCurvePrivateKey | None = None
    variables: dict[str, str] = field(default_factory=lambda: {"NetworkConfigurationPriority": "1"})
    """Its device model, as far as anybody asked."""
    request_id: int | None = None
    """Of the newest SignCertificate (2.1)."""

    @classmethod
    async def registered(
        cls, system: ControlPlane, folder: Path, *, target_profile: int = 3, family: str = "raw-one"
    ) -> Charger:
        """A charger the operator has just added, with its password, and a security profile of 2."""
        number = next(_numbers)
        body = {
            "charger_id": f"CS-{number:04d}",
            "serial_number": f"SN{number:06d}",
            "family": family,
            "site": "depot",
            "cohort": "conformance",
            "organization": ORGANIZATION,
            "security_profile": 2,
            "target_security_profile": target_profile,
        }
        made = await system.post("/api/v1/chargers", body)
        charger = cls(
            system, folder, body["charger_id"], body["serial_number"], str(made["authorization_key"])
        )
        await charger._until_known()
        return charger

    async def _until_known(self) -> None:
        """Its admission record is on its way to the gateway when the operator is answered."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while await self.refusal(authorization=self.basic()) == 404:
            assert asyncio.get_running_loop().time() < deadline, "the gateway never heard of the charger"

    @classmethod
    async def enrolled(cls, system: ControlPlane, folder: Path) -> Charger:
        """One that has gone all the way to profile 3, its certificate active."""
        charger = await cls.registered(system, folder)
        job_id = await system.order(charger.charger_id)
        async with charger.connected(authorization=charger.basic()) as session:
            await charger.boot(session)
            await charger.obey(session, until="Reset")
        async with charger.connected(charger.tls()) as session:
            await charger.boot(session)
        await system.until_job(job_id, lambda job: job["state"] == "succeeded")
        return charger

    # ------------------------------------------------------------ connecting

    def basic(self, *, user: str | None = None, password: str | None = None) -> str:
        """An Authorization header."""
        text = f"{user or self.charger_id}:{password or self.password}"
        return "Basic " + base64.b64encode(text.encode()).decode()

    def tls(self, chain_pem: str | None = None, key: Any = None) -> ssl.SSLContext:
        """A client with a certificate; its own unless another is given."""
        context = self.system.tls()
        key = key or self.key
        assert key is not None
        path = self.folder / f"client-{next(_numbers)}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + (chain_pem or self.chain_pem).encode()
        )
        context.load_cert_chain(path)
        return context

    @asynccontextmanager
    async def connected(
        self,
        tls: ssl.SSLContext | None = None,
        *,
        authorization: str = "",
        subprotocols: tuple[str, ...] | None = None,
        compression: str | None = None,
    ) -> AsyncIterator[Session]:
        """Raises InvalidStatus when the upgrade is refused, OSError or ssl.SSLError when TLS is."""
        offered = (f"ocpp{self.version}",) if subprotocols is None else subprotocols
        since = datetime.now(UTC)
        async with connect(
            f"{self.system.ocpp_url}/{self.charger_id}",
            ssl=tls or self.system.tls(),
            host="127.0.0.1",
            local_addr=(self.address, 0),
            additional_headers={"Authorization": authorization} if authorization else {},
            subprotocols=list(offered) or None,  # type: ignore[arg-type]
            compression=compression,
            ping_interval=None,
            proxy=None,
            open_timeout=PATIENCE_S,
        ) as socket:
            session = Session(socket, since)
            try:
                yield session
            finally:
                await session.close()

    async def refusal(self, tls: ssl.SSLContext | None = None, **more: Any) -> int:
        """The HTTP status an upgrade is refused with; 101 if it is not, 0 if the connection ends before an answer."""
        try:
            async with self.connected(tls, **more):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code
        except (OSError, EOFError, InvalidMessage, ConnectionClosed):
            return 0  # in TLS 1.3 the client had finished its handshake when the server ended it

    async def until_refused(self, tls: ssl.SSLContext | None = None, **more: Any) -> int:
        """Try until the gateway has heard of the decision; the status it refuses with then."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while (status := await self.refusal(tls, **more)) == 101:
            assert asyncio.get_running_loop().time() < deadline, "it is still admitted"
        return status

    # ------------------------------------------------------------ talking

    async def boot(self, session: Session) -> None:
        """BootNotification and StatusNotification, both as they should be answered."""
        station = {"vendorName": "Raw", "model": "One", "serialNumber": self.serial, "firmwareVersion": "1"}
        booted = await session.call("BootNotification", {"reason": "PowerUp", "chargingStation": station})
        assert booted["status"] == "Accepted"
        assert booted["interval"] > 0
        status = {"timestamp": booted["currentTime"], "connectorStatus": "Available"}
        assert await session.call("StatusNotification", {**status, "evseId": 1, "connectorId": 1}) == {}

    async def obey(self, session: Session, *, until: str, **instead: Answer) -> dict[str, Call]:
        """Do as told up to and including the call `until`; the last call of each action. `instead` answers otherwise."""
        told: dict[str, Call] = {}
        while until not in told:
            call = await session.next_call()
            told[call.action] = call
            await session.answer(call, (instead.get(call.action) or self._as_told)(call))
            if call.action == "TriggerMessage" and until != "TriggerMessage":
                signing = self.signing(self.new_csr(), "ChargingStationCertificate")
                assert await session.call("SignCertificate", signing) == {"status": "Accepted"}
        return told

    def signing(self, csr: str, certificate_type: str = "") -> Payload:
        """SignCertificate; in 2.1 each has a number of its own, which its certificate must name."""
        typed = {"certificateType": certificate_type} if certificate_type else {}
        if self.version != "2.1":
            return {"csr": csr, **typed}
        self.request_id = next(_numbers)
        return {"csr": csr, "requestId": self.request_id, **typed}

    def _as_told(self, call: Call) -> Payload:
        match call.action:
            case "InstallCertificate":
                root = x509.load_pem_x509_certificate(call.payload["certificate"].encode())
                self.roots[root.fingerprint(hashes.SHA256()).hex()] = root
            case "GetInstalledCertificateIds":
                return self.listed()
            case "DeleteCertificate":
                return self.deleted(call.payload["certificateHashData"])
            case "CertificateSigned":
                assert call.payload.get("requestId") == self.request_id, "else it is no answer (A02.FR.26)"
                self.chain_pem = call.payload["certificateChain"]
                self.key, self.pending_key = self.pending_key, None
            case "GetVariables":
                return {"getVariableResult": [self.told_of(each) for each in call.payload["getVariableData"]]}
            case "SetVariables":
                for each in call.payload["setVariableData"]:
                    self.variables[each["variable"]["name"]] = each["attributeValue"]
                return {
                    "setVariableResult": [
                        {
                            "attributeStatus": "Accepted",
                            "component": each["component"],
                            "variable": each["variable"],
                        }
                        for each in call.payload["setVariableData"]
                    ]
                }
        return {"status": "Accepted"}

    def listed(self) -> Payload:
        """What it holds, as GetInstalledCertificateIds is answered."""
        if not self.roots:
            return {"status": "NotFound"}
        entries = [
            {"certificateType": "CSMSRootCertificate", "certificateHashData": self.hash_data(root)}
            for root in self.roots.values()
        ]
        return {"status": "Accepted", "certificateHashDataChain": entries}

    def told_of(self, asked: Payload) -> Payload:
        """One variable, as GetVariables is answered."""
        name = {"component": asked["component"], "variable": asked["variable"]}
        value = self.variables.get(asked["variable"]["name"])
        if value is None:
            return {"attributeStatus": "UnknownVariable", **name}
        return {"attributeStatus": "Accepted", "attributeValue": value, **name}

    def deleted(self, wanted: Payload) -> Payload:
        """Forget the root that exactly this hash data names."""
        for fingerprint, root in list(self.roots.items()):
            if self.hash_data(root) == wanted:
                del self.roots[fingerprint]
                return {"status": "Accepted"}
        return {"status": "NotFound"}

    def hash_data(self, root: x509.Certificate) -> Payload:
        algorithm = HASHES[self.algorithm]
        about = ocsp.OCSPRequestBuilder().add_certificate(root, root, algorithm).build()
        return {
            "hashAlgorithm": self.algorithm,
            "issuerNameHash": about.issuer_name_hash.hex(),
            "issuerKeyHash": about.issuer_key_hash.hex(),
            "serialNumber": f"{root.serial_number:x}",
        }

    def new_csr(self) -> str:
        """With a new key, kept until the certificate comes."""
        self.pending_key = ec.generate_private_key(ec.SECP256R1())
        name = [
            x509.NameAttribute(NameOID.COMMON_NAME, self.serial),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
        ]
        csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(name))
        return csr.sign(self.pending_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def certificates(chain_pem: str) -> deque[x509.Certificate]:
    """Leaf first."""
    return deque(x509.load_pem_x509_certificates(chain_pem.encode()))
