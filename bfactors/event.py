"""What the ledger decided: past tense, append-only, camelCase payloads that keep their names wherever they travel.

Every event is a frozen value; `name_of` and `payload_of` give what is stored. Fields named `managedIdentityId`, `purpose`,
`variant`, `chargerId`, `jobId` and `certificateId` are also written to the row's own columns.
"""

from datetime import datetime

import msgspec

from bfactors.admission import KeyVerifier, Speaker
from bfactors.approval import ApprovalState
from bfactors.capability import Capabilities
from bfactors.certificate_hash import HashData, ReportedCertificate
from bfactors.instruction import OperationalKind
from bfactors.policy import PolicyOverride

SCHEMA_VERSION = 1
_encode = msgspec.json.Encoder().encode


class _Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


# ---------------------------------------------------------------- chargers


class ChargerRegistered(_Event, frozen=True, kw_only=True):
    """A charger joined the inventory. The verifiers of `key`, in all its forms, stay out of the stored payload."""

    charger_id: str
    managed_identity_id: str
    serial_number: str
    family: str
    site: str
    cohort: str
    security_profile: int
    target_security_profile: int
    organization: str | None
    expected_common_name: str
    ocpp_versions: tuple[str, ...]
    key: KeyVerifier | None
    key_forms: tuple[KeyVerifier, ...] = ()
    key_origin: str | None
    key_weakness: str | None = None


class ChargerChanged(_Event, frozen=True, kw_only=True):
    """Where a charger stands, or what its certificate is expected to say, changed."""

    charger_id: str
    site: str
    cohort: str
    organization: str | None
    expected_common_name: str


class ChargerResumed(_Event, frozen=True, kw_only=True):
    """An operator looked at what paused this charger and let it go on."""

    charger_id: str
    reason: str
    actor: str


class AdmissionRuleChanged(_Event, frozen=True, kw_only=True):
    """Policy compares this charger's name in another way from now on; its admission record follows."""

    charger_id: str
    subject_match: str
    policy_version: int


class ChargerCapabilitiesSet(_Event, frozen=True, kw_only=True):
    """An operator said what this one charger can and cannot do, on top of its family."""

    charger_id: str
    capabilities: Capabilities
    reason: str


class CapabilitiesChanged(_Event, frozen=True, kw_only=True):
    """What holds for this charger from now on: its family's capabilities, its own, and what its answers have shown."""

    charger_id: str
    capabilities: Capabilities


class ChargerSessionOpened(_Event, frozen=True, kw_only=True):
    """A session was admitted; it is the charger's live one, and earlier ones are over."""

    charger_id: str
    session_id: str
    session_generation: int
    node: str
    incarnation: str
    ocpp_version: str
    security_profile: int
    remote_address: str
    connected_at: datetime
    fingerprint_sha256: str | None
    flags: tuple[str, ...]
    key_generation: int | None = None
    """Which AuthorizationKey it was opened with."""


class ChargerSessionClosed(_Event, frozen=True, kw_only=True):
    """The charger's live session ended."""

    charger_id: str
    session_id: str
    reason: str


class ChargerBootReported(_Event, frozen=True, kw_only=True):
    """What the charger says of itself, when it differs from before."""

    charger_id: str
    vendor: str
    model: str
    serial_number: str | None
    firmware_version: str | None


class ChargerClockObserved(_Event, frozen=True, kw_only=True):
    """The charger's clock is so many seconds ahead, as its session showed; recorded when it proves wrong or right again."""

    charger_id: str
    offset_s: int
    evidence_ref: str


class SecurityEventRecorded(_Event, frozen=True, kw_only=True):
    """A security event of a charger or of the edge."""

    charger_id: str | None
    kind: str
    detail: str
    count: int
    remote_address: str | None
    charger_time: str | None = None
    """The charger's own clock, verbatim; it decides nothing."""
    critical: bool = False
    """As the charger's OCPP version calls it."""
    job_id: str | None = None
    """The job it explains."""
    row_id: str | None = None
    """In a flood: the entry of the list that it is counted in; null: it is an entry of its own."""


class SecurityEventEscalated(_Event, frozen=True, kw_only=True):
    """Policy (`escalate_security_events`) wants somebody to look at this one now."""

    charger_id: str
    kind: str
    detail: str
    critical: bool
    policy_version: int
    evidence_ref: str


