"""Checkpoints, keys and proofs as an auditor asks for them, read under the reader role. Nobody has to believe the answers."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Self

import asyncpg

from bfactors.audit.checkpoint import SignedCheckpoint, signed_checkpoint
from bfactors.audit.merkle import HASH_BYTES, OCTAVE, leaf_hash
from bfactors.audit.note import NoteKey
from bfactors.audit.proof import (
    Block,
    LeafRange,
    Subtrees,
    blocks_of,
    consistency_plan,
    inclusion_plan,
    proof_of,
)
from bfactors.errors import LedgerCorrupt, MalformedNote
from bfactors.ledger_row import EventRow
from bfactors.refusal import Refusal
from persistence.audit import rfc3339
from persistence.cursor import NO_KEY, Key, decode_cursor, encode_cursor, limit_problem
from persistence.database import open_pool, unavailable_when_lost
from persistence.query import queries

Body = dict[str, Any]
_SQL = queries("checkpoint")
_WIDTH = 1 << OCTAVE
_NOTES_AT_ONCE = 1_000


class ProofReader:
    """A small pool under the reader role. Every method raises Unavailable; all run on the pool's loop."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    async def open(
        cls, reader_dsn: str, *, size: int = 2, statement_timeout: timedelta = timedelta(seconds=10)
    ) -> Self:
        """Raises Unavailable."""
        return cls(
            await open_pool(
                reader_dsn, size=size, application="bf-proof", statement_timeout=statement_timeout
            )
        )

    async def close(self) -> None:
        """Cut off what is being read."""
        self._pool.terminate()

    # ------------------------------------------------------------ as the API shows it

    async def checkpoints(
        self, *, partition: int | None = None, limit: int = 100, cursor: str | None = None
    ) -> Body | Refusal:
        """A page, newest first."""
        if refused := limit_problem(limit):
            return refused
        start: Key | Refusal = (*NO_KEY, None)
        if cursor is not None:
            start = decode_cursor("checkpoints", cursor, datetime, str, int, int)
        if isinstance(start, Refusal):
            return start
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SQL["page"], partition, *start, limit + 1)
        shown = rows[:limit]
        return {
            "items": [_item(row) for row in shown],
            "next_cursor": encode_cursor("checkpoints", tuple(shown[-1])[:4]) if len(rows) > limit else None,
        }

    async def inclusion(self, partition: int, sequence: int, size: int | None = None) -> Body | Refusal:
        """That an event is under a checkpoint: one of that size, else the latest."""
        signed = await self.signed(partition, size)
        if signed is None:
            return _no_checkpoint(partition, size)
        checkpoint = signed.checkpoint
        if sequence > checkpoint.size:
            return Refusal(
                "not-covered",
                f"event {partition}:{sequence} is not under the checkpoint of {checkpoint.size} rows; ask again later",
                "sequence",
                409,
            )
        blocks = Blocks(self._pool, partition)
        path = await blocks.proof(inclusion_plan(sequence - 1, checkpoint.size))
        row = await blocks.row(sequence)
        return {
            "partition": partition,
            "sequence": sequence,
            "hash": row.hex(),
            "leaf_index": sequence - 1,
            "leaf_hash": leaf_hash(row).hex(),
            "tree_size": checkpoint.size,
            "root_hash": checkpoint.root_hash,
            "path": [node.hex() for node in path],
            "note": str(signed.note),
        }

    async def consistency(self, partition: int, first: int, second: int) -> Body | Refusal:
        """That the checkpoint of `second` rows only adds rows to that of `first`."""
        signed: list[SignedCheckpoint] = []
        for size in (first, second):
            found = await self.signed(partition, size)
            if found is None:
                return _no_checkpoint(partition, size)
            signed.append(found)
        if first > second:
            return Refusal("invalid-value", "first must not be larger than second", "first")
        path = await Blocks(self._pool, partition).proof(consistency_plan(first, second))
        return {
            "partition": partition,
            "first": first,
            "second": second,
            "first_root_hash": signed[0].checkpoint.root_hash,
            "second_root_hash": signed[1].checkpoint.root_hash,
            "path": [node.hex() for node in path],
            "first_note": str(signed[0].note),
            "second_note": str(signed[1].note),
        }

    async def key_rows(self) -> list[tuple[NoteKey, datetime]]:
        """Every public key that ever signed, with when it first did."""
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SQL["keys"])
        return [
            (NoteKey(name=row["name"], algorithm=row["algorithm"], der=row["der"]), row["first_used_at"])
            for row in rows
        ]

    # ------------------------------------------------------------ as a pack needs it

    async def signed(self, partition: int, size: int | None = None) -> SignedCheckpoint | None:
        """The checkpoint of that size, or the latest, of the origin that signs now. Raises LedgerCorrupt."""
        async with unavailable_when_lost():
            origin = await self._pool.fetchval(_SQL["newest_origin"], partition)
            if size is None:
                note = await self._pool.fetchval(_SQL["latest"], origin, partition)
            else:
                note = await self._pool.fetchval(_SQL["of_size"], origin, partition, size)
        return None if note is None else _signed(note)

    async def notes(self, origin: str, partition: int, limit: int) -> list[SignedCheckpoint]:
        """The largest ones of an origin, smallest first."""
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SQL["last_notes"], origin, partition, limit)
        return [_signed(row["note"]) for row in reversed(rows)]

    async def all_notes(self) -> AsyncIterator[str]:
        """Every checkpoint there is, as it was signed."""
        key: tuple[str, int, int] = ("", -1, 0)
        while True:
            async with unavailable_when_lost():
                rows = await self._pool.fetch(_SQL["all_notes"], *key, _NOTES_AT_ONCE)
            for row in rows:
                key = (row["origin"], row["partition"], row["size"])
                yield row["note"]
            if len(rows) < _NOTES_AT_ONCE:
                return

    def blocks(self, partition: int) -> "Blocks":
        """What many proofs of one partition are read through."""
        return Blocks(self._pool, partition)

    async def charger_events(self, charger_id: str, partition: int, limit: int) -> list[EventRow]:
        """Every event of a partition that names a charger, oldest first."""
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SQL["charger_events"], charger_id, partition, limit)
        return sorted([EventRow(**row) for row in rows], key=lambda row: row.sequence)

    async def charger_certificates(self, charger_id: str) -> list[bytes]:
        """The API's body of each of a charger's certificates, as JSON."""
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SQL["charger_certificates"], charger_id)
        return [row["doc"] for row in rows]


