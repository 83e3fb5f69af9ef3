"""A certificate authority of the peer: its key, its certificate and its place in a realm's hierarchy."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from ssl import DER_cert_to_PEM_cert

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID

from simulator.aws.config import KeyAlgorithm
from simulator.aws.extension import ExtensionSet
from simulator.aws.service_error import ServiceError

AuthorityKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

Digest = hashes.SHA256 | hashes.SHA384 | hashes.SHA512

_HASHES: dict[str, Digest] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}


@dataclass(frozen=True)
class Authority:
    """One CA. `parent` is None for a root; `crl_url` None leaves the CRL address out of what it issues.

    With `crl_partitions`, a certificate names the partition that its key falls into.
    """

    id: str
    arn: str
    realm: str
    key_algorithm: KeyAlgorithm
    key: AuthorityKey
    certificate: x509.Certificate
    parent: "Authority | None"
    created_at: datetime
    crl_url: str | None
    crl_partitions: int = 0
    ocsp_url: str | None = None

    @property
    def pem(self) -> str:
        """Its certificate, with a final newline."""
        return DER_cert_to_PEM_cert(self.certificate.public_bytes(Encoding.DER))

    @property
    def ancestors_pem(self) -> str:
        """Everything above it up to the root, nearest first; empty for a root."""
        return "" if self.parent is None else self.parent.pem + self.parent.ancestors_pem

    @property
    def signing_algorithm(self) -> str:
        """The algorithm it signs its own things with (CRLs, a subordinate at first start)."""
        return "SHA256WITHECDSA" if self.key_algorithm == "EC_prime256v1" else "SHA256WITHRSA"

    @property
    def path_length(self) -> int | None:
        """How many authorities may stand below it; None is unlimited."""
        return self.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length

    def hash_for(self, signing_algorithm: str) -> Digest:
        """The digest of a signing algorithm that fits this authority's key.

        Raises: ServiceError InvalidArgsException when the families differ.
        """
        digest, _, family = signing_algorithm.partition("WITH")
        if family != self.signing_algorithm.partition("WITH")[2]:
            raise ServiceError(
                "InvalidArgsException", f"{signing_algorithm} does not fit a {self.key_algorithm} authority"
            )
        return _HASHES[digest]

    def certificate_arn(self, serial: str) -> str:
        """The ARN of what it issued under this serial (32 hex digits)."""
        return f"{self.arn}/certificate/{serial}"

    def stamp(self, public_key: CertificatePublicKeyTypes) -> ExtensionSet:
        """The extensions that identify issuer and subject key and say where the CRL lies."""
        extensions = ExtensionSet()
        subject_key = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key)
        extensions.offer(issuer_key, False)
        extensions.offer(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
        address = self.list_address(self.partition_of(_key_digest(public_key)))
        if address is not None:
            point = x509.DistributionPoint([x509.UniformResourceIdentifier(address)], None, None, None)
            extensions.offer(x509.CRLDistributionPoints([point]), False)
        if self.ocsp_url is not None:
            where = x509.UniformResourceIdentifier(self.ocsp_url)
            access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, where)
            extensions.offer(x509.AuthorityInformationAccess([access]), False)
        return extensions

    def partition_of(self, public_key_sha256: str) -> int | None:
        """The partial list that speaks of a certificate of this key; None when there is one whole list."""
        return int(public_key_sha256[:8], 16) % self.crl_partitions if self.crl_partitions else None

    def list_address(self, partition: int | None) -> str | None:
        """Where a list lies; None when certificates do not say."""
        if self.crl_url is None or partition is None:
            return self.crl_url
        return f"{self.crl_url.removesuffix('.crl')}/{partition}.crl"


def _key_digest(public_key: CertificatePublicKeyTypes) -> str:
    return sha256(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def new_key(algorithm: KeyAlgorithm) -> AuthorityKey:
    """A fresh key pair; RSA takes a noticeable part of a second."""
    if algorithm == "RSA_2048":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())