# ---------------------------------------------------------------- logs


class LogRequested(_Event, frozen=True, kw_only=True):
    """A log is wanted from a charger. Of the ticket and credential in the upload address only hashes are here."""

    charger_id: str
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
    expires_at: datetime


class LogRequestAccepted(_Event, frozen=True, kw_only=True):
    """The charger will upload."""

    charger_id: str
    job_id: str
    request_id: int
    file_name: str | None
    evidence_ref: str


class LogStatusChanged(_Event, frozen=True, kw_only=True):
    """How far the charger says it is with an upload; `jobId` is null for an upload nobody here asked for."""

    charger_id: str
    job_id: str | None
    request_id: int | None
    status: str
    evidence_ref: str


class LogStored(_Event, frozen=True, kw_only=True):
    """The log is here, whole: hash, size, and where it came from."""

    charger_id: str
    job_id: str
    log_id: str
    request_id: int
    sha256: str
    size_bytes: int
    stored_name: str
    file_name: str | None
    remote_address: str
    evidence_ref: str


class SecurityProfileMigrated(_Event, frozen=True, kw_only=True):
    """The first session with a higher profile: from now on the lower one is refused (A05.FR.07)."""

    charger_id: str
    from_profile: int
    to_profile: int
    evidence_ref: str


class MigrationOpened(_Event, frozen=True, kw_only=True):
    """A migration case began: what the charger is to connect with in the end, and the way's first stage."""

    charger_id: str
    job_id: str
    from_profile: int
    to_profile: int
    target_profile: int
    reason: str


class MigrationHeld(_Event, frozen=True, kw_only=True):
    """The prerequisites named are not met yet; nothing of the migration is sent before they are."""

    charger_id: str
    job_id: str
    missing: tuple[str, ...]
    reason_code: str
    reason_message: str


class MigrationCertificateWanted(_Event, frozen=True, kw_only=True):
    """A job was opened for the certificate that the new profile needs."""

    charger_id: str
    job_id: str
    certificate_job_id: str


class MigrationStarted(_Event, frozen=True, kw_only=True):
    """Every prerequisite is met: the steps to `toProfile` begin, not before the time given."""

    charger_id: str
    job_id: str
    to_profile: int
    not_before: datetime | None


class MigrationSlotsChosen(_Event, frozen=True, kw_only=True):
    """Which network slot is written and which one stays to fall back on.

    `priority` is what the charger said of its slots in use, if it did.
    """

    charger_id: str
    job_id: str
    priority: tuple[int, ...]
    old_slot: int
    new_slot: int


class MigrationSetBack(_Event, frozen=True, kw_only=True):
    """A step was refused, or the charger came back with its old profile; the steps begin again after `notBefore`."""

    charger_id: str
    job_id: str
    reason_code: str
    reason_message: str
    not_before: datetime
    refused_slot: int | None


class MigrationQuarantined(_Event, frozen=True, kw_only=True):
    """Nothing more is tried by itself; every credential that was admitted stays so until an operator has looked."""

    charger_id: str
    job_id: str
    reason_code: str
    reason_message: str


class MigrationReleased(_Event, frozen=True, kw_only=True):
    """An operator looked at what put the migration into quarantine, and it starts again."""

    charger_id: str
    job_id: str
    reason: str
    actor: str


class MigrationCompleted(_Event, frozen=True, kw_only=True):
    """The charger was seen on the profile it was to reach. `fromState`: where the case stood just before."""

    charger_id: str
    job_id: str
    profile: int
    from_state: str
    evidence_ref: str


class ApprovalRequested(_Event, frozen=True, kw_only=True):
    """Somebody else must agree to this before it is done. `content` is JSON text, bound by its hash."""

    charger_id: str
    approval_id: str
    kind: str
    job_id: str
    content: str
    content_hash: str
    author: str
    reason: str
    expires_at: datetime


class ApprovalDecided(_Event, frozen=True, kw_only=True):
    """`state`: approved or rejected by somebody other than its author; expired; or withdrawn with what it was about."""

    charger_id: str
    approval_id: str
    job_id: str
    content_hash: str
    state: ApprovalState
    decided_by: str
    reason: str


