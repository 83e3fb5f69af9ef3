"""What the ledger remembers of one charger. Folded from events only; stored as one JSON row."""

from datetime import datetime
from typing import Literal

import msgspec

from bfactors.admission import KeyVerifier, Speaker
from bfactors.approval import Approval
from bfactors.capability import NO_CAPABILITIES, Capabilities
from bfactors.certificate_hash import ReportedCertificate
from bfactors.charger.part import Part
from bfactors.charger.pending_key import PendingKey
from bfactors.frame_trace import TraceOrder
from bfactors.instruction import InstallLeaf, OperationalKind
from bfactors.urgency import URGENT_REASONS

COLLECT_LOG = "collect-log"
"""The action of jobs that bring a log here."""


class SessionFact(msgspec.Struct, frozen=True, kw_only=True):
    """The charger's live session, as its gateway reported it."""

    session_id: str
    generation: int
    node: str
    incarnation: str
    ocpp_version: str
    security_profile: int
    remote_address: str
    connected_at: datetime
    fingerprint_sha256: str | None = None
    flags: tuple[str, ...] = ()
    key_generation: int | None = None


class BootFact(msgspec.Struct, frozen=True, kw_only=True):
    """What the charger last said of itself."""

    vendor: str
    model: str
    serial_number: str | None
    firmware_version: str | None


class ClockFact(msgspec.Struct, frozen=True, kw_only=True):
    """How far the charger's clock was off ours (positive: ahead), as a message in a session showed."""

    offset_s: int
    observed_at: datetime


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """Where and when we read that a certificate is revoked, in its issuer's own words."""

    seen_at: datetime
    source: str
    address: str
    list_number: str | None
    this_update: datetime
    listed_revoked_at: datetime


class CertificateRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate of this charger. `chain_pem`: leaf first, issuers upward, no root."""

    certificate_id: str
    purpose: str
    variant: str
    state: str
    fingerprint_sha256: str
    serial_number: str
    subject: str
    issuer: str
    issuing_ca_id: str
    external_ref: str
    spki_sha256: str
    not_before: datetime
    not_after: datetime
    chain_pem: str
    issued_at: datetime
    installed_at: datetime | None = None
    activated_at: datetime | None = None
    revoked_at: datetime | None = None
    revocation_reason: str | None = None
    revocation_requested_at: datetime | None = None
    revocation_job_id: str = ""
    replacement_job_id: str | None = None
    deletion_job_id: str | None = None
    """The jobs that were asked for with its revocation."""
    refusal_revision: int = 0
    """The charger's state from which on its admission record refuses it."""
    refused_at_edge_at: datetime | None = None
    publication: Publication | None = None
    unpublished: tuple[str, str] | None = None
    """Why its revocation is not, or not yet, known to others: code and message."""
    foreign_status: str = "unchecked"
    """Of a leaf that somebody else issued: what its issuer says, `good`, `revoked` or `unknown`."""
    foreign_good_until: datetime | None = None
    is_publication_over: bool = False
    """It never will be: nobody looks for it any more."""
    admit_until: datetime | None = None
    escalated_days: int | None = None
    renewal_due: bool = False
    due_since: datetime | None = None
    """Since when its renewal is wanted, however often that came to nothing."""
    renewals: int = 0
    """How many renewals of it were started: each has a job id and CA tokens of its own."""
    contradicted_by: str = ""
    """The report by which its revocation, which the CA had accepted, was not kept: it is asked for anew."""
    renew_again_at: datetime | None = None
    """When the next renewal may start, after one that came to nothing."""
    mode: str = "managed"
    authority: str = "aws-private-ca"
    incident_id: str = ""
    """The incident it is part of; empty: none."""
    came_later: bool = False
    """That incident had been opened before it was part of it."""
    known_at: datetime | None = None
    """Since when it is known here, of one that others issued or that was found; None: since it was issued."""
    is_denied: bool = False
    """By that incident every node refuses it, whether or not the CA has been asked to revoke it."""
    is_key_lost: bool = False
    """By that incident somebody else may hold its key."""
    is_being_replaced: bool = False
    """For that incident a job to replace it was opened."""
    former_identity_id: str = ""
    """The unit it belonged to, which has left; empty: the one that is here."""
    is_recalled: bool = False
    """The state had let go of it, and holds it again because something is to be done with it."""
    changed_at: datetime | None = None
    """When it last changed: it is let go of by a later commit than the one that writes that."""
    part: str = ""
    """The part of the charger it is of; empty: the charger itself."""
    delivery_in_doubt: bool = False
    """It was sent and nobody knows what the charger did with it: a later refusal of it proves nothing."""
    refused_in_doubt: bool = False
    """Such a refusal came. Sent once more it would be refused once more; only another key gets further."""

    @property
    def awaits_publication(self) -> bool:
        """Revoked, or about to be, and not known to be by others."""
        asked = self.revocation_requested_at is not None
        return asked and self.publication is None and not self.is_publication_over

    @property
    def is_key_compromised(self) -> bool:
        """Whether somebody else may hold its key, whoever said so first."""
        return self.is_key_lost or self.revocation_reason in URGENT_REASONS

    @property
    def may_expire(self) -> bool:
        """Whether its end is yet to come: an incident that refuses it does not stop the clock."""
        return self.state in ("issued", "installed", "active") and self.revocation_requested_at is None

    @property
    def is_usable(self) -> bool:
        """Neither ended nor refused by an incident nor about to be revoked."""
        is_going = self.is_denied or self.revocation_requested_at is not None
        return self.state in ("issued", "installed", "active") and not is_going


