"""Makes a partition's checkpoints: outside first, then in the database, and never one that contradicts an earlier one.

What is signed are the rows their owner committed. Before the first checkpoint of an epoch what lies outside is compared with
the database: one that only lies outside (a crash) is adopted if the rows bear it out, those that only lie in the database (a
directory that was lost, another host) are written outside again. Whatever does not fit is not signed over.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from bfactors.audit.checkpoint import Checkpoint, SignedCheckpoint
from bfactors.audit.merkle import HASH_BYTES, CompactRange, Nodes
from bfactors.audit.note import NoteKey, SignedNote
from bfactors.errors import LedgerCorrupt, Unavailable
from bfactors.ledger_row import GENESIS, Lease
from bfactors.ports import CheckpointStore, Clock, Metrics, NoteSigner, NoteVerifier
from persistence.checkpoint import PostgresCheckpoints

_LOG = logging.getLogger(__name__)
STEP_ROWS = 100_000
"""The most rows one checkpoint adds, so that a large ledger is caught up in pieces that stay."""
PAGE_ROWS = 2_000
NOTES_AT_ONCE = 500

Show = Callable[[Mapping[str, bytes]], Awaitable[None]]
"""Puts control values where every node sees them. Raises Unavailable."""


class CheckpointDesk:
    """`bfactors.ports.Checkpointing`, on the I/O lane. One partition is never worked on twice at a time by one owner."""

    def __init__(
        self,
        *,
        origin: str,
        rows: PostgresCheckpoints,
        store: CheckpointStore,
        signer: NoteSigner,
        believe: Callable[[Sequence[NoteKey]], NoteVerifier],
        clock: Clock,
        metrics: Metrics,
        show: Show,
    ) -> None:
        self._origin = origin
        self._rows = rows
        self._store = store
        self._signer = signer
        self._believe = believe
        self._verifier: NoteVerifier | None = None
        self._clock = clock
        self._metrics = metrics
        self._show = show
        self._compared: dict[int, int] = {}
        """The epoch in which a partition's checkpoints were last compared with those outside."""

    async def checkpoint(self, lease: Lease, after: int, hashes: bytes) -> int:
        """See the port."""
        try:
            return await self._checkpoint(lease, after, hashes)
        except Unavailable:
            self._metrics.count("bf_checkpoints_total", outcome="unavailable")
            raise
        except LedgerCorrupt:
            self._compared.pop(lease.partition, None)
            self._metrics.count("bf_checkpoints_total", outcome="refused")
            raise

    async def _checkpoint(self, lease: Lease, after: int, hashes: bytes) -> int:
        partition = lease.partition
        if self._verifier is None:
            self._verifier = await self._ready()
        latest, tree = await self._latest(partition)
        if self._compared.get(partition) != lease.epoch:
            tree = await self._compare(lease, latest, tree)
            self._compared[partition] = lease.epoch
        if lease.sequence < tree.size:
            raise LedgerCorrupt(
                f"partition {partition} ends at {lease.sequence}, a signed checkpoint at {tree.size}: rows were lost"
            )
        size = min(lease.sequence, tree.size + STEP_ROWS)
        if size == tree.size:
            return size
        nodes: Nodes = {}
        head = await self._grow(tree, partition, size, nodes, after, hashes)
        if size == lease.sequence and head.hex() != lease.head_hash:
            raise LedgerCorrupt(f"row {partition}:{size} is not the one its owner committed")
        signed = await self._signed(partition, tree, head)
        await self._store.append(signed)
        await self._rows.record(lease, signed, tree, nodes)
        self._metrics.count("bf_checkpoints_total", outcome="made")
        try:
            await self._show({f"checkpoint/{partition:02d}": str(signed.note).encode()})
        except Unavailable as away:
            _LOG.info("a checkpoint is not shown: %s", away)
        return size

    async def _ready(self) -> NoteVerifier:
        """Publish our keys, and believe those of before."""
        keys = self._signer.keys
        await self._rows.keep_keys(keys)
        for key in keys:
            await self._store.keep_key(key)
        return self._believe([*await self._rows.keys(), *keys])

    def _is_ours(self, note: SignedNote) -> bool:
        return self._verifier is not None and bool(self._verifier.signed_by(note))

    async def _latest(self, partition: int) -> tuple[SignedCheckpoint | None, CompactRange]:
        found = await self._rows.latest(self._origin, partition)
        if found is None:
            return None, CompactRange()
        if not self._is_ours(found[0].note):
            raise LedgerCorrupt(f"the latest checkpoint of partition {partition} bears no signature of ours")
        return found

    async def _grow(
        self, tree: CompactRange, partition: int, size: int, nodes: Nodes, after: int = 0, hashes: bytes = b""
    ) -> bytes:
        """Append rows up to `size`, told ones as they were told; returns the last one's hash."""
        head = bytes.fromhex(GENESIS)
        told = after + len(hashes) // HASH_BYTES
        while tree.size < size:
            end = min(tree.size + PAGE_ROWS, size)
            if after <= tree.size < told:
                page = hashes[(tree.size - after) * HASH_BYTES : (min(end, told) - after) * HASH_BYTES]
                await asyncio.sleep(0)  # the lane has others to serve
            else:
                end = min(end, after) if tree.size < after else end
                page = await self._rows.row_hashes(partition, tree.size, end)
            tree.extend(page, nodes)
            head = page[-HASH_BYTES:]
        return head

    async def _signed(self, partition: int, tree: CompactRange, head: bytes) -> SignedCheckpoint:
        checkpoint = Checkpoint(
            origin=self._origin,
            partition=partition,
            size=tree.size,
            root_hash=tree.root().hex(),
            head_hash=head.hex(),
            made_at=self._clock.now().replace(microsecond=0),
        )
        signatures = await self._signer.sign(checkpoint.text)
        return SignedCheckpoint(
            checkpoint=checkpoint, note=SignedNote(text=checkpoint.text, signatures=tuple(signatures))
        )

    # ------------------------------------------------------------ what lies outside

    async def _compare(
        self, lease: Lease, latest: SignedCheckpoint | None, tree: CompactRange
    ) -> CompactRange:
        """Raises LedgerCorrupt for a checkpoint of ours outside that the rows do not bear out."""
        outside = [
            signed
            for signed in await self._store.held(self._origin, lease.partition, tree.size)
            if self._is_ours(signed.note)
        ]
        if latest is not None and latest.checkpoint not in [signed.checkpoint for signed in outside]:
            await self._copy(lease.partition)
        for signed in outside:
            checkpoint = signed.checkpoint
            if checkpoint.size > lease.sequence:
                raise LedgerCorrupt(
                    f"partition {lease.partition} ends at {lease.sequence}, a checkpoint outside at {checkpoint.size}: "
                    "rows were lost"
                )
            nodes: Nodes = {}
            is_new = checkpoint.size > tree.size
            await self._grow(tree, lease.partition, checkpoint.size, nodes)
            if tree.root().hex() != checkpoint.root_hash:
                raise LedgerCorrupt(
                    f"a checkpoint outside of {lease.partition}:{checkpoint.size} is of other rows: a fork"
                )
            if is_new:
                await self._rows.record(lease, signed, tree, nodes)
                self._metrics.count("bf_checkpoints_total", outcome="adopted")
        return tree

    async def _copy(self, partition: int) -> None:
        """Write outside what only the database holds."""
        held = {
            (signed.checkpoint.size, signed.checkpoint.root_hash)
            for signed in await self._store.held(self._origin, partition, 0)
        }
        copied, last = 0, 0
        while page := await self._rows.notes(self._origin, partition, last, NOTES_AT_ONCE):
            for signed in page:
                last = signed.checkpoint.size
                if (last, signed.checkpoint.root_hash) not in held and self._is_ours(signed.note):
                    await self._store.append(signed)
                    copied += 1
        if copied:
            self._metrics.count("bf_checkpoints_total", copied, outcome="copied")
            _LOG.warning("%d checkpoints of partition %d were not outside and are again", copied, partition)