class RollbackRequested(_Event, frozen=True, kw_only=True):
    """A charger on profile 3 is to be let in with profile 2 for a while, if the approval is given."""

    charger_id: str
    job_id: str
    from_profile: int
    to_profile: int
    ends_at: datetime
    approval_id: str
    reason: str


class RollbackStarted(_Event, frozen=True, kw_only=True):
    """Profile 2 is admitted beside profile 3 until `endsAt`, with keys of a later generation than the one named."""

    charger_id: str
    job_id: str
    ends_at: datetime
    after_generation: int


class RollbackUsed(_Event, frozen=True, kw_only=True):
    """The charger was seen on profile 2 for the first time since."""

    charger_id: str
    job_id: str
    evidence_ref: str


class RollbackEnded(_Event, frozen=True, kw_only=True):
    """Profile 2 is refused again. `reason`: end-date, back-on-profile-3 or cancelled."""

    charger_id: str
    job_id: str
    reason: str


class InstalledCertificatesReported(_Event, frozen=True, kw_only=True):
    """The charger's own list of what it holds."""

    charger_id: str
    reported: tuple[ReportedCertificate, ...]
    evidence_ref: str
    uses: tuple[str, ...] = ()
    """The uses it was asked for; empty: everything. Of other stores `reported` repeats what was known."""


class InventoryDifference(msgspec.Struct, frozen=True, rename="camel"):
    """One disagreement on one certificate: `ref` is the head of its fingerprint, or how the charger lists it."""

    code: str
    ref: str


class InventoryReconciled(_Event, frozen=True, kw_only=True):
    """What we issued, what the charger lists and what was seen disagree otherwise than before; no differences: in nothing."""

    charger_id: str
    differences: tuple[InventoryDifference, ...]
    """The first of them; `counts` has them all, by code."""
    counts: dict[str, int]
    digest: str
    evidence_ref: str


class ChargerFactObserved(_Event, frozen=True, kw_only=True):
    """A capability of this charger, learned from its answers, e.g. `cannot-list`."""

    charger_id: str
    fact: str
    evidence_ref: str


class TrustAnchorAccepted(_Event, frozen=True, kw_only=True):
    """The charger answered Accepted to the install of one anchor (a rung below listed)."""

    charger_id: str
    fingerprint_sha256: str
    evidence_ref: str


class TrustAnchorBundleConfirmed(_Event, frozen=True, kw_only=True):
    """Every anchor of the bundle is confirmed on the charger, by the rung named."""

    charger_id: str
    bundle_id: str
    bundle_purpose: str
    rung: str
    evidence_ref: str


# ---------------------------------------------------------------- authorization keys


class AuthorizationKeyRequested(_Event, frozen=True, kw_only=True):
    """A charger is to have another AuthorizationKey: `trigger` says which rule, or who, wants it; `origin` who makes it."""

    charger_id: str
    job_id: str
    generation: int
    trigger: str
    origin: str


class AuthorizationKeyPrepared(_Event, frozen=True, kw_only=True):
    """The new key is sealed and admitted beside the old one. Its verifiers stay out of the stored payload."""

    charger_id: str
    job_id: str
    generation: int
    keys: tuple[KeyVerifier, ...]
    weakness: str | None
    evidence_ref: str
    replaces: tuple[int, ...] = ()
    """Doubted generations that were this very key, given once before."""


class AuthorizationKeyAccepted(_Event, frozen=True, kw_only=True):
    """The charger said that it has it, or will after a reboot; both keys stay admitted until the new one is seen."""

    charger_id: str
    job_id: str
    generation: int
    needs_reboot: bool
    evidence_ref: str


class AuthorizationKeyActivated(_Event, frozen=True, kw_only=True):
    """A session opened with it: it is the charger's key, and every earlier one is refused from now on."""

    charger_id: str
    job_id: str
    generation: int
    evidence_ref: str


class AuthorizationKeyDoubted(_Event, frozen=True, kw_only=True):
    """Its job ended and the charger may have it all the same: admitted until `admitUntil`, and until another was seen."""

    charger_id: str
    job_id: str
    generation: int
    admit_until: datetime
    reason: str


class AuthorizationKeyWithdrawn(_Event, frozen=True, kw_only=True):
    """A key that never came into use is refused from now on."""

    charger_id: str
    job_id: str
    generation: int
    reason: str


