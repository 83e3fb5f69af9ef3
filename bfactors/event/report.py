"""What chargers report of themselves: security events, logs, the certificates they hold."""

from datetime import datetime

import msgspec

from bfactors.certificate_hash import ReportedCertificate
from bfactors.event.base import LedgerRecord


class SecurityEventRecorded(LedgerRecord, frozen=True, kw_only=True):
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


class SecurityEventEscalated(LedgerRecord, frozen=True, kw_only=True):
    """Policy (`escalate_security_events`) wants somebody to look at this one now."""

    charger_id: str
    kind: str
    detail: str
    critical: bool
    policy_version: int
    evidence_ref: str


class LogRequested(LedgerRecord, frozen=True, kw_only=True):
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


class LogRequestAccepted(LedgerRecord, frozen=True, kw_only=True):
    """The charger will upload."""

    charger_id: str
    job_id: str
    request_id: int
    file_name: str | None
    evidence_ref: str


class LogStatusChanged(LedgerRecord, frozen=True, kw_only=True):
    """How far the charger says it is with an upload; `jobId` is null for an upload nobody here asked for."""

    charger_id: str
    job_id: str | None
    request_id: int | None
    status: str
    evidence_ref: str


class LogStored(LedgerRecord, frozen=True, kw_only=True):
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


class InstalledCertificatesReported(LedgerRecord, frozen=True, kw_only=True):
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


class InventoryReconciled(LedgerRecord, frozen=True, kw_only=True):
    """What we issued, what the charger lists and what was seen disagree otherwise than before; no differences: in nothing."""

    charger_id: str
    differences: tuple[InventoryDifference, ...]
    """The first of them; `counts` has them all, by code."""
    counts: dict[str, int]
    digest: str
    evidence_ref: str


class EvidenceQuarantined(LedgerRecord, frozen=True, kw_only=True):
    """A piece of evidence could not be decided on twice; its identity is paused, the partition goes on."""

    charger_id: str | None
    evidence_id: str
    error: str
