"""Migrations of security profiles: ordered for one charger, released from quarantine, listed for the fleet."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from bfactors.command import OpenMigration, ReleaseMigration
from bfactors.ports import Clock
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.inbound import given
from gateways.admin.paging import page_of
from gateways.admin.ports import Reader
from gateways.admin.reach import cohorts_of
from gateways.admin.route import Answer, Call, Route
from gateways.admin.worn_key import refuse_worn_key

State = Literal["pending", "active", "rollback", "quarantine", "completed", "cancelled"]
TargetProfile = Annotated[int, msgspec.Meta(ge=1, le=3, description="OCPP security profile")]


class MigrateBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The profile the charger is to connect with in the end."""

    target_profile: TargetProfile
    reason: field.Reason = "ordered by an operator"
    ends_at: field.Time | None = None
    """Of a way back from profile 3 to 2, which also needs an approval: when profile 2 is refused again."""


class ReleaseBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`retry` starts the migration again, `end` gives it up; every credential admitted before stays so."""

    reason: field.Reason
    action: Literal["retry", "end"] = "retry"


class MigrationQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters on the cases as they stand."""

    state: State | UnsetType = UNSET
    cohort: field.Search | UnsetType = UNSET
    family: field.Search | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class MigrationCase(shape.Migration, frozen=True, kw_only=True):
    """A case with the charger it is about."""

    charger_id: str
    family: str
    cohort: str
    last_seen_at: datetime | None


class Migrations:
    """`/api/v1/chargers/{charger_id}/migration` and `/api/v1/migrations`."""

    def __init__(self, reader: Reader, commands: Commands, clock: Clock) -> None:
        self._clock = clock
        self._reader = reader
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/api/v1/chargers/{charger_id}/migration",
                operation="migrations.open",
                summary="Have a charger change its security profile; the case under way to the same profile is answered",
                description="The certificate that profile 3 needs is obtained on the way. Nothing is sent before every "
                "prerequisite is met; the charger shows them under `migration`. From profile 3 back to 2: with "
                "`ends_at`, and once somebody else has approved it.",
                handler=self.open,
                body=MigrateBody,
                answer=shape.Job,
                status=202,
                conflicts=True,
            ),
            Route(
                method="POST",
                path="/api/v1/chargers/{charger_id}/migration/release",
                operation="migrations.release",
                summary="Start a migration again that is in quarantine, or give it up",
                handler=self.release,
                body=ReleaseBody,
                answer=shape.Charger,
                conflicts=True,
                may_be_held=True,
            ),
            Route(
                method="GET",
                path="/api/v1/migrations",
                operation="migrations.list",
                summary="The chargers' migrations, the last one of each, newest first",
                handler=self.list,
                query=MigrationQuery,
                answer=shape.Page[MigrationCase],
            ),
        )

    async def open(self, call: Call, body: MigrateBody) -> Answer:
        charger_id = call.path["charger_id"]
        return await self.request(call, charger_id, body.target_profile, body.reason, body.ends_at)

    async def request(
        self,
        call: Call,
        charger_id: str,
        target_profile: int,
        reason: str,
        ends_at: datetime | None = None,
    ) -> Answer:
        """Open a case under a job id made from the request's Idempotency-Key; 202 with the job."""
        job_id = call.repetition.new_id("job")
        await refuse_worn_key(self._reader, self._clock, job_id)
        command = OpenMigration(
            job_id=job_id,
            charger_id=charger_id,
            target_profile=target_profile,
            reason=reason,
            ends_at=ends_at,
            approval_id=call.repetition.new_id("approval"),
        )
        job = result_of(await self._commands.to_charger(call, charger_id, command))
        return Answer(job, 202, {"Location": f"/api/v1/jobs/{job['job_id']}"})

    async def release(self, call: Call, body: ReleaseBody) -> Answer:
        charger_id = call.path["charger_id"]
        command = ReleaseMigration(charger_id=charger_id, reason=body.reason, ends=body.action == "end")
        return Answer(result_of(await self._commands.to_charger(call, charger_id, command)))

    async def list(self, call: Call, query: MigrationQuery) -> Answer:
        return page_of(await self._reader.migrations(**given(query), **cohorts_of(call)))
