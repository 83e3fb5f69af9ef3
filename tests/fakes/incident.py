"""Certificates' rows as an incident's rule sees them."""

from datetime import datetime

from bfactors.incident import Incident, Selector, Subject
from bfactors.ledger_row import CertificateRow, ChargerRow


def incident_of(selector: Selector, now: datetime) -> Incident:
    """An incident with that selector, opened now."""
    return Incident(
        incident_id="incident-1",
        name="any",
        reason="any",
        mode="revoke",
        revocation_reason="unspecified",
        selector=selector,
        percent=100,
        expected=0,
        author="a",
        approver=None,
        opened_at=now,
    )


def subject_of(row: CertificateRow, owner: ChargerRow) -> Subject:
    return Subject(
        certificate_id=row.certificate_id,
        purpose=row.purpose,
        issuing_ca_id=row.issuing_ca_id or "",
        spki_sha256=row.spki_sha256 or "",
        state=row.state,
        issued_at=row.issued_at or row.not_before,
        not_after=row.not_after,
        family=owner.family,
        site=owner.site,
        cohort=owner.cohort,
    )
