"""Whether an OCSP response or a CRL was signed by the issuer of the certificate that was asked about.

The charger names that issuer by a hash of its public key, and nobody can make another key of that hash: a certificate that
holds it proves itself, wherever it came from - beside the response, from an address the document names, from settings.
Source: RFC 6960 (3.2, 4.2.2.2), RFC 5280 (5.2.7, 6.3.3).
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, SignatureAlgorithmOID

from bfactors.certificate_hash import Reading
from bfactors.der import certificate_fields, key_bits

ISSUER_BYTES = 64 * 1024
"""Of a file with an issuer's certificate."""
ADDRESSES_MAX = 2
"""Places where an issuer's certificate is looked for; a car waits meanwhile."""
UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension)

_DIGESTS = (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
_DIGEST_NAMES = frozenset(digest.name for digest in _DIGESTS)


def issuer_among(candidates: Iterable[x509.Certificate], reading: Reading) -> x509.Certificate | None:
    """The certificate with the name and the key that the charger named."""
    algorithm, name_hash, key_hash, _ = reading
    for candidate in candidates:
        fields = certificate_fields(candidate.public_bytes(Encoding.DER))
        has_name = hashlib.new(algorithm, candidate.subject.public_bytes()).hexdigest() == name_hash
        if has_name and hashlib.new(algorithm, key_bits(fields.spki)).hexdigest() == key_hash:
            return candidate
    return None


def certificates_in(encoded: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a DER, PEM or PKCS#7 file; none if it is nothing of the kind."""
    is_pem = encoded.lstrip().startswith(b"-----")
    readers = (
        x509.load_pem_x509_certificates if is_pem else lambda der: [x509.load_der_x509_certificate(der)],
        pkcs7.load_pem_pkcs7_certificates if is_pem else pkcs7.load_der_pkcs7_certificates,
    )
    for read in readers:
        try:
            return tuple(read(encoded))
        except UNREADABLE:
            continue
    return ()


def signs_list(revocations: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Whether the issuer signed the list."""
    key = issuer.public_key()
    is_ca_key = isinstance(
        key,
        ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey,
    )
    try:
        digest = revocations.signature_hash_algorithm
        if digest is not None and digest.name not in _DIGEST_NAMES:
            return False
        return is_ca_key and revocations.is_signature_valid(key)  # type: ignore[arg-type]
    except UNREADABLE:
        return False


def signs_response(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> bool:
    """Whether the issuer signed it, or somebody whom the issuer has made its responder."""
    signers = [issuer, *(each for each in response.certificates if _is_responder_of(each, issuer, now))]
    return any(_has_signed(signer, response) for signer in signers)


def _is_responder_of(delegate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
    try:
        delegate.verify_directly_issued_by(issuer)
        usage = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (*UNREADABLE, InvalidSignature, x509.ExtensionNotFound):
        return False
    in_time = delegate.not_valid_before_utc <= now <= delegate.not_valid_after_utc
    return in_time and ExtendedKeyUsageOID.OCSP_SIGNING in usage


def _has_signed(signer: x509.Certificate, response: ocsp.OCSPResponse) -> bool:
    try:
        key = signer.public_key()
        match key:
            case ec.EllipticCurvePublicKey():
                key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(_digest(response)))
            case rsa.RSAPublicKey() if response.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS:
                return any(_has_signed_with_pss(key, response, digest) for digest in _DIGESTS)
            case rsa.RSAPublicKey():
                padded = padding.PKCS1v15()
                key.verify(response.signature, response.tbs_response_bytes, padded, _digest(response))
            case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
                key.verify(response.signature, response.tbs_response_bytes)
            case _:
                return False
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def _has_signed_with_pss(
    key: rsa.RSAPublicKey, response: ocsp.OCSPResponse, digest: hashes.HashAlgorithm
) -> bool:
    padded = padding.PSS(padding.MGF1(digest), padding.PSS.AUTO)
    try:
        key.verify(response.signature, response.tbs_response_bytes, padded, digest)
    except InvalidSignature:
        return False
    return True


def _digest(response: ocsp.OCSPResponse) -> hashes.HashAlgorithm:
    digest = response.signature_hash_algorithm
    if digest is None or digest.name not in _DIGEST_NAMES:
        raise ValueError("no digest to rely on")
    return digest


def issuer_addresses(signed: ocsp.OCSPResponse | x509.CertificateRevocationList) -> tuple[str, ...]:
    """Where the certificates beside a response, or a list itself, say that their issuer's certificate lies."""
    bearers = signed.certificates if isinstance(signed, ocsp.OCSPResponse) else [signed]
    return tuple(address for bearer in bearers for address in _addresses_of(bearer))[:ADDRESSES_MAX]


def _addresses_of(bearer: x509.Certificate | x509.CertificateRevocationList) -> list[str]:
    try:
        access = bearer.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (*UNREADABLE, x509.ExtensionNotFound):
        return []
    return [
        described.access_location.value
        for described in access
        if described.access_method == AuthorityInformationAccessOID.CA_ISSUERS
        and isinstance(described.access_location, x509.UniformResourceIdentifier)
    ]
