"""Approvals: what waits for a second person, and that person's word."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from bfactors.approval import ApprovalState as State
from bfactors.approval import Verdict
from bfactors.command import DecideApproval, DecideFleetApproval
from gateways.admin import field, shape
from gateways.admin.approvable import Sights
from gateways.admin.command import Commands, result_of
from gateways.admin.inbound import given
from gateways.admin.incident_selection import Selection
from gateways.admin.paging import page_of
from gateways.admin.ports import Body, Reader
from gateways.admin.problem import Problem
from gateways.admin.reach import cohorts_of
from gateways.admin.rollover_sight import HeldRollover
from gateways.admin.route import Answer, Call, Handler, Route


class DecideBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`content_hash` as the approval shows it: it says which content was read."""

    content_hash: field.Fingerprint
    reason: field.Reason


class ApprovalQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters on the approvals as they stand."""

    state: State | UnsetType = UNSET
    kind: field.Search | UnsetType = UNSET
    charger_id: field.Search | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class ApprovalBody(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, by whom, and what became of it. `charger_id` null: it is about the fleet.

    Of one that is open for decision and shown alone: `selection`, what an incident would reach now; `rollover`, the CAs of a
    rollover's step and what stands in its way. The hash is of neither.
    """

    approval_id: str
    kind: str
    charger_id: str | None
    job_id: str | None
    subject: str
    state: State
    content: dict[str, Any]
    content_hash: str
    author: str
    reason: str
    requested_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    decision_reason: str | None
    selection: Selection | None = None
    rollover: HeldRollover | None = None


class Approvals:
    """`/api/v1/approvals`."""

    def __init__(self, reader: Reader, commands: Commands, sights: Sights) -> None:
        self._reader = reader
        self._sights = sights
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/api/v1/approvals",
                operation="approvals.list",
                summary="What was asked for and needs, or needed, a second person; newest first",
                handler=self.list,
                query=ApprovalQuery,
                answer=shape.Page[ApprovalBody],
            ),
            Route(
                method="GET",
                path="/api/v1/approvals/{approval_id}",
                operation="approvals.get",
                summary="One approval with the content it is bound to",
                handler=self.get,
                answer=ApprovalBody,
            ),
            self._route("approve", "Agree to it; never its author"),
            self._route(
                "reject", "Do not agree to it; never its author, who withdraws it or cancels its job"
            ),
            self._route("withdraw", "Ask for it no more; its author alone"),
        )

    def _route(self, verdict: Verdict, summary: str) -> Route:
        return Route(
            method="POST",
            path=f"/api/v1/approvals/{{approval_id}}/{verdict}",
            operation=f"approvals.{verdict}",
            summary=summary,
            handler=self._deciding(verdict),
            body=DecideBody,
            answer=ApprovalBody,
            conflicts=True,
        )

    async def list(self, call: Call, query: ApprovalQuery) -> Answer:
        return page_of(await self._reader.approvals(**given(query), **cohorts_of(call)))

    async def get(self, call: Call) -> Answer:
        approval = await self._approval(call)
        sight = self._sights.get(approval["kind"])
        if sight is None or approval["state"] != "open":
            return Answer(approval)
        return Answer({**approval, **await sight.shown(approval["content"])})

    def _deciding(self, verdict: Verdict) -> Handler:
        async def decide(call: Call, body: DecideBody) -> Answer:
            approval = await self._approval(call)
            charger_id = approval["charger_id"]
            if charger_id is None:
                sight = self._sights.get(approval["kind"])
                is_given = verdict == "approve" and approval["state"] == "open"
                fleet_wide = DecideFleetApproval(
                    approval_id=approval["approval_id"],
                    verdict=verdict,
                    content_hash=body.content_hash.lower(),
                    reason=body.reason,
                    afresh=await sight.afresh(approval["content"]) if sight is not None and is_given else {},
                )
                return Answer(result_of(await self._commands.to_fleet(call, fleet_wide)))
            command = DecideApproval(
                charger_id=charger_id,
                approval_id=approval["approval_id"],
                verdict=verdict,
                content_hash=body.content_hash.lower(),
                reason=body.reason,
            )
            return Answer(result_of(await self._commands.to_charger(call, charger_id, command)))

        return decide

    async def _approval(self, call: Call) -> Body:
        approval = await self._reader.approval(call.path["approval_id"])
        if approval is None:
            raise Problem.unknown("approval", call.path["approval_id"])
        return approval
