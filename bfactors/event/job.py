"""Certificate jobs and the CSRs they obtain."""

from datetime import datetime

from bfactors.certificate_hash import ReportedCertificate
from bfactors.event.base import LedgerRecord


class CertificateRequested(LedgerRecord, frozen=True, kw_only=True):
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


class CertificateRenewalStarted(LedgerRecord, frozen=True, kw_only=True):
    """The job renews a certificate."""

    job_id: str
    certificate_id: str
    replaces_certificate_id: str
    due_reason: str


class CertificateJobStageChanged(LedgerRecord, frozen=True, kw_only=True):
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


class CertificateJobOverdue(LedgerRecord, frozen=True, kw_only=True):
    """What the job waits for did not come in time; it goes on waiting, and the old credential keeps working."""

    job_id: str
    reason_code: str
    reason_message: str


class ReconnectStepTaken(LedgerRecord, frozen=True, kw_only=True):
    """The charger took its leaf and stays on a session without it: `close-socket` or `reset` was decided, once each."""

    job_id: str
    certificate_id: str
    step: str
    session_id: str


class ReconnectedWithOldCertificate(LedgerRecord, frozen=True, kw_only=True):
    """The charger took its new leaf and came back with the one before; by itself that proves nothing yet."""

    job_id: str
    certificate_id: str
    session_id: str


class CertificateDiscarded(LedgerRecord, frozen=True, kw_only=True):
    """The charger does not use the leaf it took: its job begins again with another key.

    `source`: `reconnects` (policy counted them, or the time), or `security-event` (its own word).
    """

    job_id: str
    certificate_id: str
    source: str
    reason: str
    evidence_ref: str


class CertificateJobFailed(LedgerRecord, frozen=True, kw_only=True):
    """The job ended without its certificate."""

    job_id: str
    reason_code: str
    reason_message: str


class CertificateJobSucceeded(LedgerRecord, frozen=True, kw_only=True):
    """The job reached what it was for."""

    job_id: str
    certificate_id: str | None


class CertificateJobCancelled(LedgerRecord, frozen=True, kw_only=True):
    """An operator gave the job up."""

    job_id: str
    reason: str


class PolicyDecisionRecorded(LedgerRecord, frozen=True, kw_only=True):
    """A rule decided about a job: outcome allow, hold or refuse."""

    job_id: str
    rule: str
    outcome: str
    policy_version: int
    reason: str


class CSRValidated(LedgerRecord, frozen=True, kw_only=True):
    """The CSR passed every check."""

    job_id: str
    csr_fingerprint: str
    subject_key_id: str
    spki_sha256: str
    request_id: int | None = None
    """What the charger numbered its request with (2.1): the answer to it must name the newest."""


class CSRHeldBack(LedgerRecord, frozen=True, kw_only=True):
    """The charger asked for a certificate by itself and gets none now; its SignCertificate was answered Accepted."""

    charger_id: str
    purpose: str
    csr_fingerprint: str
    reason: str
    message: str
    policy_version: int


class AuthoritySlowerThanCharger(LedgerRecord, frozen=True, kw_only=True):
    """The CA has had the CSR for longer than the charger keeps its key: what it makes may be of no use any more."""

    job_id: str
    waited_s: int


class CSRRefused(LedgerRecord, frozen=True, kw_only=True):
    """A check refused the CSR, with its reason."""

    job_id: str
    csr_fingerprint: str
    reason: str
    message: str
