"""What each role towards AWS Private CA is for, and the questions whose answer must be no, whatever its policies say.

The same questions are put to AWS at start (`gateways.ca.role_probe`) and to the templates in `deploy/aws` by the policy linter.
Source: facts on AWS Private CA 3.5 and 3.6; deploy/aws/roles.yaml.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

ISSUE: Final = "acm-pca:IssueCertificate"
REVOKE: Final = "acm-pca:RevokeCertificate"
GET: Final = "acm-pca:GetCertificate"

MUTATIONS: Final = (
    "acm-pca:CreateCertificateAuthority",
    "acm-pca:UpdateCertificateAuthority",
    "acm-pca:DeleteCertificateAuthority",
    "acm-pca:RestoreCertificateAuthority",
    "acm-pca:ImportCertificateAuthorityCertificate",
    "acm-pca:CreatePermission",
    "acm-pca:DeletePermission",
    "acm-pca:PutPolicy",
    "acm-pca:DeletePolicy",
)
"""What makes, changes or ends a CA, or lets somebody else use it."""

WIDENING: Final = (
    "iam:AttachRolePolicy",
    "iam:PutRolePolicy",
    "iam:DeleteRolePolicy",
    "iam:UpdateAssumeRolePolicy",
)
"""What lets a role give itself more."""

CLIENT: Final = "EndEntityClientAuthCertificate/V1"
WITHOUT_USAGE: Final = "BlankEndEntityCertificate_APIPassthrough/V1"
"""Says nothing of what the leaf is for; the role may use it only for leaves without an extended key usage."""
SERVER: Final = "EndEntityServerAuthCertificate/V1"

_VARIETIES = ("", "_APIPassthrough", "_CSRPassthrough", "_APICSRPassthrough")
CA_TEMPLATES: Final = (
    *(f"RootCACertificate{variety}/V1" for variety in ("", "_APIPassthrough")),
    *(
        f"SubordinateCACertificate_PathLen{length}{variety}/V1"
        for length in range(4)
        for variety in _VARIETIES
    ),
    *(
        f"Blank{family}{variety}/V1"
        for family in (
            "RootCACertificate",
            *(f"SubordinateCACertificate_PathLen{length}" for length in range(4)),
        )
        for variety in _VARIETIES[1:]
    ),
)
"""Every template that makes a CA certificate."""

PROBED_CA_TEMPLATES: Final = (
    "RootCACertificate/V1",
    "SubordinateCACertificate_PathLen0/V1",
    "SubordinateCACertificate_PathLen3_APICSRPassthrough/V1",
)
"""One of each shape, for asking over the network."""

OTHER_TEMPLATES: Final = ("EndEntityCertificate/V1", "BlankEndEntityCertificate_APICSRPassthrough/V1")
"""Leaves with more than one use, and leaves that say of themselves what they are for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What one role is for. Empty `templates`: it issues nothing."""

    name: str
    realms: frozenset[str]
    templates: tuple[str, ...] = ()
    revokes: bool = False


_EVERYWHERE = frozenset({"charger-identity", "vehicle-vas", "iso15118", "backend-server"})
_TODAY = frozenset({"charger-identity", "backend-server", "iso15118"})

DUTIES: Final[Mapping[str, Duty]] = {
    duty.name: duty
    for duty in (
        Duty(
            name="charger-issuer", realms=frozenset({"charger-identity"}), templates=(CLIENT, WITHOUT_USAGE)
        ),
        Duty(name="vehicle-issuer", realms=frozenset({"vehicle-vas"}), templates=(CLIENT,)),
        Duty(name="v2g-issuer", realms=frozenset({"iso15118"}), templates=(WITHOUT_USAGE,)),
        Duty(name="server-certs", realms=frozenset({"backend-server"}), templates=(SERVER,)),
        Duty(name="revoker", realms=_EVERYWHERE, revokes=True),
        Duty(name="auditor", realms=_EVERYWHERE),
    )
}
"""The roles of deploy/aws/roles.yaml."""

CORE: Final = Duty(name="core", realms=_TODAY, templates=(CLIENT, WITHOUT_USAGE, SERVER), revokes=True)
"""One role that does it all, where duties are not told apart."""

REVOKER: Final = "revoker"
SERVER_CERTS: Final = "server-certs"
AUDITOR: Final = "auditor"


def issuing_duty(realm: str) -> str | None:
    """The duty that issues in this realm; None where none is declared."""
    found = [duty.name for duty in DUTIES.values() if duty.templates and realm in duty.realms]
    return found[0] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """May the role do any of `actions` on `resource`? `code` names what is wrong if it may. `template` is a bare name."""

    code: str
    actions: tuple[str, ...]
    resource: str = "*"
    template: str | None = None

    def found(self, duty: str, action: str) -> str:
        """What readiness and the log say of an action that is allowed."""
        with_template = f" with {self.template}" if self.template else ""
        return f"aws-role:{duty}:{self.code} ({action}{with_template} on {self.resource})"


def questions(
    duty: Duty,
    authorities: Mapping[str, frozenset[str]],
    principal_arn: str,
    ca_templates: Iterable[str] = PROBED_CA_TEMPLATES,
) -> tuple[Question, ...]:
    """All that must be denied to this role. `authorities`: the ARNs of every issuing CA by realm, as far as known."""
    own = own_authorities(duty, authorities)
    asked = [Question(code="could-change-authorities", actions=MUTATIONS)]
    for arn in own:
        asked.append(Question(code="could-change-authorities", actions=MUTATIONS, resource=arn))
        for template in ca_templates:
            asked.append(
                Question(code="could-use-ca-template", actions=(ISSUE,), resource=arn, template=template)
            )
        forbidden = (
            OTHER_TEMPLATES if duty.templates else (CLIENT, SERVER, *OTHER_TEMPLATES)
        )  # who issues nothing may not do so with any
        for template in forbidden:
            asked.append(
                Question(code="could-issue-otherwise", actions=(ISSUE,), resource=arn, template=template)
            )
        if not duty.revokes:
            asked.append(Question(code="could-revoke", actions=(REVOKE,), resource=arn))
    for arn in _foreign(duty, authorities, principal_arn):
        for template in duty.templates or (CLIENT,):
            asked.append(
                Question(
                    code="could-use-foreign-authority",
                    actions=(ISSUE, REVOKE, GET),
                    resource=arn,
                    template=template,
                )
            )
    asked.append(Question(code="could-widen-itself", actions=WIDENING, resource=principal_arn))
    return tuple(asked)


def own_authorities(duty: Duty, authorities: Mapping[str, frozenset[str]]) -> list[str]:
    """The CAs of the duty's realms, of which a realm has several while one is rolled over to another."""
    return [
        arn for realm, arns in sorted(authorities.items()) if realm in duty.realms for arn in sorted(arns)
    ]


