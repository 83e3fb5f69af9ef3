"""The places a charger keeps certificates in, whatever an OCPP version calls them, and what belongs where.

Source: GetCertificateIdUseEnumType of OCPP 2.0.1 and 2.1, CertificateUseEnumType of the 1.6 security extension.
"""

from collections.abc import Mapping
from typing import Literal

Store = Literal[
    "central-system-root",
    "v2g-root",
    "mo-root",
    "oem-root",
    "manufacturer-root",
    "v2g-chain",
    "charging-station",
    "other",
]

ROOT_STORES: frozenset[Store] = frozenset(
    ("central-system-root", "v2g-root", "mo-root", "oem-root", "manufacturer-root")
)
FIRMWARE_STORE: Store = "manufacturer-root"
SERVER_STORE: Store = "central-system-root"

_BY_USE: Mapping[str, Store] = {
    "csmsrootcertificate": SERVER_STORE,
    "centralsystemrootcertificate": SERVER_STORE,
    "v2grootcertificate": "v2g-root",
    "morootcertificate": "mo-root",
    "oemrootcertificate": "oem-root",
    "manufacturerrootcertificate": FIRMWARE_STORE,
    "v2gcertificatechain": "v2g-chain",
    "v2gcertificate": "v2g-chain",
    "v2g20certificate": "v2g-chain",
    "chargingstationcertificate": "charging-station",
    "chargepointcertificate": "charging-station",
}

_ANCHORS: Mapping[str, frozenset[Store]] = {
    "backend-server": frozenset({SERVER_STORE}),
    "charger-identity": frozenset({SERVER_STORE}),
    "iso15118": frozenset({"v2g-root", "mo-root", "oem-root"}),
}
_LEAVES: Mapping[str, frozenset[Store]] = {
    # A charger's identity may double as its SECC certificate (A00.FR.427).
    "charger-identity": frozenset({"charging-station", "v2g-chain"}),
    "iso15118": frozenset({"v2g-chain"}),
}


def store_of(use: str) -> Store:
    """The place a dialect's name of a use stands for; `other` for one not known here."""
    return _BY_USE.get(use) or _BY_USE.get(use.strip().lower(), "other")


def anchor_stores(realm: str | None) -> frozenset[Store]:
    """Where anchors of this realm belong; empty if nothing is known of that."""
    return _ANCHORS.get(realm or "", frozenset())


def leaf_stores(realm: str | None) -> frozenset[Store]:
    """Where leaves of this realm belong; empty if nothing is known of that."""
    return _LEAVES.get(realm or "", frozenset())


def lists_leaves(realm: str | None) -> bool:
    """Whether OCPP has chargers list such leaves: those of ISO 15118 only, never their own identity (M03)."""
    return realm == "iso15118"