class AuthorizationKeysRetired(_Event, frozen=True, kw_only=True):
    """No key of this charger is admitted any more."""

    charger_id: str
    reason: str


# ---------------------------------------------------------------- instructions


class InstructionOpened(_Event, frozen=True, kw_only=True):
    """Something is wanted done on the charger; a higher `decision` of the same instruction is a decision to repeat it."""

    charger_id: str
    instruction_id: str
    job_id: str | None
    decision: int
    body: OperationalKind
    not_before: datetime
    """Not to be sent before this time (back-off)."""


class InstructionDispatched(_Event, frozen=True, kw_only=True):
    """The frame was about to leave, on the session named."""

    charger_id: str
    instruction_id: str
    job_id: str | None
    decision: int
    session_id: str


class InstructionSettled(_Event, frozen=True, kw_only=True):
    """Evidence settled it. `outcome`: accepted, rejected, call-error, silent, unknown, observed, withdrawn."""

    charger_id: str
    instruction_id: str
    job_id: str | None
    kind: str
    outcome: str
    detail: str | None
    evidence_ref: str


class SpokenForSet(_Event, frozen=True, kw_only=True):
    """Which local controllers may open this charger's session was said anew."""

    charger_id: str
    speakers: tuple[Speaker, ...]
    reason: str


class ExpiredCertificateAdmitted(_Event, frozen=True, kw_only=True):
    """An operator lets this one charger in with its own expired certificate until then (A00.FR.429)."""

    charger_id: str
    until: datetime
    reason: str
    actor: str


class ExpiredCertificateAdmissionEnded(_Event, frozen=True, kw_only=True):
    """That is over. `cause`: `renewed`, `date-passed` or `withdrawn`."""

    charger_id: str
    cause: str
    reason: str


class TraceStarted(_Event, frozen=True, kw_only=True):
    """An operator had a charger's frames written down until `until`, `frames` of them at most in each session."""

    charger_id: str
    trace_id: str
    until: datetime
    frames: int
    reason: str


class OperatorCallAnswered(_Event, frozen=True, kw_only=True):
    """How a call an operator wrote out ended: answered, error, timeout or disconnected."""

    charger_id: str
    instruction_id: str
    action: str
    outcome: str
    payload: str | None
    """The charger's answer as JSON text; None if there is none, or it is too long to be kept."""
    error: str | None
    evidence_ref: str


# ---------------------------------------------------------------- certificate jobs


class CertificateRequested(_Event, frozen=True, kw_only=True):
    """A job was opened."""

    job_id: str
    managed_identity_id: str
    charger_id: str
    purpose: str
    variant: str
    action: str
    reason: str
    certificate_id: str | None
    deadline_at: datetime
    policy_version: int
    target: ReportedCertificate | None = None
    """What is to be deleted, as the charger lists it."""
    fingerprint_sha256: str | None = None
    """The one anchor to be installed; None: all of the bundle."""


class CertificateRenewalStarted(_Event, frozen=True, kw_only=True):
    """The job renews a certificate."""

    job_id: str
    certificate_id: str
    replaces_certificate_id: str
    due_reason: str


class CertificateJobStageChanged(_Event, frozen=True, kw_only=True):
    """Where the job stands, what it waits for and why."""

    job_id: str
    stage: str
    waiting_for: str | None
    held_by: str | None
    reason_code: str | None
    reason_message: str | None
    due_at: datetime | None
    """When waiting becomes too long: then a retry, or `overdue`."""
    failed: bool
    """The step before did not work and is tried again (counts towards the policy's `max_attempts`)."""


class CertificateJobOverdue(_Event, frozen=True, kw_only=True):
    """What the job waits for did not come in time; it goes on waiting, and the old credential keeps working."""

    job_id: str
    reason_code: str
    reason_message: str


class ReconnectStepTaken(_Event, frozen=True, kw_only=True):
    """The charger took its leaf and stays on a session without it: `close-socket` or `reset` was decided, once each."""

    job_id: str
    certificate_id: str
    step: str
    session_id: str


class ReconnectedWithOldCertificate(_Event, frozen=True, kw_only=True):
    """The charger took its new leaf and came back with the one before; by itself that proves nothing yet."""

    job_id: str
    certificate_id: str
    session_id: str


