"""Reading what AWS says of a CA: which certificate is the root, which stand between, how it signs."""

from datetime import UTC
from typing import Any

from bfactors.ca import AuthorityDescription, Permanent
from bfactors.x509 import Certificate, MalformedX509, is_root, parse_certificates, pem_of

_SIGNING_BY_KEY = {"EC": "SHA256WITHECDSA", "RSA": "SHA256WITHRSA"}


def described(authority: dict[str, Any], certificates: dict[str, Any]) -> AuthorityDescription:
    """From DescribeCertificateAuthority and GetCertificateAuthorityCertificate. Raises Permanent."""
    configuration = authority["CertificateAuthorityConfiguration"]
    key_algorithm = str(configuration["KeyAlgorithm"])
    try:
        own = parse_certificates(str(certificates["Certificate"]))[0]
        chain = str(certificates.get("CertificateChain") or "")
        above = parse_certificates(chain) if chain.strip() else ()
    except MalformedX509 as problem:
        raise Permanent("MalformedAuthority", str(problem)) from problem
    issuers = [certificate for certificate in above if not is_root(certificate)]
    root = next((certificate for certificate in (own, *above) if is_root(certificate)), None)
    return AuthorityDescription(
        arn=str(authority["Arn"]),
        status=str(authority["Status"]),
        not_after=authority["NotAfter"].astimezone(UTC),
        key_algorithm=key_algorithm,
        signing_algorithm=signing_algorithm(key_algorithm, str(configuration.get("SigningAlgorithm", ""))),
        certificate_pem=pem_of(own.der),
        issuers_pem=_text(issuers),
        root_pem=None if root is None else pem_of(root.der),
    )


def signing_algorithm(key_algorithm: str, configured: str) -> str:
    """SHA-256 with the CA's key; a CA with a key of another kind signs with what it was configured for."""
    return _SIGNING_BY_KEY.get(key_algorithm.partition("_")[0], configured)


def _text(certificates: list[Certificate]) -> str:
    return "".join(pem_of(certificate.der) for certificate in certificates)
