"""Door: hands the gateway's sessions and frames to chargers' actors, and knows which session of a charger is the live one.

Everything here runs on the I/O lane and returns at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Container
from functools import partial

from actors.charger import ChargerPorts
from actors.charger_berth import Berth, Lanes, ToIo
from actors.charger_farewell import Farewells
from actors.charger_gauge import FleetGauge
from bfactors.admission import AdmissionRecord
from bfactors.exchange.message import (
    NewerSession,
    OrderArrived,
    PauseChanged,
    RecordChanged,
    Restate,
    Suspected,
)
from bfactors.instruction import CloseSession, InstructionOrder
from bfactors.ocpp import Inbound
from bfactors.ports import AdmissionView, InstructionInbox, Session

DISPLACEMENTS_ALLOWED = 3
DISPLACEMENT_PERIOD_S = 600.0
_DISPLACEMENTS_SWEPT = 1024  # how many chargers may be remembered before those of long ago are forgotten


def at_once(callback: Callable[[], None]) -> None:
    """Reaches the I/O lane when everything runs on one loop."""
    callback()


class Door:
    """The `ChargerDoor` of one connect node."""

    def __init__(
        self,
        ports: ChargerPorts,
        lanes: Lanes,
        inbox: InstructionInbox,
        admission: AdmissionView,
        *,
        to_io: ToIo = at_once,
        is_blind: bool = False,
    ) -> None:
        """A node that is blind, not knowing what is paused, starts nothing until `sees` is called."""
        self._ports = ports
        self._lanes = lanes
        self._inbox = inbox
        self._admission = admission
        self._to_io = to_io
        self._gauge = FleetGauge(ports.metrics, ports.clock.monotonic)
        self._berths: dict[str, Berth] = {}
        self._live: dict[str, Berth] = {}
        self._open: Counter[tuple[str, int]] = Counter()
        self._displacements: dict[str, deque[float]] = {}
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._is_blind = is_blind
        self._farewells = Farewells(ports, self._note_if_empty)
        admission.subscribe(self._record_changed)

    # -- what the gateway says --------------------------------------------------------------------

    def opened(self, session: Session) -> None:
        info = session.info
        family = info.record.family
        berth = Berth(session, self._ports, self._gauge.family(family), self._to_io, self)
        older = self._live.get(info.charger_id)
        self._live[info.charger_id] = berth
        self._berths[info.session_id] = berth
        self._emptied.clear()
        self._count(berth, 1)
        # Listening comes first: the ledger answers SessionOpened with what is outstanding.
        self._inbox.listen(info.session_id, partial(self._ordered, berth))
        self._lanes.place(family, info.session_id, berth.make, partial(self._lost, berth))
        if older is not None:
            older.tell(NewerSession())
            self._displaced(berth, older)
        record = self._admission.get(info.charger_id)
        if record is not None and record.revision > info.record.revision:
            berth.tell(RecordChanged(record))  # it changed between the admission and now

    def received(self, session: Session, inbound: Inbound) -> bool:
        berth = self._berths.get(session.info.session_id)
        return berth is None or berth.hand_over(inbound)

    def closed(self, session: Session, reason: str) -> None:
        berth = self._berths.get(session.info.session_id)
        if berth is not None and berth.ended is None:
            self._leave(berth)
            berth.end(reason)

    # -- what the node says -----------------------------------------------------------------------

    def restate(self) -> None:
        """NATS is back: every open session is stated again, and everything that waits is tried now."""
        for berth in self._berths.values():
            berth.tell(Restate())
        self._farewells.try_now()

    def sees(self, paused_families: Container[str]) -> None:
        """The node knows what is paused: from now on orders are carried out. Further calls change nothing.

        The families' supervisors pause their actors too, but by another way, which an order could overtake.
        """
        if self._is_blind:
            self._is_blind = False
            for berth in self._berths.values():
                if berth.session.info.record.family in paused_families:
                    berth.tell(PauseChanged(True))

    def connected(self) -> list[str]:
        """The chargers with an open session."""
        return list(self._live)

    @property
    def is_blind(self) -> bool:
        """Whether the node does not know yet what is paused."""
        return self._is_blind

    @property
    def open_sessions(self) -> int:
        return self._open.total()

    async def emptied(self) -> None:
        """Wait until every session has ended and its evidence is stored. Bounded by the caller."""
        await self._emptied.wait()

    # -- inside -----------------------------------------------------------------------------------

    def _ordered(self, berth: Berth, order: InstructionOrder) -> None:
        # While blind an order is dropped, which is safe: it is outstanding in the ledger and comes again.
        if not self._is_blind or isinstance(order.body, CloseSession):
            berth.tell(OrderArrived(order))

    def _record_changed(self, record: AdmissionRecord) -> None:
        berth = self._live.get(record.charger_id)
        if berth is not None:
            berth.tell(RecordChanged(record))

    def _displaced(self, berth: Berth, older: Berth) -> None:
        charger_id = berth.session.info.charger_id
        now_s = self._ports.clock.monotonic()
        if len(self._displacements) > _DISPLACEMENTS_SWEPT:
            since_s = now_s - DISPLACEMENT_PERIOD_S
            self._displacements = {k: t for k, t in self._displacements.items() if t[-1] > since_s}
        times = self._displacements.setdefault(charger_id, deque())
        times.append(now_s)
        while times[0] <= now_s - DISPLACEMENT_PERIOD_S:
            times.popleft()
        if len(times) > DISPLACEMENTS_ALLOWED:
            times.clear()
            addresses = sorted({older.session.info.remote_address, berth.session.info.remote_address})
            detail = (
                f"more than {DISPLACEMENTS_ALLOWED} sessions displaced in 10 minutes; {', '.join(addresses)}"
            )
            berth.tell(Suspected("DuplicateIdentity", detail))

    def _lost(self, berth: Berth, reason: str) -> None:
        """From any thread."""
        self._to_io(partial(self._give_up, berth, reason))

    def _give_up(self, berth: Berth, reason: str) -> None:
        if self._berths.get(berth.session.info.session_id) is berth:
            self._leave(berth)
            berth.session.close(1012, reason)
            berth.owes(0)
            self._farewells.say(berth.session.info, berth.ended or reason)
            self._forget(berth)

    def cleared(self, berth: Berth) -> None:
        """The session's actor has retired."""
        info = berth.session.info
        self._lanes.release(info.record.family, info.session_id)
        self._leave(berth)
        self._forget(berth)

    def _leave(self, berth: Berth) -> None:
        info = berth.session.info
        if berth.ended is None:
            self._count(berth, -1)
            self._inbox.forget(info.session_id)
        if self._live.get(info.charger_id) is berth:
            del self._live[info.charger_id]

    def _forget(self, berth: Berth) -> None:
        self._berths.pop(berth.session.info.session_id, None)
        self._note_if_empty()

    def _note_if_empty(self) -> None:
        if not self._berths and not self._farewells.pending:
            self._emptied.set()

    def _count(self, berth: Berth, change: int) -> None:
        info = berth.session.info
        key = (info.record.family, info.security_profile)
        self._open[key] += change
        labels = {"family": info.record.family, "profile": str(info.security_profile)}
        self._ports.metrics.gauge("bf_sessions", self._open[key], **labels)