class Slot(msgspec.Struct, frozen=True):
    """At most one current and one next certificate for a purpose and variant."""

    current: str | None = None
    next: str | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to have a CSR signed: exactly what the CA is (to be) asked."""

    number: int
    token: str
    authority_arn: str
    template: str
    signing_algorithm: str
    csr_pem: str
    spki_sha256: str
    not_before: datetime
    not_after: datetime
    call_before: datetime
    external_ref: str | None = None
    is_reconciling: bool = False
    """Its call may have gone through: the CA's records are searched for its certificate before another attempt."""


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate job. Only open ones are remembered; ended ones live in the projection and the events."""

    job_id: str
    purpose: str
    variant: str
    action: str
    reason: str
    created_at: datetime
    deadline_at: datetime
    policy_version: int
    state: str = "open"
    stage: str = "requested"
    waiting_for: str | None = None
    held_by: str | None = None
    reason_code: str | None = None
    reason_message: str | None = None
    due_at: datetime | None = None
    overdue: bool = False
    certificate_id: str | None = None
    attempt: Attempt | None = None
    attempts: int = 0
    """How many CA attempts were opened."""
    failures: int = 0
    """How often the charger or its CSR failed this job."""
    csr_at: datetime | None = None
    """When its newest CSR came."""
    is_authority_slow: bool = False
    """The CA has had that CSR for longer than the charger keeps its key."""
    ladder: tuple[str, ...] = ()
    """What was done, step by step, so that the charger reconnects with the leaf it took; of this leaf only."""
    ladder_at: datetime | None = None
    """When the latest of it was."""
    old_reconnects: int = 0
    """How often it came back with its old certificate since it took the leaf."""
    request_id: int | None = None
    """The number of the charger's newest request for this certificate (2.1)."""
    target: ReportedCertificate | None = None
    """What a deletion is about, as the charger lists it."""
    fingerprint_sha256: str | None = None
    """The one anchor that is to be installed; None: all of the bundle."""
    carried_out: bool = False
    """The charger said that it has deleted it."""
    list_after: int = 0
    """A list of the charger's counts for this job from this revision of its state on."""
    part: str = ""
    """The part of the charger it is for; empty: the charger itself."""


class EndedJob(msgspec.Struct, frozen=True):
    """What a late answer to a job that has ended still needs to know of it."""

    job_id: str
    purpose: str
    variant: str
    action: str = ""
    ended_at: datetime | None = None
    former_identity_id: str = ""
    """The unit it was about, which has left; empty: the one that is here."""
    part: str = ""


