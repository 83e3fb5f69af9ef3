"""What a CA handed out, brought into the one form we keep and held against what was asked."""

from collections.abc import Sequence

from bfactors.ca import IssuedChain
from bfactors.check.finding import Finding
from bfactors.check.leaf import findings
from bfactors.effect import IssueCertificate
from bfactors.evidence import IssuanceCompleted, IssuanceRefused
from bfactors.purpose import purpose
from bfactors.x509 import (
    Certificate,
    MalformedX509,
    is_root,
    join_chain,
    parse_certificate,
    parse_certificates,
)


def completed(
    effect: IssueCertificate, external_ref: str, chain: IssuedChain
) -> IssuanceCompleted | IssuanceRefused:
    """The fact to record: leaf first, issuers upward, never a root, with every objection there is.

    Refused only when the leaf cannot be read at all: then there is nothing to keep.
    """
    try:
        leaf = parse_certificate(chain.leaf_pem)
    except MalformedX509 as problem:
        return IssuanceRefused(
            job_id=effect.job_id,
            attempt=effect.attempt,
            code="leaf-malformed",
            message=f"{external_ref}: {problem}",
        )
    found: list[Finding] = []
    try:
        issuers = below_root(chain.issuers_pem)
    except MalformedX509 as problem:
        found.append(Finding("leaf-chain-malformed", str(problem)))
        issuers = ()
    authority = parse_certificates(effect.authority_pem)
    if not issuers:  # the CA sent none: what we know of it does as well
        issuers = _without_roots(authority) + below_root(effect.authority_chain_pem)
    delivered = (leaf, *issuers)
    found += findings(
        chain=delivered,
        csr_pem=effect.csr_pem,
        authority=authority[0],
        purpose=purpose(effect.purpose),
        template=effect.template,
        not_before=effect.not_before,
        not_after=effect.not_after,
    )
    return IssuanceCompleted(
        job_id=effect.job_id,
        attempt=effect.attempt,
        external_ref=external_ref,
        chain_pem=join_chain([certificate.der for certificate in delivered]),
        findings=tuple(f"{finding.reason}: {finding.message}" for finding in found),
    )


def below_root(text: str) -> tuple[Certificate, ...]:
    """The certificates of a PEM text without self-signed ones. Raises MalformedX509."""
    if not text.strip():
        return ()
    return _without_roots(parse_certificates(text))


def _without_roots(certificates: Sequence[Certificate]) -> tuple[Certificate, ...]:
    return tuple([certificate for certificate in certificates if not is_root(certificate)])
