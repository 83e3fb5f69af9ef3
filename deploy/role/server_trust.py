"""What the fleet would make of a server certificate: the bundles that verify it, and who has confirmed one of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from bfactors.fleet.charger_policy import policy_for
from bfactors.fleet.state import FleetState
from bfactors.identity import FLEET
from bfactors.ledger_fold import FLEET_KEY
from bfactors.ledger_row import AggregateRow
from bfactors.ports import Clock
from bfactors.purpose import session_purpose
from bfactors.server_certificate import (
    FIRST_TLS_PROFILE,
    Forecast,
    Holders,
    bundle_purpose,
    covering,
    forecast,
    holders_of,
)
from bfactors.waiver import chargers_named
from bfactors.x509 import Certificate


class TrustReader(Protocol):
    """Raises Unavailable."""

    async def aggregate(self, partition: int, key: str) -> AggregateRow | None: ...
    async def anchor_holders(
        self,
        purpose: str,
        bundle_ids: Sequence[str],
        *,
        from_profile: int,
        apart: Sequence[str] = (),
        examples: int = 5,
    ) -> Sequence[Mapping[str, Any]]: ...


class ServerTrust:
    """Asks the projections. I/O lane."""

    def __init__(self, reader: TrustReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    async def forecast(self, chain: Sequence[Certificate]) -> Forecast:
        """Who would still verify us under this chain, leaf first. Raises Unavailable."""
        row = await self._reader.aggregate(FLEET, FLEET_KEY)
        state = FleetState() if row is None else msgspec.json.decode(row.state, type=FleetState)
        bundles = covering(state.history.values(), chain)
        rows = await self._reader.anchor_holders(
            bundle_purpose(),
            bundles,
            from_profile=FIRST_TLS_PROFILE,
            apart=chargers_named(state.facts.waivers),
        )
        purpose, now = session_purpose().name, self._clock.now()

        def lowest_rung(holders: Holders) -> str:
            return policy_for(
                state.facts,
                purpose,
                charger_id=holders.charger_id,
                family=holders.family,
                cohort=holders.cohort,
                now=now,
                cannot_list=holders.cannot_list,
            ).confirm_rung

        return forecast(holders_of(rows), lowest_rung, bundles)
