"""What a CA returned, held against what it was asked: every objection, so that an operator sees all of them."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from bfactors import distinguished_name as dn
from bfactors.check.finding import Finding
from bfactors.distinguished_name import comparable
from bfactors.purpose import PurposeSpec
from bfactors.x509 import (
    ANY_EXTENDED_KEY_USAGE,
    CLIENT_AUTH,
    SERVER_AUTH,
    Certificate,
    MalformedX509,
    SigningRequest,
    parse_csr,
    signed_by,
)

_CLOCK_TOLERANCE = timedelta(minutes=5)


class Returned(msgspec.Struct, frozen=True, kw_only=True):
    """A returned chain (leaf first, no root) with what was asked for."""

    leaf: Certificate
    issuers: tuple[Certificate, ...]
    authority: Certificate
    request: SigningRequest
    purpose: PurposeSpec
    template: str
    not_before: datetime
    not_after: datetime


Check = Callable[[Returned], Finding | None]


def same_key(returned: Returned) -> Finding | None:
    """The leaf carries the CSR's key."""
    if returned.leaf.spki_sha256 != returned.request.spki_sha256:
        return Finding("leaf-key-differs", "the certificate carries another key than the CSR")
    return None


def issuer(returned: Returned) -> Finding | None:
    """The configured CA signed it."""
    if not signed_by(returned.leaf, returned.authority):
        return Finding(
            "leaf-issuer-differs", f"not signed by the configured CA but by {returned.leaf.issuer[:96]!r}"
        )
    return None


def chain(returned: Returned) -> Finding | None:
    """Each certificate is signed by the next."""
    below = returned.leaf
    for above in returned.issuers:
        if not signed_by(below, above):
            return Finding(
                "leaf-chain-broken", f"{below.subject[:96]!r} is not signed by {above.subject[:96]!r}"
            )
        below = above
    return None


def end_entity(returned: Returned) -> Finding | None:
    """It is no CA."""
    return Finding("leaf-is-ca", "the certificate may sign others") if returned.leaf.is_ca else None


def subject(returned: Returned) -> Finding | None:
    """CN, O and DC are the CSR's, which were checked."""
    leaf, request = returned.leaf, returned.request
    same_name = comparable(leaf.common_name or "") == comparable(request.common_name or "")
    if not same_name or [*map(comparable, leaf.organizations)] != [*map(comparable, request.organizations)]:
        return Finding("leaf-subject-differs", f"subject {leaf.subject[:96]!r} differs from the CSR's")
    if dn.values(leaf.subject_der, dn.DOMAIN_COMPONENT) != request.domain_components:
        return Finding("leaf-subject-differs", f"the DC in {leaf.subject[:96]!r} differs from the CSR's")
    return None


def usage(returned: Returned) -> Finding | None:
    """The extended key usage is the template's: none at all, or what the purpose needs and nothing more."""
    usages = returned.leaf.extended_key_usage
    if returned.template == returned.purpose.template_without_usage:
        return _no_usage(returned.leaf, returned.purpose)
    if usages is None:
        return None
    needed = {
        oid
        for wanted, oid in (
            (returned.purpose.client_auth, CLIENT_AUTH),
            (returned.purpose.server_auth, SERVER_AUTH),
        )
        if wanted
    }
    if not needed <= set(usages) and ANY_EXTENDED_KEY_USAGE not in usages:
        return Finding(
            "leaf-usage-missing", f"extended key usage {', '.join(usages)} lacks {', '.join(needed)}"
        )
    if returned.purpose.client_auth and not returned.purpose.server_auth and SERVER_AUTH in usages:
        return Finding("leaf-usage-excess", "the certificate could also be used by a server")
    return None


def _no_usage(leaf: Certificate, spec: PurposeSpec) -> Finding | None:
    if leaf.extended_key_usage is not None:
        said = ", ".join(leaf.extended_key_usage)
        return Finding("leaf-usage-excess", f"asked for without an extended key usage, and has {said}")
    lacking = set(spec.key_usage) - set(leaf.key_usage or ())
    if lacking:
        named = ", ".join(sorted(lacking))
        return Finding(
            "leaf-usage-missing", f"its key usage does not let it do a handshake: {named} is missing"
        )
    return None


def dates(returned: Returned) -> Finding | None:
    """It is valid when it was asked to be."""
    leaf = returned.leaf
    if abs(leaf.not_after - returned.not_after) > _CLOCK_TOLERANCE:
        return Finding(
            "leaf-dates-differ",
            f"ends {leaf.not_after.isoformat()}, asked for {returned.not_after.isoformat()}",
        )
    if leaf.not_before > returned.not_before + _CLOCK_TOLERANCE:
        return Finding("leaf-dates-differ", f"begins {leaf.not_before.isoformat()}, later than asked for")
    return None


CHECKS: tuple[Check, ...] = (same_key, issuer, chain, end_entity, subject, usage, dates)


def findings(
    *,
    chain: Sequence[Certificate],
    csr_pem: str,
    authority: Certificate,
    purpose: PurposeSpec,
    template: str,
    not_before: datetime,
    not_after: datetime,
) -> tuple[Finding, ...]:
    """Every objection to a returned chain (leaf first, no root); empty when it may be delivered."""
    try:
        request = parse_csr(csr_pem)
    except MalformedX509 as problem:
        return (Finding("leaf-malformed", str(problem)),)
    returned = Returned(
        leaf=chain[0],
        issuers=tuple(chain[1:]),
        authority=authority,
        request=request,
        purpose=purpose,
        template=template,
        not_before=not_before,
        not_after=not_after,
    )
    return tuple(finding for check in CHECKS if (finding := check(returned)) is not None)
