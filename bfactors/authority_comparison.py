"""What is odd about one certificate when its CA's list is held against the ledger. Pure.

A report is a picture of one moment, and so is the ledger: what either learned shortly before the other was asked is no
difference, it is looked at the next night.
"""

from datetime import datetime, timedelta

from bfactors.audit_report import AuditEntry
from bfactors.known_certificate import KnownCertificate

ON_ITS_WAY = timedelta(minutes=15)

UNEXPLAINED = "unexplained"
"""At the CA, not in the ledger, and no charger of ours ever showed its key."""
ATTACHED = "attached"
"""At the CA, not in the ledger; its key is a charger's own, which has it now as superseded."""
MISSING = "missing"
"""In the ledger as that CA's, not at the CA."""
REVOKED_AT_CA = "revoked-at-ca"
"""Revoked at the CA, by nobody here."""
REVOCATION_NOT_KEPT = "revocation-not-kept"
"""Revoked here, the CA had accepted it, and the CA says it stands."""
KINDS = (UNEXPLAINED, ATTACHED, MISSING, REVOKED_AT_CA, REVOCATION_NOT_KEPT)


def oddity(entry: AuditEntry, known: KnownCertificate | None, report_at: datetime) -> str | None:
    """UNEXPLAINED, REVOKED_AT_CA, REVOCATION_NOT_KEPT, or None. What has ended opens no door and is passed over."""
    if entry.not_after <= report_at:
        return None
    settled_at = report_at - ON_ITS_WAY
    if known is None:
        is_settled = entry.revoked_at is None and entry.issued_at < settled_at
        return UNEXPLAINED if is_settled else None
    if entry.revoked_at is not None:
        return REVOKED_AT_CA if known.revocation_requested_at is None and known.revoked_at is None else None
    if known.revoked_at is not None and known.revoked_at < settled_at:
        return REVOCATION_NOT_KEPT
    return None


def is_missing(known: KnownCertificate, authority_arn: str, report_at: datetime) -> bool:
    """Whether one that the CA does not list should be there."""
    return (
        known.issuing_ca_id == authority_arn
        and known.issued_at < report_at - ON_ITS_WAY
        and known.not_after > report_at
    )