def foreign_authorities(duty: Duty, authorities: Mapping[str, frozenset[str]]) -> list[str]:
    """The CAs of all other realms."""
    return [
        arn for realm, arns in sorted(authorities.items()) if realm not in duty.realms for arn in sorted(arns)
    ]


def _foreign(duty: Duty, authorities: Mapping[str, frozenset[str]], principal_arn: str) -> list[str]:
    """The CAs of other realms, and one that does not exist: it stands for those nobody told us of."""
    return [*foreign_authorities(duty, authorities), *_nobodys(authorities, principal_arn)]


def _nobodys(authorities: Mapping[str, frozenset[str]], principal_arn: str) -> list[str]:
    like = min((arn for arns in authorities.values() for arn in arns), default=None)
    if like is None:
        return []
    # In the account of the role: a CA that another account shares is reached by a policy of its own.
    parts = like.split(":")
    account = principal_arn.split(":")[4:5]
    parts[4:5] = account
    return [":".join([*parts[:5], "certificate-authority/00000000-0000-4000-8000-000000000000"])]


def template_arn(partition: str, template: str) -> str:
    """The ARN under which policies know a template."""
    return f"arn:{partition}:acm-pca:::template/{template}"


def context_of(question: Question) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The condition keys of a request as we would send it: key -> (type, values). An ordinary P-256 key."""
    if ISSUE not in question.actions:
        return {}
    partition = question.resource.split(":")[1] if question.resource.startswith("arn:") else "aws"
    context: dict[str, tuple[str, tuple[str, ...]]] = {
        "acm-pca:x509Key/algorithm": ("string", ("EC",)),
        "acm-pca:x509Key/size": ("numeric", ("256",)),
        "acm-pca:x509Key/curve": ("string", ("P-256",)),
    }
    if question.template is not None:
        context["acm-pca:TemplateArn"] = ("string", (template_arn(partition, question.template),))
    return context
