"""What is asked about a certificate's revocation, and what may be believed of the answer: OCSP responses and CRLs.

A charger names the certificate by hashes, so its issuer's key may not be at hand (`bfactors.revocation_signer`). What is not
proved to be its issuer's word is handed on only where the charger checks it itself (M06), and never judged by for it (M07).
Source: RFC 6960 (4.1.1, 4.2.2), RFC 5280 (5.2), OCPP 2.0.1 part 2 use case M06, OCPP 2.1 part 2 use case M07.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtensionOID

from bfactors.certificate_hash import DIGEST_BYTES, HashData, Reading
from bfactors.revocation_signer import UNREADABLE, issuer_addresses, issuer_among, signs_list, signs_response

CONTENT_TYPE = "application/ocsp-request"
RESPONSE_BYTES = 64 * 1024
CRL_BYTES = 10 * 1024 * 1024
KEPT_AT_MOST = timedelta(days=7)
"""M06.FR.10, M07: what is known of a certificate may be kept for a week, less if its maker says so."""
KEPT_WITHOUT_DATE = timedelta(minutes=5)
"""Without nextUpdate there is always something newer (RFC 6960, 4.2.2.1)."""
KEPT_UNPROVED = timedelta(hours=1)
"""What may be anybody's word does not keep the truth away for longer."""
CLOCKS_APART = timedelta(minutes=5)

_ALGORITHMS: dict[str, hashes.HashAlgorithm] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}
_STATUS: dict[ocsp.OCSPCertStatus, "Status"] = {
    ocsp.OCSPCertStatus.GOOD: "Good",
    ocsp.OCSPCertStatus.REVOKED: "Revoked",
    ocsp.OCSPCertStatus.UNKNOWN: "Unknown",
}
_SERIAL_BYTES = 20
_PARTIAL = frozenset({ExtensionOID.DELTA_CRL_INDICATOR, ExtensionOID.ISSUING_DISTRIBUTION_POINT})
"""CRLs that do not speak of every certificate of their issuer: a serial number they lack says nothing."""

Status = Literal["Good", "Revoked", "Unknown"]


class NotBelieved(ValueError):
    """A response or list that cannot be read, is too old or is about something else; the text says which."""


class Judgement(msgspec.Struct, frozen=True):
    """What a response or list says of one certificate, and until when that may be repeated.

    `is_proved`: the certificate's issuer signed it. Else `look_at` says where the issuer's certificate may be had.
    """

    status: Status
    until: datetime
    is_proved: bool = False
    look_at: tuple[str, ...] = ()


def questions_of(named: HashData) -> tuple[Reading, ...]:
    """What the charger may have meant, likeliest first; empty when it names no certificate."""
    return tuple(reading for reading in named.readings() if _is_sound(reading))


def _is_sound(reading: Reading) -> bool:
    algorithm, name, key, serial = reading
    chars = 2 * DIGEST_BYTES.get(algorithm, 0)
    return bool(
        chars
        and len(name) == len(key) == chars
        and len(serial) <= 2 * _SERIAL_BYTES
        and _is_hex(name + key + serial)
    )


def _is_hex(text: str) -> bool:
    return all(char in "0123456789abcdef" for char in text)


def request_der(reading: Reading) -> bytes:
    """The DER OCSPRequest; without a nonce, so that responders may answer from what they have prepared."""
    algorithm, name, key, serial = reading
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        bytes.fromhex(name), bytes.fromhex(key), int(serial, 16), _ALGORITHMS[algorithm]
    )
    return builder.build().public_bytes(serialization.Encoding.DER)


def judged_by_response(
    der: bytes, reading: Reading, now: datetime, issuers: Iterable[x509.Certificate] = ()
) -> Judgement:
    """What an OCSP response says of the certificate. `issuers` are those at hand. Raises NotBelieved."""
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise NotBelieved(f"the responder says {response.response_status.name.lower()}")
        for single in response.responses:
            if _named_in(single) == reading:
                until = _until(single.this_update_utc, single.next_update_utc, now)
                issuer = issuer_among((*response.certificates, *issuers), reading)
                if issuer is not None and not signs_response(response, issuer, now):
                    raise NotBelieved("somebody else than the issuer has signed the response")
                return _judgement(_STATUS[single.certificate_status], until, now, issuer, response)
    except NotBelieved:
        raise
    except UNREADABLE:
        raise NotBelieved("the response cannot be read") from None
    raise NotBelieved("the response is about another certificate")


def _named_in(single: ocsp.OCSPSingleResponse) -> Reading:
    algorithm = single.hash_algorithm.name.upper()
    return algorithm, single.issuer_name_hash.hex(), single.issuer_key_hash.hex(), f"{single.serial_number:x}"


def judged_by_list(
    encoded: bytes, reading: Reading, now: datetime, issuers: Iterable[x509.Certificate] = ()
) -> Judgement:
    """What a CRL (DER or PEM) says of the certificate: not listed is Good (M07). Raises NotBelieved."""
    algorithm, name, _, serial = reading
    try:
        is_pem = encoded.lstrip().startswith(b"-----")
        revocations = x509.load_pem_x509_crl(encoded) if is_pem else x509.load_der_x509_crl(encoded)
        digest = hashes.Hash(_ALGORITHMS[algorithm])
        digest.update(revocations.issuer.public_bytes())
        if digest.finalize().hex() != name:
            raise NotBelieved("the list is another issuer's")
        if any(extension.oid in _PARTIAL for extension in revocations.extensions):
            raise NotBelieved("the list covers only some certificates")
        until = _until(revocations.last_update_utc, revocations.next_update_utc, now)
        issuer = issuer_among(issuers, reading)
        if issuer is not None and not signs_list(revocations, issuer):
            raise NotBelieved("somebody else than the issuer has signed the list")
        listed = revocations.get_revoked_certificate_by_serial_number(int(serial, 16))
        return _judgement("Good" if listed is None else "Revoked", until, now, issuer, revocations)
    except NotBelieved:
        raise
    except UNREADABLE:
        raise NotBelieved("the list cannot be read") from None


def _judgement(
    status: Status,
    until: datetime,
    now: datetime,
    issuer: x509.Certificate | None,
    signed: ocsp.OCSPResponse | x509.CertificateRevocationList,
) -> Judgement:
    if issuer is not None:
        return Judgement(status, until, is_proved=True)
    return Judgement(status, min(until, now + KEPT_UNPROVED), look_at=issuer_addresses(signed))


def _until(this_update: datetime, next_update: datetime | None, now: datetime) -> datetime:
    if this_update > now + CLOCKS_APART:
        raise NotBelieved("it is of the future")
    if next_update is None:
        return now + KEPT_WITHOUT_DATE
    if next_update <= max(now, this_update):
        raise NotBelieved("it is out of date")
    return min(next_update, now + KEPT_AT_MOST)
