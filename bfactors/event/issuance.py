"""What a CA was asked for, and what it gave."""

from datetime import datetime

from bfactors.event.base import LedgerRecord


class CertificateIssueRequested(LedgerRecord, frozen=True, kw_only=True):
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


class IssuanceReferenceRecorded(LedgerRecord, frozen=True, kw_only=True):
    """The CA named the certificate it is making (its ARN)."""

    job_id: str
    attempt: int
    external_ref: str


class IssuanceReconciliationStarted(LedgerRecord, frozen=True, kw_only=True):
    """The attempt lapsed and its call may have gone through: the CA is asked before anything else is asked of it."""

    job_id: str
    attempt: int


class IssuanceAdopted(LedgerRecord, frozen=True, kw_only=True):
    """The CA's own report holds the certificate of an attempt whose answer never came; it is fetched and checked next."""

    job_id: str
    attempt: int
    external_ref: str
    report_ref: str


class IssuanceInDoubt(LedgerRecord, frozen=True, kw_only=True):
    """The attempt lapsed and nobody can find out whether the CA issued, for this reason; at most one per crash."""

    job_id: str
    attempt: int
    reason_code: str | None = None
    reason_message: str | None = None


class IssuanceLapsed(LedgerRecord, frozen=True, kw_only=True):
    """The attempt lapsed without a certificate: no call left, or the report named here shows that none went through."""

    job_id: str
    attempt: int
    report_ref: str | None = None


class CertificateIssued(LedgerRecord, frozen=True, kw_only=True):
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


class CertificateFoundAtCa(LedgerRecord, frozen=True, kw_only=True):
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


class CertificateMissingAtCa(LedgerRecord, frozen=True, kw_only=True):
    """The ledger has it from this CA, and the CA's own report does not list it."""

    certificate_id: str
    report_ref: str
