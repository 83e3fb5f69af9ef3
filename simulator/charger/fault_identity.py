"""Faults about what identifies a charger: its passwords, keys, signing requests and certificate lists."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class HashStyle(StrEnum):
    """How certificate hash data is written; `plain` is OCPP's way, lower-case hex over the bare key.

    `spki` hashes the whole SubjectPublicKeyInfo in place of the key; `url-safe` writes the hashes in url-safe
    base64 and the serial number in decimal digits (hex where those would exceed OCPP's 40 characters).
    """

    PLAIN = "plain"
    UPPER_CASE = "upper-case"
    SPKI = "spki"
    URL_SAFE = "url-safe"


class CsrDress(StrEnum):
    """How the text of a signing request departs from tidy PEM."""

    CRLF = "crlf"
    LITERAL_NEWLINE = "literal-newline"
    NEW_HEADER = "new-header"
    BARE_BASE64 = "bare-base64"
    SINGLE_LINE = "single-line"
    NO_FINAL_NEWLINE = "no-final-newline"
    TEXT_AROUND = "text-around"


@dataclass(frozen=True, slots=True)
class CsrWithSubjectOf:
    """Asks for a certificate in another unit's name, signed with its own key."""

    serial_number: str


@dataclass(frozen=True, slots=True)
class DressesCsr:
    """Sends its signing requests in another dress than tidy PEM."""

    dress: CsrDress


@dataclass(frozen=True, slots=True)
class SameCsrTwice:
    """Sends each first SignCertificate a second time, byte for byte, under a new message id."""


@dataclass(frozen=True, slots=True)
class TwoKeysAtOnce:
    """Follows each first SignCertificate at once with another for a new key; only the second key is kept."""


@dataclass(frozen=True, slots=True)
class NewKeyOnRetry:
    """Makes a new key whenever it asks again, so a certificate for the earlier one is worthless."""


@dataclass(frozen=True, slots=True)
class RejectsCertificate:
    """Answers CertificateSigned with Rejected, whatever it holds; `times` None means always."""

    times: int | None = None


@dataclass(frozen=True, slots=True)
class NeedsCrlf:
    """Takes PEM with CRLF line ends only, in chains and in roots."""


@dataclass(frozen=True, slots=True)
class NeedsRootInChain:
    """Takes a certificate chain only with its root at the end."""


@dataclass(frozen=True, slots=True)
class DiscardsRenewedCertificate:
    """Accepts a renewed certificate, comes back with the old one and tells that it discarded the new."""

    times: int | None = None


@dataclass(frozen=True, slots=True)
class LeafOnlyClient:
    """Presents its client certificate without the intermediates above it."""


@dataclass(frozen=True, slots=True)
class CannotListCertificates:
    """Knows no GetInstalledCertificateIds: CALLERROR NotSupported."""


@dataclass(frozen=True, slots=True)
class ListsCertificatesAs:
    """Writes certificate hash data in this style, and finds a certificate to delete only by the same style."""

    style: HashStyle


@dataclass(frozen=True, slots=True)
class ListsEveryAlgorithm:
    """Lists each certificate three times, hashed with SHA256, SHA384 and SHA512."""


@dataclass(frozen=True, slots=True)
class StoreFull:
    """Has no room for a further root certificate: InstallCertificate fails."""


@dataclass(frozen=True, slots=True)
class KeepsOldKey:
    """Accepts a new password and goes on with the old one; `times` None means always."""

    times: int | None = None


@dataclass(frozen=True, slots=True)
class UsesHexTextAsPassword:
    """OCPP 1.6: puts the AuthorizationKey's hex digits into HTTP Basic in place of the bytes they stand for."""


IdentityFault = (
    CsrWithSubjectOf
    | DressesCsr
    | SameCsrTwice
    | TwoKeysAtOnce
    | NewKeyOnRetry
    | RejectsCertificate
    | NeedsCrlf
    | NeedsRootInChain
    | DiscardsRenewedCertificate
    | LeafOnlyClient
    | CannotListCertificates
    | ListsCertificatesAs
    | ListsEveryAlgorithm
    | StoreFull
    | KeepsOldKey
    | UsesHexTextAsPassword
)
