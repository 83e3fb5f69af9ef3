"""Firmware trust inside a partition's actor: loading its aggregates, and remembering whose work is outstanding.

Its states are loaded when a message speaks of them, and not kept: there are few such messages.
"""

from collections.abc import Sequence

import msgspec

from actors.ledger.item import Asked, Fact, Item
from bfactors import command as c
from bfactors.charger.state import ChargerState
from bfactors.firmware.command import FirmwareChargerCommand, FirmwareFleetCommand
from bfactors.firmware.outgoing import orders
from bfactors.firmware.state import FLEET_KEY, FirmwareCharger, FirmwareFleet, charger_key, charger_of_key
from bfactors.firmware_fold import FirmwareLoaded, concerns
from bfactors.instruction import InstructionOrder
from bfactors.ledger_row import AggregateRow
from bfactors.ports import LedgerStore

_CHARGER = msgspec.json.Decoder(FirmwareCharger)
_FLEET = msgspec.json.Decoder(FirmwareFleet)
_OF_THE_FLEET = FirmwareFleetCommand | c.CreateTrustAnchorBundle | c.RegisterAuthority
"""Commands that are decided with the fleet's firmware anchors in sight."""


async def load_firmware(store: LedgerStore, partition: int, items: Sequence[Item]) -> FirmwareLoaded:
    """What these messages say anything of. Raises Unavailable."""
    keys: set[str] = set()
    for item in items:
        match item:
            case Fact(evidence=evidence):
                if evidence is not None and evidence.charger_id and concerns(evidence.body):
                    keys.add(charger_key(evidence.charger_id))
            case Asked(envelope=envelope):
                if isinstance(envelope.body, FirmwareChargerCommand):
                    keys.add(charger_key(envelope.body.charger_id))
                elif isinstance(envelope.body, _OF_THE_FLEET):
                    keys.add(FLEET_KEY)
            case _:
                pass
    if not keys:
        return FirmwareLoaded()
    rows = await store.load(partition, sorted(keys))
    chargers = [_CHARGER.decode(row.state) for key, row in rows.items() if key != FLEET_KEY]
    fleet = rows.get(FLEET_KEY)
    return FirmwareLoaded(
        chargers={state.charger_id: state for state in chargers},
        fleet=FirmwareFleet() if fleet is None else _FLEET.decode(fleet.state),
    )


def outstanding_in(rows: Sequence[AggregateRow]) -> list[FirmwareCharger]:
    """Those of a page of aggregates that have work for their charger."""
    found = [_CHARGER.decode(row.state) for row in rows if charger_of_key(row.key) is not None]
    return [state for state in found if state.outstanding]


class FirmwareOrders:
    """The outstanding work of a partition's chargers, as of the newest state heard of."""

    def __init__(self) -> None:
        self._outstanding: dict[str, FirmwareCharger] = {}
        self._revisions: dict[str, int] = {}

    def note(self, state: FirmwareCharger) -> bool:
        """A charger's firmware state; False: a newer one was heard of before (a page read before a commit)."""
        if state.revision <= self._revisions.get(state.charger_id, 0):
            return False
        self._revisions[state.charger_id] = state.revision
        if state.outstanding:
            self._outstanding[state.charger_id] = state
        else:
            self._outstanding.pop(state.charger_id, None)
        return True

    def of(self, state: ChargerState) -> list[InstructionOrder]:
        """What is to be sent on the charger's live session."""
        firmware = self._outstanding.get(state.charger_id)
        if firmware is None or state.session is None:
            return []
        return orders(firmware, state.session.session_id)
