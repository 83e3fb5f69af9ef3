"""Whether a charger's list names an anchor or a leaf of ours, whatever notation its hash data are in."""

from collections.abc import Iterable, Sequence

from bfactors.certificate_hash import ReportedCertificate
from bfactors.charger.state import CertificateRecord
from bfactors.fleet.state import Bundle
from bfactors.inventory.held import Held, held_anchors, held_leaf
from bfactors.inventory.match import Matcher
from bfactors.inventory.store import store_of


def listed_anchors(reported: Sequence[ReportedCertificate], bundle: Bundle) -> frozenset[str]:
    """The fingerprints of the bundle's anchors that are listed where they verify what they are for."""
    held = held_anchors(bundle, is_current=True, installed=frozenset())
    return frozenset(
        one.fingerprint_sha256
        for one, entry in _found(reported, held)
        if not one.stores or store_of(entry.use) in one.stores | {"other"}
    )


def is_leaf_listed(reported: Sequence[ReportedCertificate], certificate: CertificateRecord) -> bool:
    """Whether the list names this leaf."""
    return any(True for _ in _found(reported, (held_leaf(certificate),)))


def _found(
    reported: Sequence[ReportedCertificate], held: Sequence[Held]
) -> Iterable[tuple[Held, ReportedCertificate]]:
    if not reported:
        return
    matcher = Matcher(held)
    for entry in reported:
        found = matcher.find(entry.hash_data, entry.hash_data.readings())
        if found is not None:
            yield found[0], entry