class CertificateDiscarded(_Event, frozen=True, kw_only=True):
    """The charger does not use the leaf it took: its job begins again with another key.

    `source`: `reconnects` (policy counted them, or the time), or `security-event` (its own word).
    """

    job_id: str
    certificate_id: str
    source: str
    reason: str
    evidence_ref: str


class CertificateJobFailed(_Event, frozen=True, kw_only=True):
    """The job ended without its certificate."""

    job_id: str
    reason_code: str
    reason_message: str


class CertificateJobSucceeded(_Event, frozen=True, kw_only=True):
    """The job reached what it was for."""

    job_id: str
    certificate_id: str | None


class CertificateJobCancelled(_Event, frozen=True, kw_only=True):
    """An operator gave the job up."""

    job_id: str
    reason: str


class PolicyDecisionRecorded(_Event, frozen=True, kw_only=True):
    """A rule decided about a job: outcome allow, hold or refuse."""

    job_id: str
    rule: str
    outcome: str
    policy_version: int
    reason: str


class CSRValidated(_Event, frozen=True, kw_only=True):
    """The CSR passed every check."""

    job_id: str
    csr_fingerprint: str
    subject_key_id: str
    spki_sha256: str
    request_id: int | None = None
    """What the charger numbered its request with (2.1): the answer to it must name the newest."""


class CSRHeldBack(_Event, frozen=True, kw_only=True):
    """The charger asked for a certificate by itself and gets none now; its SignCertificate was answered Accepted."""

    charger_id: str
    purpose: str
    csr_fingerprint: str
    reason: str
    message: str
    policy_version: int


class AuthoritySlowerThanCharger(_Event, frozen=True, kw_only=True):
    """The CA has had the CSR for longer than the charger keeps its key: what it makes may be of no use any more."""

    job_id: str
    waited_s: int


class CSRRefused(_Event, frozen=True, kw_only=True):
    """A check refused the CSR, with its reason."""

    job_id: str
    csr_fingerprint: str
    reason: str
    message: str


# ---------------------------------------------------------------- issuance


class CertificateIssueRequested(_Event, frozen=True, kw_only=True):
    """The intent: exactly what the CA will be asked, recorded before it is asked."""

    job_id: str
    attempt: int
    token: str
    authority_arn: str
    template: str
    signing_algorithm: str
    csr_pem: str
    spki_sha256: str
    not_before: datetime
    not_after: datetime
    call_before: datetime


class IssuanceReferenceRecorded(_Event, frozen=True, kw_only=True):
    """The CA named the certificate it is making (its ARN)."""

    job_id: str
    attempt: int
    external_ref: str


class IssuanceReconciliationStarted(_Event, frozen=True, kw_only=True):
    """The attempt lapsed and its call may have gone through: the CA is asked before anything else is asked of it."""

    job_id: str
    attempt: int


class IssuanceAdopted(_Event, frozen=True, kw_only=True):
    """The CA's own report holds the certificate of an attempt whose answer never came; it is fetched and checked next."""

    job_id: str
    attempt: int
    external_ref: str
    report_ref: str


class IssuanceInDoubt(_Event, frozen=True, kw_only=True):
    """The attempt lapsed and nobody can find out whether the CA issued, for this reason; at most one per crash."""

    job_id: str
    attempt: int
    reason_code: str | None = None
    reason_message: str | None = None


class IssuanceLapsed(_Event, frozen=True, kw_only=True):
    """The attempt lapsed without a certificate: no call left, or the report named here shows that none went through."""

    job_id: str
    attempt: int
    report_ref: str | None = None


class CertificateIssued(_Event, frozen=True, kw_only=True):
    """The CA's certificate passed the re-check and is ours."""

    job_id: str
    certificate_id: str
    managed_identity_id: str
    charger_id: str
    purpose: str
    variant: str
    issuing_ca_id: str
    external_ref: str
    not_before: datetime
    not_after: datetime
    fingerprint_sha256: str
    serial_number: str
    subject: str
    issuer: str
    spki_sha256: str
    chain_pem: str


