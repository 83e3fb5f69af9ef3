"""An audit report's CSV, row by row. Source: facts on AWS Private CA 3.8."""

import csv
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from bfactors.audit_report import AuditEntry
from bfactors.ca import Permanent

_NEEDED = ("certificateArn", "serial", "subject", "notBefore", "notAfter", "issuedAt", "templateArn")


def entries(lines: Iterable[str]) -> Iterator[AuditEntry]:
    """Columns are found by name, whatever their order; unknown ones are passed over. Raises Permanent."""
    rows = csv.DictReader(lines, restval="")
    missing = [name for name in _NEEDED if name not in (rows.fieldnames or ())]
    if missing:
        raise Permanent("MalformedAuditReport", f"the report has no column {missing[0]}")
    for row in rows:
        try:
            yield _entry(row)
        except (ValueError, TypeError) as problem:
            raise Permanent("MalformedAuditReport", f"line {rows.line_num}: {problem}") from problem


def _entry(row: dict[str, str]) -> AuditEntry:
    revoked_at = row.get("revokedAt")
    return AuditEntry(
        external_ref=row["certificateArn"],
        serial_number=f"{int(row['serial'].replace(':', ''), 16):x}",
        subject=row["subject"],
        template=row["templateArn"].rpartition(":template/")[2],
        not_before=_time(row["notBefore"]),
        not_after=_time(row["notAfter"]),
        issued_at=_time(row["issuedAt"]),
        revoked_at=_time(revoked_at) if revoked_at else None,
        revocation_reason=(row.get("revocationReason") or "").lower() or None,
    )


def _time(text: str) -> datetime:
    """`2026-06-01T06:00:00+0000`, with or without fractions, or a final Z."""
    return datetime.fromisoformat(text).astimezone(UTC)
