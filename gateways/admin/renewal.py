"""Renewals that are due: since when, why they wait, which escalations they passed; stragglers are `escalated` and offline."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from bfactors.fleet.charger_policy import policy_for
from bfactors.fleet.state import FleetState
from bfactors.renewal_wait import Code, waiting
from gateways.admin import field, shape
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.fleet import Fleet
from gateways.admin.inbound import given
from gateways.admin.paging import page_of
from gateways.admin.ports import Body
from gateways.admin.route import Answer, Call, Route

State = Literal["due", "overdue", "escalated"]


class RenewalQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`overdue`: its job is past its deadline; `escalated`: policy's escalation window has begun. All of them are due."""

    state: State | UnsetType = UNSET
    offline: bool | UnsetType = UNSET
    purpose: field.Search | UnsetType = UNSET
    family: field.Search | UnsetType = UNSET
    site: field.Search | UnsetType = UNSET
    cohort: field.Search | UnsetType = UNSET
    ends_before: field.Time | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class WaitsFor(msgspec.Struct, frozen=True, kw_only=True):
    """Why it has not happened yet."""

    code: Code
    message: str


class DueRenewal(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate in use that is to be replaced. `windows_passed`: the escalation windows it reached, in days."""

    certificate_id: str
    charger_id: str
    managed_identity_id: str
    purpose: str
    family: str
    site: str
    cohort: str
    not_after: datetime
    due_since: datetime
    states: list[State]
    windows_passed: list[int]
    connected: bool
    last_seen_at: datetime | None
    job_id: str | None
    waits_for: WaitsFor


class RenewalCount(msgspec.Struct, frozen=True, kw_only=True):
    """Of one purpose and cohort. `stragglers`: escalated, and the charger is away."""

    purpose: str
    cohort: str
    due: int
    overdue: int
    escalated: int
    offline: int
    stragglers: int


class RenewalCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What is due, by purpose and cohort; groups with nothing due are left out."""

    groups: list[RenewalCount]


class Renewals:
    """`/api/v1/renewals`."""

    def __init__(self, dependencies: AdminDependencies, fleet: Fleet) -> None:
        self._reader = dependencies.reader
        self._last_seen = dependencies.last_seen
        self._clock = dependencies.clock
        self._fleet = fleet

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/api/v1/renewals",
                operation="renewals.list",
                summary="Certificates whose renewal is due, soonest end first, with why they wait",
                description="From the opening of its renewal window until another certificate has taken its place. "
                "`state=escalated&offline=true` are the stragglers.",
                handler=self.list,
                query=RenewalQuery,
                answer=shape.Page[DueRenewal],
            ),
            Route(
                method="GET",
                path="/api/v1/renewals/counts",
                operation="renewals.counts",
                summary="How many renewals are due, by purpose and cohort",
                handler=self.counts,
                answer=RenewalCounts,
            ),
        )

    async def list(self, call: Call, query: RenewalQuery) -> Answer:
        page = page_of(await self._reader.renewals(**given(query)))
        fleet = await self._fleet.state()
        page.body["items"] = [self._body(row, fleet) for row in page.body["items"]]
        return page

    async def counts(self, call: Call) -> Answer:
        return Answer({"groups": [dict(row) for row in await self._reader.renewal_counts()]})

    def _body(self, row: Mapping[str, Any], fleet: FleetState) -> Body:
        policy = policy_for(
            fleet.facts,
            row["purpose"],
            charger_id=row["charger_id"],
            family=row["family"],
            cohort=row["cohort"],
            now=self._clock.now(),
        )
        escalated = row["escalated_days"]
        passed = [] if escalated is None else [d for d in policy.escalate_before_days if d >= escalated]
        states = ["due"] + ["overdue"] * row["overdue"] + ["escalated"] * (escalated is not None)
        why = waiting(row, fleet.facts.pauses, self._clock.now())
        same = (
            *("certificate_id", "charger_id", "managed_identity_id", "purpose", "family", "site", "cohort"),
            *("not_after", "due_since", "connected", "last_seen_at"),
        )
        body: Body = {name: row[name] for name in same}
        seen = self._last_seen(row["charger_id"])
        if seen is not None:
            body["last_seen_at"] = seen
        return body | {
            "states": states,
            "windows_passed": sorted(passed, reverse=True),
            "job_id": None if row["job"] is None else row["job"]["job_id"],
            "waits_for": {"code": why.code, "message": why.message},
        }
