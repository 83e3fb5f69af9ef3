"""The ledger beside a CA's own books."""

from datetime import datetime

import msgspec

from bfactors.event.base import LedgerRecord


class ReconciliationRequested(LedgerRecord, frozen=True, kw_only=True):
    """One of a purpose's CAs is to be compared with the ledger; a run asks for each of them."""

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


class AuthorityReconciled(LedgerRecord, frozen=True, kw_only=True):
    """A CA's own list was compared with the ledger. `items` holds the first differences, `counts` all of them by kind."""

    purpose: str
    run_id: str
    authority_arn: str
    report_ref: str
    report_at: datetime
    certificates: int
    counts: dict[str, int]
    items: tuple[ReconciliationItem, ...]


class ReconciliationFailed(LedgerRecord, frozen=True, kw_only=True):
    """The comparison came to nothing, for this reason; the next night tries again."""

    purpose: str
    run_id: str
    authority_arn: str
    reason_code: str
    reason_message: str


class UnexplainedCertificateFound(LedgerRecord, frozen=True, kw_only=True):
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


class UnexplainedCertificateRevoked(LedgerRecord, frozen=True, kw_only=True):
    """The CA has accepted the revocation of one that nothing accounted for."""

    purpose: str
    serial_number: str
    authority_arn: str = ""
    """Not said while a purpose had one CA."""
