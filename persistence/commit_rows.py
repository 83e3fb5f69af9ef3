"""How a `Batch` becomes columns: which statement of `commit.sql` takes which rows, in which order. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from bfactors.errors import LedgerCorrupt
from bfactors.ledger_row import Batch, EventRow, Lease

Row = TypeVar("Row", bound=msgspec.Struct)

Statement = tuple[str, tuple[Any, ...]]
"""The name of a query in `commit.sql` and its arguments."""


def require_continuation(lease: Lease, events: Sequence[EventRow]) -> None:
    """Raise LedgerCorrupt unless the events continue the lease's chain without a gap.

    Their hashes are not computed again: the actor made them a moment ago, and verification does it independently.
    """
    sequence, head = lease.sequence, lease.head_hash
    for row in events:
        if row.partition != lease.partition or row.sequence != sequence + 1 or row.previous_hash != head:
            raise LedgerCorrupt(
                f"event {row.partition}:{row.sequence} does not follow {lease.partition}:{sequence}; nothing was written"
            )
        sequence, head = row.sequence, row.hash


def statements(lease: Lease, batch: Batch) -> Iterator[Statement]:
    """What a commit has to run after the fence, empty tables left out.

    Rows keep their order: in one batch a serial number may pass from a retired charger to its successor. Keys that
    partitions share (public keys, idempotency keys) are sorted, so that two commits never wait for each other in a circle.
    """
    number = lease.partition
    if batch.events:
        yield "events", (number, *_event_columns(batch.events))
    if batch.aggregates:
        yield "aggregates", (number, *_columns(_latest(batch.aggregates, "key")))
    if batch.inbox:
        yield "inbox", (number, list(dict.fromkeys(batch.inbox)))
    if batch.chargers:
        yield "chargers", (number, *_columns(_latest(batch.chargers, "charger_id")))
    if batch.certificates:
        yield "certificates", (number, *_columns(_latest(batch.certificates, "certificate_id")))
    if batch.jobs:
        yield "jobs", (number, *_columns(_latest(batch.jobs, "job_id")))
    if batch.instructions:
        yield "instructions", (number, *_columns(_latest(batch.instructions, "instruction_id")))
    yield from _effects(number, batch)
    yield from _timers(number, batch)
    if batch.key_owners:
        first = _latest(reversed(batch.key_owners), "spki_sha256")
        first.sort(key=lambda row: row.spki_sha256)
        yield (
            "key_owners",
            ([bytes.fromhex(row.spki_sha256) for row in first], [row.managed_identity_id for row in first]),
        )
    if batch.security_events:
        yield (
            "security_events",
            (number, *_columns(_latest(batch.security_events, "evidence_id"))),
        )
    if batch.quarantine:
        kept = [
            msgspec.structs.replace(row, error=_storable(row.error))
            for row in _latest(batch.quarantine, "evidence_id")
        ]
        yield "quarantine", (number, *_columns(kept))
    if batch.idempotency:
        answers = sorted(batch.idempotency, key=lambda row: row.key)
        yield "idempotency", tuple(_columns(answers))


def _effects(number: int, batch: Batch) -> Iterator[Statement]:
    rows = _latest(batch.effects, "effect_id")
    owed = [row for row in rows if row.outstanding]
    settled = [row.effect_id for row in rows if not row.outstanding]
    if owed:
        columns = ([row.effect_id for row in owed], [row.purpose for row in owed], [row.doc for row in owed])
        yield "effects", (number, *columns)
    if settled:
        yield "settled_effects", (number, settled)


def _timers(number: int, batch: Batch) -> Iterator[Statement]:
    rows = _latest(batch.timers, "key")
    armed = [(row.key, row.due_at) for row in rows if row.due_at is not None]
    cleared = [row.key for row in rows if row.due_at is None]
    if armed:
        yield "timers", (number, *map(list, zip(*armed, strict=True)))
    if cleared:
        yield "cleared_timers", (number, cleared)


def _storable(text: str) -> str:
    """An error's text without what PostgreSQL's text refuses: it may quote the very input that was the trouble."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")


def _event_columns(rows: Sequence[EventRow]) -> list[list[Any]]:
    """Every column but the partition; hashes travel as 32 bytes."""
    columns = _columns(rows)
    columns[-2:] = ([bytes.fromhex(text) for text in column] for column in columns[-2:])
    return columns[1:]


def _columns(rows: Iterable[msgspec.Struct]) -> list[list[Any]]:
    return [list(column) for column in zip(*map(msgspec.structs.astuple, rows), strict=True)]


def _latest(rows: Iterable[Row], key: str) -> list[Row]:
    """One row per key, the last one given, in the order in which the last ones were given."""
    name_of = attrgetter(key)
    kept: dict[str, Row] = {}
    for row in rows:
        name = name_of(row)
        kept.pop(name, None)
        kept[name] = row
    return list(kept.values())
