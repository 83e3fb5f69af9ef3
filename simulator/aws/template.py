"""The certificate templates of AWS Private CA: what each one fixes, and what it lets through.

Source: AWS Private CA user guide, "template definitions" and "template order of operations".
"""

import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from simulator.aws.service_error import ServiceError

_ARN = re.compile(r"arn:(aws|aws-cn|aws-us-gov):acm-pca:::template/(?P<name>[A-Za-z0-9_]+)/V1")


@dataclass(frozen=True)
class Template:
    """One template. `fixed` wins over everything the API or the CSR says.

    `from_api` and `from_csr` tell which passthrough it allows; subject and subject alternative name
    come from the CSR in every template unless the API may and does override them.
    """

    name: str
    fixed: tuple[tuple[x509.ExtensionType, bool], ...]
    from_api: bool
    from_csr: bool
    path_length: int | None = None

    @property
    def makes_authority(self) -> bool:
        """True for templates of CA certificates."""
        return self.path_length is not None

    @property
    def arn(self) -> str:
        """The canonical ARN, as audit reports print it."""
        return f"arn:aws:acm-pca:::template/{self.name}/V1"


def key_usage(*bits: str) -> x509.KeyUsage:
    """A KeyUsage with only the named bits set, in cryptography's spelling."""
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name in bits for name in names})


AUTHORITY_KEY_USAGE = key_usage("digital_signature", "key_cert_sign", "crl_sign")
_NOT_AN_AUTHORITY = x509.BasicConstraints(ca=False, path_length=None)
_LEAF_KEY_USAGE = (key_usage("digital_signature", "key_encipherment"), True)
_SIGNER_KEY_USAGE = (key_usage("digital_signature"), True)


def _leaf(usages: tuple[x509.ObjectIdentifier, ...]) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    return ((_NOT_AN_AUTHORITY, False), _LEAF_KEY_USAGE, (x509.ExtendedKeyUsage(usages), False))


def _signer(usage: x509.ObjectIdentifier) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    return ((_NOT_AN_AUTHORITY, False), _SIGNER_KEY_USAGE, (x509.ExtendedKeyUsage([usage]), True))


def _authority(path_length: int) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    return (
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (AUTHORITY_KEY_USAGE, True),
    )


def _varieties(
    family: str,
    fixed: tuple[tuple[x509.ExtensionType, bool], ...],
    path_length: int | None = None,
    base: bool = True,
) -> list[Template]:
    passthrough = [
        Template(f"{family}_{suffix}", fixed, "API" in suffix, "CSR" in suffix, path_length)
        for suffix in ("APIPassthrough", "CSRPassthrough", "APICSRPassthrough")
    ]
    return [Template(family, fixed, False, False, path_length), *passthrough] if base else passthrough


TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in [
        *_varieties("EndEntityCertificate", _leaf((Usage.SERVER_AUTH, Usage.CLIENT_AUTH))),
        *_varieties("EndEntityClientAuthCertificate", _leaf((Usage.CLIENT_AUTH,))),
        *_varieties("EndEntityServerAuthCertificate", _leaf((Usage.SERVER_AUTH,))),
        *_varieties("OCSPSigningCertificate", _signer(Usage.OCSP_SIGNING)),
        *_varieties("CodeSigningCertificate", _signer(Usage.CODE_SIGNING)),
        *_varieties("BlankEndEntityCertificate", ((_NOT_AN_AUTHORITY, False),), base=False),
        *_varieties(
            "BlankEndEntityCertificate_CriticalBasicConstraints", ((_NOT_AN_AUTHORITY, True),), base=False
        ),
        *(
            template
            for length in range(4)
            for template in _varieties(
                f"SubordinateCACertificate_PathLen{length}", _authority(length), length
            )
        ),
    ]
}
DEFAULT = TEMPLATES["EndEntityCertificate"]


def from_arn(arn: str | None) -> Template:
    """The template an IssueCertificate call names; EndEntityCertificate/V1 when it names none.

    Raises: ServiceError ValidationException (no template ARN), InvalidArgsException (no such template).
    """
    if arn is None:
        return DEFAULT
    match = _ARN.fullmatch(arn)
    if match is None:
        raise ServiceError("ValidationException", "TemplateArn is not the ARN of a certificate template")
    template = TEMPLATES.get(match["name"])
    if template is None:
        raise ServiceError("InvalidArgsException", f"unknown certificate template {match['name']}")
    return template
