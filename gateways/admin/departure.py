"""A unit leaves its position: a charger is taken out of service, or another unit is put in its place."""

from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from bfactors.charger.departure import first_profile
from bfactors.command import DecommissionCharger, ReplaceUnit
from bfactors.identity import serial_number_problem
from gateways.admin import field, shape
from gateways.admin.charger import KeyOrigin, OcppVersion
from gateways.admin.command import Commands, result_of
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.first_key import FirstKeys
from gateways.admin.problem import Problem
from gateways.admin.route import Answer, Call, Route
from gateways.admin.worn_key import refuse_worn_key


class DecommissionBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why, for the audit trail."""

    reason: field.Reason


class ReplaceBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The new unit. What is absent stays as it was; only a profile above 2 does not, as a new unit has no certificate yet."""

    serial_number: field.SerialNumber
    reason: field.Reason = "another unit was put in its place"
    expected_common_name: field.Name | None = None
    security_profile: field.Profile | None = None
    ocpp_versions: Annotated[list[OcppVersion], msgspec.Meta(min_length=1, max_length=3)] | None = None
    authorization_key: field.AuthorizationKey | None = None
    authorization_key_origin: KeyOrigin = "given"


class ReplacementJob(shape.Job, frozen=True, kw_only=True):
    """The job that has the old unit's certificates revoked; `authorization_key` is the new unit's, shown once."""

    authorization_key: str | UnsetType = UNSET
    key_shown: bool | UnsetType = UNSET


class Departures:
    """`/api/v1/chargers/{charger_id}/decommission` and `.../replace`."""

    def __init__(self, dependencies: AdminDependencies, commands: Commands, first_keys: FirstKeys) -> None:
        self._reader = dependencies.reader
        self._clock = dependencies.clock
        self._commands = commands
        self._first_keys = first_keys

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/api/v1/chargers/{charger_id}/decommission",
                operation="chargers.decommission",
                summary="Take a charger out of service: it is refused at once, and its certificates are revoked",
                description="The job is done when the CA has revoked what it issued for the unit. Nothing else can be asked "
                "of the charger from now on, but that `replace` puts a unit in its place.",
                handler=self.decommission,
                body=DecommissionBody,
                answer=shape.Job,
                status=202,
                conflicts=True,
            ),
            Route(
                method="POST",
                path="/api/v1/chargers/{charger_id}/replace",
                operation="chargers.replace",
                summary="Put another unit in a charger's position: the old one is refused at once",
                description="The job is done when the CA has revoked what it issued for the old unit. The new one has an "
                "identity of its own and starts without certificates. For profiles 1 and 2 an AuthorizationKey is made when "
                "none is given, and shown in the first answer only.",
                handler=self.replace,
                body=ReplaceBody,
                answer=ReplacementJob,
                status=202,
                conflicts=True,
                secret_fields=("authorization_key",),
            ),
        )

    async def decommission(self, call: Call, body: DecommissionBody) -> Answer:
        return await self.request(call, call.path["charger_id"], body.reason)

    async def request(self, call: Call, charger_id: str, reason: str) -> Answer:
        """Open the job under an id made from the request's Idempotency-Key; 202 with the job."""
        job_id = call.repetition.new_id("job")
        await refuse_worn_key(self._reader, self._clock, job_id)
        command = DecommissionCharger(job_id=job_id, charger_id=charger_id, reason=reason)
        job = result_of(await self._commands.to_charger(call, charger_id, command))
        return Answer(job, 202, {"Location": f"/api/v1/jobs/{job['job_id']}"})

    async def replace(self, call: Call, body: ReplaceBody) -> Answer:
        problem = serial_number_problem(body.serial_number)
        if problem is not None:
            raise Problem.of_field("serial_number", problem)
        charger_id = call.path["charger_id"]
        charger = await self._reader.charger(charger_id)
        if charger is None:
            raise Problem.unknown("charger", charger_id)
        job_id = call.repetition.new_id("job")
        await refuse_worn_key(self._reader, self._clock, job_id)
        profile = body.security_profile
        if profile is None:
            profile = first_profile(charger["security_profile"])
        key = self._first_keys.prepare(
            call,
            given=body.authorization_key,
            origin=body.authorization_key_origin,
            security_profile=profile,
            ocpp_versions=list(body.ocpp_versions or charger["ocpp_versions"]),
            identities=(charger_id, body.serial_number),
        )
        command = ReplaceUnit(
            job_id=job_id,
            charger_id=charger_id,
            managed_identity_id=call.repetition.new_id("charger"),
            serial_number=body.serial_number,
            reason=body.reason,
            expected_common_name=body.expected_common_name,
            security_profile=profile,
            ocpp_versions=None if body.ocpp_versions is None else tuple(body.ocpp_versions),
            key=key.verifier,
            key_forms=key.forms,
            key_origin=key.origin,
            key_weakness=key.weakness,
        )
        answer = await self._first_keys.sent(call, charger_id, command)
        job = result_of(answer)
        job |= await self._first_keys.shown(call, charger_id, key, repeated=answer.repeated)
        return Answer(job, 202, {"Location": f"/api/v1/jobs/{job['job_id']}"})
