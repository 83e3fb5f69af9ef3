"""The record of one issued certificate, and how serial numbers are spelled."""

import secrets
import sqlite3
from dataclasses import dataclass
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


@dataclass(frozen=True)
class IssuedCertificate:
    """What is kept of a certificate. Times are seconds since the epoch; `serial` is 32 lower hex digits."""

    authority_id: str
    certificate: x509.Certificate
    template_arn: str
    issued_at: float
    ready_at: float
    token: str | None = None
    parameter_hash: str = ""
    self_signed: bool = False

    @property
    def serial(self) -> str:
        """The certificate's serial number in the peer's canonical spelling."""
        return canonical_serial(self.certificate.serial_number)

    def insert(self, store: sqlite3.Connection) -> None:
        """Write it down, in the transaction that is open or in one of its own."""
        certificate = self.certificate
        spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        store.execute(
            "INSERT INTO certificate (authority_id, serial, body, subject, template_arn, not_before, not_after,"
            " issued_at, ready_at, token, parameter_hash, public_key_sha256, self_signed)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                self.authority_id,
                self.serial,
                certificate.public_bytes(Encoding.DER),
                certificate.subject.rfc4514_string(),
                self.template_arn,
                certificate.not_valid_before_utc.timestamp(),
                certificate.not_valid_after_utc.timestamp(),
                self.issued_at,
                self.ready_at,
                self.token,
                self.parameter_hash,
                sha256(spki).hexdigest(),
                self.self_signed,
            ),
        )


def new_serial() -> int:
    """128 random bits, never zero; half of them have the top bit set, as the service's own do."""
    return secrets.randbits(128) or 1


def canonical_serial(number: int) -> str:
    """32 lower hex digits (more for a longer number), as certificate ARNs carry it."""
    return f"{number:032x}"


def colon_serial(serial: str) -> str:
    """A canonical serial the way audit reports print it: `00:11:22:...`."""
    return ":".join(serial[index : index + 2] for index in range(0, len(serial), 2))
