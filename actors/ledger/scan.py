"""Reading every charger of a partition, page by page: to look at them all, or for what an incident refuses."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from actors.ledger.commit import Memory, load_states
from actors.ledger.firmware import outstanding_in
from actors.ledger.former import concerned
from actors.ledger.look_turn import LookTurn
from actors.ledger.message import Message, Refusing, Scanned
from actors.ledger.ports import Ports
from actors.ledger.term import Term
from bfactors.charger import incident
from bfactors.charger.state import ChargerState
from bfactors.errors import Unavailable
from bfactors.firmware.state import FirmwareCharger
from bfactors.ledger_row import AggregateRow

_STATE = msgspec.json.Decoder(ChargerState)

PAGE = 25
RETRY_S = 1.0


class Scanner:
    """Of one partition. Each page is handed over when the chargers of those before have been looked at, so that nothing that
    comes waits behind a whole fleet. Cut short, a scan begins anew with the next owner.
    """

    def __init__(
        self, partition: int, ports: Ports, turn: LookTurn, deliver: Callable[[Message], Awaitable[None]]
    ) -> None:
        self._partition = partition
        self._ports = ports
        self._turn = turn
        self._deliver = deliver

    async def look(self, term: Term, *, says_all: bool) -> None:
        """Hand over everyone."""

        async def page(rows: Sequence[AggregateRow], is_last: bool) -> None:
            memory, now = term.memory, self._ports.clock.now()
            states = _chargers(rows)
            asked = await concerned(self._ports.store, self._partition, states, memory.facts, now)
            firmware = await self._with_their_chargers(memory, outstanding_in(rows))
            term.looks_room.clear()
            term.page_taken.clear()
            await self._deliver(Scanned(term.number, states, is_last, firmware, asked, says_all))
            await term.page_taken.wait()

        await self._pages(term.looks_room, page)

    async def refuse(self, term: Term) -> None:
        """Hand over whom an incident has something to refuse of: at once, however far another scan has come."""

        async def page(rows: Sequence[AggregateRow], is_last: bool) -> None:
            memory, now = term.memory, self._ports.clock.now()
            states = [memory.states.get(state.charger_id, state) for state in _chargers(rows)]
            wanted = [s.charger_id for s in states if incident.has_to_refuse(s, memory.facts, now)]
            term.refusals_room.clear()
            await self._deliver(Refusing(term.number, wanted, is_last))

        await self._pages(term.refusals_room, page)

    async def _pages(
        self, room: asyncio.Event, take: Callable[[Sequence[AggregateRow], bool], Awaitable[None]]
    ) -> None:
        after, is_last = "", False
        while not is_last:
            await room.wait()
            try:
                async with self._turn.page:
                    rows = await self._ports.store.aggregates_after(self._partition, after, PAGE)
                    is_last = len(rows) < PAGE
                    await take(rows, is_last)
            except Unavailable:
                is_last = False
                await asyncio.sleep(RETRY_S)
                continue
            if rows:
                after = rows[-1].key

    async def _with_their_chargers(
        self, memory: Memory, found: Sequence[FirmwareCharger]
    ) -> list[tuple[FirmwareCharger, ChargerState]]:
        """Firmware work together with the charger whose session it waits for."""
        names = {firmware.charger_id for firmware in found}
        while names:
            try:
                states = await load_states(self._ports.store, memory, names)
            except Unavailable:
                await asyncio.sleep(RETRY_S)
                continue
            pairs = [(firmware, states[firmware.charger_id]) for firmware in found]
            return [(firmware, state) for firmware, state in pairs if state is not None]
        return []


def _chargers(rows: Sequence[AggregateRow]) -> list[ChargerState]:
    return [_STATE.decode(row.state) for row in rows if row.key.startswith("charger:")]
