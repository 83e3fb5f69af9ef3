"""An issuer with its OCSP responder and its revocation list, served over HTTP on loopback."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

ALGORITHMS: dict[str, hashes.HashAlgorithm] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}
DER = serialization.Encoding.DER


class Issuer:
    """Signs leaves, responses and lists; `revoked` holds serial numbers, `unknown` those it never heard of."""

    def __init__(self, name: str = "V2G sub-CA of the test") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.certificate = self._certificate(self.name, self.key.public_key(), 1)
        self.revoked: set[int] = set()
        self.unknown: set[int] = set()
        self.valid_for = timedelta(days=2)
        self.signs_with = self.key
        """Set to another key, responses and lists are forgeries."""
        self.embedded = [self.certificate]
        """What lies beside a response."""
        self.issuer_address: str | None = None
        """Where a list says that its issuer's certificate lies."""

    def leaf(self, serial: int) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"leaf {serial:x}")])
        return self._certificate(name, ec.generate_private_key(ec.SECP256R1()).public_key(), serial)

    def _certificate(self, name: x509.Name, key: ec.EllipticCurvePublicKey, serial: int) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(serial)
            .not_valid_before(self.now - timedelta(days=1))
            .not_valid_after(self.now + timedelta(days=30))
            .sign(self.key, hashes.SHA256())
        )

    def hash_data(self, serial: int, algorithm: str = "SHA256") -> dict[str, str]:
        """As OCPP wants it: lower hex, the serial number without leading zeros."""
        builder = ocsp.OCSPRequestBuilder()
        asked = builder.add_certificate(self.leaf(serial), self.certificate, ALGORITHMS[algorithm]).build()
        return {
            "hashAlgorithm": algorithm,
            "issuerNameHash": asked.issuer_name_hash.hex(),
            "issuerKeyHash": asked.issuer_key_hash.hex(),
            "serialNumber": f"{serial:x}",
        }

    def response(
        self, serial: int, algorithm: hashes.HashAlgorithm | None = None, this_update: datetime | None = None
    ) -> bytes:
        """The DER OCSPResponse on one of its certificates."""
        status = ocsp.OCSPCertStatus.REVOKED if serial in self.revoked else ocsp.OCSPCertStatus.GOOD
        if serial in self.unknown:
            status = ocsp.OCSPCertStatus.UNKNOWN
        this_update = this_update or self.now
        is_revoked = status is ocsp.OCSPCertStatus.REVOKED
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=self.leaf(serial),
            issuer=self.certificate,
            algorithm=algorithm or hashes.SHA256(),
            cert_status=status,
            this_update=this_update,
            next_update=this_update + self.valid_for,
            revocation_time=self.now if is_revoked else None,
            revocation_reason=None,
        )
        signer = self.certificate if self.signs_with is self.key else self.responder(self.signs_with)
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer)
        if self.embedded:
            builder = builder.certificates(self.embedded)
        return builder.sign(self.signs_with, hashes.SHA256()).public_bytes(DER)

    def responder(
        self, key: ec.EllipticCurvePrivateKey, *, for_ocsp: bool = True, days: int = 30
    ) -> x509.Certificate:
        """A certificate for somebody who answers in this issuer's name; it says where the issuer's lies, if told."""
        usage = ExtendedKeyUsageOID.OCSP_SIGNING if for_ocsp else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "responder")]))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(77)
            .not_valid_before(self.now - timedelta(days=40))
            .not_valid_after(self.now + timedelta(days=days))
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if self.issuer_address is not None:
            builder = builder.add_extension(_issuer_at(self.issuer_address), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def answer(self, request: bytes) -> bytes:
        """What the responder says to a DER OCSPRequest."""
        asked = ocsp.load_der_ocsp_request(request)
        return self.response(asked.serial_number, asked.hash_algorithm)

    def revocations(self, last_update: datetime | None = None) -> bytes:
        """The DER CRL."""
        last_update = last_update or self.now
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(last_update)
        builder = builder.next_update(last_update + self.valid_for)
        for serial in sorted(self.revoked):
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(self.now).build()
            builder = builder.add_revoked_certificate(entry)
        if self.issuer_address is not None:
            builder = builder.add_extension(_issuer_at(self.issuer_address), critical=False)
        return builder.sign(self.signs_with, hashes.SHA256()).public_bytes(DER)


def _issuer_at(address: str) -> x509.AuthorityInformationAccess:
    place = x509.UniformResourceIdentifier(address)
    return x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, place)]
    )


class Responder:
    """Serves one issuer: `/ocsp`, `/crl`, `/issuer` (its certificate, which its lists name), `/broken` (500), `/moved`
    (302), `/silent` (never) and `/flood` (endless)."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.url = ""
        self.port = 0
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.hold: asyncio.Event | None = None
        self.ended = asyncio.Event()
        self.arrived = asyncio.Condition()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        self.headers.append(dict(request.headers))
        body = await request.read()
        self.bodies.append(body)
        async with self.arrived:
            self.arrived.notify_all()
        if self.hold is not None:
            await self.hold.wait()
        match request.path:
            case "/ocsp":
                if request.method != "POST" or request.content_type != "application/ocsp-request":
                    return web.Response(status=405)
                return _der(self.issuer.answer(body))
            case "/crl":
                return _der(self.issuer.revocations())
            case "/issuer":
                return _der(self.issuer.certificate.public_bytes(DER))
            case "/broken":
                return web.Response(status=500)
            case "/moved":
                return web.Response(status=302, headers={"Location": f"{self.url}/crl"})
            case "/silent":
                await self.ended.wait()
                return web.Response(status=404)
            case "/flood":
                return await self._flood(request)
            case _:
                return web.Response(status=404)

    async def _flood(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while not self.ended.is_set():
                await response.write(bytes(16_384))
        except ConnectionError:
            pass
        return response


def _der(content: bytes) -> web.Response:
    return web.Response(body=content, content_type="application/octet-stream")


@asynccontextmanager
async def responding(issuer: Issuer | None = None) -> AsyncIterator[Responder]:
    """A responder on a free port of loopback."""
    responder = Responder(issuer or Issuer())
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", responder.serve)
    runner = web.AppRunner(application, shutdown_timeout=1.0, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sockets: Any = site._server
    responder.port = sockets.sockets[0].getsockname()[1]
    responder.url = f"http://127.0.0.1:{responder.port}"
    responder.issuer.issuer_address = f"{responder.url}/issuer"
    try:
        yield responder
    finally:
        responder.ended.set()
        if responder.hold is not None:
            responder.hold.set()
        await runner.cleanup()


def base64_hash(text: str) -> str:
    """A hexadecimal hash as EcoG's stack writes it: URL-safe base64."""
    return base64.urlsafe_b64encode(bytes.fromhex(text)).decode()
