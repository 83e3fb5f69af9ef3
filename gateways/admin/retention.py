"""How long records that are no ledger events are kept, and what last went."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from bfactors.command import SetRetention
from bfactors.fleet.retention import body
from bfactors.retention import KINDS
from gateways.admin import field
from gateways.admin.command import Commands, result_of
from gateways.admin.fleet import Fleet
from gateways.admin.route import Answer, Call, Route

_PATH = "/api/v1/retention"


class SetRetentionBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Each kind has bounds of its own, as the list says."""

    kind: Annotated[str, Meta(pattern=f"^({'|'.join(KINDS)})$(?!\\n)")]
    days: Annotated[int, Meta(ge=1, le=3650)]
    reason: field.Reason


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """Who decided it, and why."""

    reason: str
    by: str
    at: datetime


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """The latest sweep that deleted anything: how many records, all older than `before`."""

    at: datetime
    count: int
    before: datetime


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long one kind of record is kept. `set` null: by default."""

    kind: str
    what: str
    days: int
    default_days: int
    least_days: int
    most_days: int
    set: Decided | None
    last_swept: Swept | None


class Retentions(msgspec.Struct, frozen=True, kw_only=True):
    """Every kind there is."""

    items: list[Retention]
    next_cursor: None


class RetentionRules:
    """`/api/v1/retention`."""

    def __init__(self, fleet: Fleet, commands: Commands) -> None:
        self._fleet = fleet
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path=_PATH,
                operation="retention.list",
                summary="How long each kind of record is kept, and what last went",
                description="Ledger events, checkpoints and certificates are kept for good.",
                handler=self.every,
                answer=Retentions,
            ),
            Route(
                method="PUT",
                path=_PATH,
                operation="retention.set",
                summary="Have records of a kind kept for so many days",
                description="What is older then goes within the hour, and does not come back.",
                handler=self.set_days,
                body=SetRetentionBody,
                answer=Retention,
            ),
        )

    async def every(self, call: Call) -> Answer:
        state = await self._fleet.state()
        return Answer({"items": [body(state, kind) for kind in KINDS], "next_cursor": None})

    async def set_days(self, call: Call, wanted: SetRetentionBody) -> Answer:
        command = SetRetention(kind=wanted.kind, days=wanted.days, reason=wanted.reason)
        return Answer(result_of(await self._commands.to_fleet(call, command)))