class InstructionState(msgspec.Struct, frozen=True, kw_only=True):
    """One outstanding instruction."""

    instruction_id: str
    job_id: str | None
    body: OperationalKind
    decision: int
    opened_at: datetime
    not_before: datetime
    sent_session: str | None = None
    sent_at: datetime | None = None
    unknown: bool = False
    """It was sent once and nobody knows whether the charger acted."""


class BundleConfirmation(msgspec.Struct, frozen=True, kw_only=True):
    """The bundle whose anchors are all confirmed on this charger."""

    bundle_id: str
    rung: str
    confirmed_at: datetime
    evidence_ref: str


MigrationPhase = Literal["pending", "active", "rollback", "quarantine", "completed", "cancelled"]
MIGRATE = "migrate"
"""The action of the job that a migration case is."""


class MigrationState(msgspec.Struct, frozen=True, kw_only=True):
    """A migration case: from one security profile to another, by a job of its own. An ended one stays until the next.

    `to_profile` is the way's present stage, `target_profile` its end: from 1 to 3 a charger may go by 2.
    """

    job_id: str
    step: str
    """The last one that is done: `read-settings`, `clear-priority`, `set-network-profile`, `set-profile-priority`,
    `raise-security-profile`, `reboot`; empty: none yet."""
    state: MigrationPhase = "active"
    from_profile: int = 2
    to_profile: int = 3
    target_profile: int = 3
    opened_at: datetime | None = None
    ended_at: datetime | None = None
    missing: tuple[str, ...] = ()
    """Codes of the prerequisites that were not met when they were last looked at."""
    failures: int = 0
    """How often the present stage failed: a step was refused, or the charger fell back."""
    not_before: datetime | None = None
    """The next try starts then."""
    reset_at: datetime | None = None
    """When the reset was answered, or shown by what followed."""
    reason_code: str | None = None
    reason_message: str | None = None
    certificate_job_id: str | None = None
    """The job that was opened to bring the certificate this way needs."""
    priority: tuple[int, ...] = ()
    """The charger's network slots in use, most wanted first, as far as known."""
    old_slot: int = 0
    new_slot: int = 0
    """0: not chosen yet."""
    refused_slots: tuple[int, ...] = ()
    approval_id: str | None = None
    """Of a rollback: what must be approved before it begins."""
    ends_at: datetime | None = None
    """Of a rollback: when profile 2 is refused again."""

    @property
    def is_under_way(self) -> bool:
        """Neither reached nor given up."""
        return self.state not in ("completed", "cancelled")

    @property
    def awaits_reconnect(self) -> bool:
        """Everything is said; the charger is to come back with its new profile."""
        return self.state in ("active", "rollback") and self.step == "reboot"


class WayBack(msgspec.Struct, frozen=True, kw_only=True):
    """Profile 2 is open to a charger that had left it, with keys made since and no other."""

    job_id: str
    after_generation: int
    ends_at: datetime
    used_at: datetime | None = None
    """When it was first seen on profile 2."""


class SecurityWindow(msgspec.Struct, frozen=True, kw_only=True):
    """How often one kind of security event was reported lately. `row_id` is the entry that the flood is counted in."""

    began_at: datetime
    entries: int
    row_id: str | None = None
    folded: int = 0
    first_at: datetime | None = None
    """When the flood's entry began."""


class RecentSecurityEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One of the charger's latest security events."""

    kind: str
    detail: str
    charger_time: str | None
    observed_at: datetime
    critical: bool
    count: int
    job_id: str | None
    row_id: str | None = None


class LogRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One log asked for. `state`: `requested`, `stored`, or `failed`; its job says how far it is and why it failed."""

    job_id: str
    log_id: str
    request_id: int
    log: str
    oldest: str | None
    latest: str | None
    secret_id: str
    ticket_hash: str
    credential_hash: str
    max_bytes: int
    requested_at: datetime
    expires_at: datetime
    state: str = "requested"
    is_accepted: bool = False
    status: str | None = None
    """The charger's last word on the upload, verbatim."""
    claimed_at: datetime | None = None
    """When it said Uploaded."""
    file_name: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None
    stored_name: str | None = None
    stored_at: datetime | None = None
    remote_address: str | None = None


class ExpiredAdmission(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's permission to come in with an expired leaf."""

    until: datetime
    reason: str
    by: str
    since: datetime


class ChargerState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything remembered of one charger."""

    charger_id: str
    managed_identity_id: str
    serial_number: str
    family: str
    site: str
    cohort: str
    organization: str | None
    expected_common_name: str
    security_profile: int
    target_security_profile: int
    ocpp_versions: tuple[str, ...]
    registered_at: datetime
    keys: tuple[KeyVerifier, ...] = ()
    key_origin: str | None = None
    key_since: datetime | None = None
    installer: str | None = None
    """Who installed it, or looks after it on site, and so may know its key."""
    key_weakness: str | None = None
    """Why the active key should be replaced, as seen where its text was known."""
    key_generation: int = 0
    """The newest ever given out; 0: none beside the one it was registered with."""
    key_shown: int | None = None
    """The generation that the latest session with a password showed, and when that opened."""
    key_shown_at: datetime | None = None
    pending_keys: tuple[PendingKey, ...] = ()
    key_rests_until: datetime | None = None
    """After a rotation, no rule of ours starts another before this."""
    displaced_at: tuple[datetime, ...] = ()
    """When its latest sessions displaced one that was live."""
    placed_at: datetime | None = None
    """When its site or cohort last changed; None: they never did."""
    unit_since: datetime | None = None
    """When this unit took the place of another; None: it is the first here."""
    leaving_job_id: str = ""
    """The job by which a unit last left this position; what turns up of it later is revoked under its name."""
    decommissioned_at: datetime | None = None
    """Since when no unit stands here."""
    decommission_reason: str | None = None
    paused_reason: str | None = None
    subject_match: str = "exact"
    """The naming rule its admission record was made under."""
    factory_anchors: tuple[str, ...] = ()
    """The factory CAs it may come under, as its admission record was made."""
    foreign_revocation: str = "soft"
    """How that record minds revocations of leaves that others issued."""
    session: SessionFact | None = None
    lost_session_id: str | None = None
    """The live session, if it ended only because its node was lost: the node may state it again."""
    session_generation: int = 0
    reset_session: str | None = None
    """The session on which a Reset was last sent and not refused: no other is sent before a reconnect."""
    last_seen_at: datetime | None = None
    boot: BootFact | None = None
    slots: dict[str, Slot] = {}
    certificates: dict[str, CertificateRecord] = {}
    recalls_more: bool = False
    """Older certificates than these wait to be recalled when some of these are done with."""
    jobs: dict[str, JobState] = {}
    ended_jobs: tuple[EndedJob, ...] = ()
    """The latest jobs that ended: their ids open no second job."""
    instructions: dict[str, InstructionState] = {}
    accepted_anchors: frozenset[str] = frozenset()
    observed_facts: frozenset[str] = frozenset()
    own_capabilities: Capabilities = NO_CAPABILITIES
    """What an operator said of this one charger."""
    capabilities: Capabilities = NO_CAPABILITIES
    """What holds for it: its family's, its own and what its answers have shown, as last recorded."""
    bundles: dict[str, BundleConfirmation] = {}
    reported: tuple[ReportedCertificate, ...] = ()
    reported_at: datetime | None = None
    list_revision: int = 0
    """The revision that its latest list led to."""
    listed_uses: frozenset[str] = frozenset()
    """What it was asked to list since it last listed everything."""
    listed_everything: bool = False
    list_asked_at: datetime | None = None
    """When it was last asked to list for no job."""
    strangers: dict[str, datetime] = {}
    """Leaves that opened a session and are not ours, by fingerprint: when they last did."""
    differences_digest: str = ""
    """Of the differences its inventory had when it was last reconciled; empty: none."""
    differences: dict[str, int] = {}
    """How many of each, by code."""
    migration: MigrationState | None = None
    clock: ClockFact | None = None
    """As its latest session showed; None: nothing showed that it is wrong."""
    way_back: WayBack | None = None
    approvals: dict[str, Approval] = {}
    """The latest ones asked for about this charger, open and decided."""
    offered_profile: int = 0
    """The highest security profile that the charger was told to connect with: it may do so at any time."""
    security_windows: dict[str, SecurityWindow] = {}
    """By kind, those of the last hour; a few at most."""
    security_events: tuple[RecentSecurityEvent, ...] = ()
    """The latest, newest last."""
    security_known: tuple[str, ...] = ()
    """Digests of the latest that bore the charger's time: told again, in whatever session, they are no others."""
    logs: tuple[LogRequest, ...] = ()
    """The latest requests, oldest first; what comes late for one that has ended still finds it here."""
    parts: dict[str, Part] = {}
    """Its parts that have certificates of their own, by identity."""
    own_renewals: tuple[datetime, ...] = ()
    """When it renewed by itself, within a day; the latest at most."""
    part_renewals: dict[str, tuple[datetime, ...]] = {}
    """As `own_renewals`, for its parts, by slot."""
    held_back_at: datetime | None = None
    """When such a wish was last held back and said so."""
    last_request_id: int = 1000
    """The number of the latest request for a log; smaller ones are left to calls by hand."""
    spoken_for_by: tuple[Speaker, ...] = ()
    """Local controllers that may open its session."""
    lockout_told: datetime | None = None
    """The lock-out that somebody was last told of; another moment is another one."""
    expired_admission: ExpiredAdmission | None = None
    """While it holds, the charger's own expired leaf lets it in, Pending."""
    trace: TraceOrder | None = None
    """The last trace an operator asked for; it ends by itself."""
    revision: int = 0
    """Grows with every event: orders the admission records made from this state."""


def slot_key(purpose: str, variant: str, part: str = "") -> str:
    """How a slot is named inside one charger; `part`: the identity of one that is not the charger's own."""
    return f"{purpose}/{variant}/{part}" if part else f"{purpose}/{variant}"


def is_of_this_unit(state: ChargerState, issued_at: datetime) -> bool:
    """Whether a part's certificate of then is of the unit that is here: parts stay with the position, keys do not."""
    return state.unit_since is None or issued_at >= state.unit_since


def slot_of(about: CertificateRecord | JobState) -> str:
    """The slot that a certificate or a job is about."""
    return slot_key(about.purpose, about.variant, about.part)


def open_issue(state: ChargerState, purpose: str, part: str = "") -> JobState | None:
    """The open job that brings a certificate of this purpose; there is one at most for the charger, and for each part."""
    for job in state.jobs.values():
        if (job.purpose, job.part) == (purpose, part) and job.action in ("issue", "renew"):
            return job
    return None


def may_be_on_charger(state: ChargerState, certificate: CertificateRecord, now: datetime) -> bool:
    """Whether the charger may hold that leaf: it said so, or its order may have left.

    Such a leaf is not to be refused at the edge without need, or the charger would lock itself out with it.
    """
    if certificate.state in ("installed", "active") or certificate.delivery_in_doubt:
        return True
    return any(
        isinstance(instruction.body, InstallLeaf)
        and instruction.body.certificate_id == certificate.certificate_id
        and (
            instruction.unknown
            or instruction.sent_session is not None
            or (state.session is not None and instruction.not_before <= now)
        )
        for instruction in state.instructions.values()
    )


def certificate_by_fingerprint(state: ChargerState, fingerprint: str | None) -> CertificateRecord | None:
    """This charger's certificate with that fingerprint, if it has one."""
    if fingerprint is None:
        return None
    for certificate in state.certificates.values():
        if certificate.fingerprint_sha256 == fingerprint:
            return certificate
    return None
