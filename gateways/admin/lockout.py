"""The lock-out forecast: chargers by the moment from which they could not connect any more, unless somebody reaches them."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from bfactors.lockout import CAUSES, PREVENTED_BY, Cause
from bfactors.trust_end import TrustEnd, trust_ends
from gateways.admin import field, shape
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.fleet import Fleet
from gateways.admin.inbound import given
from gateways.admin.paging import page_of
from gateways.admin.route import Answer, Call, Route


class LockoutQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters; without `before` every charger that has such a moment."""

    before: field.Time | UnsetType = UNSET
    cause: Cause | UnsetType = UNSET
    family: field.Search | UnsetType = UNSET
    site: field.Search | UnsetType = UNSET
    cohort: field.Search | UnsetType = UNSET
    connected: bool | UnsetType = UNSET
    charger_id: field.Search | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class CountQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose moments are counted."""

    family: field.Search | UnsetType = UNSET
    site: field.Search | UnsetType = UNSET
    cohort: field.Search | UnsetType = UNSET


class LockedOutCharger(msgspec.Struct, frozen=True, kw_only=True):
    """A charger and its moment; one that lies behind us has come. `prevented_by` is for people."""

    charger_id: str
    family: str
    site: str
    cohort: str
    connected: bool
    locked_out_at: datetime
    cause: Cause
    certificate_id: str | None
    prevented_by: str
    last_seen_at: datetime | None


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """How many come in the week that begins on this Monday, 00:00 UTC; null: those whose moment has come."""

    week: datetime | None
    cause: Cause
    count: int


class LockoutCounts(msgspec.Struct, frozen=True, kw_only=True):
    """`never`: nothing known will lock these out. `trust_known`: some node says which certificates it shows chargers;
    without, anchors and server certificates count for nothing here.
    """

    total: int
    never: int
    by_cause: dict[str, int]
    weeks: list[Week]
    trust_known: bool


class Lockouts:
    """`/api/v1/lockout-forecast`."""

    def __init__(self, dependencies: AdminDependencies, fleet: Fleet) -> None:
        self._reader = dependencies.reader
        self._shown = dependencies.server_certificates
        self._last_seen = dependencies.last_seen
        self._clock = dependencies.clock
        self._fleet = fleet

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/api/v1/lockout-forecast",
                operation="lockouts.list",
                summary="Chargers by the moment from which they could not connect any more, soonest first",
                description="A certificate that is installed counts before it was seen. A charger that nothing known locks "
                "out is not listed.",
                handler=self.list,
                query=LockoutQuery,
                answer=shape.Page[LockedOutCharger],
            ),
            Route(
                method="GET",
                path="/api/v1/lockout-forecast/counts",
                operation="lockouts.counts",
                summary="How many chargers' moments come in which week, by cause; reads the whole fleet",
                handler=self.counts,
                query=CountQuery,
                answer=LockoutCounts,
            ),
        )

    async def list(self, call: Call, query: LockoutQuery) -> Answer:
        page = page_of(await self._reader.lockouts(await self.trust(), **given(query)))
        for item in page.body["items"]:
            item["prevented_by"] = PREVENTED_BY[item["cause"]]
            seen = self._last_seen(item["charger_id"])
            if seen is not None:
                item["last_seen_at"] = seen  # of a live session; the ledger knows when it began and ended
        return page

    async def counts(self, call: Call, query: CountQuery) -> Answer:
        rows = await self._reader.lockout_counts(await self.trust(), self._clock.now(), **given(query))
        coming = [row for row in rows if row["cause"] is not None]
        by_cause = dict.fromkeys(CAUSES, 0)
        for row in coming:
            by_cause[row["cause"]] += row["count"]
        total = sum(row["count"] for row in rows)
        body: dict[str, Any] = {
            "total": total,
            "never": total - sum(by_cause.values()),
            "by_cause": by_cause,
            "weeks": coming,
            "trust_known": any(node.presented.certificates for node in self._shown()),
        }
        return Answer(body)

    async def trust(self) -> tuple[TrustEnd, ...]:
        """Until when each bundle verifies what is shown now. Raises Unavailable."""
        state = await self._fleet.state()
        return trust_ends(state.history.values(), [node.presented for node in self._shown()])
