"""The roles of a well-kept account as the peer grants them: the shape of facts sheet 3.6, for the demo and for tests."""

from collections.abc import Mapping

from simulator.aws.role import Role

_READ = frozenset({"DescribeCertificateAuthority", "GetCertificateAuthorityCertificate"})
_SHOW = frozenset({"iam:SimulatePrincipalPolicy"})
_ISSUE = _READ | _SHOW | {"IssueCertificate", "GetCertificate"}
_ACM = frozenset(
    f"acm:{operation}Certificate" for operation in ("Request", "Import", "Describe", "Get", "Renew", "Export")
)

#: By duty; the role's name is the duty behind a prefix, as the account's template has it.
DUTY_ROLES: Mapping[str, Role] = {
    "charger-issuer": Role(
        "betterfleet-charger-issuer",
        _ISSUE,
        frozenset({"charger-identity"}),
        frozenset({"EndEntityClientAuthCertificate", "BlankEndEntityCertificate_APIPassthrough"}),
    ),
    "vehicle-issuer": Role(
        "betterfleet-vehicle-issuer",
        _ISSUE,
        frozenset({"vehicle-vas"}),
        frozenset({"EndEntityClientAuthCertificate"}),
    ),
    "v2g-issuer": Role(
        "betterfleet-v2g-issuer",
        _ISSUE,
        frozenset({"iso15118"}),
        frozenset({"BlankEndEntityCertificate_APIPassthrough"}),
    ),
    "server-certs": Role(
        "betterfleet-server-certs",
        _ISSUE | _ACM,
        frozenset({"backend-server"}),
        frozenset({"EndEntityServerAuthCertificate"}),
    ),
    "revoker": Role(
        "betterfleet-revoker",
        _READ | _SHOW | {"RevokeCertificate"},
        frozenset({"charger-identity", "vehicle-vas", "iso15118", "backend-server"}),
    ),
    "auditor": Role(
        "betterfleet-auditor",
        _READ
        | _SHOW
        | {
            "GetCertificate",
            "CreateCertificateAuthorityAuditReport",
            "DescribeCertificateAuthorityAuditReport",
        },
        frozenset({"charger-identity", "vehicle-vas", "iso15118", "backend-server"}),
    ),
}


def role_arn(account_id: str, role: Role) -> str:
    """The ARN a client assumes."""
    return f"arn:aws:iam::{account_id}:role/{role.name}"
