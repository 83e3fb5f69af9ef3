"""Calls an operator writes out by hand, answered with what the charger answered.

The call is an instruction of the ledger like any other; this waits for the event that says how it ended. A client that has
lost its answer repeats the request and is told the same, without a second call.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Literal

import msgspec

from bfactors.charger.operator_call import ACTIONS
from bfactors.command import CallCharger
from gateways.admin.command import Commands
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.ports import EventFeed, FeedItem
from gateways.admin.problem import Problem
from gateways.admin.route import Answer, Call, Route

WAITS_S = 60.0
"""Longer than any charger is given to answer; then the call's end is in the audit trail only."""
_ENDED = "OperatorCallAnswered"
_LOOKS_BACK = timedelta(hours=24)


class CallEnded(msgspec.Struct, frozen=True, kw_only=True):
    """`payload` is the charger's answer, `error` its CALLERROR or why nothing could be sent."""

    outcome: Literal["answered", "error", "timeout", "disconnected"]
    payload: dict[str, Any] | None = None
    error: str | None = None


class _Ended(msgspec.Struct, frozen=True, rename="camel"):
    instruction_id: str
    outcome: str
    payload: str | None
    error: str | None


class _Event(msgspec.Struct, frozen=True):
    payload: _Ended


_EVENT = msgspec.json.Decoder(_Event)


class OperatorCalls:
    """`/api/v1/chargers/{charger_id}/ocpp/{action}`."""

    def __init__(self, dependencies: AdminDependencies, commands: Commands) -> None:
        self._reader = dependencies.reader
        self._feed = dependencies.events
        self._clock = dependencies.clock
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/api/v1/chargers/{charger_id}/ocpp/{action}",
                operation="chargers.call",
                summary="Call a connected charger by hand and see its answer",
                description="The body is the OCPP request's payload. Allowed: "
                + ", ".join(sorted(ACTIONS))
                + ". Guarded like jobs: no manufacturer roots, no anchor of another realm, no last root, no lower security "
                "profile; AuthorizationKeys and migrations have routes of their own. The call is recorded.",
                handler=self.call,
                body=dict[str, Any],
                answer=CallEnded,
                conflicts=True,
            ),
        )

    async def call(self, call: Call, body: dict[str, Any]) -> Answer:
        charger_id, action = call.path["charger_id"], call.path["action"]
        if action not in ACTIONS:
            raise Problem.unknown("action", action)
        if self._feed is None:
            raise Problem.away("this process cannot follow the ledger", 5)
        call_id = call.repetition.new_id("call")
        command = CallCharger(
            call_id=call_id,
            charger_id=charger_id,
            action=action,
            payload=msgspec.json.encode(body).decode(),
        )
        items = await self._open(self._feed)
        try:
            answer = await self._commands.to_charger(call, charger_id, command)
            ended = await self._earlier(charger_id, call_id) if answer.repeated else None
            if ended is None:
                ended = await self._awaited(items, call_id)
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()
        return Answer(_body(ended))

    async def _open(self, feed: EventFeed) -> AsyncIterator[FeedItem]:
        """From now on, so that nothing that follows the command is missed."""
        return await feed.open(None)

    async def _awaited(self, items: AsyncIterator[FeedItem], call_id: str) -> _Ended | None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAITS_S):
                async for item in items:
                    if item.event == _ENDED:
                        ended = _EVENT.decode(item.data).payload
                        if ended.instruction_id == call_id:
                            return ended
        return None

    async def _earlier(self, charger_id: str, call_id: str) -> _Ended | None:
        """How a call ended that was asked for before."""
        after = (self._clock.now() - _LOOKS_BACK).isoformat()
        cursor: str | None = None
        while True:
            page = await self._reader.audit(
                charger_id=charger_id, event=_ENDED, after=after, limit=500, cursor=cursor
            )
            if not isinstance(page, dict):
                return None
            for row in page["items"]:
                ended = msgspec.convert(row["payload"], _Ended)
                if ended.instruction_id == call_id:
                    return ended
            cursor = page["next_cursor"]
            if cursor is None:
                return None


def _body(ended: _Ended | None) -> dict[str, Any]:
    if ended is None:
        return {"outcome": "timeout"}
    if ended.outcome == "answered":
        payload = {} if ended.payload is None else msgspec.json.decode(ended.payload)
        return {"outcome": "answered", "payload": payload}
    if ended.error is not None:
        return {"outcome": ended.outcome, "error": ended.error}
    return {"outcome": ended.outcome}
