"""The root certificates a charger holds, and how it names them to the central system."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from simulator.charger.configuration import HashAlgorithm
from simulator.charger.credential import fingerprint, issued_by
from simulator.charger.frame import Payload

CSMS_ROOT = "CSMSRootCertificate"
ROOT_TYPES = (CSMS_ROOT, "V2GRootCertificate", "MORootCertificate", "ManufacturerRootCertificate")

_HASHES: dict[HashAlgorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    HashAlgorithm.SHA256: hashes.SHA256(),
    HashAlgorithm.SHA384: hashes.SHA384(),
    HashAlgorithm.SHA512: hashes.SHA512(),
}


class RootRefused(Exception):
    """Why a certificate is not taken as a root."""


class StoreExhausted(Exception):
    """There is no room for a further root."""


class TrustStore:
    """Roots by certificate type, without doubles, in the order they came."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._roots: dict[str, dict[str, x509.Certificate]] = {kind: {} for kind in ROOT_TYPES}

    def install(self, kind: str, pem: str) -> str:
        """Take a root, replacing an identical one; the answer is its fingerprint.

        Raises: RootRefused (unknown type, not one PEM certificate, not a self-signed CA); StoreExhausted.
        Source: OCPP 2.0.1 M05.
        """
        if kind not in self._roots:
            raise RootRefused("unknown certificate type")
        try:
            certificates = x509.load_pem_x509_certificates(pem.encode())
        except ValueError as error:
            raise RootRefused("not a PEM certificate") from error
        if len(certificates) != 1:
            raise RootRefused("more than one certificate")
        root = certificates[0]
        if not issued_by(root, root):
            raise RootRefused("not self-signed")
        try:
            constraints = root.extensions.get_extension_for_class(x509.BasicConstraints).value
        except x509.ExtensionNotFound as error:
            raise RootRefused("not a CA") from error
        if not constraints.ca:
            raise RootRefused("not a CA")
        name = fingerprint(root)
        if name not in self._roots[kind] and self.size >= self._entries:
            raise StoreExhausted
        self._roots[kind][name] = root
        return name

    @property
    def size(self) -> int:
        """How many roots of all types there are."""
        return sum(len(roots) for roots in self._roots.values())

    def roots(self, kind: str = CSMS_ROOT) -> tuple[x509.Certificate, ...]:
        """The roots of one type."""
        return tuple(self._roots[kind].values())

    def fingerprints(self, kind: str = CSMS_ROOT) -> tuple[str, ...]:
        """Their SHA-256 fingerprints, lower-case hex."""
        return tuple(self._roots[kind])

    def pems(self, kind: str = CSMS_ROOT) -> tuple[str, ...]:
        """The roots of one type as PEM text."""
        return tuple(
            root.public_bytes(serialization.Encoding.PEM).decode() for root in self._roots[kind].values()
        )

    def listing(self, kinds: Iterable[str], algorithm: HashAlgorithm) -> list[Payload]:
        """Entries for GetInstalledCertificateIds' answer; types without a root add nothing."""
        return [
            {"certificateType": kind, "certificateHashData": hash_data(root, algorithm)}
            for kind in kinds
            if kind in self._roots
            for root in self._roots[kind].values()
        ]

    def find(self, wanted: Payload) -> tuple[str, str] | None:
        """Type and fingerprint of the root that OCPP hash data names; letter case does not count."""
        try:
            algorithm = HashAlgorithm(str(wanted.get("hashAlgorithm")))
        except ValueError:
            return None
        asked = {name: str(wanted.get(name, "")).casefold() for name in _HASH_FIELDS}
        for kind, roots in self._roots.items():
            for name, root in roots.items():
                held = hash_data(root, algorithm)
                if all(str(held[field]).casefold() == asked[field] for field in _HASH_FIELDS):
                    return kind, name
        return None

    def remove(self, kind: str, name: str) -> None:
        """Forget the root of this type with this fingerprint."""
        del self._roots[kind][name]


_HASH_FIELDS = ("issuerNameHash", "issuerKeyHash", "serialNumber")


def hash_data(root: x509.Certificate, algorithm: HashAlgorithm) -> Payload:
    """OCPP's CertificateHashData of a self-signed certificate.

    Source: RFC 6960, CertID, whose recipe OCPP takes over.
    """
    request = ocsp.OCSPRequestBuilder().add_certificate(root, root, _HASHES[algorithm]).build()
    return {
        "hashAlgorithm": algorithm.value,
        "issuerNameHash": request.issuer_name_hash.hex(),
        "issuerKeyHash": request.issuer_key_hash.hex(),
        "serialNumber": f"{request.serial_number:x}",
    }
