"""A certificate's life after its issue."""

from datetime import datetime

from bfactors.certificate_hash import ReportedCertificate
from bfactors.event.base import LedgerRecord


class RevocationContradicted(LedgerRecord, frozen=True, kw_only=True):
    """The CA had accepted the revocation, and its own report says that the certificate stands: it is asked again."""

    certificate_id: str
    report_ref: str


class CertificateRecalled(LedgerRecord, frozen=True, kw_only=True):
    """An older certificate of a charger, which its state had let go of, is held again, because something is to be done with
    it. `hasMore`: others of the charger wait until this one is done with.
    """

    certificate_id: str
    managed_identity_id: str
    charger_id: str
    purpose: str
    variant: str
    mode: str
    authority: str
    state: str
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
    installed_at: datetime | None
    activated_at: datetime | None
    revoked_at: datetime | None
    revocation_requested_at: datetime | None
    has_more: bool


class CertificateInstallRequested(LedgerRecord, frozen=True, kw_only=True):
    """The leaf is to be delivered."""

    job_id: str
    certificate_id: str
    instruction_id: str


class CertificateInstalled(LedgerRecord, frozen=True, kw_only=True):
    """The charger has it: evidenceType is `certificate-signed-accepted` or `session`."""

    job_id: str
    certificate_id: str
    evidence_type: str
    evidence_ref: str


class CertificateActivated(LedgerRecord, frozen=True, kw_only=True):
    """Seen live (or the rung its purpose names)."""

    certificate_id: str
    activated_at: datetime
    evidence_ref: str


class CertificateSuperseded(LedgerRecord, frozen=True, kw_only=True):
    """Another certificate took its place; it may open sessions until `admitUntil` (null: no more)."""

    certificate_id: str
    superseded_by: str | None
    admit_until: datetime | None
    reason: str


class CertificateRejected(LedgerRecord, frozen=True, kw_only=True):
    """The charger refused it, or its re-check did."""

    certificate_id: str
    job_id: str
    reason: str


class CertificateDeactivated(LedgerRecord, frozen=True, kw_only=True):
    """Taken out of use without revocation."""

    certificate_id: str
    deactivated_at: datetime
    reason: str
    actor: str


class CertificateRevocationRequested(LedgerRecord, frozen=True, kw_only=True):
    """From now on refused at the edge; the CA is being told."""

    job_id: str
    certificate_id: str
    reason: str
    comment: str


class CertificateRevoked(LedgerRecord, frozen=True, kw_only=True):
    """The CA has accepted the revocation."""

    certificate_id: str
    revoked_at: datetime
    job_id: str = ""


class CertificateExpired(LedgerRecord, frozen=True, kw_only=True):
    """Its last day has passed."""

    certificate_id: str


class CertificateExpiryEscalated(LedgerRecord, frozen=True, kw_only=True):
    """An escalation window was reached without a successor."""

    certificate_id: str
    days_left: int


class CertificateRenewalDue(LedgerRecord, frozen=True, kw_only=True):
    """The renewal clock rang for an active certificate."""

    certificate_id: str
    due_reason: str


class CertificateDeleted(LedgerRecord, frozen=True, kw_only=True):
    """It is no longer on the charger: its list shows so (rung `listed`), or its answer says so (`accepted`)."""

    job_id: str
    charger_id: str
    certificate_id: str | None
    reported: ReportedCertificate
    """The charger's own entry, which the deletion echoed."""
    rung: str
    evidence_ref: str


class CertificateAdopted(LedgerRecord, frozen=True, kw_only=True):
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
