"""Certificates and CSRs as the rest of the core sees them: plain values read from DER, never re-encoded.

The dressing around the DER is `bfactors.pem`'s, and reachable here. Source: RFC 5280, OCPP 2.0.1 part 2 section 2.6.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PSS, PKCS1v15
from cryptography.x509.oid import ExtensionOID

from bfactors import distinguished_name as dn
from bfactors.certificate_hash import HashData
from bfactors.der import certificate_fields, key_algorithm_of_spki, key_bits
from bfactors.pem import (
    MalformedX509,
    csr_der,
    first_and_rest,
    join_chain,
    normalised_csr,
    pem_of,
    split_chain,
)
from bfactors.pkcs10 import Pkcs10, take_apart, tidy_ecdsa_signature

__all__ = [  # noqa: RUF022 - by subject
    "MalformedX509", "csr_der", "first_and_rest", "join_chain", "normalised_csr", "pem_of", "split_chain",
    "Certificate", "Extension", "SigningRequest", "HashName",
    "certificate_of", "csr_of", "load", "parse_certificate", "parse_certificates", "parse_csr",
    "fingerprint_sha256", "hash_data", "hash_data_over_spki", "is_root", "issuer_within", "key_algorithm_of",
    "key_strength_problem", "proves_possession", "signed_by", "CLIENT_AUTH", "SERVER_AUTH", "ANY_EXTENDED_KEY_USAGE",
    "PROCESSED_EXTENSIONS",
]  # fmt: skip

HashName = Literal["SHA256", "SHA384", "SHA512"]

_KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension)
"""What cryptography raises on reading a damaged field; found by damaging every byte of certificates and CSRs."""

CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
ANY_EXTENDED_KEY_USAGE = "2.5.29.37.0"


class Extension(msgspec.Struct, frozen=True):
    """One extension by OID (dotted) and whether it is critical."""

    oid: str
    critical: bool


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What others need to know of one certificate. Equality is the DER's.

    `serial_number` is lower-case hex without leading zeros; `key_usage` is None when the extension is absent, and so is
    `extended_key_usage`; `path_length` is None when unlimited; `key_algorithm` as `key_algorithm_of` names it.
    """

    der: bytes
    fingerprint_sha256: str
    spki_sha256: str
    serial_number: str
    subject_der: bytes
    issuer_der: bytes
    common_name: str | None
    organizations: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    key_algorithm: str
    signature_hash: str | None
    is_ca: bool
    path_length: int | None
    key_usage: tuple[str, ...] | None
    extended_key_usage: tuple[str, ...] | None
    dns_names: tuple[str, ...]
    subject_key_id: str | None
    authority_key_id: str | None
    extensions: tuple[Extension, ...]

    @property
    def subject(self) -> str:
        """The subject as text (RFC 4514); for people, made when asked for."""
        return dn.as_text(self.subject_der)

    @property
    def issuer(self) -> str:
        """The issuer as text (RFC 4514); for people, made when asked for."""
        return dn.as_text(self.issuer_der)

    @property
    def organization(self) -> str | None:
        """The first O of the subject."""
        return self.organizations[0] if self.organizations else None

    @property
    def self_issued(self) -> bool:
        """Whether subject and issuer are the same name (a root, or a key rollover certificate)."""
        return self.subject_der == self.issuer_der


class SigningRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What others need to know of one CSR. `requested` are the extensions it asks for."""

    der: bytes
    fingerprint_sha256: str
    spki_sha256: str
    subject_key_id: str
    subject: str
    subject_fields: tuple[tuple[str, str], ...]
    """Every attribute of the subject in order, as (dotted OID, value)."""
    key_algorithm: str
    signature_hash: str | None
    requested: tuple[Extension, ...]
    requests_ca: bool
    extended_key_usage: tuple[str, ...] | None
    dns_names: tuple[str, ...]

    @property
    def has_alternative_names(self) -> bool:
        """Whether it asks for subject alternative names of any kind."""
        return any(extension.oid == "2.5.29.17" for extension in self.requested)

    @property
    def common_names(self) -> tuple[str, ...]:
        """Every CN of the subject, in order."""
        return tuple([value for oid, value in self.subject_fields if oid == dn.COMMON_NAME])

    @property
    def common_name(self) -> str | None:
        """The first CN of the subject."""
        return next(iter(self.common_names), None)

    @property
    def organizations(self) -> tuple[str, ...]:
        """Every O of the subject, in order."""
        return tuple([value for oid, value in self.subject_fields if oid == dn.ORGANIZATION])

    @property
    def domain_components(self) -> tuple[str, ...]:
        """Every DC of the subject, in order."""
        return tuple([value for oid, value in self.subject_fields if oid == dn.DOMAIN_COMPONENT])

    @property
    def organization(self) -> str | None:
        """The first O of the subject."""
        return self.organizations[0] if self.organizations else None


# ---------------------------------------------------------------- reading


def fingerprint_sha256(der: bytes) -> str:
    """SHA-256 over the DER, lower-case hex: how a certificate is named everywhere."""
    return hashlib.sha256(der).hexdigest()


def parse_certificates(text: str) -> tuple[Certificate, ...]:
    """Every certificate of a PEM text, in order. Raises MalformedX509."""
    return tuple([certificate_of(der) for der in split_chain(text)])


def parse_certificate(text: str) -> Certificate:
    """The first certificate of a PEM text. Raises MalformedX509."""
    return certificate_of(split_chain(text)[0])


@lru_cache(maxsize=16_384)
def certificate_of(der: bytes) -> Certificate:
    """Read one certificate from DER. Raises MalformedX509."""
    loaded = load(der)
    try:
        fields = certificate_fields(der)
        algorithm = key_algorithm_of_spki(fields.spki) or key_algorithm_of(loaded.public_key())
        dn.relative_names(fields.issuer)  # whoever asks for its text later is not to meet a damaged one
        signature_hash = loaded.signature_hash_algorithm
        found = _Extensions(loaded.extensions)
        return Certificate(
            der=der,
            fingerprint_sha256=fingerprint_sha256(der),
            spki_sha256=hashlib.sha256(fields.spki).hexdigest(),
            serial_number=f"{fields.serial_number:x}",
            subject_der=fields.subject,
            issuer_der=fields.issuer,
            common_name=next(iter(dn.values(fields.subject, dn.COMMON_NAME)), None),
            organizations=dn.values(fields.subject, dn.ORGANIZATION),
            not_before=loaded.not_valid_before_utc,
            not_after=loaded.not_valid_after_utc,
            key_algorithm=algorithm,
            signature_hash=signature_hash.name if signature_hash else None,
            is_ca=found.is_ca,
            path_length=found.path_length,
            key_usage=found.key_usage,
            extended_key_usage=found.extended_key_usage,
            dns_names=found.dns_names,
            subject_key_id=found.subject_key_id,
            authority_key_id=found.authority_key_id,
            extensions=found.present,
        )
    except _UNREADABLE as problem:
        raise MalformedX509(f"certificate: {str(problem)[:100]}") from problem


@lru_cache(maxsize=1024)
def load(der: bytes) -> x509.Certificate:
    """The cryptography object of one certificate, for signature checks. Raises MalformedX509."""
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion) as problem:
        raise MalformedX509("certificate: not valid DER") from problem


def parse_csr(text: str) -> SigningRequest:
    """Read one CSR in any dressing a charger may use. Raises MalformedX509."""
    return csr_of(csr_der(text))


@lru_cache(maxsize=256)
def csr_of(der: bytes) -> SigningRequest:
    """Read one CSR from DER. Raises MalformedX509. Its signature is *not* checked: see `proves_possession`."""
    parts, tidy = _load_csr(der)
    try:
        key = tidy.public_key()  # one that cannot be decoded is no key, whatever it is called
        signature_hash = tidy.signature_hash_algorithm
        found = _Extensions(tidy.extensions)
        return SigningRequest(
            der=der,
            fingerprint_sha256=fingerprint_sha256(der),
            spki_sha256=hashlib.sha256(parts.spki).hexdigest(),
            subject_key_id=hashlib.sha1(key_bits(parts.spki), usedforsecurity=False).hexdigest(),
            subject=dn.as_text(parts.subject),
            subject_fields=dn.attributes(parts.subject),
            key_algorithm=key_algorithm_of_spki(parts.spki) or key_algorithm_of(key),
            signature_hash=signature_hash.name if signature_hash else None,
            requested=found.present,
            requests_ca=found.is_ca,
            extended_key_usage=found.extended_key_usage,
            dns_names=found.dns_names,
        )
    except _UNREADABLE as problem:
        raise MalformedX509(f"CSR: {str(problem)[:100]}") from problem


@lru_cache(maxsize=16)  # a CSR is read, and a moment later its key's possession proven
def _load_csr(der: bytes) -> tuple[Pkcs10, x509.CertificateSigningRequest]:
    try:
        parts = take_apart(der)
        return parts, x509.load_der_x509_csr(parts.tidy)
    except (ValueError, x509.InvalidVersion) as problem:
        raise MalformedX509("CSR: not valid DER") from problem


def proves_possession(der: bytes) -> bool:
    """Whether a CSR is signed by the key it carries, over the very octets it came as. Raises MalformedX509."""
    parts, tidy = _load_csr(der)
    try:
        key, how, digest = (
            tidy.public_key(),
            tidy.signature_algorithm_parameters,
            tidy.signature_hash_algorithm,
        )
        match key:
            case ec.EllipticCurvePublicKey() if isinstance(how, ec.ECDSA):
                key.verify(tidy_ecdsa_signature(parts.signature), parts.signed, how)
            case rsa.RSAPublicKey() if isinstance(how, PKCS1v15 | PSS) and digest is not None:
                key.verify(parts.signature, parts.signed, how, digest)
            case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
                key.verify(parts.signature, parts.signed)
            case _:
                return False
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def key_algorithm_of(key: object) -> str:
    """How a public key is named in policies: `ec-secp256r1`, `rsa-2048`, `ed25519`, `ed448`, else `unknown`."""
    match key:
        case ec.EllipticCurvePublicKey():
            return f"ec-{key.curve.name}"
        case rsa.RSAPublicKey():
            return f"rsa-{key.key_size}"
        case ed25519.Ed25519PublicKey():
            return "ed25519"
        case ed448.Ed448PublicKey():
            return "ed448"
        case _:
            return "unknown"


def key_strength_problem(key_algorithm: str) -> str | None:
    """Why a key is too weak, or None. Source: A00.FR.501-503 (RSA from 2048 bits, EC from 224)."""
    family, _, size = key_algorithm.partition("-")
    if family == "rsa":
        return None if int(size) >= 2048 else f"RSA key of {size} bits, at least 2048 needed"
    if family == "ec":
        digits = "".join(char if char.isdigit() else " " for char in size).split()
        return None if digits and int(digits[0]) >= 224 else f"curve {size} is too small or unknown"
    return None if family in ("ed25519", "ed448") else "key of an unknown kind"


def is_root(certificate: Certificate) -> bool:
    """Whether it is self-signed: its issuer is its subject and its own key made the signature."""
    return certificate.self_issued and signed_by(certificate, certificate)


@lru_cache(maxsize=4096)
def _signed_by(der: bytes, issuer_der: bytes) -> bool:
    try:
        load(der).verify_directly_issued_by(load(issuer_der))
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def signed_by(certificate: Certificate, issuer: Certificate) -> bool:
    """Whether `issuer`'s name and key made this certificate (name chaining and signature only)."""
    return certificate.issuer_der == issuer.subject_der and _signed_by(certificate.der, issuer.der)


