"""Our own RFC 5280 path check of a client certificate, made at every upgrade: no decision rests on the TLS handshake.

A path runs from the leaf over issuing CAs to any member of the trust set, which may itself be a sub-CA (leaf-only clients).
What never changes (signatures, constraints) is remembered; dates are compared anew each time. Source: RFC 5280 section 6,
A00.FR.403, A00.FR.429.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from bfactors.x509 import (
    ANY_EXTENDED_KEY_USAGE,
    CLIENT_AUTH,
    PROCESSED_EXTENSIONS,
    Certificate,
    MalformedX509,
    certificate_of,
    key_strength_problem,
    parse_certificates,
    signed_by,
)

MAX_CERTIFICATES = 6
"""Leaf, at most four CAs and an anchor: more than any charger hierarchy needs."""

MAX_SIGNATURE_CHECKS = 32
"""What one upgrade may cost us, whatever a client presents."""

_WEAK_HASHES = frozenset({"md5", "sha1"})


class Problem(msgspec.Struct, frozen=True):
    """Why something cannot be accepted: a stable kebab-case `code` and a sentence for a person."""

    code: str
    message: str


class VerifiedPath(msgspec.Struct, frozen=True):
    """Lower-hex SHA-256 fingerprints, leaf first, trust anchor last. `leaf_expired` only if that was forgiven."""

    fingerprints: tuple[str, ...]
    leaf_expired: bool = False


class TrustSet(msgspec.Struct, frozen=True):
    """The CA certificates that may end a path: anchors and issuing sub-CAs. `digest` names the set."""

    certificates: tuple[Certificate, ...]
    digest: str
    by_subject: dict[bytes, tuple[Certificate, ...]]

    @staticmethod
    def of(certificates: Iterable[Certificate]) -> "TrustSet":
        """The set of these certificates, each once, in the order of their fingerprints."""
        unique = {certificate.fingerprint_sha256: certificate for certificate in certificates}
        ordered = tuple(unique[name] for name in sorted(unique))
        by_subject: dict[bytes, tuple[Certificate, ...]] = {}
        for certificate in ordered:
            by_subject[certificate.subject_der] = (*by_subject.get(certificate.subject_der, ()), certificate)
        return TrustSet(ordered, hashlib.sha256("".join(sorted(unique)).encode()).hexdigest(), by_subject)

    @staticmethod
    def of_pem(texts: Iterable[str]) -> "TrustSet":
        """The set of every certificate in these PEM texts. Raises MalformedX509."""
        return TrustSet.of(certificate for text in texts for certificate in parse_certificates(text))

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """What `NodeTrustReported` carries."""
        return tuple(certificate.fingerprint_sha256 for certificate in self.certificates)


class PathCheck:
    """Checks leaves against a trust set and remembers the paths it found, up to `capacity` leaves, least used first out."""

    def __init__(self, capacity: int = 20_000) -> None:
        self._capacity = capacity
        # Leaf fingerprint -> trust digest and the issuers above it; issuers are shared, leaves are not held.
        self._known: OrderedDict[str, tuple[str, tuple[Certificate, ...]]] = OrderedDict()

    def check(
        self,
        leaf: Certificate,
        presented: tuple[bytes, ...],
        trust: TrustSet,
        now: datetime,
        *,
        resumed: bool = False,
        forgive_expired_leaf: bool = False,
    ) -> VerifiedPath | Problem:
        """The path of `leaf` at `now`, or why there is none.

        A resumed session shows no chain: the one remembered from the leaf's full handshake is used instead, against the
        trust set of today; without one it is refused.
        """
        known = self._known.get(leaf.fingerprint_sha256)
        if resumed and known is None:
            return Problem(
                "resumed-without-path", "a resumed TLS session whose full handshake this node has not seen"
            )
        if (
            known is not None
            and known[0] == trust.digest
            and not any(_date_problem(ca, now) for ca in known[1])
        ):
            issuers = known[1]
        else:
            path = find_path(leaf, self._candidates(presented, known), trust, now)
            if isinstance(path, Problem):
                return path
            issuers = path[1:]
            self._remember(leaf, trust, issuers)
        expired = now > leaf.not_after
        if expired and not forgive_expired_leaf:
            return Problem("leaf-expired", f"the certificate expired at {leaf.not_after.isoformat()}")
        if now < leaf.not_before:
            return Problem(
                "leaf-not-yet-valid", f"the certificate is valid from {leaf.not_before.isoformat()}"
            )
        return VerifiedPath((leaf.fingerprint_sha256, *(ca.fingerprint_sha256 for ca in issuers)), expired)

    @staticmethod
    def _candidates(
        presented: tuple[bytes, ...], known: tuple[str, tuple[Certificate, ...]] | None
    ) -> tuple[Certificate, ...]:
        found = list(known[1]) if known else []
        for der in presented[:MAX_CERTIFICATES]:
            try:
                found.append(certificate_of(der))
            except MalformedX509:
                continue  # A stray element of a presented chain is no reason to refuse a leaf that has a path without it.
        return tuple(found)

    def _remember(self, leaf: Certificate, trust: TrustSet, issuers: tuple[Certificate, ...]) -> None:
        name = leaf.fingerprint_sha256
        self._known[name] = (trust.digest, issuers)
        self._known.move_to_end(name)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)


def find_path(
    leaf: Certificate, candidates: tuple[Certificate, ...], trust: TrustSet, now: datetime
) -> tuple[Certificate, ...] | Problem:
    """The certificates from `leaf` to a member of `trust`, or the most telling reason there is no such path.

    The leaf's own dates are not looked at; those of every CA are.
    """
    problem = leaf_problem(leaf)
    if problem:
        return problem
    search = _Search(candidates, trust, now)
    for path in search.paths((leaf,)):
        return path
    return search.refusal(leaf)


def leaf_problem(leaf: Certificate) -> Problem | None:
    """Why a certificate cannot be a charger's client certificate whoever issued it, or None."""
    if leaf.is_ca:
        return Problem("leaf-is-a-ca", "a CA certificate was presented as a client certificate")
    if leaf.key_usage is not None and not {"digital_signature", "key_agreement"} & set(leaf.key_usage):
        return Problem("wrong-key-usage", "the key usage allows neither digitalSignature nor keyAgreement")
    usages = leaf.extended_key_usage
    if usages is not None and CLIENT_AUTH not in usages and ANY_EXTENDED_KEY_USAGE not in usages:
        return Problem("wrong-purpose", "the extended key usage does not allow client authentication")
    return _common_problem(leaf)


