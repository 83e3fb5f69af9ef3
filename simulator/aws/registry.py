"""Looking authorities up by ARN, and what Describe, List and GetCertificateAuthorityCertificate say of them."""

import re
import sqlite3
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from simulator.aws.authority import Authority
from simulator.aws.config import PeerConfig
from simulator.aws.hierarchy import Hierarchy
from simulator.aws.issued import canonical_serial, colon_serial
from simulator.aws.request import AuthorityRequest, ListCertificateAuthorities
from simulator.aws.service_error import ServiceError

_ARN = re.compile(r"arn:aws[\w-]*:acm-pca:[\w-]+:[0-9]{12}:certificate-authority/(?P<id>[0-9a-f-]{36})")

#: The bucket that Describe names for CRLs; the peer serves it at `/<bucket>/crl/<id>.crl` too.
CRL_BUCKET = "betterfleet-demo-crl"
_PAGE = 1000


@dataclass(frozen=True)
class AuthorityRegistry:
    """The peer's authorities with their present status (kept in the store, so it survives a restart)."""

    config: PeerConfig
    store: sqlite3.Connection
    hierarchy: Hierarchy

    def named(self, arn: str) -> Authority:
        """The authority of an ARN.

        Raises: ServiceError InvalidArnException (not such an ARN), ResourceNotFoundException.
        """
        match = _ARN.fullmatch(arn)
        if match is None:
            raise ServiceError("InvalidArnException", "not the ARN of a certificate authority")
        authority = self.hierarchy.by_id.get(match["id"])
        if authority is None or authority.arn != arn:
            raise ServiceError("ResourceNotFoundException", "no certificate authority has this ARN")
        return authority

    def active(self, arn: str) -> Authority:
        """The authority of an ARN, able to sign.

        Raises: ServiceError like `named`, and InvalidStateException when its status is not ACTIVE.
        """
        authority = self.named(arn)
        status = self.status(authority)
        if status != "ACTIVE":
            raise ServiceError("InvalidStateException", f"the certificate authority is {status}")
        return authority

    def by_id(self, authority_id: str) -> Authority:
        """The authority of an id the store holds."""
        return self.hierarchy.by_id[authority_id]

    def status(self, authority: Authority) -> str:
        """ACTIVE, DISABLED, or EXPIRED once the clock has passed its notAfter."""
        if self.config.clock.now() > authority.certificate.not_valid_after_utc:
            return "EXPIRED"
        row = self.store.execute("SELECT status FROM authority WHERE id = ?", (authority.id,)).fetchone()
        return str(row["status"])

    def set_status(self, authority: Authority, status: str) -> None:
        """Disable or re-enable an authority, as UpdateCertificateAuthority would."""
        self.store.execute(
            "UPDATE authority SET status = ?, changed_at = ? WHERE id = ?",
            (status, self.config.clock.timestamp(), authority.id),
        )

    def describe(self, call: AuthorityRequest) -> dict[str, Any]:
        """DescribeCertificateAuthority."""
        return {"CertificateAuthority": self._description(self.named(call.certificate_authority_arn))}

    def certificate(self, call: AuthorityRequest) -> dict[str, Any]:
        """GetCertificateAuthorityCertificate: the chain leaves the authority itself out, a root has none."""
        authority = self.named(call.certificate_authority_arn)
        answer = {"Certificate": authority.pem.strip()}
        if authority.parent is not None:
            answer["CertificateChain"] = authority.ancestors_pem.strip()
        return answer

    def list(self, call: ListCertificateAuthorities) -> dict[str, Any]:
        """ListCertificateAuthorities, oldest first; nothing is shared by other accounts."""
        everything = list(self.hierarchy) if call.resource_owner == "SELF" else []
        start = _page_start(call.next_token)
        end = start + (call.max_results or _PAGE)
        answer: dict[str, Any] = {
            "CertificateAuthorities": [self._description(item) for item in everything[start:end]]
        }
        if end < len(everything):
            answer["NextToken"] = urlsafe_b64encode(str(end).encode()).decode()
        return answer

    def _description(self, authority: Authority) -> dict[str, Any]:
        row = self.store.execute("SELECT changed_at FROM authority WHERE id = ?", (authority.id,)).fetchone()
        certificate = authority.certificate
        return {
            "Arn": authority.arn,
            "OwnerAccount": self.config.account_id,
            "CreatedAt": authority.created_at.timestamp(),
            "LastStateChangeAt": row["changed_at"],
            "Type": "ROOT" if authority.parent is None else "SUBORDINATE",
            "Serial": colon_serial(canonical_serial(certificate.serial_number)),
            "Status": self.status(authority),
            "NotBefore": certificate.not_valid_before_utc.timestamp(),
            "NotAfter": certificate.not_valid_after_utc.timestamp(),
            "CertificateAuthorityConfiguration": {
                "KeyAlgorithm": authority.key_algorithm,
                "SigningAlgorithm": authority.signing_algorithm,
                "Subject": {
                    "CommonName": _attribute(certificate.subject, NameOID.COMMON_NAME),
                    "Organization": _attribute(certificate.subject, NameOID.ORGANIZATION_NAME),
                },
            },
            "RevocationConfiguration": {
                "CrlConfiguration": {
                    "Enabled": True,
                    "ExpirationInDays": self.config.crl_validity.days,
                    "S3BucketName": CRL_BUCKET,
                    "S3ObjectAcl": "BUCKET_OWNER_FULL_CONTROL",
                    "CrlType": "PARTITIONED" if self.config.crl_partitions else "COMPLETE",
                    "CrlDistributionPointExtensionConfiguration": {
                        "OmitExtension": not self.config.crl_distribution_points
                    },
                },
                "OcspConfiguration": {"Enabled": self.config.ocsp_responder},
            },
            "KeyStorageSecurityStandard": "FIPS_140_2_LEVEL_3_OR_HIGHER",
            "UsageMode": "GENERAL_PURPOSE",
        }


def _attribute(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    return str(name.get_attributes_for_oid(oid)[0].value)


def _page_start(next_token: str | None) -> int:
    if next_token is None:
        return 0
    try:
        start = urlsafe_b64decode(next_token)
    except ValueError:
        start = b""
    if not start.isdigit():
        raise ServiceError("InvalidNextTokenException", "not a token of an earlier page")
    return int(start)
