"""A million ledger events: written in order, read back and verified as an outsider would."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from bfactors.ledger_row import GENESIS, EventRow, row_hash
from persistence.verification import ExportHeader, verify_export

pytestmark = pytest.mark.slow
ROWS = 1_000_000
AT = datetime(2026, 1, 1, tzinfo=UTC)


def write_export(path: Path) -> None:
    fields = {
        "partition": 1,
        "event": "ChargerSessionOpened",
        "schema_version": 1,
        "actor": "charger",
        "cause": "e" * 32,
        "policy_version": 1,
        "fleet_sequence": 6,
        "charger_id": "CP-1",
        "managed_identity_id": "unit-1",
        "purpose": None,
        "variant": None,
        "job_id": None,
        "certificate_id": None,
        "payload": '{"chargerId":"CP-1","sessionId":"0123456789abcdef","securityProfile":3}',
    }
    encode = msgspec.json.Encoder().encode
    previous = GENESIS
    body = path.with_suffix(".body")
    with body.open("wb") as stream:
        for sequence in range(1, ROWS + 1):
            row = {**fields, "sequence": sequence, "recorded_at": AT + timedelta(seconds=sequence)}
            now = row_hash(previous_hash=previous, **row)
            stream.write(encode(EventRow(previous_hash=previous, hash=now, **row)) + b"\n")
            previous = now
    header = ExportHeader(exported_at=AT, heads={1: (ROWS, previous)})
    with path.open("wb") as stream, body.open("rb") as rows:
        stream.write(encode(header) + b"\n")
        while block := rows.read(1 << 20):
            stream.write(block)
    body.unlink()


def test_a_million_events_are_verified_and_a_flipped_one_is_named(tmp_path: Path) -> None:
    export = tmp_path / "ledger.jsonl"
    write_export(export)
    began = time.process_time()
    report = verify_export(export)
    print(f"{report.rows} rows verified in {time.process_time() - began:.1f} s CPU")
    assert report.intact
    assert report.rows == ROWS
    opened = b'"sequence":800000,"event":"ChargerSessionOpened"'
    closed = b'"sequence":800000,"event":"ChargerSessionClosed"'
    export.write_bytes(export.read_bytes().replace(opened, closed, 1))
    again = verify_export(export)
    assert not again.intact
    assert [(p.partition, p.sequence) for p in again.problems] == [(1, 800000)]
