"""Supervisors: what this process's say of themselves, and what operators told them to do."""

from typing import Any, Literal

import msgspec

from bfactors.command import SetSupervisorState
from bfactors.fleet.state import SupervisorPause
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.fleet import Fleet
from gateways.admin.job import ReasonBody
from gateways.admin.paging import PageQuery, cut
from gateways.admin.ports import Statuses
from gateways.admin.route import Answer, Call, Handler, Route

Kind = Literal["family", "cohort", "purpose", "scheme", "ledger"]
State = Literal["running", "paused", "draining", "failed"]


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's word, as the ledger recorded it."""

    state: str
    reason: str
    by: str
    at: field.Time


class Supervisor(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is what it says itself; `wanted` what it was told. They differ while nodes have yet to follow."""

    kind: Kind
    name: str
    state: State
    wanted: State
    children: int
    restarts: int
    reason: str | None
    pause: Pause | None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded."""

    kind: Kind
    name: str
    state: State
    reason: str


class Supervisors:
    """`/api/v1/supervisors`."""

    def __init__(self, statuses: Statuses, fleet: Fleet, commands: Commands) -> None:
        self._statuses = statuses
        self._fleet = fleet
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        listing = Route(
            method="GET",
            path="/api/v1/supervisors",
            operation="supervisors.list",
            summary="What each supervisor does, and what it was told",
            handler=self.list,
            query=PageQuery,
            answer=shape.Page[Supervisor],
        )
        pause = (
            "Start nothing new: no campaign steps, routine renewals or jobs; sessions and revocations go on"
        )
        return (
            listing,
            self._route("pause", pause),
            self._route("resume", "Take up work again"),
            self._route("drain", "Finish what is under way and start nothing new"),
        )

    def _route(self, action: str, summary: str) -> Route:
        return Route(
            method="POST",
            path=f"/api/v1/supervisors/{{kind}}/{{name}}/{action}",
            operation=f"supervisors.{action}",
            summary=summary,
            handler=self._telling(action),
            body=ReasonBody,
            answer=Told,
            conflicts=True,
        )

    def _telling(self, action: str) -> Handler:
        async def tell(call: Call, body: ReasonBody) -> Answer:
            command = SetSupervisorState(
                kind=call.path["kind"], name=call.path["name"], action=action, reason=body.reason
            )
            return Answer(result_of(await self._commands.to_fleet(call, command)))

        return tell

    async def list(self, call: Call, query: PageQuery) -> Answer:
        pauses = dict((await self._fleet.state()).facts.pauses)
        rows: dict[str, dict[str, Any]] = {}
        for status in self._statuses():
            key = f"{status.kind}/{status.name}"
            rows[key] = {
                "kind": status.kind,
                "name": status.name,
                "state": status.state.value,
                "children": status.children,
                "restarts": status.restarts,
                "reason": status.reason,
            } | _told(pauses.pop(key, None))
        for key, pause in pauses.items():  # of another process, or of what has no children yet
            absent = {"kind": pause.kind, "name": pause.name, "state": pause.state, "reason": pause.reason}
            rows[key] = absent | {"children": 0, "restarts": 0} | _told(pause)
        ordered = sorted(rows.items())
        page = cut(
            "supervisors",
            ordered,
            lambda row: row[0],
            lambda row: row[1],
            limit=query.limit,
            cursor=query.cursor or None,
        )
        return Answer(page)


def _told(pause: SupervisorPause | None) -> dict[str, Any]:
    if pause is None:
        return {"wanted": "running", "pause": None}
    shown = {"state": pause.state, "reason": pause.reason, "by": pause.by, "at": pause.at}
    return {"wanted": pause.state, "pause": shown}
