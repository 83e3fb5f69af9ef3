"""Audit reports: everything an authority issued, as an object in a bucket, at most one per half hour."""

import asyncio
import csv
import io
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from simulator.aws.authority import Authority
from simulator.aws.config import PeerConfig
from simulator.aws.issued import colon_serial
from simulator.aws.registry import AuthorityRegistry
from simulator.aws.request import CreateAuditReport, DescribeAuditReport
from simulator.aws.service_error import ServiceError
from simulator.aws.store import connect

#: Column order of the CSV form. Source: AWS Private CA user guide, "audit reports".
COLUMNS = (
    "awsAccountId", "requestedByServicePrincipal", "certificateArn", "serial", "subject", "notBefore", "notAfter",
    "issuedAt", "revokedAt", "revocationReason", "templateArn",
)  # fmt: skip
_CONTENT_TYPES = {"JSON": "application/json", "CSV": "text/csv"}


@dataclass(frozen=True)
class AuditReports:
    """Reports are written by a thread with its own connection; those a kill interrupted are resumed."""

    config: PeerConfig
    store: sqlite3.Connection
    registry: AuthorityRegistry
    _writing: set[asyncio.Task[None]] = field(default_factory=set)

    def create(self, call: CreateAuditReport) -> dict[str, Any]:
        """Start a report and say where it will lie.

        Raises: ServiceError ThrottlingException when the authority's last report is too young.
        """
        authority = self.registry.named(call.certificate_authority_arn)
        now_s = self.config.clock.timestamp()
        youngest = now_s - self.config.audit_report_interval.total_seconds()
        if self.store.execute(
            "SELECT 1 FROM audit_report WHERE authority_id = ? AND created_at > ?", (authority.id, youngest)
        ).fetchone():
            raise ServiceError("ThrottlingException", "an audit report may be created once in 30 minutes")
        report_id = str(uuid.uuid4())
        suffix = call.audit_report_response_format
        key = f"audit-report/{authority.id}/{report_id}.{suffix.lower()}"
        self.store.execute(
            "INSERT INTO audit_report VALUES (?,?,?,?,?,'CREATING',?)",
            (report_id, authority.id, call.s3_bucket_name, key, suffix, now_s),
        )
        self._start(report_id, authority)
        return {"AuditReportId": report_id, "S3Key": key}

    def describe(self, call: DescribeAuditReport) -> dict[str, Any]:
        """DescribeCertificateAuthorityAuditReport."""
        authority = self.registry.named(call.certificate_authority_arn)
        row = self.store.execute(
            "SELECT * FROM audit_report WHERE id = ? AND authority_id = ?",
            (call.audit_report_id, authority.id),
        ).fetchone()
        if row is None:
            raise ServiceError("ResourceNotFoundException", "no audit report has this id")
        return {
            "AuditReportStatus": row["status"],
            "S3BucketName": row["bucket"],
            "S3Key": row["key"],
            "CreatedAt": row["created_at"],
        }

    def resume(self) -> None:
        """Write the reports that were under way when the peer last stopped."""
        for row in self.store.execute("SELECT * FROM audit_report WHERE status = 'CREATING'").fetchall():
            self._start(row["id"], self.registry.by_id(row["authority_id"]))

    async def settle(self) -> None:
        """Wait until no report is being written."""
        await asyncio.gather(*self._writing)

    def _start(self, report_id: str, authority: Authority) -> None:
        work = asyncio.to_thread(_write, self.config, authority, report_id)
        task = asyncio.ensure_future(work)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)


def _write(config: PeerConfig, authority: Authority, report_id: str) -> None:
    """Runs in a worker thread."""
    store = connect(config.state_dir)
    try:
        report = store.execute("SELECT * FROM audit_report WHERE id = ?", (report_id,)).fetchone()
        rows = _rows(store, config.account_id, authority)
        body = _csv(rows) if report["format"] == "CSV" else orjson.dumps(list(rows))
        store.execute("BEGIN IMMEDIATE")
        store.execute(
            "INSERT OR REPLACE INTO object VALUES (?,?,?,?,?)",
            (report["bucket"], report["key"], _CONTENT_TYPES[report["format"]], body, report["created_at"]),
        )
        store.execute("UPDATE audit_report SET status = 'SUCCESS' WHERE id = ?", (report_id,))
        store.execute("COMMIT")
    finally:
        store.close()


def _rows(store: sqlite3.Connection, account_id: str, authority: Authority) -> Iterator[dict[str, str]]:
    """One per certificate, oldest first; columns without a value are left out, as the JSON form does."""
    for row in store.execute(
        "SELECT serial, subject, not_before, not_after, issued_at, revoked_at, revocation_reason, template_arn"
        " FROM certificate WHERE authority_id = ? ORDER BY issued_at",
        (authority.id,),
    ):
        entry = {
            "awsAccountId": account_id,
            "certificateArn": authority.certificate_arn(row["serial"]),
            "serial": colon_serial(row["serial"]),
            "subject": row["subject"],
            "notBefore": _time(row["not_before"]),
            "notAfter": _time(row["not_after"]),
            "issuedAt": _time(row["issued_at"]),
        }
        if row["revoked_at"] is not None:
            entry["revokedAt"] = _time(row["revoked_at"])
            entry["revocationReason"] = row["revocation_reason"]
        entry["templateArn"] = row["template_arn"]
        yield entry


def _csv(rows: Iterator[dict[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