class CertificateFoundAtCa(_Event, frozen=True, kw_only=True):
    """The CA had signed it for a key of this charger and no job knows of it: recorded as superseded.

    It may open a session until `admitUntil`, because a charger may have it: from a ledger that was lost, say.
    """

    certificate_id: str
    managed_identity_id: str
    charger_id: str
    purpose: str
    variant: str
    issuing_ca_id: str
    external_ref: str
    not_before: datetime
    not_after: datetime
    fingerprint_sha256: str
    serial_number: str
    subject: str
    issuer: str
    spki_sha256: str
    chain_pem: str
    issued_at: datetime
    admit_until: datetime | None
    report_ref: str


class CertificateMissingAtCa(_Event, frozen=True, kw_only=True):
    """The ledger has it from this CA, and the CA's own report does not list it."""

    certificate_id: str
    report_ref: str


class RevocationContradicted(_Event, frozen=True, kw_only=True):
    """The CA had accepted the revocation, and its own report says that the certificate stands: it is asked again."""

    certificate_id: str
    report_ref: str


class CertificateInstallRequested(_Event, frozen=True, kw_only=True):
    """The leaf is to be delivered."""

    job_id: str
    certificate_id: str
    instruction_id: str


class CertificateInstalled(_Event, frozen=True, kw_only=True):
    """The charger has it: evidenceType is `certificate-signed-accepted` or `session`."""

    job_id: str
    certificate_id: str
    evidence_type: str
    evidence_ref: str


class CertificateActivated(_Event, frozen=True, kw_only=True):
    """Seen live (or the rung its purpose names)."""

    certificate_id: str
    activated_at: datetime
    evidence_ref: str


class CertificateSuperseded(_Event, frozen=True, kw_only=True):
    """Another certificate took its place; it may open sessions until `admitUntil` (null: no more)."""

    certificate_id: str
    superseded_by: str | None
    admit_until: datetime | None
    reason: str


class CertificateRejected(_Event, frozen=True, kw_only=True):
    """The charger refused it, or its re-check did."""

    certificate_id: str
    job_id: str
    reason: str


class CertificateDeactivated(_Event, frozen=True, kw_only=True):
    """Taken out of use without revocation."""

    certificate_id: str
    deactivated_at: datetime
    reason: str
    actor: str


class CertificateRevocationRequested(_Event, frozen=True, kw_only=True):
    """From now on refused at the edge; the CA is being told."""

    job_id: str
    certificate_id: str
    reason: str
    comment: str


class CertificateRevoked(_Event, frozen=True, kw_only=True):
    """The CA has accepted the revocation."""

    certificate_id: str
    revoked_at: datetime


class CertificateExpired(_Event, frozen=True, kw_only=True):
    """Its last day has passed."""

    certificate_id: str


class CertificateExpiryEscalated(_Event, frozen=True, kw_only=True):
    """An escalation window was reached without a successor."""

    certificate_id: str
    days_left: int


class CertificateRenewalDue(_Event, frozen=True, kw_only=True):
    """The renewal clock rang for an active certificate."""

    certificate_id: str
    due_reason: str


class CertificateDeleted(_Event, frozen=True, kw_only=True):
    """It is no longer on the charger: its list shows so (rung `listed`), or its answer says so (`accepted`)."""

    job_id: str
    charger_id: str
    certificate_id: str | None
    reported: ReportedCertificate
    """The charger's own entry, which the deletion echoed."""
    rung: str
    evidence_ref: str


class CertificateAdopted(_Event, frozen=True, kw_only=True):
    """A leaf that somebody else issued is in use and in the inventory from now on, tracked only."""

    certificate_id: str
    managed_identity_id: str
    charger_id: str
    purpose: str
    variant: str
    source: str
    fingerprint_sha256: str
    serial_number: str
    subject: str
    issuer: str
    spki_sha256: str
    not_before: datetime
    not_after: datetime
    chain_pem: str
    seen_at: datetime
    evidence_ref: str


class EvidenceQuarantined(_Event, frozen=True, kw_only=True):
    """A piece of evidence could not be decided on twice; its identity is paused, the partition goes on."""

    charger_id: str | None
    evidence_id: str
    error: str


# ---------------------------------------------------------------- the fleet partition


class AuthorityRegistered(_Event, frozen=True, kw_only=True):
    """An issuing CA is known for a purpose."""

    purpose: str
    authority_arn: str
    certificate_pem: str
    chain_pem: str
    fingerprint_sha256: str
    signing_algorithm: str
    not_after: datetime


