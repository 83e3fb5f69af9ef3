"""Waivers: a rule set aside for one charger or cohort, asked for by one person, granted by another, until a date."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bfactors.command import EndWaiver, RequestWaiver
from bfactors.fleet.waiver import body as waiver_body
from bfactors.ports import Clock
from bfactors.waiver import CHARGER, EXEMPTIONS, RULES, Waiver, parse_subject, touching
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.fleet import Fleet
from gateways.admin.inbound import body_of, given
from gateways.admin.paging import cut
from gateways.admin.policy import PolicyValues
from gateways.admin.ports import Body, Reader
from gateways.admin.problem import Problem
from gateways.admin.route import Answer, Call, Route

State = Literal["requested", "in-force", "rejected", "ended"]
_PLAIN = r"[^\u0000-\u0020\u007f-\u00a0]"
Subject = Annotated[
    str,
    Meta(
        min_length=8,
        max_length=128,
        pattern=rf"^(charger|cohort):{_PLAIN}(?:[^\u0000-\u001f\u007f-\u009f]*{_PLAIN})?$(?!\n)",
        description="charger:<charger_id> or cohort:<cohort>",
    ),
]
Rule = Annotated[
    str,
    Meta(
        pattern=f"^({'|'.join(RULES)})$(?!\\n)",
        description="A field of the purpose's policy, or an exemption: " + ", ".join(sorted(EXEMPTIONS)),
    ),
]
Words = Annotated[list[Annotated[str, Meta(max_length=128)] | int], Meta(max_length=16)]


class RequestWaiverBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`value` as the policy's field has it; none for an exemption."""

    subject: Subject
    purpose: field.Name
    rule: Rule
    value: int | Annotated[str, Meta(max_length=128)] | Words | None = None
    reason: field.Reason
    ends_at: field.Time


class EndWaiverBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why it is needed no more."""

    reason: field.Reason


class WaiverQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters; `charger_id` finds those of its cohort too."""

    state: State | UnsetType = UNSET
    purpose: field.Search | UnsetType = UNSET
    subject: field.Search | UnsetType = UNSET
    charger_id: field.Search | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class Waivers:
    """`/api/v1/waivers`."""

    def __init__(self, reader: Reader, fleet: Fleet, commands: Commands, clock: Clock) -> None:
        self._reader = reader
        self._fleet = fleet
        self._commands = commands
        self._clock = clock

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/api/v1/waivers",
                operation="waivers.request",
                summary="Ask that a rule be set aside for a charger or a cohort until a date",
                description="A waiver's value stands above every policy. It ends by itself; the furthest end is the policy's "
                "`waiver_longest_days`. 201: in force, because policy asks for nobody else.",
                handler=self.request,
                body=RequestWaiverBody,
                answer=shape.Waiver,
                status=201,
                conflicts=True,
                may_be_held=True,
                further={404: "The charger is unknown"},
            ),
            Route(
                method="GET",
                path="/api/v1/waivers",
                operation="waivers.list",
                summary="Waivers asked for, in force and lately ended, newest first",
                handler=self.list,
                query=WaiverQuery,
                answer=shape.Page[shape.Waiver],
            ),
            Route(
                method="GET",
                path="/api/v1/waivers/{waiver_id}",
                operation="waivers.get",
                summary="One waiver",
                handler=self.get,
                answer=shape.Waiver,
            ),
            Route(
                method="POST",
                path="/api/v1/waivers/{waiver_id}/end",
                operation="waivers.end",
                summary="Have a waiver end now",
                handler=self.end,
                body=EndWaiverBody,
                answer=shape.Waiver,
                conflicts=True,
            ),
        )

    async def request(self, call: Call, body: RequestWaiverBody) -> Answer:
        family, cohort = await self._place(body.subject)
        command = RequestWaiver(
            waiver_id=call.repetition.new_id("waiver"),
            subject=body.subject,
            purpose=body.purpose,
            rule=body.rule,
            value=_value(body),
            reason=body.reason,
            ends_at=body.ends_at,
            family=family,
            cohort=cohort,
        )
        granted = result_of(await self._commands.to_fleet(call, command))
        return Answer(granted, 201, {"Location": f"/api/v1/waivers/{granted['waiver_id']}"})

    async def _place(self, subject: str) -> tuple[str, str]:
        """Family and cohort of the charger it is about; empty for a cohort. Raises Problem."""
        kind, name = parse_subject(subject) or ("", "")
        if kind != CHARGER:
            return "", ""
        charger = await self._reader.charger(name)
        if charger is None:
            raise Problem.unknown("charger", name)
        return str(charger["family"]), str(charger["cohort"])

    async def list(self, call: Call, query: WaiverQuery) -> Answer:
        now = self._clock.now()
        wanted = given(query)
        found = [one for one in (await self._fleet.state()).waivers.values() if _is_in_reach(call, one)]
        if "charger_id" in wanted:
            charger = await self._reader.charger(wanted["charger_id"])
            cohort = "" if charger is None else str(charger["cohort"])
            subjects = {f"charger:{wanted['charger_id']}", f"cohort:{cohort}"}
            found = [one for one in found if one.subject in subjects]
        rows = [waiver_body(one, now) for one in sorted(found, key=_newest, reverse=True)]
        for name in ("state", "purpose", "subject"):
            if name in wanted:
                rows = [row for row in rows if row[name] == wanted[name]]
        page = cut(
            "waivers",
            rows,
            lambda row: str(row["waiver_id"]),
            lambda row: row,
            limit=query.limit,
            cursor=wanted.get("cursor"),
        )
        return Answer(page)

    async def get(self, call: Call) -> Answer:
        waiver = (await self._fleet.state()).waivers.get(call.path["waiver_id"])
        if waiver is None or not _is_in_reach(call, waiver):
            raise Problem.unknown("waiver", call.path["waiver_id"])
        return Answer(waiver_body(waiver, self._clock.now()))

    async def end(self, call: Call, body: EndWaiverBody) -> Answer:
        command = EndWaiver(waiver_id=call.path["waiver_id"], reason=body.reason)
        return Answer(result_of(await self._commands.to_fleet(call, command)))


def waivers_of(waivers: Any, charger_id: str, cohort: str, now: datetime) -> list[Body]:
    """What is in force for a charger, by itself or by its cohort, as its page shows it."""
    return [
        waiver_body(waiver, now)
        for waiver in touching(waivers, charger_id=charger_id, cohort=cohort)
        if waiver.holds(now)
    ]


def _value(body: RequestWaiverBody) -> Any:
    """The value within the bounds that a policy's field has. Raises Problem."""
    if body.rule in EXEMPTIONS:
        return body.value
    try:
        values = body_of({body.rule: body.value}, PolicyValues)
    except Problem as problem:
        raise Problem.of_field("value", problem.detail) from None
    return given(values)[body.rule]


def _is_in_reach(call: Call, waiver: Waiver) -> bool:
    """Whether the token reaches its cohort; a charger's is the one it was in when the waiver was asked for."""
    cohorts = call.token.cohorts if call.token is not None else None
    kind, name = parse_subject(waiver.subject) or (CHARGER, "")
    return cohorts is None or (waiver.cohort if kind == CHARGER else name) in cohorts


def _newest(waiver: Waiver) -> tuple[datetime, str]:
    return waiver.requested_at, waiver.waiver_id
