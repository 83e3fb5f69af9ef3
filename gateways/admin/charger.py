"""Chargers: the inventory's positions, registered and changed here."""

from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType

from bfactors.charger.inventory_view import inventory_body
from bfactors.charger.lockout import whole_lockout
from bfactors.charger.migration_view import prerequisites
from bfactors.charger.project import job_body
from bfactors.charger.state import ChargerState
from bfactors.command import ChangeCharger, RegisterCharger, ResumeCharger
from bfactors.identity import charger_id_problem, partition_of, serial_number_problem
from bfactors.ledger_fold import charger_key
from bfactors.lockout import body_of
from bfactors.trust_end import trust_ends
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.firmware_note import last_update
from gateways.admin.first_key import FirstKeys
from gateways.admin.fleet import Fleet
from gateways.admin.inbound import given
from gateways.admin.paging import page_of
from gateways.admin.problem import Problem
from gateways.admin.reach import cohorts_of
from gateways.admin.route import Answer, Call, Route
from gateways.admin.waiver import waivers_of

OcppVersion = Literal["1.6", "2.0.1", "2.1"]
KeyOrigin = Literal["given", "factory"]
"""Whether a key that is given is the one the charger left its factory with."""


class RegisterChargerBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A charger to add. `security_profile` is what it connects with now."""

    charger_id: field.ChargerId
    serial_number: field.SerialNumber
    family: field.Name
    site: field.Name
    cohort: field.Name
    security_profile: field.Profile
    target_security_profile: field.Profile = 3
    ocpp_versions: Annotated[list[OcppVersion], msgspec.Meta(min_length=1, max_length=3)] = msgspec.field(
        default_factory=lambda: ["2.0.1"]
    )
    organization: field.Name | None = None
    installer: field.Name | None = None
    """Who looks after it on site, and so may know its key."""
    expected_common_name: field.Name | None = None
    authorization_key: field.AuthorizationKey | None = None
    authorization_key_origin: KeyOrigin = "given"


class ChangeChargerBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to change; absent fields stay."""

    site: field.Name | UnsetType = UNSET
    cohort: field.Name | UnsetType = UNSET
    organization: field.Name | UnsetType = UNSET
    installer: field.Name | UnsetType = UNSET
    expected_common_name: field.Name | UnsetType = UNSET


class ChargerQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`q` is looked for in ids and serial numbers."""

    family: field.Search | UnsetType = UNSET
    site: field.Search | UnsetType = UNSET
    cohort: field.Search | UnsetType = UNSET
    connected: bool | UnsetType = UNSET
    q: field.Search | UnsetType = UNSET
    decommissioned: bool | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class RegisteredCharger(shape.ChargerFacts, frozen=True, kw_only=True):
    """A charger just registered. `authorization_key` is the key itself, shown once, if we made it."""

    authorization_key: str | shape.KeyFact | None
    key_shown: bool | UnsetType = UNSET


_STATE = msgspec.json.Decoder(ChargerState)


class ResumeChargerBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why the charger may go on."""

    reason: field.Reason


