"""Incidents: certificates that must go, chosen by what they have in common; forecast, approved, staged, followed."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bfactors.command import ChangeIncident, OpenIncident
from bfactors.fleet.incident import body as incident_body
from bfactors.incident import (
    MOST_NAMED,
    Incident,
    IncidentState,
    Mode,
    RevocationReason,
    Selector,
    TargetState,
)
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.fleet import Fleet
from gateways.admin.inbound import given
from gateways.admin.incident_selection import held_incident
from gateways.admin.paging import cut, page_of
from gateways.admin.ports import Body
from gateways.admin.problem import Problem
from gateways.admin.reach import cohorts_of
from gateways.admin.route import Answer, Call, Route

_MOST = Meta(max_length=MOST_NAMED)
_CALLS = {"revoke": 1, "replace": 3}
"""Of the CA for one certificate: to revoke it; to issue another, fetch it, and revoke the old one."""


Progress = TargetState | Literal["selected"]
"""`selected`: by an incident that waits for a second person; nothing was done with it."""


class SelectorBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every criterion that is given must hold; of several values of one, any. Beside `purpose` give at least one."""

    purpose: field.Name
    issuing_ca_ids: Annotated[list[field.Search], _MOST] = []
    spki_sha256: Annotated[list[field.Fingerprint], _MOST] = []
    certificate_ids: Annotated[list[field.Id], _MOST] = []
    families: Annotated[list[field.Name], _MOST] = []
    sites: Annotated[list[field.Name], _MOST] = []
    cohorts: Annotated[list[field.Name], _MOST] = []
    issued_from: field.Time | None = None
    issued_before: field.Time | None = None


class ForecastBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What would be chosen, and what would be done with it."""

    selector: SelectorBody
    mode: Mode = "revoke"


class OpenIncidentBody(ForecastBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`percent`: the share of the chargers whose turn comes at once; in mode `revoke` all are refused at once all the same."""

    name: field.Name
    reason: field.Reason
    revocation_reason: RevocationReason = "unspecified"
    percent: Annotated[int, Meta(ge=1, le=100)] = 100


class AdvanceBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The share of the chargers whose turn has come from now on; never less than before."""

    percent: Annotated[int, Meta(ge=1, le=100)]
    reason: field.Reason


class PauseBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why, for the audit trail."""

    reason: field.Reason


class EndBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`lift`: let in again what is refused and was not asked to be revoked."""

    reason: field.Reason
    lift: bool = False


class IncidentQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters on the incidents that go on, and the last that ended."""

    state: IncidentState | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class TargetQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far they have come."""

    state: Progress | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class ShownIncident(msgspec.Struct, frozen=True, kw_only=True):
    """An incident with how far it has come: certificates by state.

    `expected` when it was asked for, `agreed` when somebody else agreed to it (null: nobody had to); `came_later`: how many of
    `counts` its rule had not chosen by then, since a charger was moved or a certificate was not known here.
    """

    incident_id: str
    name: str
    reason: str
    mode: Mode
    revocation_reason: RevocationReason
    selector: dict[str, Any]
    percent: int
    expected: int
    author: str
    approver: str | None
    opened_at: str
    agreed: int | None = None
    came_later: int = 0
    state: IncidentState
    ended_at: str | None = None
    end_reason: str | None = None
    is_lifted: bool = False
    counts: dict[str, int] = {}


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """Certificates of one family and cohort in one state; `locked_out` of these chargers have no other in use."""

    family: str
    cohort: str
    state: str
    certificates: int
    connected: int
    locked_out: int


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What opening the incident now would mean. `locked_out`: chargers that mode `revoke` would shut out for good."""

    certificates: int
    connected: int
    locked_out: int
    ca_calls: int
    ca_seconds: float
    cost_usd: float
    shares: list[Share]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate of an incident. `came_later`: the rule had not chosen it when the incident was opened."""

    certificate_id: str
    charger_id: str | None
    family: str | None
    site: str | None
    cohort: str | None
    connected: bool
    certificate_state: str
    state: Progress
    came_later: bool
    not_after: str
    last_seen_at: str | None


class Incidents:
    """`/api/v1/incidents`."""

    def __init__(self, dependencies: AdminDependencies, fleet: Fleet, commands: Commands) -> None:
        self._reader = dependencies.reader
        self._clock = dependencies.clock
        self._calls_per_s = dependencies.ca_calls_per_s
        self._price = dependencies.certificate_price
        self._fleet = fleet
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        path = "/api/v1/incidents/{incident_id}"
        return (
            Route(
                method="POST",
                path="/api/v1/incident-forecast",
                operation="incidents.forecast",
                summary="What an incident would choose, how long the CA would take, and what it would cost; changes nothing",
                handler=self.forecast,
                body=ForecastBody,
                answer=Forecast,
            ),
            Route(
                method="POST",
                path="/api/v1/incidents",
                operation="incidents.open",
                summary="Have certificates go that have something in common",
                description="Mode `revoke` refuses all of them on every node at once and revokes them at the CA stage by "
                "stage; a charger with no other is locked out. Mode `replace` gets each charger another one first, stage by "
                "stage, and revokes what was replaced. What is issued later is no part of it. By policy somebody else must "
                "agree first.",
                handler=self.open,
                body=OpenIncidentBody,
                answer=ShownIncident,
                status=201,
                conflicts=True,
                may_be_held=True,
            ),
            Route(
                method="GET",
                path="/api/v1/incidents",
                operation="incidents.list",
                summary="Incidents that go on, and the last that ended, newest first",
                handler=self.list,
                query=IncidentQuery,
                answer=shape.Page[ShownIncident],
            ),
            Route(
                method="GET",
                path=path,
                operation="incidents.get",
                summary="One incident with its counts",
                handler=self.get,
                answer=ShownIncident,
            ),
            Route(
                method="GET",
                path=f"{path}/targets",
                operation="incidents.targets",
                summary="Its certificates, each with how far it has come",
                description="Of one that waits for a second person, those that its rule chooses at the moment, all in state "
                "`selected`. A token that is limited to cohorts is shown what is of these.",
                handler=self.targets,
                query=TargetQuery,
                answer=shape.Page[Target],
            ),
            Route(
                method="POST",
                path=f"{path}/advance",
                operation="incidents.advance",
                summary="Begin its next stage",
                handler=self.advance,
                body=AdvanceBody,
                answer=ShownIncident,
                conflicts=True,
            ),
            *(self._switch(path, action) for action in ("pause", "resume")),
            Route(
                method="POST",
                path=f"{path}/end",
                operation="incidents.end",
                summary="Do nothing further for it; with `lift`, let in again what is refused and not revoked",
                handler=self.end,
                body=EndBody,
                answer=ShownIncident,
                conflicts=True,
            ),
        )

    def _switch(self, path: str, action: Literal["pause", "resume"]) -> Route:
        async def switch(call: Call, body: PauseBody) -> Answer:
            return await self._changed(call, action, body.reason)

        lets_in = "; what is refused stays so" if action == "pause" else ""
        return Route(
            method="POST",
            path=f"{path}/{action}",
            operation=f"incidents.{action}",
            summary=f"{action.capitalize()} it{lets_in}",
            handler=switch,
            body=PauseBody,
            answer=ShownIncident,
            conflicts=True,
        )

    async def forecast(self, call: Call, body: ForecastBody) -> Answer:
        return Answer(await self._forecast(body))

    async def _forecast(self, body: ForecastBody) -> Body:
        selector = _selector(body.selector)
        if not selector.is_narrowed:
            raise Problem.of_field("selector", "give at least one criterion beside the purpose")
        shares = list(await self._reader.incident_forecast(selector, self._clock.now()))
        found = sum(share["certificates"] for share in shares)
        calls = found * _CALLS[body.mode]
        return {
            "certificates": found,
            "connected": sum(share["connected"] for share in shares),
            "locked_out": sum(share["locked_out"] for share in shares) if body.mode == "revoke" else 0,
            "ca_calls": calls,
            "ca_seconds": round(calls / self._calls_per_s, 1),
            "cost_usd": round(found * self._price, 2) if body.mode == "replace" else 0.0,
            "shares": shares,
        }

    async def open(self, call: Call, body: OpenIncidentBody) -> Answer:
        forecast = await self._forecast(body)
        command = OpenIncident(
            incident_id=call.repetition.new_id("incident"),
            name=body.name,
            reason=body.reason,
            mode=body.mode,
            revocation_reason=body.revocation_reason,
            selector=_selector(body.selector),
            percent=body.percent,
            expected=forecast["certificates"],
        )
        opened = result_of(await self._commands.to_fleet(call, command))
        return Answer(opened, 201, {"Location": f"/api/v1/incidents/{opened['incident_id']}"})

    async def list(self, call: Call, query: IncidentQuery) -> Answer:
        known = (await self._fleet.state()).facts.incidents
        wanted = given(query)
        found = [one for one in known.values() if wanted.get("state") in (None, one.state)]
        page = cut(
            "incidents",
            sorted(found, key=_newest, reverse=True),
            lambda one: one.incident_id,
            lambda one: incident_body(one),
            limit=query.limit,
            cursor=wanted.get("cursor"),
        )
        await self._count(page["items"])
        return Answer(page)

    async def get(self, call: Call) -> Answer:
        shown = incident_body(await self._incident(call))
        await self._count([shown])
        return Answer(shown)

    async def targets(self, call: Call, query: TargetQuery) -> Answer:
        incident_id = call.path["incident_id"]
        state = await self._fleet.state()
        held = held_incident(state.approvals, incident_id)
        if held is None:
            incident = await self._incident(call)
            listed = {**given(query), **cohorts_of(call)}
            return page_of(await self._reader.incident_targets(incident_id=incident.incident_id, **listed))
        wanted = given(query)
        if wanted.pop("state", "selected") != "selected":
            return Answer({"items": [], "next_cursor": None})
        now = self._clock.now()
        return page_of(
            await self._reader.incident_selection(held.selector, now, **wanted, **cohorts_of(call))
        )

    async def advance(self, call: Call, body: AdvanceBody) -> Answer:
        return await self._changed(call, "advance", body.reason, percent=body.percent)

    async def end(self, call: Call, body: EndBody) -> Answer:
        return await self._changed(call, "end", body.reason, lift=body.lift)

    async def _changed(
        self,
        call: Call,
        action: Literal["advance", "pause", "resume", "end"],
        reason: str,
        *,
        percent: int | None = None,
        lift: bool = False,
    ) -> Answer:
        command = ChangeIncident(
            incident_id=call.path["incident_id"], action=action, reason=reason, percent=percent, lift=lift
        )
        shown = result_of(await self._commands.to_fleet(call, command))
        await self._count([shown])
        return Answer(shown)

    async def _incident(self, call: Call) -> Incident:
        incident_id = call.path["incident_id"]
        incident = (await self._fleet.state()).facts.incidents.get(incident_id)
        if incident is None:
            raise Problem.unknown("incident", incident_id)
        return incident

    async def _count(self, shown: Sequence[Body]) -> None:
        counts: dict[str, Counter[str]] = {one["incident_id"]: Counter() for one in shown}
        later = Counter[str]()
        for row in await self._reader.incident_counts(sorted(counts)):
            counts[row["incident_id"]][row["state"]] += row["count"]
            later[row["incident_id"]] += row["came_later"]
        for one in shown:
            one["counts"] = dict(counts[one["incident_id"]])
            one["came_later"] = later[one["incident_id"]]


def _selector(body: SelectorBody) -> Selector:
    return Selector(
        purpose=body.purpose,
        issuing_ca_ids=tuple(body.issuing_ca_ids),
        spki_sha256=tuple(digest.lower() for digest in body.spki_sha256),
        certificate_ids=tuple(body.certificate_ids),
        families=tuple(body.families),
        sites=tuple(body.sites),
        cohorts=tuple(body.cohorts),
        issued_from=body.issued_from,
        issued_before=body.issued_before,
    )


def _newest(incident: Incident) -> tuple[str, str]:
    return incident.opened_at.isoformat(), incident.incident_id
