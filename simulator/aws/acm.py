"""AWS Certificate Manager beside the private CA: it holds keys, has certificates signed there, and keeps ARNs as they change.

Field limits follow the service model (botocore acm 2015-12-08); validity, the token's hour and which kind may be renewed or
exported follow facts sheet 3.9. Which error meets an imported certificate's renewal or export is our reading, not documented.
"""

import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from ssl import DER_cert_to_PEM_cert
from typing import Annotated, Any, Literal
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from msgspec import Meta

from simulator.aws.config import PeerConfig
from simulator.aws.issuing import Issuing
from simulator.aws.registry import AuthorityRegistry
from simulator.aws.request import GetCertificate, IssueCertificate, Shape, Validity
from simulator.aws.service_error import ServiceError

PREFIX = "CertificateManager."
VALID_FOR = timedelta(days=395)
TOKEN_GOOD_FOR = timedelta(hours=1)
_TEMPLATE = "arn:aws:acm-pca:::template/EndEntityServerAuthCertificate/V1"
_ARN = re.compile(r"arn:[\w+=/,.@-]+:acm:[\w+=/,.@-]*:[0-9]+:certificate/[0-9a-f-]{36}")

Arn = Annotated[str, Meta(min_length=20, max_length=2048)]
Domain = Annotated[str, Meta(min_length=1, max_length=253)]
_KEYS: dict[str, Callable[[], Any]] = {
    "RSA_2048": lambda: rsa.generate_private_key(65537, 2048),
    "EC_prime256v1": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EC_secp384r1": lambda: ec.generate_private_key(ec.SECP384R1()),
}


class RequestCertificate(Shape, frozen=True, kw_only=True):
    """A certificate whose key ACM makes and keeps."""

    domain_name: Domain
    subject_alternative_names: Annotated[list[Domain], Meta(min_length=1, max_length=100)] | None = None
    idempotency_token: Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^\w+$")] | None = None
    certificate_authority_arn: Arn | None = None
    key_algorithm: Literal["RSA_2048", "EC_prime256v1", "EC_secp384r1"] = "RSA_2048"
    validation_method: str | None = None


class ImportCertificate(Shape, frozen=True, kw_only=True):
    """A certificate made elsewhere, with its key; under the ARN of an earlier import if one is named."""

    certificate: Annotated[bytes, Meta(min_length=1, max_length=32768)]
    private_key: Annotated[bytes, Meta(min_length=1, max_length=5120)]
    certificate_chain: Annotated[bytes, Meta(min_length=1, max_length=2097152)] | None = None
    certificate_arn: Arn | None = None


class OfCertificate(Shape, frozen=True, kw_only=True):
    """The request of every operation that names one certificate and nothing else."""

    certificate_arn: Arn


class ExportCertificate(Shape, frozen=True, kw_only=True):
    """Key and chain, the key under a passphrase."""

    certificate_arn: Arn
    passphrase: Annotated[bytes, Meta(min_length=4, max_length=128)]


