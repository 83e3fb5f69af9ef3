"""Authorities and trust anchors, and who holds them."""

from datetime import datetime

import msgspec

from bfactors.certificate_hash import HashData
from bfactors.event.base import LedgerRecord


class TrustAnchorAccepted(LedgerRecord, frozen=True, kw_only=True):
    """The charger answered Accepted to the install of one anchor (a rung below listed)."""

    charger_id: str
    fingerprint_sha256: str
    evidence_ref: str


class TrustAnchorBundleConfirmed(LedgerRecord, frozen=True, kw_only=True):
    """Every anchor of the bundle is confirmed on the charger, by the rung named."""

    charger_id: str
    bundle_id: str
    bundle_purpose: str
    rung: str
    evidence_ref: str


class AuthorityRegistered(LedgerRecord, frozen=True, kw_only=True):
    """An issuing CA is known for a purpose."""

    purpose: str
    authority_arn: str
    certificate_pem: str
    chain_pem: str
    fingerprint_sha256: str
    signing_algorithm: str
    not_after: datetime
    root_pem: str = ""
    state: str = "current"


class Anchor(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One trust anchor with the hash data it has in every algorithm OCPP knows."""

    fingerprint_sha256: str
    subject: str
    not_after: datetime
    pem: str
    hash_data: tuple[HashData, ...]


class TrustAnchorBundleCreated(LedgerRecord, frozen=True, kw_only=True):
    """A new, immutable version of a purpose's anchors."""

    bundle_id: str
    purpose: str
    version: int
    anchors: tuple[Anchor, ...]
    note: str


class NodeTrustRecorded(LedgerRecord, frozen=True, kw_only=True):
    """What a connect node's client trust verifies, and what the certificates it shows chargers hang on."""

    node: str
    incarnation: str
    fingerprints: tuple[str, ...]
    server_anchors: tuple[str, ...] = ()


class NodeForgotten(LedgerRecord, frozen=True, kw_only=True):
    """A connect node is gone."""

    node: str
    incarnation: str


class TrustGateWaived(LedgerRecord, frozen=True, kw_only=True):
    """A charger's answer to an install counts as a confirmed anchor by a waiver alone: it cannot list its certificates."""

    charger_id: str
    bundle_id: str
    bundle_purpose: str
    waiver_id: str
    evidence_ref: str