def issuer_problem(certificate: Certificate, below: int) -> Problem | None:
    """Why a certificate cannot issue, with `below` CA certificates (not self-issued) between it and the leaf, or None."""
    if not certificate.is_ca:
        return Problem("issuer-not-a-ca", f"{certificate.subject} issued, but is no CA")
    if certificate.key_usage is not None and "key_cert_sign" not in certificate.key_usage:
        return Problem("issuer-may-not-sign", f"{certificate.subject} lacks the key usage keyCertSign")
    if certificate.path_length is not None and below > certificate.path_length:
        return Problem(
            "path-too-long",
            f"{certificate.subject} allows {certificate.path_length} CAs below, found {below}",
        )
    usages = certificate.extended_key_usage
    if usages is not None and CLIENT_AUTH not in usages and ANY_EXTENDED_KEY_USAGE not in usages:
        return Problem("wrong-purpose", f"{certificate.subject} may not issue for client authentication")
    return _common_problem(certificate)


def _common_problem(certificate: Certificate) -> Problem | None:
    weak = key_strength_problem(certificate.key_algorithm)
    if weak:
        return Problem("weak-key", f"{certificate.subject}: {weak}")
    if certificate.signature_hash in _WEAK_HASHES and not certificate.self_issued:
        return Problem("weak-signature", f"{certificate.subject} is signed with {certificate.signature_hash}")
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in PROCESSED_EXTENSIONS:
            return Problem(
                "unprocessed-critical-extension",
                f"{certificate.subject} has the critical extension {extension.oid}",
            )
    return None


def _date_problem(certificate: Certificate, now: datetime) -> Problem | None:
    if now > certificate.not_after:
        return Problem(
            "issuer-expired", f"{certificate.subject} expired at {certificate.not_after.isoformat()}"
        )
    if now < certificate.not_before:
        return Problem(
            "issuer-not-yet-valid",
            f"{certificate.subject} is valid from {certificate.not_before.isoformat()}",
        )
    return None


class _Search:
    """One depth-first search for a path, within a budget of signature checks."""

    def __init__(self, candidates: tuple[Certificate, ...], trust: TrustSet, now: datetime) -> None:
        self._candidates = candidates
        self._trust = trust
        self._now = now
        self._budget = MAX_SIGNATURE_CHECKS
        self._problem: Problem | None = None

    def paths(self, so_far: tuple[Certificate, ...]) -> Iterator[tuple[Certificate, ...]]:
        child = so_far[-1]
        for anchor in self._trust.by_subject.get(child.issuer_der, ()):
            if self._may_issue(anchor, so_far):
                yield (*so_far, anchor)
        if len(so_far) + 1 >= MAX_CERTIFICATES:
            return
        for candidate in self._candidates:
            if candidate.subject_der != child.issuer_der or candidate in so_far:
                continue
            if self._may_issue(candidate, so_far):
                yield from self.paths((*so_far, candidate))

    def _may_issue(self, issuer: Certificate, so_far: tuple[Certificate, ...]) -> bool:
        below = sum(1 for certificate in so_far[1:] if not certificate.self_issued)
        problem = issuer_problem(issuer, below) or _date_problem(issuer, self._now)
        if problem:
            self._problem = self._problem or problem
            return False
        if self._budget == 0:
            self._problem = Problem("path-too-costly", "too many certificates had to be tried")
            return False
        self._budget -= 1
        if not signed_by(so_far[-1], issuer):
            self._problem = self._problem or Problem(
                "bad-signature", f"the signature of {so_far[-1].subject} is not {issuer.subject}'s"
            )
            return False
        return True

    def refusal(self, leaf: Certificate) -> Problem:
        return self._problem or Problem("untrusted-issuer", f"no trusted path from issuer {leaf.issuer}")
