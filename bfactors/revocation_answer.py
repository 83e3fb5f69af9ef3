"""What an issuer's OCSP responder says of one certificate of ours.

Source: RFC 6960 (2.2, 3.2, 4.2.2).
"""

import hashlib
from datetime import datetime

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from bfactors.certificate_hash import Reading
from bfactors.der import certificate_fields, key_bits
from bfactors.ocsp import CLOCKS_APART, NotBelieved, Status
from bfactors.revocation_signer import UNREADABLE, signs_response

_STATUS: dict[ocsp.OCSPCertStatus, Status] = {
    ocsp.OCSPCertStatus.GOOD: "Good",
    ocsp.OCSPCertStatus.REVOKED: "Revoked",
    ocsp.OCSPCertStatus.UNKNOWN: "Unknown",
}


class RevocationAnswer(msgspec.Struct, frozen=True):
    """The issuer's proven word. `revoked_at` is given with the status Revoked."""

    status: Status
    this_update: datetime
    next_update: datetime | None
    revoked_at: datetime | None = None


def question_about(issuer: x509.Certificate, serial_number: str) -> Reading:
    """How a responder is asked about a certificate (its serial number in hex) of an issuer."""
    fields = certificate_fields(issuer.public_bytes(Encoding.DER))
    name = hashlib.sha256(issuer.subject.public_bytes()).hexdigest()
    return "SHA256", name, hashlib.sha256(key_bits(fields.spki)).hexdigest(), f"{int(serial_number, 16):x}"


def read_answer(der: bytes, serial_number: str, issuer: x509.Certificate, now: datetime) -> RevocationAnswer:
    """Raises NotBelieved, for what is out of date too, unless it says Revoked: that does not pass."""
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise NotBelieved(f"the responder says {response.response_status.name.lower()}")
        if not signs_response(response, issuer, now):
            raise NotBelieved("somebody else than the issuer has signed the response")
        wanted = question_about(issuer, serial_number)
        for single in response.responses:
            if _is_about(single, wanted):
                return _answer(single, now)
    except NotBelieved:
        raise
    except UNREADABLE:
        raise NotBelieved("the response cannot be read") from None
    raise NotBelieved("the response is about another certificate")


def _is_about(single: ocsp.OCSPSingleResponse, wanted: Reading) -> bool:
    _, name, key, serial = wanted
    named = (single.issuer_name_hash.hex(), single.issuer_key_hash.hex(), f"{single.serial_number:x}")
    return single.hash_algorithm.name == "sha256" and named == (name, key, serial)


def _answer(single: ocsp.OCSPSingleResponse, now: datetime) -> RevocationAnswer:
    status = _STATUS[single.certificate_status]
    this_update, next_update = single.this_update_utc, single.next_update_utc
    if this_update > now + CLOCKS_APART:
        raise NotBelieved("it is of the future")
    if status != "Revoked" and next_update is not None and next_update <= now:
        raise NotBelieved("it is out of date")
    return RevocationAnswer(status, this_update, next_update, single.revocation_time_utc)
