"""A small PKI for tests: real keys and certificates, every field adjustable, nothing of the product used."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def name_of(common_name: str | None, organization: str | None = "BetterFleet") -> x509.Name:
    parts = []
    if organization is not None:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    if common_name is not None:
        parts.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(parts)


def new_key(kind: str = "ec") -> Key:
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:] or 2048))
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Pair:
    """A certificate with its key and its issuers up to, not including, the root."""

    certificate: x509.Certificate
    key: Key
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def chain_der(self) -> tuple[bytes, ...]:
        return tuple(item.public_bytes(Encoding.DER) for item in self.chain)

    @property
    def chain_pem(self) -> str:
        return self.pem + "".join(item.public_bytes(Encoding.PEM).decode() for item in self.chain)

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(
            Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def write(self, folder: Path, name: str, *, chain: bool = True) -> tuple[Path, Path]:
        """The PEM files of chain and key."""
        chain_path, key_path = folder / f"{name}.pem", folder / f"{name}.key"
        chain_path.write_text(self.chain_pem if chain else self.pem)
        key_path.write_text(self.key_pem)
        return chain_path, key_path


@dataclass
class Authority:
    """A CA that issues; `now` is the middle of every default validity."""

    pair: Pair
    is_root: bool
    now: datetime = NOW
    extra: list[object] = field(default_factory=list)

    @staticmethod
    def root(
        common_name: str = "Root", *, kind: str = "ec", now: datetime = NOW, days: int = 3650
    ) -> Authority:
        key = new_key(kind)
        certificate = _signed(
            name_of(common_name), name_of(common_name), key, key, now, days, ca=True, path_length=None
        )
        return Authority(Pair(certificate, key), True, now)

    def sub(
        self,
        common_name: str = "Issuing CA",
        *,
        ca: bool = True,
        path_length: int | None = None,
        cert_sign: bool = True,
        days: int = 1825,
        not_after: datetime | None = None,
        kind: str = "ec",
        constraints: bool = True,
    ) -> Authority:
        key = new_key(kind)
        certificate = _signed(
            name_of(common_name),
            self.pair.certificate.subject,
            key,
            self.pair.key,
            self.now,
            days,
            ca=ca,
            path_length=path_length,
            cert_sign=cert_sign,
            not_after=not_after,
            constraints=constraints,
        )
        above = () if self.is_root else (self.pair.certificate, *self.pair.chain)
        return Authority(Pair(certificate, key, above), False, self.now)

    def leaf(
        self,
        common_name: str | None = "SN-1",
        organization: str | None = "BetterFleet",
        *,
        kind: str = "ec",
        key: Key | None = None,
        usage: str | None = None,
        dns_name: str | None = None,
        days: int = 180,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        ca: bool = False,
        critical_oid: str | None = None,
        hash_algorithm: hashes.HashAlgorithm | None = None,
    ) -> Pair:
        """`usage`: `client`, `server`, `any` or None for no extended key usage."""
        own = key or new_key(kind)
        certificate = _signed(
            name_of(common_name, organization),
            self.pair.certificate.subject,
            own,
            self.pair.key,
            self.now,
            days,
            ca=ca,
            path_length=None,
            usage=usage,
            dns_name=dns_name,
            not_before=not_before,
            not_after=not_after,
            critical_oid=critical_oid,
            hash_algorithm=hash_algorithm,
        )
        above = () if self.is_root else (self.pair.certificate, *self.pair.chain)
        return Pair(certificate, own, above)


_USAGES = {
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: Key,
    signer: Key,
    now: datetime,
    days: int,
    *,
    ca: bool,
    path_length: int | None,
    cert_sign: bool = True,
    constraints: bool = True,
    usage: str | None = None,
    dns_name: str | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    critical_oid: str | None = None,
    hash_algorithm: hashes.HashAlgorithm | None = None,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before or now - timedelta(days=days))
        .not_valid_after(not_after or now + timedelta(days=days))
        .add_extension(
            x509.KeyUsage(
                digital_signature=not ca,
                content_commitment=False,
                key_encipherment=not ca and isinstance(key, rsa.RSAPrivateKey),
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=ca and cert_sign,
                crl_sign=ca,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if constraints and ca:
        builder = builder.add_extension(x509.BasicConstraints(True, path_length), critical=True)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([_USAGES[usage]]), critical=False)
    if dns_name is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns_name)]), critical=False)
    if critical_oid is not None:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier(critical_oid), b"\x05\x00")
        builder = builder.add_extension(unknown, critical=True)
    return builder.sign(signer, hash_algorithm or hashes.SHA256())


def csr_pem(key: Key, common_name: str = "SN-1", organization: str | None = "BetterFleet") -> str:
    request = x509.CertificateSigningRequestBuilder().subject_name(name_of(common_name, organization))
    return request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
