"""The ledger's tables behind `bfactors.ports.LedgerStore`: the only INSERTs, one fenced statement a commit."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Self

import asyncpg

from bfactors.charger.former import ENDED, Former, spki_of
from bfactors.errors import EvidenceKnown, Fenced, Overtaken
from bfactors.ledger_row import AggregateRow, Batch, EffectRow, EventRow, Lease
from persistence.commit_rows import require_continuation, rows_of
from persistence.commit_statement import commit_statement
from persistence.database import PEER, open_pool, unavailable_when_lost
from persistence.query import queries

IDEMPOTENCY_KEPT = timedelta(hours=24)
INBOX_KEPT = timedelta(days=14)
"""Twice as long as evidence streams keep a message, so no redelivery outlives its inbox row."""

IDLE_COMMIT_ENDS = timedelta(seconds=5)
"""An owner that stops in the middle of a commit (paused, or cut off) holds its partition's row, and so its successor, no
longer than this; well under a lease."""

INBOX_KEY = "inbox_pkey"

_LEASE = queries("lease")
_LOAD = queries("load")


class PostgresLedgerStore:
    """One pool under the writer role, shared by every partition this node owns. All methods run on the pool's loop.

    Every method raises Unavailable when the server is away. A commit that ends in Unavailable is in doubt: drop memory
    and `claim` again. What that returns is final: it waits for a commit that has begun to write, and fences a later one.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    async def open(
        cls, writer_dsn: str, *, size: int = 8, statement_timeout: timedelta = timedelta(seconds=10)
    ) -> Self:
        """Raises Unavailable."""
        return cls(
            await open_pool(
                writer_dsn,
                size=size,
                application="bf-ledger",
                statement_timeout=statement_timeout,
                settings={
                    "idle_in_transaction_session_timeout": f"{IDLE_COMMIT_ENDS.total_seconds() * 1000:.0f}ms"
                },
            )
        )

    async def close(self) -> None:
        """Close the connections; commits still under way are cut off and rolled back."""
        self._pool.terminate()

    # ------------------------------------------------------------ the lease

    async def claim(self, partition: int, owner: str, lease: timedelta) -> Lease | None:
        """One statement, so two claimants cannot both succeed; a claimant's own live lease counts as lapsed."""
        async with unavailable_when_lost():
            row = await self._pool.fetchrow(_LEASE["claim"], partition, owner, lease)
        return None if row is None else _lease(partition, owner, row)

    async def renew(self, lease: Lease, duration: timedelta) -> None:
        async with unavailable_when_lost():
            held = await self._pool.fetchval(_LEASE["renew"], lease.partition, lease.epoch, duration)
        _require(held is not None, lease)

    async def release(self, lease: Lease) -> None:
        """Let another node claim at once, and leave it the lease's outbox position; no effect when it already has."""
        async with unavailable_when_lost():
            await self._pool.execute(_LEASE["release"], lease.partition, lease.epoch, lease.outbox_position)

    # ------------------------------------------------------------ writing

    async def commit(self, lease: Lease, batch: Batch, duration: timedelta) -> Lease:
        """Write all of `batch` or nothing, and return the lease the next commit builds on.

        Raises Fenced; LedgerCorrupt when the events do not continue the chain; EvidenceKnown when the inbox holds some of
        the batch's evidence; Overtaken when another partition took a serial number, a fingerprint, an identity's name or an
        idempotency key in the meantime; Unavailable, and then the outcome is in doubt.
        """
        require_continuation(lease, batch.events)
        sequence, head = lease.sequence, lease.head_hash
        if batch.events:
            sequence, head = batch.events[-1].sequence, batch.events[-1].hash
        text, arguments = commit_statement(
            (
                lease.partition,
                lease.epoch,
                lease.sequence,
                sequence,
                bytes.fromhex(head),
                batch.evidence_position,
                batch.fleet_position,
                duration,
                lease.outbox_position,
            ),
            rows_of(batch),
        )
        try:
            async with unavailable_when_lost():
                outbox_position = await self._pool.fetchval(text, *arguments)
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name == INBOX_KEY:
                raise EvidenceKnown("the batch holds evidence taken before") from error
            raise Overtaken(PEER, f"overtaken on {error.constraint_name}", retry_after_s=1) from error
        _require(outbox_position is not None, lease)
        return Lease(
            partition=lease.partition,
            owner=lease.owner,
            epoch=lease.epoch,
            sequence=sequence,
            head_hash=head,
            evidence_position=batch.evidence_position,
            fleet_position=batch.fleet_position,
            outbox_position=outbox_position,
        )

    async def outbox_done(self, lease: Lease, sequence: int) -> None:
        """Never moves back. Raises Fenced."""
        async with unavailable_when_lost():
            held = await self._pool.fetchval(_LEASE["outbox_done"], lease.partition, lease.epoch, sequence)
        _require(held is not None, lease)

    async def prune(self, limit: int = 10_000) -> int:
        """Delete up to `limit` idempotency records past 24 h and as many inbox rows past 14 days; the count deleted."""
        async with unavailable_when_lost():
            tags = [
                await self._pool.execute(_LOAD["prune_idempotency"], IDEMPOTENCY_KEPT, limit),
                await self._pool.execute(_LOAD["prune_inbox"], INBOX_KEPT, limit),
            ]
        return sum(int(tag.rpartition(" ")[2]) for tag in tags)

    # ------------------------------------------------------------ reading back

    async def load(self, partition: int, keys: Sequence[str]) -> Mapping[str, AggregateRow]:
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_LOAD["aggregates"], partition, keys)
        return {row["key"]: AggregateRow(*row) for row in rows}

    async def aggregates_after(self, partition: int, key: str, limit: int) -> Sequence[AggregateRow]:
        """The next aggregates in key order, from "" on: for rebuilding what was projected elsewhere."""
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_LOAD["aggregates_after"], partition, key, limit)
        return [AggregateRow(*row) for row in rows]

    async def chargers_on(self, partition: int, incarnation: str) -> Sequence[str]:
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_LOAD["chargers_on"], partition, incarnation)
        return [row["charger_id"] for row in rows]

    async def known_evidence(self, partition: int, ids: Sequence[str]) -> set[str]:
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_LOAD["known_evidence"], partition, ids)
        return {row["evidence_id"] for row in rows}

    async def idempotent_answer(self, key: str) -> tuple[str, bytes] | None:
        async with unavailable_when_lost():
            row = await self._pool.fetchrow(_LOAD["idempotent_answer"], key)
        return None if row is None else (row["request_hash"], row["answer"])

    async def key_owner(self, spki_sha256: Sequence[str]) -> Mapping[str, str]:
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_LOAD["key_owner"], [bytes.fromhex(text) for text in spki_sha256])
        return {row["spki_sha256"].hex(): row["managed_identity_id"] for row in rows}

    async def former_certificates(
        self, partition: int, charger_ids: Sequence[str], now: datetime
    ) -> Sequence[Former]:
        async with unavailable_when_lost():
            rows = await self._pool.fetch(
                _LOAD["former_certificates"], partition, charger_ids, list(ENDED), now
            )
        return [_former(row) for row in rows]

    async def certificate_docs(self, partition: int, certificate_ids: Sequence[str]) -> Mapping[str, bytes]:
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_LOAD["certificate_docs"], partition, certificate_ids)
        return {row["certificate_id"]: row["doc"] for row in rows}

    async def serial_owner(self, serial_number: str) -> str | None:
        async with unavailable_when_lost():
            owner: str | None = await self._pool.fetchval(_LOAD["serial_owner"], serial_number)
        return owner

    async def identity_holders(self, external_ids: Sequence[str]) -> Mapping[str, str]:
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_LOAD["identity_holders"], list(external_ids))
        return {row["external_id"]: row["identity_id"] for row in rows}

    async def outstanding_effects(self, partition: int) -> Sequence[EffectRow]:
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_LOAD["outstanding_effects"], partition)
        return [
            EffectRow(effect_id=row["effect_id"], purpose=row["purpose"], outstanding=True, doc=row["doc"])
            for row in rows
        ]

    async def due(self, partition: int, limit: int) -> Sequence[tuple[str, datetime]]:
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_LOAD["due"], partition, limit)
        return [(row["key"], row["due_at"]) for row in rows]

    async def events_after(self, partition: int, sequence: int, limit: int) -> Sequence[EventRow]:
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_LOAD["events_after"], partition, sequence, limit)
        return [event_row(row) for row in rows]


def event_row(record: asyncpg.Record) -> EventRow:
    """An event as stored, its two hashes back in hex."""
    fields = dict(record)
    fields["previous_hash"] = fields["previous_hash"].hex()
    fields["hash"] = fields["hash"].hex()
    return EventRow(**fields)


def _former(row: asyncpg.Record) -> Former:
    fields = dict(row)
    doc = fields.pop("doc")
    return Former(**fields) if doc is None else Former(**{**fields, "spki_sha256": spki_of(doc)})


def _lease(partition: int, owner: str, row: asyncpg.Record) -> Lease:
    fields = dict(row)
    fields["head_hash"] = fields["head_hash"].hex()
    return Lease(partition=partition, owner=owner, **fields)


def _require(held: bool, lease: Lease) -> None:
    if not held:
        raise Fenced(f"partition {lease.partition} has left epoch {lease.epoch} or sequence {lease.sequence}")
