"""AuthorizationKeys: a charger given another one, and the fleet's keys by what is wrong with them."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from bfactors.authorization_key import SECRET_PURPOSE, VERSIONS, key_problem
from bfactors.command import RotateKey
from bfactors.disclosed import Disclosed
from bfactors.ports import Clock, SecretStore
from bfactors.secret import SecretName
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.idempotency import HEADER
from gateways.admin.inbound import given
from gateways.admin.paging import page_of
from gateways.admin.problem import Problem
from gateways.admin.reach import cohorts_of
from gateways.admin.route import Answer, Call, Route
from gateways.admin.worn_key import refuse_worn_key

UNCLAIMED = timedelta(minutes=15)
"""How long a key that was given stays sealed for a command that may never be committed."""


class RotateKeyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without `key` one is made, and nobody is shown it."""

    key: field.AuthorizationKey | None = None
    reason: field.Reason = "asked for by an operator"


KeyState = Literal["factory", "shared", "old", "weak", "unknown", "pending", "in-doubt"]
Days = Annotated[int, msgspec.Meta(ge=1, le=36500, description="From what age on a key is old")]
OLD_DAYS = 365


class KeyQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which keys; `state` names what is wrong with them."""

    state: KeyState | UnsetType = UNSET
    family: field.Search | UnsetType = UNSET
    site: field.Search | UnsetType = UNSET
    cohort: field.Search | UnsetType = UNSET
    older_than_days: Days = OLD_DAYS
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class CountQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What counts as old."""

    older_than_days: Days = OLD_DAYS


class FleetKey(msgspec.Struct, frozen=True, kw_only=True):
    """One charger's key: where it stands, since when, who made it, and what is wrong with it."""

    charger_id: str
    family: str
    site: str
    cohort: str
    security_profile: int
    generation: int | None
    origin: str | None
    weakness: str | None
    active_since: datetime | None
    pending_since: datetime | None
    states: list[KeyState]


class KeyCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Keys by state; `total` is all chargers on profiles 1 and 2."""

    total: int
    factory: int
    shared: int
    old: int
    weak: int
    unknown: int
    pending: int
    in_doubt: int


class AuthorizationKeys:
    """`/api/v1/chargers/{charger_id}/authorization-key` and `/api/v1/authorization-keys`."""

    def __init__(self, dependencies: AdminDependencies, commands: Commands) -> None:
        self._reader = dependencies.reader
        self._secrets: SecretStore = dependencies.secrets
        self._clock: Clock = dependencies.clock
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/api/v1/chargers/{charger_id}/authorization-key",
                operation="authorization_keys.rotate",
                summary="Give a charger another AuthorizationKey; an open rotation is answered instead",
                description="Both keys are admitted until a session shows the new one. With a key of your own, a rotation "
                "that is open already is a conflict.",
                handler=self.rotate,
                body=RotateKeyBody,
                answer=shape.Job,
                status=202,
                conflicts=True,
                secret_fields=("key",),
            ),
            Route(
                method="GET",
                path="/api/v1/authorization-keys",
                operation="authorization_keys.list",
                summary="The keys of chargers on profiles 1 and 2, in the order of the chargers' ids",
                description="Without the keys, which are nowhere. `states` says what is wrong with each: `unknown` is a "
                "charger that should have one and of which none is known.",
                handler=self.list,
                query=KeyQuery,
                answer=shape.Page[FleetKey],
            ),
            Route(
                method="GET",
                path="/api/v1/authorization-keys/counts",
                operation="authorization_keys.counts",
                summary="How many keys are in each state; one key may be in several",
                handler=self.counts,
                query=CountQuery,
                answer=KeyCounts,
            ),
        )

    async def list(self, call: Call, query: KeyQuery) -> Answer:
        filters = given(query)
        old_before = self._old_before(filters.pop("older_than_days"))
        return page_of(
            await self._reader.authorization_keys(old_before=old_before, **filters, **cohorts_of(call))
        )

    async def counts(self, call: Call, query: CountQuery) -> Answer:
        return Answer(
            dict(await self._reader.authorization_key_counts(self._old_before(query.older_than_days)))
        )

    def _old_before(self, days: int) -> datetime:
        return self._clock.now() - timedelta(days=days)

    async def rotate(self, call: Call, body: RotateKeyBody) -> Answer:
        charger_id = call.path["charger_id"]
        charger = await self._reader.charger(charger_id)
        if charger is None:
            raise Problem.unknown("charger", charger_id)
        job_id = call.repetition.new_id("job")
        await refuse_worn_key(self._reader, self._clock, job_id)
        if body.key is not None:
            _refuse_unfit(body.key, charger["ocpp_versions"])
            await self._seal(job_id, charger_id, body.key)
        command = RotateKey(
            job_id=job_id, charger_id=charger_id, reason=body.reason, is_given=body.key is not None
        )
        job = result_of(await self._commands.to_charger(call, charger_id, command))
        return Answer(job, 202, {"Location": f"/api/v1/jobs/{job['job_id']}"})

    async def _seal(self, job_id: str, charger_id: str, text: str) -> None:
        """A repeat of the request finds its key sealed; another key under the same Idempotency-Key is no repeat."""
        name = SecretName(secret_id=job_id, purpose=SECRET_PURPOSE, charger_id=charger_id)
        if await self._secrets.put(name, Disclosed(text.encode()), self._clock.now() + UNCLAIMED):
            return
        opened = await self._secrets.open(job_id)
        if opened is not None and opened.disclosed.value != text.encode():
            raise Problem.of_field(
                HEADER, "this Idempotency-Key was used with another request", "idempotency-key-reused"
            )


def _refuse_unfit(text: str, versions: list[str]) -> None:
    """A key must be one in every OCPP version the charger may speak."""
    for version in VERSIONS:
        problem = key_problem(text, version) if version in versions else None
        if problem is not None:
            raise Problem.of_field("key", f"{problem} (OCPP {version})", "unfit-key")
