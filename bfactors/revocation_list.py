"""An issuer's revocation list, read by us for certificates of our own: signed by it, in time, and speaking of them.

A partition of a list (AWS Private CA makes them) names the address it lies at in a critical extension; it speaks of those
certificates that name the same address. Source: RFC 5280 (5.1, 5.2.3, 5.2.5, 6.3.3).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from bfactors.ocsp import NotBelieved
from bfactors.revocation_signer import UNREADABLE, signs_list

CLOCKS_APART = timedelta(minutes=5)


class SeenList(msgspec.Struct, frozen=True, kw_only=True):
    """What a CA's list said of itself when it was last read; of several (AWS makes partitions), the one due first."""

    number: str | None
    this_update: datetime
    next_update: datetime | None
    seen_at: datetime


class RevocationList:
    """A CRL that its issuer signed for the certificates that name `address`."""

    __slots__ = ("_revoked_at", "address", "next_update", "number", "this_update")

    def __init__(self, revocations: x509.CertificateRevocationList, address: str, number: str | None) -> None:
        # Gone through once: the library's own search goes through it each time.
        self._revoked_at = {each.serial_number: each.revocation_date_utc for each in revocations}
        self.address = address
        self.number = number
        self.this_update: datetime = revocations.last_update_utc
        self.next_update: datetime | None = revocations.next_update_utc

    def __len__(self) -> int:
        return len(self._revoked_at)

    def revoked_at(self, serial_number: str) -> datetime | None:
        """Since when a certificate (its serial number in hex) is revoked; None: it is not listed."""
        return self._revoked_at.get(int(serial_number, 16))

    def serial_numbers(self) -> list[str]:
        """All it lists, in lower hex."""
        return [f"{serial_number:x}" for serial_number in self._revoked_at]

    def is_stale(self, now: datetime) -> bool:
        """Whether its own next date has passed: there should be a newer one."""
        return self.next_update is not None and self.next_update <= now


def seen(lists: Iterable[RevocationList], now: datetime) -> SeenList | None:
    """The list of these that should be replaced first, or else is the oldest."""
    first = min(
        lists, key=lambda each: (each.next_update or each.this_update, each.this_update), default=None
    )
    if first is None:
        return None
    return SeenList(
        number=first.number, this_update=first.this_update, next_update=first.next_update, seen_at=now
    )


def read_list(encoded: bytes, address: str, issuer: x509.Certificate, now: datetime) -> RevocationList:
    """The list, fresh or stale: what it lists is revoked in any case. Raises NotBelieved. Takes its time when it is long."""
    try:
        is_pem = encoded.lstrip().startswith(b"-----")
        revocations = x509.load_pem_x509_crl(encoded) if is_pem else x509.load_der_x509_crl(encoded)
        if revocations.issuer != issuer.subject:
            raise NotBelieved("the list is another issuer's")
        if not signs_list(revocations, issuer):
            raise NotBelieved("somebody else than the issuer has signed the list")
        _speaks_of(revocations, address)
        if revocations.last_update_utc > now + CLOCKS_APART:
            raise NotBelieved("it is of the future")
        return RevocationList(revocations, address, _number(revocations))
    except NotBelieved:
        raise
    except UNREADABLE:
        raise NotBelieved("the list cannot be read") from None


def _speaks_of(revocations: x509.CertificateRevocationList, address: str) -> None:
    for extension in revocations.extensions:
        if extension.oid == ExtensionOID.DELTA_CRL_INDICATOR:
            raise NotBelieved("the list says only what changed since another one")
        if isinstance(extension.value, x509.IssuingDistributionPoint):
            _is_partition_of(extension.value, address)
        elif extension.critical:
            raise NotBelieved(
                f"the list has an extension nobody here understands: {extension.oid.dotted_string}"
            )


def _is_partition_of(point: x509.IssuingDistributionPoint, address: str) -> None:
    if point.indirect_crl or point.only_some_reasons is not None:
        raise NotBelieved("the list covers only some reasons, or other issuers' certificates")
    if point.only_contains_ca_certs or point.only_contains_attribute_certs:
        raise NotBelieved("the list does not cover end entities' certificates")
    named = [name.value for name in point.full_name or () if isinstance(name, x509.UniformResourceIdentifier)]
    if (point.full_name or point.relative_name) and address not in named:
        raise NotBelieved("the list is the partition of another address")


def _number(revocations: x509.CertificateRevocationList) -> str | None:
    try:
        number = revocations.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return None
    return f"{number:x}"
