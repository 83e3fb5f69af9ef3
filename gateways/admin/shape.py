"""What the API answers with, as types: documentation made from them, the bodies themselves come from the projections."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

import msgspec

from bfactors.admission import Speaker
from bfactors.lockout import Cause

T = TypeVar("T")

CertificateState = Literal[
    "issued", "installed", "active", "superseded", "inactive", "expired", "revoked", "rejected", "deleted"
]
Mode = Literal["managed", "brokered", "tracked-only"]
NotificationState = Literal["pending", "delivered", "given-up", "withdrawn"]
JobStage = Literal[
    "requested",
    "held",
    "awaiting-trust-anchor",
    "awaiting-approval",
    "awaiting-connection",
    "awaiting-csr",
    "awaiting-external",
    "issuing",
    "installing",
    "awaiting-reconnect",
    "awaiting-activation",
    "revoking",
    "deleting",
    "done",
]


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a list; `next_cursor` is null on the last."""

    items: list[T]
    next_cursor: str | None


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """Where everybody can read of a revocation. `list_number` is the CRL's, in hex; a responder's answer has none."""

    source: Literal["crl", "ocsp"]
    address: str
    list_number: str | None
    this_update: datetime
    listed_revoked_at: datetime


class Unpublished(msgspec.Struct, frozen=True, kw_only=True):
    """Why a revocation is not known to others; `is_over`: nobody looks for it any more."""

    code: str
    message: str
    is_over: bool


class Revocation(msgspec.Struct, frozen=True, kw_only=True):
    """How far a revocation has come. It is in force at the gateways as each learns of it, at the latest from
    `refused_at_edge_at` on; `ca_revoked_at` is when the CA accepted it, `published_at` when we read of it ourselves.
    """

    reason: str | None
    job_id: str | None
    replacement_job_id: str | None = None
    deletion_job_id: str | None = None
    requested_at: datetime
    refused_at_edge_at: datetime | None
    ca_revoked_at: datetime | None
    published_at: datetime | None
    publication: Publication | None
    unpublished: Unpublished | None


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """One X.509 certificate of the inventory."""

    certificate_id: str
    managed_identity_id: str
    charger_id: str | None
    purpose: str
    realm: str
    variant: str
    mode: Mode
    state: CertificateState
    authority: str
    external_ref: str | None
    external_status: str | None
    last_confirmed_at: datetime | None
    stale: bool
    fingerprint_sha256: str
    serial_number: str
    subject: str
    issuer: str
    issuing_ca_id: str | None
    not_before: datetime
    not_after: datetime
    issued_at: datetime | None
    installed_at: datetime | None
    activated_at: datetime | None
    revoked_at: datetime | None
    revocation_requested_at: datetime | None = None
    admit_until: datetime | None = None
    revocation: Revocation | None = None


class CertificateDetail(Certificate, frozen=True, kw_only=True):
    """With the certificate itself."""

    pem: str
    chain_pem: str
    evidence: list[dict[str, Any]]


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """The charger's live session."""

    connected_at: datetime
    ocpp_version: str
    security_profile: int
    fingerprint_sha256: str | None
    remote_address: str
    node: str
    flags: list[str] = []


class RecentSecurityEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One of the charger's latest security events; all of them are at `/api/v1/security-events`."""

    kind: str
    detail: str
    charger_time: str | None
    observed_at: datetime
    critical: bool
    count: int
    job_id: str | None


class FirmwareUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """How far the latest firmware update got, in the charger's words; not in lists of chargers."""

    status: str
    request_id: int | None
    at: datetime


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """What a managed identity holds for one purpose and variant."""

    managed_identity_id: str
    purpose: str
    variant: str
    current: Certificate | None
    next: Certificate | None


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a charger with an identity of its own, such as an SECC."""

    managed_identity_id: str
    kind: str
    external_ids: dict[str, str]
    evses: list[int]


class Outstanding(msgspec.Struct, frozen=True, kw_only=True):
    """Something the ledger wants done on the charger."""

    job_id: str | None
    instruction: str
    since: datetime
    waiting_for: str


class KeyInDoubt(msgspec.Struct, frozen=True, kw_only=True):
    """A key that its charger may be using, though no session has shown it: admitted for a while beside the active one."""

    generation: int
    job_id: str
    since: datetime
    admit_until: datetime


class KeyFact(msgspec.Struct, frozen=True, kw_only=True):
    """Since when the charger's AuthorizationKey is what it is, and who made it."""

    active_since: datetime | None
    pending_since: datetime | None
    origin: str | None
    generation: int | None = None
    weakness: str | None = None
    last_shown_at: datetime | None = None
    in_doubt: list[KeyInDoubt] = []


class Prerequisite(msgspec.Struct, frozen=True, kw_only=True):
    """One of the things that must hold before a charger is told to change its profile; what nobody knows counts as met."""

    code: str
    met: bool
    message: str


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """Where a change of security profile stands. `missing` names prerequisites that are not met."""

    job_id: str
    state: Literal["pending", "active", "rollback", "quarantine", "completed", "cancelled"]
    step: str
    reason: str | None
    reason_code: str | None = None
    from_profile: int
    to_profile: int
    target_profile: int
    missing: list[str] = []
    prerequisites: list[Prerequisite] | msgspec.UnsetType = msgspec.UNSET
    failures: int = 0
    opened_at: datetime | None
    ended_at: datetime | None
    next_try_at: datetime | None = None
    approval_id: str | None = None
    ends_at: datetime | None = None


