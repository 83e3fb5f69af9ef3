"""The fleet partition's state as this API shows it: bundles, pauses, policies."""

import msgspec

from bfactors.fleet.state import FleetState
from bfactors.identity import FLEET
from bfactors.ledger_fold import FLEET_KEY
from gateways.admin.ports import Reader

_STATE = msgspec.json.Decoder(FleetState)


class Fleet:
    """Decodes the fleet's aggregate once per version."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._version = -1
        self._state = FleetState()

    async def state(self) -> FleetState:
        """As last committed; empty before the first fleet event. Raises Unavailable."""
        row = await self._reader.aggregate(FLEET, FLEET_KEY)
        if row is None:
            return FleetState()
        if row.version != self._version:
            self._state, self._version = _STATE.decode(row.state), row.version
        return self._state
