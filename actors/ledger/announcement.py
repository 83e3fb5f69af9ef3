"""Telling gateways what changed: admission records first, then the orders that rely on them.

Derived from states, so anything may be said again: a charger's actor drops an order it has carried out, the bucket an
older revision. What was ordered and not known as sent is ordered again after a while.
"""

import asyncio
import logging

from actors.ledger.firmware import FirmwareOrders
from bfactors.charger import outgoing, revocation
from bfactors.charger.state import ChargerState, SessionFact
from bfactors.errors import Unavailable
from bfactors.evidence import evidence_id
from bfactors.firmware.state import FirmwareCharger
from bfactors.fleet.state import FleetFacts
from bfactors.instruction import CloseSession, InstructionOrder
from bfactors.ports import Clock, EdgeWatch, Outbox

_LOG = logging.getLogger(__name__)
RESEND_S = 15.0
RETRY_S = 1.0
AT_ONCE = 500
_LOST = float("-inf")
"""When an order was given that has to be given again."""


class Announcer:
    """Announces the latest state of every charger told to it; one per owned partition, on its lane."""

    def __init__(self, outbox: Outbox, clock: Clock, edge: EdgeWatch | None = None) -> None:
        """`edge` is told of records that refuse what they admitted before."""
        self._outbox = outbox
        self._edge = edge
        self._clock = clock
        self._facts = FleetFacts()
        self._dirty: dict[str, tuple[ChargerState, bool]] = {}
        self._displaced: list[tuple[str, SessionFact]] = []
        self._ordered: dict[str, dict[tuple[str, int, str], float]] = {}
        self._firmware = FirmwareOrders()
        self._wake = asyncio.Event()
        self._losses = outbox.losses
        self._is_away = False

    def tell(self, state: ChargerState, *, admission: bool, facts: FleetFacts) -> None:
        """A charger's state is news; `admission` says whether its admission record may have changed."""
        self._facts = facts
        earlier = self._dirty.get(state.charger_id)
        self._dirty[state.charger_id] = (state, admission or (earlier is not None and earlier[1]))
        self._wake.set()

    def tell_firmware(self, firmware: FirmwareCharger, state: ChargerState, facts: FleetFacts) -> None:
        """What firmware trust wants of a charger is news."""
        if self._firmware.note(firmware):
            self.tell(state, admission=False, facts=facts)

    def displace(self, charger_id: str, session: SessionFact) -> None:
        """An older session lives on at another node, perhaps; have it closed."""
        self._displaced.append((charger_id, session))
        self._wake.set()

    def waiting(self) -> list[str]:
        """Chargers with an order that is not known as sent and was given long ago, or on a way that was lost since."""
        if self._outbox.losses != self._losses:
            self._losses = self._outbox.losses
            self._ordered = {c: dict.fromkeys(orders, _LOST) for c, orders in self._ordered.items()}
        late = self._clock.monotonic() - RESEND_S
        return [c for c, orders in self._ordered.items() if any(at < late for at in orders.values())]

    async def run(self) -> None:
        """Announce until cancelled; NATS may be away for as long as it likes."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._dirty or self._displaced:
                try:
                    await self._announce()
                    self._is_away = False
                except Unavailable as away:
                    if not self._is_away:  # said once an outage, not once a second and partition
                        _LOG.info("announcements wait: %s", away)
                    self._is_away = True
                    await asyncio.sleep(RETRY_S)

    async def _announce(self) -> None:
        taken = list(self._dirty.items())[:AT_ONCE]
        told = [state for _, (state, changed) in taken if changed]
        if told:
            place = await self._outbox.put_admission([outgoing.admission(state) for state in told])
            for state in told:
                if self._edge is not None and revocation.edge_revision(state) is not None:
                    self._edge.expect(state.charger_id, state.revision, place)
        for charger_id, (state, _) in taken:
            await self._order(state)
            if self._dirty.get(charger_id, (None,))[0] is state:
                del self._dirty[charger_id]
        while self._displaced:
            charger_id, session = self._displaced[-1]
            await self._outbox.send_order(session.node, _close(charger_id, session))
            self._displaced.pop()

    async def _order(self, state: ChargerState) -> None:
        session = state.session
        now = self._clock.monotonic()
        given = self._ordered.pop(state.charger_id, {})
        kept: dict[tuple[str, int, str], float] = {}
        wanted = outgoing.orders(state, self._facts, self._clock.now()) + self._firmware.of(state)
        for order in wanted:
            key = (order.instruction_id, order.decision, order.session_id)
            at = given.get(key)
            if (at is None or at < now - RESEND_S) and session is not None:
                await self._outbox.send_order(session.node, order)
                at = now
            kept[key] = now if at is None else at
        if kept:
            self._ordered[state.charger_id] = kept


def _close(charger_id: str, session: SessionFact) -> InstructionOrder:
    return InstructionOrder(
        instruction_id=evidence_id("displaced", session.session_id),
        charger_id=charger_id,
        session_id=session.session_id,
        decision=1,
        answer_wait_s=10,
        body=CloseSession(reason="replaced by a newer session"),
    )
