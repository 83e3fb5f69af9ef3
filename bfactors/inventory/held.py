"""What the ledger believes of a charger's certificates: one value for each leaf it issued and each anchor it released."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

import msgspec

from bfactors.certificate_hash import HashData
from bfactors.charger.state import CertificateRecord, ChargerState
from bfactors.fleet.state import Bundle
from bfactors.inventory.store import Store, anchor_stores, leaf_stores, lists_leaves
from bfactors.purpose import purposes

_BELIEVED = ("installed", "active")
_RETIRED = ("superseded", "revoked", "expired", "inactive", "rejected")


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate we know. `pem`: a leaf with its issuers upward, or an anchor alone.

    `is_installed`: it should be on the charger. `is_retired`: it should not be any more. `is_listable`: OCPP has chargers
    list such certificates at all. `hash_data` holds an anchor's, in every algorithm; a leaf's is worked out when needed.
    """

    kind: Literal["leaf", "anchor"]
    fingerprint_sha256: str
    subject: str
    purpose: str
    state: str
    stores: frozenset[Store]
    pem: str
    not_after: datetime
    certificate_id: str | None = None
    is_installed: bool = False
    is_retired: bool = False
    is_listable: bool = True
    is_session_credential: bool = False
    hash_data: tuple[HashData, ...] = ()


def held_leaf(certificate: CertificateRecord) -> Held:
    """A leaf as the ledger knows it."""
    spec = purposes().get(certificate.purpose)
    realm = spec.realm if spec else None
    return Held(
        kind="leaf",
        fingerprint_sha256=certificate.fingerprint_sha256,
        subject=certificate.subject,
        purpose=certificate.purpose,
        state=certificate.state,
        stores=leaf_stores(realm),
        pem=certificate.chain_pem,
        not_after=certificate.not_after,
        certificate_id=certificate.certificate_id,
        is_installed=certificate.state in _BELIEVED,
        is_retired=certificate.state in _RETIRED,
        is_listable=lists_leaves(realm),
        is_session_credential=spec is not None and spec.is_session_credential,
    )


def held_anchors(bundle: Bundle, *, is_current: bool, installed: frozenset[str]) -> tuple[Held, ...]:
    """The anchors of one bundle. `installed`: the fingerprints of anchors the charger is believed to hold."""
    spec = purposes().get(bundle.purpose)
    stores = anchor_stores(spec.realm if spec else None)
    return tuple(
        Held(
            kind="anchor",
            fingerprint_sha256=anchor.fingerprint_sha256,
            subject=anchor.subject,
            purpose=bundle.purpose,
            state="current" if is_current else "replaced",
            stores=stores,
            pem=anchor.pem,
            not_after=anchor.not_after,
            is_installed=is_current and anchor.fingerprint_sha256 in installed,
            is_retired=not is_current,
            hash_data=anchor.hash_data,
        )
        for anchor in bundle.anchors
    )


def held_by(
    state: ChargerState, current: Mapping[str, Bundle], past: Iterable[Bundle] = ()
) -> tuple[Held, ...]:
    """Everything we know for one charger: its leaves, the anchors of the current bundles by purpose, and of those before.

    An anchor is believed installed once the charger accepted it or its bundle was confirmed.
    """
    confirmed = {known.bundle_id for known in state.bundles.values()}
    found = [held_leaf(certificate) for certificate in state.certificates.values()]
    for bundle in current.values():
        everything = frozenset(anchor.fingerprint_sha256 for anchor in bundle.anchors)
        installed = everything if bundle.bundle_id in confirmed else state.accepted_anchors
        found += held_anchors(bundle, is_current=True, installed=installed)
    now = {bundle.bundle_id for bundle in current.values()}
    for bundle in past:
        if bundle.bundle_id not in now:
            found += held_anchors(bundle, is_current=False, installed=frozenset())
    return tuple(found)


def merged(held: Iterable[Held]) -> tuple[Held, ...]:
    """One value for each certificate: an anchor of several bundles belongs in all their stores, current if it is in one."""
    found: dict[str, Held] = {}
    for one in held:
        other = found.get(one.fingerprint_sha256)
        if other is None:
            found[one.fingerprint_sha256] = one
            continue
        leading = other if other.is_retired <= one.is_retired else one
        found[one.fingerprint_sha256] = msgspec.structs.replace(
            leading,
            stores=one.stores | other.stores,
            is_installed=one.is_installed or other.is_installed,
            is_retired=one.is_retired and other.is_retired,
            is_listable=one.is_listable or other.is_listable,
            is_session_credential=one.is_session_credential or other.is_session_credential,
        )
    return tuple(found.values())
