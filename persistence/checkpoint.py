"""Checkpoints in the database, as a partition's owner writes them: fenced by its epoch, never changed."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Self

import asyncpg

from bfactors.audit.checkpoint import SignedCheckpoint, signed_checkpoint
from bfactors.audit.merkle import HASH_BYTES, CompactRange, Nodes
from bfactors.audit.note import NoteKey
from bfactors.errors import Fenced, LedgerCorrupt, MalformedNote
from bfactors.ledger_row import Lease
from persistence.database import open_pool, unavailable_when_lost
from persistence.query import queries

_SQL = queries("checkpoint")


class PostgresCheckpoints:
    """A small pool under the writer role. Every method raises Unavailable; all run on the pool's loop."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    async def open(
        cls, writer_dsn: str, *, size: int = 2, statement_timeout: timedelta = timedelta(seconds=30)
    ) -> Self:
        """Raises Unavailable."""
        return cls(
            await open_pool(
                writer_dsn, size=size, application="bf-checkpoint", statement_timeout=statement_timeout
            )
        )

    async def close(self) -> None:
        """Cut off what is under way."""
        self._pool.terminate()

    async def latest(self, origin: str, partition: int) -> tuple[SignedCheckpoint, CompactRange] | None:
        """The largest, and the tree it was taken of. Raises LedgerCorrupt when the two are not of each other."""
        async with unavailable_when_lost():
            row = await self._pool.fetchrow(_SQL["latest"], origin, partition)
        if row is None:
            return None
        try:
            signed = signed_checkpoint(row["note"])
            tree = CompactRange.restored(signed.checkpoint.size, row["frontier"])
        except (MalformedNote, ValueError) as problem:
            raise LedgerCorrupt(f"the latest checkpoint of partition {partition}: {problem}") from problem
        if tree.root().hex() != signed.checkpoint.root_hash:
            raise LedgerCorrupt(f"the latest checkpoint of partition {partition} is not of its frontier")
        return signed, tree

    async def record(self, lease: Lease, signed: SignedCheckpoint, tree: CompactRange, nodes: Nodes) -> None:
        """Write it with the subtrees it completed; the same again changes nothing. Raises Fenced."""
        checkpoint = signed.checkpoint
        places = sorted(nodes)
        async with unavailable_when_lost():
            held = await self._pool.fetchval(
                _SQL["record"],
                lease.partition,
                lease.epoch,
                checkpoint.origin,
                checkpoint.size,
                bytes.fromhex(checkpoint.root_hash),
                bytes.fromhex(checkpoint.head_hash),
                checkpoint.made_at,
                str(signed.note),
                tree.frontier,
                [height for height, _ in places],
                [index for _, index in places],
                [nodes[place] for place in places],
            )
        if held is None:
            raise Fenced(f"partition {lease.partition} has left epoch {lease.epoch}")

    async def row_hashes(self, partition: int, after: int, up_to: int) -> bytes:
        """The hashes of rows `after + 1` to `up_to` as they are stored, end to end.

        Raises LedgerCorrupt when some are missing.
        """
        async with unavailable_when_lost():
            joined: bytes = await self._pool.fetchval(_SQL["row_hashes"], partition, after, up_to) or b""
        if len(joined) != HASH_BYTES * (up_to - after):
            raise LedgerCorrupt(
                f"{len(joined) // HASH_BYTES} of the rows {partition}:{after + 1} to {up_to} are there"
            )
        return joined

    async def notes(self, origin: str, partition: int, after: int, limit: int) -> list[SignedCheckpoint]:
        """The next ones by size, as far as they can be read."""
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SQL["notes"], origin, partition, after, limit)
        return [signed_checkpoint(row["note"]) for row in rows]

    async def keep_keys(self, keys: Sequence[NoteKey]) -> None:
        """Remember public keys for those who verify what they signed."""
        async with unavailable_when_lost():
            for key in keys:
                await self._pool.execute(_SQL["keep_key"], key.name, key.key_id, key.algorithm, key.der)

    async def keys(self) -> list[NoteKey]:
        """Every key that ever signed here, the earliest first."""
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SQL["keys"])
        return [NoteKey(name=row["name"], algorithm=row["algorithm"], der=row["der"]) for row in rows]
