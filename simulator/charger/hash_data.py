"""How a charger names its certificates to the central system: OCPP's hash data, and what is made of it in the field."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from simulator.charger.configuration import HashAlgorithm
from simulator.charger.fault_identity import HashStyle
from simulator.charger.frame import Payload

SERIAL_CHARS = 40  # the schemas' limit
_FIELDS = ("issuerNameHash", "issuerKeyHash", "serialNumber")
_HASHES: dict[HashAlgorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    HashAlgorithm.SHA256: hashes.SHA256(),
    HashAlgorithm.SHA384: hashes.SHA384(),
    HashAlgorithm.SHA512: hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class Listed:
    """One certificate as it is listed, and those below it; `kind` is OCPP 2.x's type name."""

    kind: str
    hash_data: Payload
    children: tuple[Payload, ...] = ()


def hash_data(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    algorithm: HashAlgorithm,
    style: HashStyle = HashStyle.PLAIN,
) -> Payload:
    """OCPP's CertificateHashData; a root is its own issuer.

    Source: RFC 6960, CertID, whose recipe OCPP takes over.
    """
    request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, _HASHES[algorithm]).build()
    name, key, serial = request.issuer_name_hash, request.issuer_key_hash, f"{request.serial_number:x}"
    if style is HashStyle.SPKI:
        digest = hashes.Hash(_HASHES[algorithm])
        digest.update(
            issuer.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        key = digest.finalize()
    texts = (name.hex(), key.hex(), serial)
    if style is HashStyle.UPPER_CASE:
        texts = (name.hex().upper(), key.hex().upper(), serial.upper())
    elif style is HashStyle.URL_SAFE:
        decimal = str(request.serial_number)
        texts = (
            base64.urlsafe_b64encode(name).decode(),
            base64.urlsafe_b64encode(key).decode(),
            decimal if len(decimal) <= SERIAL_CHARS else serial,
        )
    return {"hashAlgorithm": algorithm.value} | dict(zip(_FIELDS, texts, strict=True))


def is_named_by(
    certificate: x509.Certificate, issuers: Iterable[x509.Certificate], wanted: Payload, style: HashStyle
) -> bool:
    """Whether hash data means this certificate; letter case counts only for those who have a style of their own."""
    try:
        algorithm = HashAlgorithm(str(wanted.get("hashAlgorithm")))
    except ValueError:
        return False

    def folded(data: Payload) -> list[str]:
        texts = [str(data.get(field, "")) for field in _FIELDS]
        return [text.casefold() for text in texts] if style is HashStyle.PLAIN else texts

    asked = folded(wanted)
    return any(folded(hash_data(certificate, issuer, algorithm, style)) == asked for issuer in issuers)
