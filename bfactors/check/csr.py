"""The checks a CSR passes before a CA is asked to sign it, in order; the first objection is the answer.

They run in the ledger, not before SignCertificate is answered: a charger may be told Accepted for a CSR that is refused
afterwards (TC_A_14). Source: A00.FR.404-405, FR.501-511, A02.
"""

from collections.abc import Callable

import msgspec

from bfactors.certificate_hash import HashData
from bfactors.check.finding import Finding
from bfactors.distinguished_name import comparable
from bfactors.policy import Policy
from bfactors.purpose import PurposeSpec
from bfactors.x509 import (
    CLIENT_AUTH,
    MalformedX509,
    SigningRequest,
    key_strength_problem,
    parse_csr,
    proves_possession,
)

_ALLOWED_REQUESTS = frozenset({"2.5.29.15", "2.5.29.37", "2.5.29.14", "2.5.29.17", "2.5.29.19"})
"""Key usage, extended key usage, subject key identifier, alternative names and basic constraints may be asked for; each
is looked at below, and the template decides what is granted."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A CSR with everything its checks may look at. `key_owner` is the identity that first showed its key."""

    request: SigningRequest
    purpose: PurposeSpec
    policy: Policy
    managed_identity_id: str
    expected_common_name: str
    organization: str | None
    key_owner: str | None
    keys_elsewhere: frozenset[str] = frozenset()
    """SPKI digests of the keys of the charger's other slots."""
    compromised_keys: frozenset[str] = frozenset()
    """SPKI digests of keys that somebody else may hold."""
    wanted_root: HashData | None = None
    issuer_roots: tuple[HashData, ...] = ()
    """The roots our CA leads to, in every algorithm; empty: nobody knows."""


Check = Callable[[Candidate], Finding | None]


def possession(candidate: Candidate) -> Finding | None:
    """The CSR is signed by the key it carries."""
    if proves_possession(candidate.request.der):
        return None
    return Finding("csr-signature-invalid", "the CSR is not signed by the key it carries")


def key(candidate: Candidate) -> Finding | None:
    """The key is of an allowed kind and strong enough."""
    weak = key_strength_problem(candidate.request.key_algorithm)
    if weak is not None:
        return Finding("csr-key-too-weak", weak)
    allowed = set(candidate.policy.key_algorithms) & set(candidate.purpose.key_algorithms)
    if candidate.request.key_algorithm not in allowed:
        return Finding(
            "csr-key-not-allowed", f"a {candidate.request.key_algorithm} key is not allowed by policy"
        )
    return None


def digest(candidate: Candidate) -> Finding | None:
    """The CSR is signed over a digest that still counts."""
    if candidate.request.signature_hash in ("md5", "sha1"):
        return Finding("csr-digest-too-weak", f"the CSR is signed over {candidate.request.signature_hash}")
    return None


def common_name(candidate: Candidate) -> Finding | None:
    """CN is this charger's serial number (or what the inventory expects instead), never another's; a second CN neither."""
    if "common_name" not in candidate.purpose.subject_fields:
        return None
    expected = candidate.expected_common_name
    if candidate.request.common_name is None:
        return Finding("csr-subject-mismatch", f"the CSR has no CN; expected {expected!r}")
    wanted = comparable(expected)
    for found in candidate.request.common_names:
        named = comparable(found)
        if not (named == wanted if candidate.policy.subject_match == "exact" else wanted in named):
            return Finding("csr-subject-mismatch", f"the CSR's CN is {found[:64]!r}; expected {expected!r}")
    return None


def organization(candidate: Candidate) -> Finding | None:
    """O is the operator's organization, where the inventory names one."""
    expected = candidate.organization
    if "organization" not in candidate.purpose.subject_fields or expected is None:
        return None
    if comparable(expected) not in map(comparable, candidate.request.organizations):
        found = candidate.request.organization
        return Finding(
            "csr-organization-mismatch", f"the CSR's O is {(found or 'absent')[:64]!r}; expected {expected!r}"
        )
    return None


def domain_component(candidate: Candidate) -> Finding | None:
    """DC is what the purpose's leaves are known by, unless policy takes any."""
    expected = candidate.purpose.domain_component
    if expected is None or candidate.policy.domain_component == "any":
        return None
    if expected not in candidate.request.domain_components:
        found = ", ".join(candidate.request.domain_components) or "absent"
        return Finding(
            "csr-domain-component-missing", f"the CSR's DC is {found[:64]!r}; expected {expected!r}"
        )
    return None


def extensions(candidate: Candidate) -> Finding | None:
    """It asks for nothing a leaf of this purpose may not have."""
    request = candidate.request
    if request.requests_ca:
        return Finding("csr-asks-for-ca", "the CSR asks for a CA certificate")
    if request.dns_names and not candidate.purpose.server_auth:
        return Finding("csr-asks-for-dns-name", "the CSR asks for a DNS name (A00.FR.511)")
    if request.has_alternative_names and candidate.policy.alternative_names == "none":
        return Finding(
            "csr-asks-for-alternative-name", "the CSR asks for an alternative name, which policy refuses"
        )
    usages = request.extended_key_usage
    if usages is not None and candidate.purpose.client_auth and CLIENT_AUTH not in usages:
        return Finding(
            "csr-asks-for-other-usage", "the CSR asks for an extended key usage without clientAuth"
        )
    unknown = [e.oid for e in request.requested if e.critical and e.oid not in _ALLOWED_REQUESTS]
    if unknown:
        return Finding(
            "csr-asks-for-unknown-extension", f"the CSR asks for a critical extension {unknown[0]}"
        )
    return None


def key_reuse(candidate: Candidate) -> Finding | None:
    """No other identity has shown this key before, and no other slot of this charger holds it."""
    if candidate.key_owner is not None and candidate.key_owner != candidate.managed_identity_id:
        return Finding("csr-key-reused", "the CSR's key was shown by another identity before")
    if candidate.request.spki_sha256 in candidate.keys_elsewhere:
        return Finding("csr-key-reused", "the CSR's key has a certificate of the charger for something else")
    return None


def compromised(candidate: Candidate) -> Finding | None:
    """Nobody else is known to hold the key."""
    if candidate.request.spki_sha256 in candidate.compromised_keys:
        return Finding(
            "csr-key-compromised", "a certificate of this key was revoked because the key is compromised"
        )
    return None


def root(candidate: Candidate) -> Finding | None:
    """The charger wants its leaf under a root that our CA leads to (2.1: A02.FR.27)."""
    wanted = candidate.wanted_root
    if wanted is None or not candidate.issuer_roots:
        return None
    if {ours.folded() for ours in candidate.issuer_roots}.intersection(wanted.readings()):
        return None
    return Finding("csr-root-not-ours", f"the charger wants a root with serial number {wanted.serial_number}")


CHECKS: tuple[Check, ...] = (
    possession,
    key,
    digest,
    common_name,
    organization,
    domain_component,
    extensions,
    key_reuse,
    compromised,
    root,
)


def first_finding(candidate: Candidate) -> Finding | None:
    """The first objection of the chain, or None if the CSR may be signed."""
    for check in CHECKS:
        finding = check(candidate)
        if finding is not None:
            return finding
    return None


def read(text: str) -> SigningRequest | Finding:
    """The CSR in whatever dressing, or why it is none."""
    try:
        return parse_csr(text)
    except MalformedX509 as problem:
        return Finding("csr-malformed", str(problem))
