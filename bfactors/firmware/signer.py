"""Certificates that firmware trust is given: what may be a manufacturer's root, and who may sign firmware under one."""

from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise

from bfactors.firmware.separation import overlaps
from bfactors.refusal import Refusal
from bfactors.x509 import (
    Certificate,
    MalformedX509,
    is_root,
    key_strength_problem,
    parse_certificate,
    parse_certificates,
    signed_by,
)

SIGNING_CERTIFICATE_CHARS = 5500
"""OCPP's limit in every version."""


def readable_root(pem: str) -> Certificate | Refusal:
    """The one self-signed CA certificate of a PEM text, or why it is none."""
    try:
        certificate = parse_certificate(pem)
    except MalformedX509 as problem:
        return Refusal("malformed-certificate", str(problem), "pem")
    if not certificate.is_ca or not is_root(certificate):
        message = (
            f"{certificate.subject!r} is not a self-signed CA certificate; a charger could never list it"
        )
        return Refusal("not-a-root", message, "pem")
    return certificate


def shared_with(
    certificate: Certificate, operational: Iterable[Certificate], field: str = "pem"
) -> Refusal | None:
    """A refusal if the certificate has anything in common with the hierarchies of operations."""
    overlap = next(overlaps((certificate,), operational), None)
    return None if overlap is None else Refusal("firmware-hierarchy", overlap.message, field)


def signer_problem(
    pem: str, anchor_pem: str, operational: Iterable[Certificate], now: datetime
) -> Refusal | None:
    """Why a charger should not be told to trust this signer: checked before it is sent (A00.FR.707; 1.6: FR.706).

    `pem` is the signer, and after it the CAs between it and the recorded root, if there are any.
    """
    field = "signing_certificate"
    root = readable_root(anchor_pem)
    if isinstance(root, Refusal):
        return root
    try:
        chain = parse_certificates(pem)
    except MalformedX509 as problem:
        return Refusal("malformed-certificate", str(problem), field)
    signer = chain[0]
    for one, issuer in pairwise((*chain, root)):
        if not issuer.is_ca or not signed_by(one, issuer):
            message = (
                f"{one.subject!r} was not issued by {issuer.subject!r}: the signer must lead to the anchor"
            )
            return Refusal("firmware-signer-unknown", message, field)
    for one in (*chain, root):
        if not one.not_before <= now <= one.not_after:
            message = f"{one.subject!r} is valid from {one.not_before:%Y-%m-%d} to {one.not_after:%Y-%m-%d}"
            return Refusal("firmware-signer-expired", message, field)
    if signer.is_ca:
        return Refusal("firmware-signer-unknown", f"{signer.subject!r} is a CA and signs no firmware", field)
    weak = key_strength_problem(signer.key_algorithm)
    if weak is not None:
        return Refusal("firmware-signer-weak", weak, field)
    return shared_with(signer, operational, field)
