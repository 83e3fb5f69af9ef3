"""How a `Batch` becomes arguments: which part of `commit.sql` takes which rows, in which order. Pure."""

from collections.abc import Sequence
from operator import attrgetter
from typing import TypeVar

import msgspec

from bfactors.errors import LedgerCorrupt
from bfactors.ledger_row import Batch, EventRow, HolderRow, Lease

Row = TypeVar("Row", bound=msgspec.Struct)

Argument = str | list[str]
"""A part's rows as a JSON text, or mere keys as an array."""

_encode = msgspec.json.Encoder().encode


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


def rows_of(batch: Batch) -> dict[str, Argument]:
    """The argument of every part of `commit.sql` that has rows, by the part's name.

    Rows keep their order: in one batch a serial number may pass from a retired charger to its successor. Keys that
    partitions share (public keys, idempotency keys) are sorted, so that two commits never wait for each other in a circle.
    """
    rows: dict[str, Argument] = {}
    if batch.events:
        rows["events"] = _json(batch.events)
    if batch.inbox:
        rows["inbox"] = list(dict.fromkeys(batch.inbox))
    for name, given, key in (
        ("aggregates", batch.aggregates, "key"),
        ("chargers", batch.chargers, "charger_id"),
        ("certificates", batch.certificates, "certificate_id"),
        ("jobs", batch.jobs, "job_id"),
        ("instructions", batch.instructions, "instruction_id"),
        ("security_events", batch.security_events, "evidence_id"),
        ("logs", batch.logs, "log_id"),
        ("migrations", batch.migrations, "charger_id"),
        ("authorization_keys", batch.authorization_keys, "charger_id"),
        ("approvals", batch.approvals, "approval_id"),
        ("identities", batch.identities, "identity_id"),
    ):
        if given:
            rows[name] = _json(_latest(given, key))
    if batch.effects:
        effects = _latest(batch.effects, "effect_id")
        if owed := [row for row in effects if row.outstanding]:
            rows["effects"] = _json(owed)
        if settled := [row.effect_id for row in effects if not row.outstanding]:
            rows["settled_effects"] = settled
    if batch.timers:
        timers = _latest(batch.timers, "key")
        if armed := [row for row in timers if row.due_at is not None]:
            rows["timers"] = _json(armed)
        if cleared := [row.key for row in timers if row.due_at is None]:
            rows["cleared_timers"] = cleared
    if batch.key_owners:
        first = _latest(list(reversed(batch.key_owners)), "spki_sha256")
        rows["key_owners"] = _json(sorted(first, key=attrgetter("spki_sha256")))
    if batch.identity_holders:
        rows["identity_holders"] = _json(_holders(batch.identity_holders))
    if batch.erased_identifiers:
        rows["erased_identifiers"] = sorted(set(batch.erased_identifiers))
    if batch.quarantine:
        rows["quarantine"] = _json(
            [
                msgspec.structs.replace(row, error=_storable(row.error))
                for row in _latest(batch.quarantine, "evidence_id")
            ]
        )
    if batch.idempotency:
        rows["idempotency"] = _json(sorted(batch.idempotency, key=attrgetter("key")))
    return rows


def _holders(rows: Sequence[HolderRow]) -> list[HolderRow]:
    """One row per bearer and name. Whoever lets a name go comes before whoever takes it, or the two would collide."""
    kept = {(row.external_id, row.identity_id): row for row in rows}
    return sorted(kept.values(), key=attrgetter("held", "external_id", "identity_id"))


def _storable(text: str) -> str:
    """An error's text without what PostgreSQL's text refuses: it may quote the very input that was the trouble."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")


def _json(rows: Sequence[msgspec.Struct]) -> str:
    return _encode(rows).decode()


def _latest(rows: Sequence[Row], key: str) -> Sequence[Row]:
    """One row per key, the last one given, in the order in which the last ones were given."""
    if len(rows) == 1:
        return rows
    name_of = attrgetter(key)
    kept: dict[str, Row] = {}
    for row in rows:
        name = name_of(row)
        kept.pop(name, None)
        kept[name] = row
    return list(kept.values())