@dataclass(frozen=True)
class CertificateManager:
    """The operations; state is in the peer's store."""

    config: PeerConfig
    store: sqlite3.Connection
    registry: AuthorityRegistry
    issuing: Issuing

    def request(self, call: RequestCertificate) -> dict[str, Any]:
        """RequestCertificate. The same token within the hour is the same certificate, whatever else is asked."""
        now = self.config.clock.timestamp()
        if call.idempotency_token is not None:
            known = self.store.execute(
                "SELECT arn FROM acm_certificate WHERE token = ? AND requested_at > ?",
                (call.idempotency_token, now - TOKEN_GOOD_FOR.total_seconds()),
            ).fetchone()
            if known is not None:
                return {"CertificateArn": known["arn"]}
        if call.certificate_authority_arn is None:
            raise ServiceError(
                "InvalidParameterException", "this peer validates no domain: name a private CA"
            )
        arn = self._new_arn()
        names = [call.domain_name, *(call.subject_alternative_names or ())]
        key = _KEYS[call.key_algorithm]()
        pca_arn = self._signed(call.certificate_authority_arn, key, names)
        self.store.execute(
            "INSERT INTO acm_certificate VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            (
                *(arn, "PRIVATE", call.domain_name, "\n".join(dict.fromkeys(names)), call.key_algorithm),
                *(call.certificate_authority_arn, pca_arn, _pem_of(key), None, call.idempotency_token, now),
            ),
        )
        return {"CertificateArn": arn}

    def import_certificate(self, call: ImportCertificate) -> dict[str, Any]:
        """ImportCertificate. A named ARN must be an import's; whoever uses it is given the new one."""
        try:
            leaf = x509.load_pem_x509_certificate(call.certificate)
            key = serialization.load_pem_private_key(call.private_key, None)
        except (ValueError, TypeError) as error:
            raise ServiceError("ValidationException", "certificate or key is not PEM") from error
        if key.public_key().public_bytes(*_SPKI) != leaf.public_key().public_bytes(*_SPKI):
            raise ServiceError("ValidationException", "the private key is not the certificate's")
        if call.certificate_arn is not None and self._row(call.certificate_arn)["kind"] != "IMPORTED":
            raise ServiceError("ValidationException", "only an imported certificate can be imported again")
        arn = call.certificate_arn or self._new_arn()
        name = str(leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        chain = call.certificate.decode().strip() + "\n" + (call.certificate_chain or b"").decode()
        self.store.execute(
            "INSERT OR REPLACE INTO acm_certificate VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            (
                *(arn, "IMPORTED", name, "\n".join(_names(leaf) or [name]), _algorithm(key)),
                *(None, None, call.private_key.decode(), chain, None, self.config.clock.timestamp()),
            ),
        )
        return {"CertificateArn": arn}

    def describe(self, call: OfCertificate) -> dict[str, Any]:
        """DescribeCertificate."""
        row = self._row(call.certificate_arn)
        detail: dict[str, Any] = {
            "CertificateArn": row["arn"],
            "DomainName": row["domain"],
            "SubjectAlternativeNames": row["names"].split("\n"),
            "KeyAlgorithm": row["key_algorithm"],
            "Type": row["kind"],
            "InUseBy": [],
            "RenewalEligibility": "ELIGIBLE" if row["kind"] == "PRIVATE" else "INELIGIBLE",
            "CreatedAt": row["requested_at"],
            "Status": "PENDING_VALIDATION",
        }
        if row["authority_arn"] is not None:
            detail["CertificateAuthorityArn"] = row["authority_arn"]
        try:
            leaf = x509.load_pem_x509_certificate(self._chain(row)[0].encode())
        except ServiceError as error:
            if error.code != "RequestInProgressException":
                raise
            return {"Certificate": detail}
        ended = leaf.not_valid_after_utc <= self.config.clock.now()
        detail |= {
            "Status": "EXPIRED" if ended else "ISSUED",
            "Serial": leaf.serial_number.to_bytes((leaf.serial_number.bit_length() + 7) // 8, "big").hex(":"),
            "Subject": leaf.subject.rfc4514_string(),
            "Issuer": leaf.issuer.rfc4514_string(),
            "NotBefore": leaf.not_valid_before_utc.timestamp(),
            "NotAfter": leaf.not_valid_after_utc.timestamp(),
        }
        return {"Certificate": detail}

    def get(self, call: OfCertificate) -> dict[str, Any]:
        """GetCertificate. Raises: ServiceError RequestInProgressException until it is there."""
        leaf, chain = self._chain(self._row(call.certificate_arn))
        return {"Certificate": leaf, "CertificateChain": chain}

    def renew(self, call: OfCertificate) -> dict[str, Any]:
        """RenewCertificate: a new certificate over a new key, under the same ARN."""
        row = self._row(call.certificate_arn)
        if row["kind"] != "PRIVATE":
            raise ServiceError("ValidationException", "an imported certificate is not renewed by ACM")
        key = _KEYS[row["key_algorithm"]]()
        pca_arn = self._signed(row["authority_arn"], key, row["names"].split("\n"))
        self.store.execute(
            "UPDATE acm_certificate SET pca_arn = ?, key_pem = ? WHERE arn = ?",
            (pca_arn, _pem_of(key), row["arn"]),
        )
        return {}

    def export(self, call: ExportCertificate) -> dict[str, Any]:
        """ExportCertificate: what ACM had signed at a private CA, and nothing else."""
        row = self._row(call.certificate_arn)
        if row["kind"] != "PRIVATE":
            raise ServiceError("ValidationException", "only a private certificate can be exported")
        leaf, chain = self._chain(row)
        key = serialization.load_pem_private_key(row["key_pem"].encode(), None)
        encryption = serialization.BestAvailableEncryption(call.passphrase)
        sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        return {"Certificate": leaf, "CertificateChain": chain, "PrivateKey": sealed.decode()}

    # ------------------------------------------------------------ inside

    def _row(self, arn: str) -> sqlite3.Row:
        if _ARN.fullmatch(arn) is None:
            raise ServiceError("InvalidArnException", "not the ARN of a certificate")
        row: sqlite3.Row | None = self.store.execute(
            "SELECT * FROM acm_certificate WHERE arn = ?", (arn,)
        ).fetchone()
        if row is None:
            raise ServiceError("ResourceNotFoundException", "no certificate has this ARN")
        return row

    def _chain(self, row: sqlite3.Row) -> tuple[str, str]:
        """The leaf and what stands above it."""
        if row["chain_pem"] is not None:
            certificates = x509.load_pem_x509_certificates(row["chain_pem"].encode())
            leaf, *above = (DER_cert_to_PEM_cert(each.public_bytes(Encoding.DER)) for each in certificates)
            return leaf, "".join(above)
        got = self.issuing.get(
            GetCertificate(certificate_authority_arn=row["authority_arn"], certificate_arn=row["pca_arn"])
        )
        return got["Certificate"] + "\n", got["CertificateChain"] + "\n"

    def _signed(self, authority_arn: str, key: Any, names: list[str]) -> str:
        authority = self.registry.active(authority_arn)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in dict.fromkeys(names)])
        csr = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(subject)
            .add_extension(alternatives, critical=False)
            .sign(key, hashes.SHA256())
        )
        call = IssueCertificate(
            certificate_authority_arn=authority_arn,
            csr=csr.public_bytes(Encoding.PEM),
            signing_algorithm=authority.signing_algorithm,  # type: ignore[arg-type]
            validity=Validity(type="DAYS", value=VALID_FOR.days),
            template_arn=_TEMPLATE,
        )
        return str(self.issuing.issue(call)["CertificateArn"])

    def _new_arn(self) -> str:
        return f"arn:aws:acm:{self.config.region}:{self.config.account_id}:certificate/{uuid4()}"


_SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _pem_of(key: Any) -> str:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode()


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return found.get_values_for_type(x509.DNSName)


def _algorithm(key: Any) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return f"RSA_{key.key_size}"
    return {"secp256r1": "EC_prime256v1", "secp384r1": "EC_secp384r1"}.get(key.curve.name, "EC_secp521r1")