class Blocks:
    """Kept hashes of one partition, read 256 at a time and remembered."""

    def __init__(self, pool: asyncpg.Pool, partition: int) -> None:
        self._pool = pool
        self._partition = partition
        self._subtrees = Subtrees()
        self._rows: dict[int, list[bytes]] = {}

    async def proof(self, plan: Sequence[LeafRange]) -> list[bytes]:
        """The hashes of a planned proof. Raises LedgerCorrupt when some that it needs are not there."""
        for block in blocks_of(plan):
            await self._need(block)
        try:
            return proof_of(plan, self._subtrees)
        except LookupError as problem:
            raise LedgerCorrupt(f"partition {self._partition} lacks hashes that a proof needs") from problem

    async def row(self, sequence: int) -> bytes:
        """A row's own hash. Raises LedgerCorrupt when there is none."""
        number, at = divmod(sequence - 1, _WIDTH)
        await self._need((0, number))
        if at >= len(self._rows[number]):
            raise LedgerCorrupt(f"partition {self._partition} has no row {sequence}")
        return self._rows[number][at]

    async def _need(self, block: Block) -> None:
        if block in self._subtrees:
            return
        height, number = block
        first = number << OCTAVE
        what = (first, first + _WIDTH) if height == 0 else (height, first, first + _WIDTH)
        name = "row_hashes" if height == 0 else "node_hashes"
        async with unavailable_when_lost():
            joined = await self._pool.fetchval(_SQL[name], self._partition, *what) or b""
        nodes = [joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES)]
        if height == 0:
            self._rows[number] = nodes
            nodes = [leaf_hash(row) for row in nodes]
        self._subtrees.put(block, nodes)


def _signed(note: str) -> SignedCheckpoint:
    try:
        return signed_checkpoint(note)
    except MalformedNote as problem:
        raise LedgerCorrupt(f"a stored checkpoint cannot be read: {problem}") from problem


def _item(row: asyncpg.Record) -> Body:
    return {
        "origin": row["origin"],
        "partition": row["partition"],
        "size": row["size"],
        "root_hash": row["root_hash"].hex(),
        "head_hash": row["head_hash"].hex(),
        "made_at": rfc3339(row["made_at"]),
        "note": row["note"],
    }


def _no_checkpoint(partition: int, size: int | None) -> Refusal:
    what = "checkpoint yet" if size is None else f"checkpoint of {size} rows"
    return Refusal("unknown-checkpoint", f"partition {partition} has no {what}", None, 404)
