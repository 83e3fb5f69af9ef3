"""The charger's own key and certificate: made, asked for, checked and kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from simulator.charger.configuration import KeyType

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class CertificateUse(StrEnum):
    """What a charger asks a certificate for, by OCPP 2.1's names."""

    STATION = "ChargingStationCertificate"
    V2G = "V2GCertificate"
    V2G20 = "V2G20Certificate"


class CertificateRefused(Exception):
    """Why a charger does not take the certificate chain it was sent."""


@dataclass(frozen=True, slots=True)
class PendingKey:
    """A key whose certificate has been asked for; `csr_pem` is what was, or will be, sent.

    `request_id` is what OCPP 2.1 tells one request from another by.
    """

    private_key_pem: str = field(repr=False)
    csr_pem: str
    request_id: int = 0


@dataclass(frozen=True, slots=True)
class ClientCredential:
    """A key and the certificate chain for it, leaf first, without a root."""

    private_key_pem: str = field(repr=False)
    chain_pem: str = field(repr=False)
    fingerprint_sha256: str
    not_after: datetime

    @classmethod
    def of(cls, private_key_pem: str, chain_pem: str) -> ClientCredential:
        """A credential out of PEM text that was checked before, or comes from the factory."""
        leaf = x509.load_pem_x509_certificates(chain_pem.encode())[0]
        return cls(private_key_pem, chain_pem, fingerprint(leaf), leaf.not_valid_after_utc)

    @property
    def leaf_pem(self) -> str:
        """The first certificate of the chain alone."""
        leaf = x509.load_pem_x509_certificates(self.chain_pem.encode())[0]
        return leaf.public_bytes(serialization.Encoding.PEM).decode()


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 over the DER, lower-case hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


async def make_key(key_type: KeyType, use: CertificateUse = CertificateUse.STATION) -> PrivateKey:
    """A fresh private key; RSA is made on a worker thread because it takes tens of milliseconds.

    ISO 15118 leaves elliptic curves only: P-256 in its part 2, P-521 in its part 20.
    """
    if use is CertificateUse.V2G20:
        return ec.generate_private_key(ec.SECP521R1())
    if key_type is KeyType.P256 or use is CertificateUse.V2G:
        return ec.generate_private_key(ec.SECP256R1())
    return await asyncio.to_thread(rsa.generate_private_key, 65537, 2048)


def request_certificate(key: PrivateKey, subject: x509.Name, request_id: int) -> PendingKey:
    """A signing request for this name, together with the key it stands for."""
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    private_key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    csr_pem = csr.public_bytes(serialization.Encoding.PEM).decode()
    return PendingKey(private_key_pem.decode(), csr_pem, request_id)


def station_name(serial_number: str, organization: str) -> x509.Name:
    """O and CN, as OCPP's A02 asks for."""
    return _name((NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, serial_number))


def secc_name(secc_id: str, organization: str, country: str) -> x509.Name:
    """C, O, CN and the DC that marks a charging operator's leaf (ISO 15118-2, Annex F)."""
    return _name(
        (NameOID.COUNTRY_NAME, country),
        (NameOID.ORGANIZATION_NAME, organization),
        (NameOID.COMMON_NAME, secc_id),
        (NameOID.DOMAIN_COMPONENT, "CPO"),
    )


def _name(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def accept_chain(
    chain_pem: str, pending: PendingKey | None, *, roots: Iterable[x509.Certificate] | None, now: datetime
) -> ClientCredential:
    """The credential a CertificateSigned makes of the pending key.

    `roots` None means the charger does not look above the chain it was sent.

    Raises: CertificateRefused, with the first thing found wrong.
    Source: OCPP 2.0.1 A02.FR.06.
    """
    if pending is None:
        raise CertificateRefused("no certificate was asked for")
    try:
        chain = x509.load_pem_x509_certificates(chain_pem.encode())
    except ValueError as error:
        raise CertificateRefused("not a PEM certificate chain") from error
    leaf = chain[0]
    csr = x509.load_pem_x509_csr(pending.csr_pem.encode())
    if leaf.public_key() != csr.public_key():
        raise CertificateRefused("the certificate is for another key")
    if leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME) != csr.subject.get_attributes_for_oid(
        NameOID.COMMON_NAME
    ):
        raise CertificateRefused("the certificate is for another name")
    for certificate in chain:
        if now < certificate.not_valid_before_utc:
            raise CertificateRefused("a certificate of the chain is not valid yet")
        if now > certificate.not_valid_after_utc:
            raise CertificateRefused("a certificate of the chain has expired")
    for subject, issuer in pairwise(chain):
        if not issued_by(subject, issuer):
            raise CertificateRefused("the chain is out of order or broken")
    if roots is not None and not any(issued_by(chain[-1], root) for root in roots):
        raise CertificateRefused("the chain leads to no installed root")
    return ClientCredential.of(pending.private_key_pem, chain_pem)


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether name and signature say so; dates and purposes are looked at elsewhere."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
