"""The root certificates a charger holds."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from simulator.charger.credential import fingerprint, issued_by

CSMS_ROOT = "CSMSRootCertificate"
V2G_ROOT = "V2GRootCertificate"
MANUFACTURER_ROOT = "ManufacturerRootCertificate"
ROOT_TYPES = (CSMS_ROOT, V2G_ROOT, "MORootCertificate", MANUFACTURER_ROOT, "OEMRootCertificate")


class RootRefused(Exception):
    """Why a certificate is not taken as a root."""


class StoreExhausted(Exception):
    """There is no room for a further root."""


class TrustStore:
    """Roots by certificate type, without doubles, in the order they came.

    With `additional_root_check` there is one CSMS root and one fall-back: a further one must be signed by
    the present one (OCPP 2.0.1 M05.FR.09-16), and the eldest goes when a third comes.
    """

    def __init__(self, entries: int, *, additional_root_check: bool = False) -> None:
        self._entries = entries
        self._additional_root_check = additional_root_check
        self._roots: dict[str, dict[str, x509.Certificate]] = {kind: {} for kind in ROOT_TYPES}

    def install(self, kind: str, pem: str) -> str:
        """Take a root, replacing an identical one; the answer is its fingerprint.

        Raises: RootRefused (unknown type, not one PEM certificate, not a self-signed CA); StoreExhausted.
        Source: OCPP 2.0.1 M05.
        """
        if kind not in self._roots:
            raise RootRefused("unknown certificate type")
        root = _ca(pem)
        name = fingerprint(root)
        held = self._roots[kind]
        present = next(reversed(held.values()), None) if kind == CSMS_ROOT else None
        is_checked = self._additional_root_check and present is not None and name not in held
        if is_checked and present is not None:
            if not issued_by(root, present):
                raise RootRefused("not signed by the present root")
        elif not issued_by(root, root) and name not in held:
            raise RootRefused("not self-signed")
        if is_checked and len(held) > 1:
            del held[next(iter(held))]
        if name not in held and self.size >= self._entries:
            raise StoreExhausted
        held[name] = root
        return name

    def restore(self, kind: str, pem: str) -> None:
        """Take a root that was taken before, without looking at it again."""
        root = x509.load_pem_x509_certificate(pem.encode())
        self._roots[kind][fingerprint(root)] = root

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

    def issuer_of(self, root: x509.Certificate) -> x509.Certificate:
        """Whoever signed this root: itself, or for a cross-signed one the root it follows."""
        everyone = (other for roots in self._roots.values() for other in roots.values())
        return root if issued_by(root, root) else next((o for o in everyone if issued_by(root, o)), root)

    def remove(self, kind: str, name: str) -> None:
        """Forget the root of this type with this fingerprint."""
        del self._roots[kind][name]


def _ca(pem: str) -> x509.Certificate:
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise RootRefused("not a PEM certificate") from error
    if len(certificates) != 1:
        raise RootRefused("more than one certificate")
    try:
        constraints = certificates[0].extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound as error:
        raise RootRefused("not a CA") from error
    if not constraints.ca:
        raise RootRefused("not a CA")
    return certificates[0]