class Anchor(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One trust anchor with the hash data it has in every algorithm OCPP knows."""

    fingerprint_sha256: str
    subject: str
    not_after: datetime
    pem: str
    hash_data: tuple[HashData, ...]


class TrustAnchorBundleCreated(_Event, frozen=True, kw_only=True):
    """A new, immutable version of a purpose's anchors."""

    bundle_id: str
    purpose: str
    version: int
    anchors: tuple[Anchor, ...]
    note: str


class SupervisorStateSet(_Event, frozen=True, kw_only=True):
    """A supervisor was paused, resumed or told to drain."""

    kind: str
    name: str
    state: str
    reason: str
    by: str
    at: datetime


class PolicySetChanged(_Event, frozen=True, kw_only=True):
    """The overrides of one scope were replaced; the policy set has a new version."""

    version: int
    override: PolicyOverride
    reason: str


class NodeTrustRecorded(_Event, frozen=True, kw_only=True):
    """What a connect node's client trust verifies, and what the certificates it shows chargers hang on."""

    node: str
    incarnation: str
    fingerprints: tuple[str, ...]
    server_anchors: tuple[str, ...] = ()


class FamilyFactsSet(_Event, frozen=True, kw_only=True):
    """An operator said what a charger family can and cannot do."""

    family: str
    capabilities: Capabilities
    note: str
    by: str
    at: datetime


class FamilyQualified(_Event, frozen=True, kw_only=True):
    """A charger of the family was walked through everything a campaign will ask of it; `report` is JSON text."""

    family: str
    charger_id: str
    firmware: str
    by: str
    at: datetime
    passed: bool
    report: str


class ReconciliationRequested(_Event, frozen=True, kw_only=True):
    """A purpose's CA is to be compared with the ledger."""

    purpose: str
    run_id: str
    authority_arn: str
    reason: str


class ReconciliationItem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One certificate the CA and the ledger do not say the same of; `kind` as `bfactors.authority_comparison` names it."""

    kind: str
    serial_number: str
    external_ref: str | None
    certificate_id: str | None
    charger_id: str | None
    subject: str
    not_after: datetime
    issued_at: datetime
    spki_sha256: str | None = None


class AuthorityReconciled(_Event, frozen=True, kw_only=True):
    """A CA's own list was compared with the ledger. `items` holds the first differences, `counts` all of them by kind."""

    purpose: str
    run_id: str
    authority_arn: str
    report_ref: str
    report_at: datetime
    certificates: int
    counts: dict[str, int]
    items: tuple[ReconciliationItem, ...]


class ReconciliationFailed(_Event, frozen=True, kw_only=True):
    """The comparison came to nothing, for this reason; the next night tries again."""

    purpose: str
    run_id: str
    authority_arn: str
    reason_code: str
    reason_message: str


class UnexplainedCertificateFound(_Event, frozen=True, kw_only=True):
    """Our CA signed it, and nothing in the ledger accounts for it. `revoke`: policy has it revoked."""

    purpose: str
    authority_arn: str
    external_ref: str
    serial_number: str
    subject: str
    not_after: datetime
    issued_at: datetime
    spki_sha256: str | None
    revoke: bool


class UnexplainedCertificateRevoked(_Event, frozen=True, kw_only=True):
    """The CA has accepted the revocation of one that nothing accounted for."""

    purpose: str
    serial_number: str


class NodeForgotten(_Event, frozen=True, kw_only=True):
    """A connect node is gone."""

    node: str
    incarnation: str


class NotificationSubscriptionSet(_Event, frozen=True, kw_only=True):
    """Notices go to an address from now on. The address is sealed, not here; `target` is its host or domain."""

    subscription_id: str
    channel: str
    target: str
    role: str
    secret_id: str
    least_severity: str
    kinds: tuple[str, ...]
    cohorts: tuple[str, ...]


class NotificationSubscriptionRemoved(_Event, frozen=True, kw_only=True):
    """Nothing is sent there any more."""

    subscription_id: str
    reason: str


ChargerEvent = (
    ChargerRegistered
    | ChargerChanged
    | ChargerResumed
    | AdmissionRuleChanged
    | ChargerCapabilitiesSet
    | CapabilitiesChanged
    | ChargerSessionOpened
    | ChargerSessionClosed
    | ChargerBootReported
    | ChargerClockObserved
    | SecurityEventRecorded
    | SecurityEventEscalated
    | LogRequested
    | LogRequestAccepted
    | LogStatusChanged
    | LogStored
    | SecurityProfileMigrated
    | MigrationOpened
    | MigrationHeld
    | MigrationCertificateWanted
    | MigrationStarted
    | MigrationSlotsChosen
    | MigrationSetBack
    | MigrationQuarantined
    | MigrationReleased
    | MigrationCompleted
    | ApprovalRequested
    | ApprovalDecided
    | RollbackRequested
    | RollbackStarted
    | RollbackUsed
    | RollbackEnded
    | InstalledCertificatesReported
    | InventoryReconciled
    | ChargerFactObserved
    | TrustAnchorAccepted
    | TrustAnchorBundleConfirmed
    | AuthorizationKeyRequested
    | AuthorizationKeyPrepared
    | AuthorizationKeyAccepted
    | AuthorizationKeyActivated
    | AuthorizationKeyDoubted
    | AuthorizationKeyWithdrawn
    | AuthorizationKeysRetired
    | InstructionOpened
    | InstructionDispatched
    | InstructionSettled
    | OperatorCallAnswered
    | TraceStarted
    | SpokenForSet
    | ExpiredCertificateAdmitted
    | ExpiredCertificateAdmissionEnded
    | CertificateRequested
    | CertificateRenewalStarted
    | CertificateJobStageChanged
    | CertificateJobOverdue
    | ReconnectStepTaken
    | ReconnectedWithOldCertificate
    | CertificateDiscarded
    | CertificateJobFailed
    | CertificateJobSucceeded
    | CertificateJobCancelled
    | PolicyDecisionRecorded
    | CSRValidated
    | CSRHeldBack
    | AuthoritySlowerThanCharger
    | CSRRefused
    | CertificateIssueRequested
    | IssuanceReferenceRecorded
    | IssuanceReconciliationStarted
    | IssuanceAdopted
    | IssuanceInDoubt
    | IssuanceLapsed
    | CertificateIssued
    | CertificateFoundAtCa
    | CertificateMissingAtCa
    | RevocationContradicted
    | CertificateInstallRequested
    | CertificateInstalled
    | CertificateActivated
    | CertificateSuperseded
    | CertificateRejected
    | CertificateDeactivated
    | CertificateRevocationRequested
    | CertificateRevoked
    | CertificateExpired
    | CertificateExpiryEscalated
    | CertificateRenewalDue
    | CertificateDeleted
    | CertificateAdopted
    | EvidenceQuarantined
)

FleetEvent = (
    AuthorityRegistered
    | TrustAnchorBundleCreated
    | SupervisorStateSet
    | PolicySetChanged
    | NodeTrustRecorded
    | NodeForgotten
    | FamilyFactsSet
    | FamilyQualified
    | NotificationSubscriptionSet
    | NotificationSubscriptionRemoved
    | ReconciliationRequested
    | AuthorityReconciled
    | ReconciliationFailed
    | UnexplainedCertificateFound
    | UnexplainedCertificateRevoked
    | SecurityEventRecorded
    | EvidenceQuarantined
)

Event = ChargerEvent | FleetEvent


def name_of(event: msgspec.Struct) -> str:
    """The event's name as stored and published."""
    return type(event).__name__


def payload_of(event: msgspec.Struct) -> str:
    """The JSON text that is stored and hashed. A key's verifier is never in it."""
    replace = msgspec.structs.replace
    if isinstance(event, ChargerRegistered) and event.key is not None:
        event = replace(
            event, key=_without_verifier(event.key), key_forms=_without_verifiers(event.key_forms)
        )
    elif isinstance(event, AuthorizationKeyPrepared):
        event = replace(event, keys=_without_verifiers(event.keys))
    return _encode(event).decode()


def _without_verifiers(keys: tuple[KeyVerifier, ...]) -> tuple[KeyVerifier, ...]:
    return tuple(_without_verifier(key) for key in keys)


def _without_verifier(key: KeyVerifier) -> KeyVerifier:
    return msgspec.structs.replace(key, verifier="***")
