"""What the fleet would make of a server certificate: the bundles that verify it, and who has confirmed one of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from bfactors.fleet.state import FleetState
from bfactors.identity import FLEET
from bfactors.ledger_fold import FLEET_KEY
from bfactors.ledger_row import AggregateRow
from bfactors.policy import effective
from bfactors.purpose import session_purpose
from bfactors.server_certificate import (
    FIRST_TLS_PROFILE,
    Forecast,
    bundle_purpose,
    covering,
    forecast,
    holders_of,
)
from bfactors.x509 import Certificate


class TrustReader(Protocol):
    """Raises Unavailable."""

    async def aggregate(self, partition: int, key: str) -> AggregateRow | None: ...
    async def anchor_holders(
        self, purpose: str, bundle_ids: Sequence[str], *, from_profile: int, examples: int = 5
    ) -> Sequence[Mapping[str, Any]]: ...


class ServerTrust:
    """Asks the projections. I/O lane."""

    def __init__(self, reader: TrustReader) -> None:
        self._reader = reader

    async def forecast(self, chain: Sequence[Certificate]) -> Forecast:
        """Who would still verify us under this chain, leaf first. Raises Unavailable."""
        row = await self._reader.aggregate(FLEET, FLEET_KEY)
        state = FleetState() if row is None else msgspec.json.decode(row.state, type=FleetState)
        bundles = covering(state.history.values(), chain)
        holders = holders_of(
            await self._reader.anchor_holders(bundle_purpose(), bundles, from_profile=FIRST_TLS_PROFILE)
        )
        purpose = session_purpose().name
        counts = {
            (each.family, each.cohort): effective(
                state.facts.policies, purpose=purpose, family=each.family, cohort=each.cohort
            ).confirm_rung
            for each in holders
        }
        return forecast(holders, counts, bundles)
