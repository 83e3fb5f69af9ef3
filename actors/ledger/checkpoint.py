"""When a partition's owner makes checkpoints: after so many events, or so long after the first that is under none."""

import asyncio
import logging
from collections import deque

from bfactors.errors import LedgerCorrupt, Unavailable
from bfactors.ledger_row import EventRow, Lease
from bfactors.ports import Checkpointing, Clock

_LOG = logging.getLogger(__name__)
KEPT = 50_000
"""Hashes remembered for the next checkpoint; past that they are read back."""
RETRY_S = 15.0


class Checkpointer:
    """Of one owned partition, on its lane. It tells what its owner committed, so a row changed later does not go unnoticed.

    A checkpoint that cannot be made is tried again; it never ends a term, unless another owner has the partition.
    """

    def __init__(self, desk: Checkpointing | None, clock: Clock, lease: Lease) -> None:
        self._desk = desk
        self._clock = clock
        self._lease = lease
        self._after = lease.sequence
        self._told: deque[tuple[int, bytes]] = deque()
        """Rows under no checkpoint by commit: the last sequence, and the rows' hashes, end to end."""
        self._covered = 0
        self._due_s = clock.monotonic() + (desk.every_s if desk is not None else 0.0)
        """When the next one is due if there is anything for it; those of an earlier owner may lack some rows."""
        self._wake = asyncio.Event()
        self._is_held = False

    @property
    def lag(self) -> int:
        """Events under no checkpoint yet, as far as known here."""
        return self._lease.sequence - self._covered if self._desk is not None else 0

    def committed(self, rows: list[EventRow], lease: Lease) -> None:
        """These were committed."""
        self._lease = lease
        if self._desk is None or not rows:
            return
        self._told.append((lease.sequence, bytes.fromhex("".join([row.hash for row in rows]))))
        if lease.sequence - self._after > KEPT:
            self._told.clear()
            self._after = lease.sequence
        self.look()

    def look(self) -> None:
        """Called now and then: is one due?"""
        if self._desk is None or self.lag == 0:
            return
        is_enough = self.lag >= self._desk.every_events and not self._is_held
        if is_enough or self._clock.monotonic() >= self._due_s:
            self._wake.set()

    async def run(self) -> None:
        """Make them until cancelled. Raises Fenced."""
        while self._desk is not None:
            await self._wake.wait()
            self._wake.clear()
            before = self._covered
            try:
                hashes = b"".join([hashes for _, hashes in self._told])
                self._covered = await self._desk.checkpoint(self._lease, self._after, hashes)
            except (Unavailable, LedgerCorrupt) as problem:
                is_away = isinstance(problem, Unavailable)
                _LOG.log(logging.INFO if is_away else logging.ERROR, "no checkpoint is made: %s", problem)
                self._is_held, wait_s = True, RETRY_S
            else:
                self._is_held, wait_s = False, self._desk.every_s
            self._due_s = self._clock.monotonic() + wait_s
            self._forget()
            if self._covered > before:
                self.look()  # an earlier owner may have left much

    def _forget(self) -> None:
        """What lies under a checkpoint is not told again."""
        while self._told and self._told[0][0] <= self._covered:
            self._after, _ = self._told.popleft()
