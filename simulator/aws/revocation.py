"""RevokeCertificate, and the CRLs that follow it after a lag."""

import asyncio
import re
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from simulator.aws.authority import Authority
from simulator.aws.config import PeerConfig
from simulator.aws.issued import canonical_serial
from simulator.aws.publishing import Publishing
from simulator.aws.registry import AuthorityRegistry
from simulator.aws.request import RevokeCertificate
from simulator.aws.service_error import ServiceError

_SERIAL = re.compile(r"[0-9a-fA-F]+|[0-9a-fA-F]{2}(:[0-9a-fA-F]{2})+")

#: How AWS spells a reason, and what the CRL says; UNSPECIFIED is said by leaving the reason out (RFC 5280 5.3.1).
_REASONS = {
    "KEY_COMPROMISE": x509.ReasonFlags.key_compromise,
    "CERTIFICATE_AUTHORITY_COMPROMISE": x509.ReasonFlags.ca_compromise,
    "AFFILIATION_CHANGED": x509.ReasonFlags.affiliation_changed,
    "SUPERSEDED": x509.ReasonFlags.superseded,
    "CESSATION_OF_OPERATION": x509.ReasonFlags.cessation_of_operation,
    "PRIVILEGE_WITHDRAWN": x509.ReasonFlags.privilege_withdrawn,
    "A_A_COMPROMISE": x509.ReasonFlags.aa_compromise,
}


_Entry = tuple[int, float, str]
"""Serial number, when it was revoked, why."""


@dataclass(frozen=True)
class _Published:
    """A CRL as it was last signed."""

    revocations: int
    signed_at: datetime
    body: bytes


@dataclass(frozen=True)
class Revocation:
    """The revoking half of the service; CRLs are signed when they are read and something changed."""

    config: PeerConfig
    store: sqlite3.Connection
    registry: AuthorityRegistry
    publishing: Publishing
    _published: dict[tuple[str, int | None], _Published] = field(default_factory=dict)
    _signing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def revoke(self, call: RevokeCertificate) -> dict[str, Any]:
        """Mark a certificate revoked as of now.

        Raises: ServiceError RequestAlreadyProcessedException (revoked before), ResourceNotFoundException,
        InvalidRequestException (a root's own certificate, or no hexadecimal serial), InvalidStateException,
        RequestInProgressException (not ready yet).
        """
        authority = self.registry.active(call.certificate_authority_arn)
        now_s = self.config.clock.timestamp()
        row = self.store.execute(
            "SELECT serial, ready_at, self_signed, revoked_at FROM certificate"
            " WHERE authority_id = ? AND serial = ?",
            (authority.id, _serial(call.certificate_serial)),
        ).fetchone()
        if row is None:
            raise ServiceError(
                "ResourceNotFoundException", "this authority issued no certificate of this serial"
            )
        if row["self_signed"]:
            raise ServiceError("InvalidRequestException", "a self-signed certificate cannot be revoked")
        if row["revoked_at"] is not None:
            raise ServiceError("RequestAlreadyProcessedException", "the certificate has been revoked already")
        if row["ready_at"] > now_s:
            raise ServiceError("RequestInProgressException", "the certificate is still being issued")
        self.store.execute(
            "UPDATE certificate SET revoked_at = ?, revocation_reason = ? WHERE authority_id = ? AND serial = ?",
            (now_s, call.revocation_reason, authority.id, row["serial"]),
        )
        return {}

    async def crl(self, authority: Authority, partition: int | None = None) -> bytes:
        """A CRL as published now, DER: revocations older than the lag. Signed in a thread, it may be long."""
        async with self._signing:
            now = self.config.clock.now()
            entries = self._visible(authority, partition, now - self.publishing.crl_lag)
            published = self._published.get((authority.id, partition))
            if published is not None and self.publishing.is_held:
                return published.body
            fresh_for = self.config.crl_validity / 2
            is_old = published is not None and published.signed_at + fresh_for <= now
            if published is None or published.revocations != len(entries) or is_old:
                published = await self._publish(authority, partition, now, entries)
                self._published[authority.id, partition] = published
            return published.body

    def _visible(self, authority: Authority, partition: int | None, until: datetime) -> list[_Entry]:
        rows = self.store.execute(
            "SELECT serial, revoked_at, revocation_reason, public_key_sha256 FROM certificate"
            " WHERE authority_id = ? AND revoked_at <= ? ORDER BY revoked_at",
            (authority.id, until.timestamp()),
        )
        return [
            (int(row["serial"], 16), row["revoked_at"], row["revocation_reason"])
            for row in rows
            if partition is None or authority.partition_of(row["public_key_sha256"]) == partition
        ]

    async def _publish(
        self, authority: Authority, partition: int | None, now: datetime, entries: list[_Entry]
    ) -> _Published:
        (number,) = self.store.execute(
            "UPDATE authority SET crl_number = crl_number + 1 WHERE id = ? RETURNING crl_number",
            (authority.id,),
        ).fetchone()
        validity = self.config.crl_validity
        body = await asyncio.to_thread(_sign, authority, partition, number, now, validity, entries)
        return _Published(len(entries), now, body)


def _sign(
    authority: Authority,
    partition: int | None,
    number: int,
    now: datetime,
    validity: timedelta,
    entries: list[_Entry],
) -> bytes:
    subject_key = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key)
    # The list goes in whole: the builder's own add method copies it each time, which is quadratic.
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=authority.certificate.subject,
        last_update=now.replace(microsecond=0),
        next_update=now.replace(microsecond=0) + validity,
        revoked_certificates=[_entry(*entry) for entry in entries],
    )
    builder = builder.add_extension(issuer_key, critical=False)
    builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    if partition is not None:
        builder = builder.add_extension(_partition(authority.list_address(partition)), critical=True)
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.DER)


def _partition(address: str | None) -> x509.IssuingDistributionPoint:
    """Says which certificates the list speaks of: those that name the same address (RFC 5280, 5.2.5)."""
    return x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(address or "")],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )


def _entry(serial_number: int, revoked_at: float, reason: str) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder(serial_number, datetime.fromtimestamp(int(revoked_at), UTC))
    if reason in _REASONS:
        builder = builder.add_extension(x509.CRLReason(_REASONS[reason]), critical=False)
    return builder.build()


def _serial(text: str) -> str:
    if _SERIAL.fullmatch(text) is None:
        raise ServiceError("InvalidRequestException", "the serial number is not hexadecimal")
    return canonical_serial(int(text.replace(":", ""), 16))
