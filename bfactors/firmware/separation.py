"""Whether two hierarchies have anything in common: a key, an issuer or a certificate. Knows neither by name.

A hierarchy is every certificate of it that is known: roots, intermediates, issuing CAs.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from bfactors.x509 import Certificate, signed_by

Shared = Literal["certificate", "key", "issuer"]


class Overlap(msgspec.Struct, frozen=True):
    """What a firmware and an operational certificate have in common."""

    shared: Shared
    firmware: str
    operational: str

    @property
    def message(self) -> str:
        """For a person."""
        return (
            f"{self.firmware!r} of firmware signing and {self.operational!r} of operations share the same {self.shared};"
            " the two hierarchies must have nothing in common"
        )


def overlaps(firmware: Iterable[Certificate], operational: Iterable[Certificate]) -> Iterator[Overlap]:
    """Every pair that has something in common, named by its plainest reason."""
    theirs = list(operational)
    for one in firmware:
        for other in theirs:
            shared = _shared(one, other)
            if shared is not None:
                yield Overlap(shared, one.subject, other.subject)


def _shared(one: Certificate, other: Certificate) -> Shared | None:
    if one.fingerprint_sha256 == other.fingerprint_sha256:
        return "certificate"
    if one.spki_sha256 == other.spki_sha256 or _authorities(one) & _authorities(other):
        return "key"
    # Key ids are only what a certificate says of itself: a signature shows an issuer that hides behind none.
    if signed_by(one, other) or signed_by(other, one):
        return "issuer"
    if _issuer(one) is not None and _issuer(one) == _issuer(other):
        return "issuer"
    return None


def _authorities(certificate: Certificate) -> set[tuple[bytes, str]]:
    """Who it is, by name and key id."""
    key_id = certificate.subject_key_id
    return set() if key_id is None else {(certificate.subject_der, key_id)}


def _issuer(certificate: Certificate) -> tuple[bytes, str] | None:
    """Who made it, by name and key id; a self-made one is its own issuer."""
    key_id = certificate.authority_key_id
    if key_id is None and certificate.self_issued:
        key_id = certificate.subject_key_id
    return None if key_id is None else (certificate.issuer_der, key_id)
