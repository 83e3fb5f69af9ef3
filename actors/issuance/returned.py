"""What a CA handed out, brought into the one form we keep and held against what was asked."""

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
    if not issuers:  # the CA sent none: what we know of it does as well
        issuers = below_root(effect.authority_pem + effect.authority_chain_pem)
    chain_pem = join_chain([certificate.der for certificate in (leaf, *issuers)])
    found += findings(
        chain_pem=chain_pem,
        csr_pem=effect.csr_pem,
        authority=parse_certificate(effect.authority_pem),
        purpose=purpose(effect.purpose),
        template=effect.template,
        not_before=effect.not_before,
        not_after=effect.not_after,
    )
    return IssuanceCompleted(
        job_id=effect.job_id,
        attempt=effect.attempt,
        external_ref=external_ref,
        chain_pem=chain_pem,
        findings=tuple(f"{finding.reason}: {finding.message}" for finding in found),
    )


def below_root(text: str) -> tuple[Certificate, ...]:
    """The certificates of a PEM text without self-signed ones. Raises MalformedX509."""
    if not text.strip():
        return ()
    return tuple(certificate for certificate in parse_certificates(text) if not is_root(certificate))