class Chargers:
    """`/api/v1/chargers`."""

    def __init__(self, dependencies: AdminDependencies, commands: Commands, first_keys: FirstKeys) -> None:
        self._reader = dependencies.reader
        self._fleet = Fleet(dependencies.reader)
        self._commands = commands
        self._last_seen = dependencies.last_seen
        self._shown = dependencies.server_certificates
        self._clock = dependencies.clock
        self._first_keys = first_keys

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/api/v1/chargers",
                operation="chargers.register",
                summary="Register a charger",
                description="For profiles 1 and 2 an AuthorizationKey is made when none is given, and shown in the first "
                "answer only; a repeat with the same Idempotency-Key has `key_shown: true` instead.",
                handler=self.register,
                body=RegisterChargerBody,
                answer=RegisteredCharger,
                status=201,
                conflicts=True,
                secret_fields=("authorization_key",),
            ),
            Route(
                method="GET",
                path="/api/v1/chargers",
                operation="chargers.list",
                summary="List chargers in the order of their ids",
                handler=self.list,
                query=ChargerQuery,
                answer=shape.Page[shape.Charger],
            ),
            Route(
                method="GET",
                path="/api/v1/chargers/{charger_id}",
                operation="chargers.get",
                summary="One charger with its session, slots, inventory and outstanding instructions",
                handler=self.get,
                answer=shape.Charger,
            ),
            Route(
                method="PATCH",
                path="/api/v1/chargers/{charger_id}",
                operation="chargers.change",
                summary="Move a charger, or change what its certificate is expected to say",
                handler=self.change,
                body=ChangeChargerBody,
                answer=shape.Charger,
                conflicts=True,
            ),
            Route(
                method="POST",
                path="/api/v1/chargers/{charger_id}/resume",
                operation="chargers.resume",
                summary="Let a charger go on that is paused because a piece of its evidence is quarantined",
                handler=self.resume,
                body=ResumeChargerBody,
                answer=shape.Charger,
                conflicts=True,
            ),
        )

    async def register(self, call: Call, body: RegisterChargerBody) -> Answer:
        for name, problem in (
            ("charger_id", charger_id_problem(body.charger_id)),
            ("serial_number", serial_number_problem(body.serial_number)),
        ):
            if problem is not None:
                raise Problem.of_field(name, problem)
        if body.target_security_profile < body.security_profile:
            raise Problem.of_field("target_security_profile", "must not be below security_profile")
        if body.authorization_key is None and body.authorization_key_origin != "given":
            raise Problem.of_field("authorization_key", "name the key that the charger left its factory with")
        key = self._first_keys.prepare(
            call,
            given=body.authorization_key,
            origin=body.authorization_key_origin,
            security_profile=body.security_profile,
            ocpp_versions=list(body.ocpp_versions),
            identities=(body.charger_id, body.serial_number),
        )
        command = RegisterCharger(
            charger_id=body.charger_id,
            managed_identity_id=call.repetition.new_id("charger"),
            serial_number=body.serial_number,
            family=body.family,
            site=body.site,
            cohort=body.cohort,
            security_profile=body.security_profile,
            target_security_profile=body.target_security_profile,
            organization=body.organization,
            installer=body.installer,
            expected_common_name=body.expected_common_name,
            ocpp_versions=tuple(body.ocpp_versions),
            key=key.verifier,
            key_forms=key.forms,
            key_origin=key.origin,
            key_weakness=key.weakness,
        )
        answer = await self._first_keys.sent(call, body.charger_id, command)
        charger = result_of(answer)
        charger |= await self._first_keys.shown(call, body.charger_id, key, repeated=answer.repeated)
        return Answer(charger, 201, {"Location": f"/api/v1/chargers/{quote(body.charger_id, safe='')}"})

    async def list(self, call: Call, query: ChargerQuery) -> Answer:
        page = page_of(await self._reader.chargers(**given(query), **cohorts_of(call)))
        for charger in page.body["items"]:
            self._show_last_seen(charger)
        return page

    async def get(self, call: Call) -> Answer:
        charger_id = call.path["charger_id"]
        charger = await self._reader.charger(charger_id)
        if charger is None:
            raise Problem.unknown("charger", charger_id)
        self._show_last_seen(charger)
        row = await self._reader.aggregate(partition_of(charger_id), charger_key(charger_id))
        if row is not None:
            state, fleet = _STATE.decode(row.state), await self._fleet.state()
            facts = fleet.facts
            ends = trust_ends(fleet.history.values(), [node.presented for node in self._shown()])
            charger |= inventory_body(state, facts)
            now = self._clock.now()
            charger["waivers"] = waivers_of(facts.waivers, charger_id, state.cohort, now)
            if charger["migration"] is not None:
                charger["migration"]["prerequisites"] = prerequisites(state, facts, self._clock.now())
            charger["lockout"] = body_of(whole_lockout(state, ends))
            charger["open_jobs"] = [job_body(state, job) for job in state.jobs.values()]
        charger["firmware_update"] = await last_update(self._reader, charger_id)
        return Answer(charger)

    def _show_last_seen(self, charger: dict[str, Any]) -> None:
        """The ledger knows when sessions began and ended; that one still lives is known from the nodes' snapshots."""
        seen, recorded = self._last_seen(charger["charger_id"]), charger["last_seen_at"]
        if seen is not None and (recorded is None or datetime.fromisoformat(recorded) < seen):
            charger["last_seen_at"] = seen

    async def resume(self, call: Call, body: ResumeChargerBody) -> Answer:
        charger_id = call.path["charger_id"]
        command = ResumeCharger(charger_id=charger_id, reason=body.reason)
        return Answer(result_of(await self._commands.to_charger(call, charger_id, command)))

    async def change(self, call: Call, body: ChangeChargerBody) -> Answer:
        charger_id = call.path["charger_id"]
        command = ChangeCharger(charger_id=charger_id, **given(body))
        return Answer(result_of(await self._commands.to_charger(call, charger_id, command)))