class JobReason(msgspec.Struct, frozen=True):
    """Why a job stands or failed: a stable code, and words for a person."""

    code: str
    message: str | None


class Reconnect(msgspec.Struct, frozen=True):
    """What was done so that the charger uses the leaf it took (`close-socket`, `reset`), and how often it came back without."""

    steps: list[str]
    with_old_certificate: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """The work that takes a slot from wanted to active, or a certificate to its end."""

    job_id: str
    managed_identity_id: str
    charger_id: str | None
    purpose: str
    action: str
    state: Literal["open", "succeeded", "failed", "cancelled"]
    stage: JobStage
    overdue: bool
    waiting_for: str | None
    held_by: str | None = None
    reason: JobReason | None
    certificate_id: str | None
    policy_version: int
    created_at: datetime
    deadline_at: datetime
    due_at: datetime | None = None
    reconnect: Reconnect | None = None


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """What the charger said of itself when it last booted."""

    vendor: str
    model: str
    serial_number: str | None
    firmware_version: str | None


class ExpiredAdmission(msgspec.Struct, frozen=True, kw_only=True):
    """Its own expired certificate lets the charger in until then, to be renewed."""

    until: datetime
    reason: str
    by: str
    since: datetime


class Lockout(msgspec.Struct, frozen=True, kw_only=True):
    """From when on the charger could not connect any more, unless somebody reaches it before; not in lists of chargers."""

    locked_out_at: datetime
    cause: Cause
    certificate_id: str | None
    prevented_by: str


class Waiver(msgspec.Struct, frozen=True, kw_only=True):
    """A rule set aside. `charger_id` null: for a whole cohort; `approver` null: policy asked for nobody else."""

    waiver_id: str
    subject: str
    charger_id: str | None
    purpose: str
    rule: str
    value: Any
    state: Literal["requested", "in-force", "rejected", "ended"]
    reason: str
    author: str
    approver: str | None
    family: str
    cohort: str
    requested_at: datetime
    granted_at: datetime | None
    ends_at: datetime
    alerted_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A managed identity. Personal external ids are masked, and null for roles that need not see them and once erased.

    `pseudonyms`: what the ledger knows them by. `erased`: what they stood for is deleted, here or by retention.
    """

    identity_id: str
    kind: Literal["charger", "evse", "vehicle", "contract", "server"]
    state: Literal["registered", "retired"]
    external_ids: dict[str, str | None]
    pseudonyms: dict[str, str]
    erased: bool
    family: str
    site: str
    cohort: str
    charger_id: str | None
    evses: list[int] | msgspec.UnsetType = msgspec.UNSET
    """Of an SECC: OCPP's numbers of the EVSEs it serves; none: all of its charger."""
    registered_at: datetime | None
    retired_at: datetime | None


class ChargerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known of a charger but its key."""

    charger_id: str
    managed_identity_id: str
    serial_number: str
    family: str
    site: str
    cohort: str
    organization: str | None = None
    installer: str | None = None
    expected_common_name: str | None = None
    security_profile: int
    target_security_profile: int
    ocpp_versions: list[str] = []
    registered_at: datetime
    session: Session | None
    slots: list[Slot]
    parts: list[Part] = []
    reported_certificates: list[dict[str, Any]]
    inventory: dict[str, Any] = {}
    outstanding: list[Outstanding]
    open_jobs: list[Job] = []
    boot: Boot | None = None
    paused_reason: str | None = None
    decommissioned_at: datetime | None = None
    decommission_reason: str | None = None
    trust_anchors: list[dict[str, Any]] = []
    expired_certificate_admission: ExpiredAdmission | None = None
    spoken_for_by: list[Speaker] = []
    waivers: list[Waiver] = []
    """In force for it, by itself or by its cohort; shown on its own page only."""
    capabilities: dict[str, Any] = {}
    migration: Migration | None
    lockout: Lockout | None = None
    security_events: list[RecentSecurityEvent] = []
    firmware_update: FirmwareUpdate | None = None
    last_seen_at: datetime | None


class Charger(ChargerFacts, frozen=True, kw_only=True):
    """A charger with everything known of it."""

    authorization_key: KeyFact | None


class TimelineStep(msgspec.Struct, frozen=True, kw_only=True):
    """One ledger event of a job."""

    at: datetime
    event: str
    by: str
    evidence_ref: str | None
    detail: dict[str, Any]


class JobDetail(Job, frozen=True, kw_only=True):
    """With its timeline, oldest first."""

    timeline: list[TimelineStep]


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """One trust anchor of a bundle."""

    fingerprint_sha256: str
    subject: str
    not_after: datetime
    pem: str | msgspec.UnsetType = msgspec.UNSET


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable version of a purpose's trust anchors."""

    bundle_id: str
    purpose: str
    realm: str
    version: int
    note: str
    anchors: list[Anchor]
    cohorts: list[dict[str, Any]]
    created_at: datetime | msgspec.UnsetType = msgspec.UNSET
    current: bool | msgspec.UnsetType = msgspec.UNSET
