"""Logs of chargers: asked for here, listed, and handed out as files."""

from datetime import datetime
from typing import Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from bfactors.command import RequestLog
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.inbound import given, ocpp_time
from gateways.admin.paging import page_of
from gateways.admin.ports import Body, LogDesk
from gateways.admin.problem import Problem
from gateways.admin.reach import cohorts_of
from gateways.admin.route import Answer, Call, Route

CONTENT = "application/octet-stream"


class RequestLogBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which log, and of which time."""

    log: Literal["security", "diagnostics"]
    oldest: field.Time | None = None
    latest: field.Time | None = None
    reason: field.Reason


class LogQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one charger, or in one state."""

    charger_id: field.Search | UnsetType = UNSET
    state: Literal["requested", "stored", "failed"] | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """A log that was asked for. `charger_status` is the charger's word, `state` is ours; `file_name` is only shown."""

    log_id: str
    charger_id: str
    job_id: str
    request_id: int
    log: Literal["security", "diagnostics"]
    state: Literal["requested", "stored", "failed"]
    charger_status: str | None
    oldest: datetime | None
    latest: datetime | None
    requested_at: datetime
    expires_at: datetime
    stored_at: datetime | None
    stored_name: str | None
    file_name: str | None
    sha256: str | None
    size_bytes: int | None
    remote_address: str | None


class Logs:
    """`/api/v1/chargers/{charger_id}/logs` and `/api/v1/logs`."""

    def __init__(self, dependencies: AdminDependencies, commands: Commands) -> None:
        self._reader = dependencies.reader
        self._desk = dependencies.logs
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/api/v1/chargers/{charger_id}/logs",
                operation="logs.request",
                summary="Have a charger upload a log; ends an open request of the same charger",
                description="The charger is given a one-time address when it is connected. The job succeeds when the log is "
                "here, whatever the charger reports of it.",
                handler=self.request,
                body=RequestLogBody,
                answer=shape.Job,
                status=202,
                conflicts=True,
            ),
            Route(
                method="GET",
                path="/api/v1/logs",
                operation="logs.list",
                summary="Logs that were asked for, newest first",
                handler=self.list,
                query=LogQuery,
                answer=shape.Page[Log],
            ),
            Route(
                method="GET",
                path="/api/v1/logs/{log_id}",
                operation="logs.get",
                summary="What is known of one log, its hash and size among it",
                handler=self.get,
                answer=Log,
            ),
            Route(
                method="GET",
                path="/api/v1/logs/{log_id}/content",
                operation="logs.content",
                summary="The log itself, as a file to save",
                handler=self.content,
                answer=bytes,
                content_type=CONTENT,
                conflicts=True,
                further={410: "The log is not kept any more"},
            ),
        )

    async def request(self, call: Call, body: RequestLogBody) -> Answer:
        charger_id = call.path["charger_id"]
        if body.oldest is not None and body.latest is not None and body.latest < body.oldest:
            raise Problem.of_field("latest", "lies before oldest")
        if await self._reader.charger(charger_id) is None:
            raise Problem.unknown("charger", charger_id)
        secret_id = call.repetition.new_id("log-address")
        ticket = await self._receiving().ticket(secret_id, charger_id)
        command = RequestLog(
            job_id=call.repetition.new_id("job"),
            log_id=call.repetition.new_id("log"),
            charger_id=charger_id,
            log=body.log,
            reason=body.reason,
            secret_id=secret_id,
            ticket_hash=ticket.ticket_hash,
            credential_hash=ticket.credential_hash,
            max_bytes=ticket.max_bytes,
            expires_at=ticket.expires_at,
            oldest=ocpp_time(body.oldest),
            latest=ocpp_time(body.latest),
        )
        job = result_of(await self._commands.to_charger(call, charger_id, command))
        return Answer(job, 202, {"Location": f"/api/v1/jobs/{job['job_id']}"})

    async def list(self, call: Call, query: LogQuery) -> Answer:
        return page_of(await self._reader.logs(**given(query), **cohorts_of(call)))

    async def get(self, call: Call) -> Answer:
        return Answer(await self._log(call))

    async def content(self, call: Call) -> web.StreamResponse:
        log = await self._log(call)
        if log["state"] != "stored":
            raise Problem(409, "log-not-here", f"the log is {log['state']}, not stored")
        response = await self._receiving().send(call.request, str(log["stored_name"]))
        if response is None:
            raise Problem(410, "log-expired", "the log is not kept any more")
        return response

    async def _log(self, call: Call) -> Body:
        log: dict[str, Any] | None = await self._reader.log(call.path["log_id"])
        if log is None:
            raise Problem.unknown("log", call.path["log_id"])
        return log

    def _receiving(self) -> LogDesk:
        if self._desk is None:
            raise Problem(409, "no-log-receiver", "this process takes no logs in (BF_LOG_PORT, BF_LOG_URL)")
        return self._desk
