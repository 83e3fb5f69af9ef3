"""Publishing committed events, in order, each under its own id; and from the fleet partition, the facts to all others."""

import asyncio
import logging
from collections import deque

import msgspec

from bfactors import evidence as v
from bfactors.errors import Unavailable
from bfactors.fleet.control import CLIENT_TRUST, PAUSES, client_trust, pauses
from bfactors.fleet.state import FleetFacts
from bfactors.identity import FLEET, PARTITIONS
from bfactors.ledger_row import EventRow, Lease
from bfactors.ports import Clock, EvidenceLog, LedgerStore, Outbox

_LOG = logging.getLogger(__name__)
RETRY_S = 1.0
PAGE = 500
KEPT = 5_000
NOTED_WITHIN_S = 1.0


class EventPublisher:
    """Brings a partition's outbox up to its head; one per owned partition, on its lane."""

    def __init__(
        self, store: LedgerStore, outbox: Outbox, evidence_log: EvidenceLog, clock: Clock, lease: Lease
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._evidence_log = evidence_log
        self._clock = clock
        self._lease = lease
        self._done = lease.outbox_position
        self._noted = lease.outbox_position
        self._unnoted = lease.outbox_position
        self._is_note_due = False
        self._note_later: asyncio.TimerHandle | None = None
        self._head = lease.sequence
        self._recent: deque[EventRow] = deque()
        self._facts: FleetFacts | None = None
        self._wake = asyncio.Event()
        self._wake.set()

    @property
    def lag(self) -> int:
        """Events committed and not yet published."""
        return self._head - self._done

    def carried_by(self, lease: Lease) -> Lease:
        """The lease with what has been published by now, for the next commit to write down on its way."""
        return msgspec.structs.replace(lease, outbox_position=self._done)

    def committed(self, rows: list[EventRow], lease: Lease) -> None:
        """These were committed."""
        self._lease = lease
        self._noted = max(self._noted, lease.outbox_position)
        self._head = lease.sequence
        if len(self._recent) + len(rows) <= KEPT:
            self._recent.extend(rows)
        else:
            self._recent.clear()  # read back from the store in their order
        if rows:
            self._wake.set()

    def tell_facts(self, facts: FleetFacts) -> None:
        """The fleet's facts changed (or this owner has just started): the other partitions are to be told."""
        self._facts = facts
        self._wake.set()

    async def run(self) -> None:
        """Publish until cancelled. How far is written down with the next commit, or after a second without one."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                try:
                    while await self._publish():
                        pass
                    await self._note()
                except Unavailable as away:
                    _LOG.info("events wait in the outbox: %s", away)
                    await asyncio.sleep(RETRY_S)
                    self._wake.set()
        finally:
            if self._note_later is not None:
                self._note_later.cancel()

    async def _note(self) -> None:
        """Write down what no commit has carried along within a second."""
        was_due, self._is_note_due = self._is_note_due, False
        if was_due and self._noted < self._unnoted:
            await self._store.outbox_done(self._lease, self._done)
            self._noted = self._done
        if self._done > self._noted and self._note_later is None:
            self._unnoted = self._done
            self._note_later = asyncio.get_running_loop().call_later(NOTED_WITHIN_S, self._note_fell_due)

    def _note_fell_due(self) -> None:
        self._note_later = None
        self._is_note_due = True
        self._wake.set()

    async def _publish(self) -> bool:
        facts = self._facts
        if facts is not None:
            await self._tell_all(facts)
            if self._facts is facts:
                self._facts = None
        if self._done >= self._head:
            return False
        rows = await self._next_rows()
        if not rows:
            return False
        await self._outbox.publish_events(rows)
        self._done = rows[-1].sequence
        return True

    async def _next_rows(self) -> list[EventRow]:
        while self._recent and self._recent[0].sequence <= self._done:
            self._recent.popleft()
        if self._recent and self._recent[0].sequence == self._done + 1:
            return [self._recent[i] for i in range(min(PAGE, len(self._recent)))]
        return list(await self._store.events_after(self._lease.partition, self._done, PAGE))

    async def _tell_all(self, facts: FleetFacts) -> None:
        now = self._clock.now()
        await self._outbox.put_control({CLIENT_TRUST: client_trust(facts), PAUSES: pauses(facts)})
        for partition in range(PARTITIONS):
            if partition == FLEET:
                continue
            evidence = v.Evidence(
                evidence_id=v.evidence_id("fleet-facts", str(facts.sequence), str(partition)),
                charger_id="",
                source="fleet",
                observed_at=now,
                body=v.FleetFactsChanged(facts=facts),
            )
            await self._evidence_log.append(evidence, partition)
