"""A small PKI for the simulator's tests: server leaves of both kinds, and a two-step identity CA."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def fingerprint(certificate_pem: str) -> str:
    return x509.load_pem_x509_certificate(certificate_pem.encode()).fingerprint(hashes.SHA256()).hex()


@dataclass(frozen=True)
class Authority:
    """A CA certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @classmethod
    def root(cls, name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return cls(_build(subject, key.public_key(), subject, key, ca=True), key)

    def below(self, name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return Authority(_build(subject, key.public_key(), self.certificate.subject, self.key, ca=True), key)

    def sign(self, csr_pem: str, *, since: timedelta = timedelta(hours=-1)) -> str:
        """Leaf and this CA's own certificate, as CertificateSigned carries them."""
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        leaf = _build(
            csr.subject, csr.public_key(), self.certificate.subject, self.key, ca=False, since=since
        )
        return pem(leaf) + pem(self.certificate)

    def server(self, folder: Path, key: Key, name: str) -> Path:
        """A server leaf for 127.0.0.1 and localhost with its key, in one file."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        leaf = _build(subject, key.public_key(), self.certificate.subject, self.key, ca=False, names=names)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = folder / name
        path.touch(mode=0o600)
        path.write_bytes(private + pem(leaf).encode())
        return path


def _build(
    subject: x509.Name,
    public_key: object,
    issuer: x509.Name,
    key: Key,
    *,
    ca: bool,
    since: timedelta = timedelta(hours=-1),
    names: x509.SubjectAlternativeName | None = None,
) -> x509.Certificate:
    start = datetime.now(UTC) + since
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)  # type: ignore[arg-type]  # any key the tests make will do
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256())
