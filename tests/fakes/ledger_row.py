"""Well-formed ledger rows with defaults, for tests that care about a few of their fields."""

from datetime import UTC, datetime, timedelta
from typing import Any

from bfactors.ledger_row import (
    AggregateRow,
    Batch,
    CertificateRow,
    ChargerRow,
    EventRow,
    JobRow,
    Lease,
    row_hash,
)

DAWN = datetime(2026, 3, 1, 6, 0, 0, 123456, tzinfo=UTC)


def event(previous_hash: str, partition: int, sequence: int, **fields: Any) -> EventRow:
    """One event with a right hash. Without `recorded_at`, events are one second apart."""
    values: dict[str, Any] = {
        "partition": partition,
        "sequence": sequence,
        "event": "CertificateRequested",
        "schema_version": 1,
        "recorded_at": DAWN + timedelta(seconds=sequence),
        "actor": "operator:ada",
        "cause": f"command-{sequence}",
        "policy_version": 1,
        "fleet_sequence": 0,
        "charger_id": "CH 1.*>",
        "managed_identity_id": "mi-1",
        "purpose": "charging_station",
        "variant": None,
        "job_id": "job-1",
        "certificate_id": None,
        "payload": '{"jobId":"job-1","reason":"größer"}',
        "previous_hash": previous_hash,
        **fields,
    }
    return EventRow(**values, hash=row_hash(**values))


def chain(lease: Lease, count: int, **fields: Any) -> list[EventRow]:
    """`count` events that continue the lease's chain."""
    rows: list[EventRow] = []
    head = lease.head_hash
    for sequence in range(lease.sequence + 1, lease.sequence + count + 1):
        rows.append(event(head, lease.partition, sequence, **fields))
        head = rows[-1].hash
    return rows


def batch(lease: Lease, count: int = 1, **rows: Any) -> Batch:
    """A batch of `count` chained events that moves the evidence position by one."""
    values: dict[str, Any] = {
        "evidence_position": lease.evidence_position + 1,
        "fleet_position": lease.fleet_position,
        "events": chain(lease, count),
        **rows,
    }
    return Batch(**values)


def aggregate(key: str = "charger:CH 1.*>", version: int = 1, state: bytes = b"{}") -> AggregateRow:
    return AggregateRow(key, version, state)


def charger(charger_id: str = "CH 1.*>", **fields: Any) -> ChargerRow:
    values: dict[str, Any] = {
        "charger_id": charger_id,
        "managed_identity_id": f"mi-{charger_id}",
        "serial_number": f"SN-{charger_id}",
        "family": "Vendor/Model",
        "site": "depot-north",
        "cohort": "canary",
        "connected": False,
        "security_profile": 2,
        "decommissioned": False,
        "doc": b'{"charger_id":"%s"}' % charger_id.encode(),
        **fields,
    }
    return ChargerRow(**values)


def certificate(certificate_id: str = "cert-1", **fields: Any) -> CertificateRow:
    values: dict[str, Any] = {
        "certificate_id": certificate_id,
        "charger_id": "CH 1.*>",
        "managed_identity_id": "mi-CH 1.*>",
        "purpose": "charging_station",
        "realm": "charger-identity",
        "variant": "default",
        "mode": "managed",
        "state": "issued",
        "authority": "aws-private-ca",
        "fingerprint_sha256": (certificate_id.encode().hex() + "0" * 64)[:64],
        "serial_number": certificate_id.encode().hex(),
        "not_before": DAWN,
        "not_after": DAWN + timedelta(days=180),
        "doc": b'{"certificate_id":"%s","pem":"PEM","chain_pem":"CHAIN","evidence":[]}'
        % certificate_id.encode(),
        **fields,
    }
    return CertificateRow(**values)


def job(job_id: str = "job-1", **fields: Any) -> JobRow:
    values: dict[str, Any] = {
        "job_id": job_id,
        "charger_id": "CH 1.*>",
        "managed_identity_id": "mi-CH 1.*>",
        "purpose": "charging_station",
        "action": "issue",
        "state": "open",
        "stage": "requested",
        "overdue": False,
        "created_at": DAWN,
        "doc": b'{"job_id":"%s"}' % job_id.encode(),
        **fields,
    }
    return JobRow(**values)
