"""The OCSP responder of the peer's authorities: what it says follows RevokeCertificate after a lag.

As AWS's, it answers about the first certificate of a question and takes no extensions. Source: facts sheet aws-private-ca 3.7,
RFC 6960 (4.2).
"""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from simulator.aws.authority import Authority
from simulator.aws.config import PeerConfig
from simulator.aws.issued import canonical_serial
from simulator.aws.publishing import Publishing

CONTENT_TYPE = "application/ocsp-response"
FRESH_FOR = timedelta(hours=1)


@dataclass(frozen=True)
class Responder:
    """Answers are signed by the authority itself."""

    config: PeerConfig
    store: sqlite3.Connection
    publishing: Publishing

    def answer(self, authority: Authority, question: bytes) -> bytes:
        """The DER OCSPResponse to a DER OCSPRequest, a refusal included."""
        try:
            asked = ocsp.load_der_ocsp_request(question)
        except ValueError:
            refused = ocsp.OCSPResponseStatus.MALFORMED_REQUEST
            return ocsp.OCSPResponseBuilder.build_unsuccessful(refused).public_bytes(Encoding.DER)
        status, revoked_at = self._status(authority, asked.serial_number)
        now = self.config.clock.now().replace(microsecond=0)
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            issuer_name_hash=asked.issuer_name_hash,
            issuer_key_hash=asked.issuer_key_hash,
            serial_number=asked.serial_number,
            algorithm=asked.hash_algorithm,
            cert_status=status,
            this_update=now,
            next_update=now + FRESH_FOR,
            revocation_time=revoked_at,
            revocation_reason=None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, authority.certificate)
        return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def _status(
        self, authority: Authority, serial_number: int
    ) -> tuple[ocsp.OCSPCertStatus, datetime | None]:
        row = self.store.execute(
            "SELECT revoked_at FROM certificate WHERE authority_id = ? AND serial = ?",
            (authority.id, canonical_serial(serial_number)),
        ).fetchone()
        if row is None:
            return ocsp.OCSPCertStatus.UNKNOWN, None
        visible_until = (self.config.clock.now() - self.publishing.ocsp_lag).timestamp()
        if row["revoked_at"] is None or row["revoked_at"] > visible_until:
            return ocsp.OCSPCertStatus.GOOD, None
        return ocsp.OCSPCertStatus.REVOKED, datetime.fromtimestamp(int(row["revoked_at"]), UTC)
