"""Until when chargers can verify the central system: by the bundle they confirmed, from what the nodes show them.

A fact of the fleet, not of a charger: a new anchor or server certificate changes it for everybody at once, so it is worked out
when it is asked for and written to no charger's row. Source: ADR 0031.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from bfactors.fleet.state import Bundle
from bfactors.lockout import Cause
from bfactors.server_certificate import Presented, ServerCertificate, bundle_purpose, hangs_on
from bfactors.x509 import Certificate, parse_certificates

NO_BUNDLE = ""
"""In place of a bundle: the charger meets us over TLS and has confirmed none."""


class TrustEnd(msgspec.Struct, frozen=True, kw_only=True):
    """From `at` on chargers that confirmed this bundle, or none, cannot verify us any more."""

    bundle_id: str
    at: datetime
    cause: Cause


def trust_ends(bundles: Iterable[Bundle], presented: Sequence[Presented]) -> tuple[TrustEnd, ...]:
    """Until when each bundle lets a charger verify what the nodes show, as far as that has an end.

    The anchor of a certificate that is shown now ends it; so does the end of what is shown, where another issuer's
    certificate waits to take its place and the bundle does not hold its anchor. Nodes that say nothing end nothing.
    """
    purpose = bundle_purpose()
    ends = [_ends(bundle, presented) for bundle in bundles if bundle.purpose == purpose]
    change_at = _change_at([], presented)
    if change_at is not None:
        ends.append(TrustEnd(bundle_id=NO_BUNDLE, at=change_at, cause="server-issuer-change"))
    return tuple(end for end in ends if end is not None)


def _ends(bundle: Bundle, presented: Sequence[Presented]) -> TrustEnd | None:
    anchors = [(anchor.not_after, parse_certificates(anchor.pem)[0]) for anchor in bundle.anchors]
    shown = [each for node in presented for each in node.certificates]
    until = []
    for certificate in shown:
        # several anchors of one key may stand in a bundle: the last to end counts
        ending = [not_after for not_after, root in anchors if _verifies(certificate, root)]
        if ending:
            until.append(max(ending))
    found = [TrustEnd(bundle_id=bundle.bundle_id, at=at, cause="anchor-expiry") for at in until]
    if shown and not until:
        # The certificate was put in place against the gate: who went by this bundle alone is out already.
        since = max(each.not_before for each in shown)
        found.append(TrustEnd(bundle_id=bundle.bundle_id, at=since, cause="server-issuer-change"))
    change_at = _change_at([root for _, root in anchors], presented)
    if change_at is not None:
        found.append(TrustEnd(bundle_id=bundle.bundle_id, at=change_at, cause="server-issuer-change"))
    return min(found, key=lambda end: end.at, default=None)


def _change_at(anchors: Sequence[Certificate], presented: Sequence[Presented]) -> datetime | None:
    """When a certificate that none of these anchors verifies takes the place of what is shown: once that has ended, at the
    latest, the gate lets it (ADR 0023).
    """
    moments = [
        max(each.not_after for each in node.certificates)
        for node in presented
        if node.certificates and any(_is_blind_to(each, anchors) for each in _other_issuers(node))
    ]
    return min(moments, default=None)


def _other_issuers(node: Presented) -> list[ServerCertificate]:
    shown = {each.anchor for each in node.certificates}
    return [each.certificate for each in node.kept_back if each.certificate.anchor not in shown]


def _is_blind_to(certificate: ServerCertificate, anchors: Sequence[Certificate]) -> bool:
    return not any(_verifies(certificate, root) for root in anchors)


def _verifies(certificate: ServerCertificate, root: Certificate) -> bool:
    return hangs_on(certificate.anchor, root) or certificate.issuer == root.subject
