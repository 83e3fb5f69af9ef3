"""Trust anchor bundles in the fleet's partition: immutable versions of a purpose's anchors, the same set never made twice."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors.fleet.state import Bundle, FleetState
from bfactors.purpose import purposes
from bfactors.refusal import Refusal
from bfactors.x509 import Certificate, HashName, MalformedX509, hash_data, is_root, parse_certificate, pem_of

_PAST_KEPT = 16
_ALGORITHMS: tuple[HashName, ...] = ("SHA256", "SHA384", "SHA512")


def created(
    state: FleetState, command: c.CreateTrustAnchorBundle
) -> e.TrustAnchorBundleCreated | Bundle | Refusal:
    """What making one leads to; the bundle itself if there is one with these anchors already."""
    if command.purpose not in purposes():
        return Refusal("unknown-purpose", f"no purpose is called {command.purpose!r}", "purpose")
    if not command.anchors_pem:
        return Refusal("empty-bundle", "a bundle needs an anchor", "anchors")
    anchors: dict[str, e.Anchor] = {}
    for pem in command.anchors_pem:
        try:
            certificate = parse_certificate(pem)
        except MalformedX509 as problem:
            return Refusal("malformed-certificate", str(problem), "anchors")
        if not certificate.is_ca or not is_root(certificate):
            message = (
                f"{certificate.subject!r} is not a self-signed CA certificate; a charger could never list it"
            )
            return Refusal("not-a-root", message, "anchors")
        anchors[certificate.fingerprint_sha256] = _anchor(certificate)
    current = state.facts.bundles.get(command.purpose)
    if current is not None and _names(current) == set(anchors):
        return current
    earlier = state.history.get(command.bundle_id)
    if earlier is not None:
        if (earlier.purpose, _names(earlier)) == (command.purpose, set(anchors)):
            return earlier  # the same command, said late
        message = "a bundle of this id exists with other anchors; a bundle never changes"
        return Refusal("bundle-exists", message, "bundle_id", 409)
    return e.TrustAnchorBundleCreated(
        bundle_id=command.bundle_id,
        purpose=command.purpose,
        version=1
        + max((b.version for b in state.history.values() if b.purpose == command.purpose), default=0),
        anchors=tuple(anchors[key] for key in sorted(anchors)),
        note=command.note,
    )


def of_event(event: e.TrustAnchorBundleCreated, now: datetime) -> Bundle:
    return Bundle(
        bundle_id=event.bundle_id,
        purpose=event.purpose,
        version=event.version,
        anchors=event.anchors,
        note=event.note,
        created_at=now,
    )


def past(current: Mapping[str, Bundle], history: Mapping[str, Bundle]) -> tuple[Bundle, ...]:
    """Every anchor that once was in a bundle and is in none now, under the newest of its bundles."""
    known = {anchor.fingerprint_sha256 for bundle in current.values() for anchor in bundle.anchors}
    found: list[Bundle] = []
    for bundle in reversed(list(history.values())):
        anchors = tuple(anchor for anchor in bundle.anchors if anchor.fingerprint_sha256 not in known)
        known |= {anchor.fingerprint_sha256 for anchor in anchors}
        if anchors:
            found.append(msgspec.structs.replace(bundle, anchors=anchors))
    return tuple(found[:_PAST_KEPT])


def body(bundle: Bundle) -> dict[str, Any]:
    """A bundle as the API shows it; its cohorts come with the campaigns."""
    return {
        "bundle_id": bundle.bundle_id,
        "purpose": bundle.purpose,
        "realm": purposes()[bundle.purpose].realm,
        "version": bundle.version,
        "note": bundle.note,
        "anchors": [
            {"fingerprint_sha256": a.fingerprint_sha256, "subject": a.subject, "not_after": a.not_after}
            for a in bundle.anchors
        ],
        "cohorts": [],
    }


def default_bundle_id(purpose: str, anchors_pem: tuple[str, ...]) -> str:
    """The id a bundle made by the system itself has: the same anchors, the same id."""
    digest = hashlib.sha256("\x1f".join((purpose, *sorted(anchors_pem))).encode()).hexdigest()
    return f"{purpose}-{digest[:12]}"


def _names(bundle: Bundle) -> set[str]:
    return {anchor.fingerprint_sha256 for anchor in bundle.anchors}


def _anchor(certificate: Certificate) -> e.Anchor:
    return e.Anchor(
        fingerprint_sha256=certificate.fingerprint_sha256,
        subject=certificate.subject,
        not_after=certificate.not_after,
        pem=pem_of(certificate.der),
        hash_data=tuple(hash_data(certificate, certificate, algorithm) for algorithm in _ALGORITHMS),
    )