def hash_data(certificate: Certificate, issuer: Certificate, algorithm: HashName = "SHA256") -> HashData:
    """The certificate as OCPP names it; a root's issuer is itself. Source: OCPP 2.0.1 part 2 section 2.6."""
    return _hash_data(certificate, algorithm, key_bits(certificate_fields(issuer.der).spki))


def hash_data_over_spki(
    certificate: Certificate, issuer: Certificate, algorithm: HashName = "SHA256"
) -> HashData:
    """The same as chargers have it that hash the whole SubjectPublicKeyInfo where the key's bits are meant."""
    return _hash_data(certificate, algorithm, certificate_fields(issuer.der).spki)


def _hash_data(certificate: Certificate, algorithm: HashName, issuer_key: bytes) -> HashData:
    return HashData(
        algorithm=algorithm,
        issuer_name_hash=hashlib.new(algorithm, certificate.issuer_der).hexdigest(),
        issuer_key_hash=hashlib.new(algorithm, issuer_key).hexdigest(),
        serial_number=certificate.serial_number,
    )


def issuer_within(certificate: Certificate, candidates: Sequence[Certificate]) -> Certificate | None:
    """The first of `candidates` that made this certificate, other than itself."""
    for candidate in candidates:
        if candidate.der != certificate.der and signed_by(certificate, candidate):
            return candidate
    return None


# ---------------------------------------------------------------- inside


class _Extensions:
    """The extensions of a certificate or CSR, read once."""

    def __init__(self, extensions: x509.Extensions) -> None:
        self.present = tuple(Extension(item.oid.dotted_string, item.critical) for item in extensions)
        self.is_ca = False
        self.path_length: int | None = None
        self.key_usage: tuple[str, ...] | None = None
        self.extended_key_usage: tuple[str, ...] | None = None
        self.dns_names: tuple[str, ...] = ()
        self.subject_key_id: str | None = None
        self.authority_key_id: str | None = None
        for item in extensions:
            value = item.value
            # cryptography's extensions are abstract base classes: asking isinstance of each in turn took longer than parsing
            if type(value) is x509.BasicConstraints:
                self.is_ca, self.path_length = value.ca, value.path_length
            elif type(value) is x509.KeyUsage:
                self.key_usage = tuple(name for name in _KEY_USAGES if getattr(value, name))
            elif type(value) is x509.ExtendedKeyUsage:
                self.extended_key_usage = tuple(usage.dotted_string for usage in value)
            elif type(value) is x509.SubjectAlternativeName:
                self.dns_names = tuple(value.get_values_for_type(x509.DNSName))
            elif type(value) is x509.SubjectKeyIdentifier:
                self.subject_key_id = value.digest.hex()
            elif type(value) is x509.AuthorityKeyIdentifier and value.key_identifier:
                self.authority_key_id = value.key_identifier.hex()


PROCESSED_EXTENSIONS = frozenset(
    oid.dotted_string
    for oid in (
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.CERTIFICATE_POLICIES,
    )
)
"""The extensions whose meaning we know; any other marked critical makes a certificate unusable (RFC 5280 section 4.2)."""
