"""A purpose on its way from one CA to the next: the forecast, each step, and what stands in its way."""

from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from bfactors.command import AbortRollover, AdvanceRollover, StartRollover
from bfactors.fleet import rollover
from bfactors.fleet.state import Authority, FleetFacts
from bfactors.purpose import purposes
from bfactors.refusal import Refusal
from bfactors.server_certificate import FIRST_TLS_PROFILE
from gateways.admin import field
from gateways.admin.command import Commands
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.fleet import Fleet
from gateways.admin.job import ReasonBody
from gateways.admin.problem import Problem
from gateways.admin.rollover_sight import Obstacle, ageing, load_of
from gateways.admin.route import Answer, Call, Route

Step = Literal["gateways", "anchors", "overlap", "renewal"]
RENEWALS_PER_MINUTE = 60
"""What the renewal actor of a purpose starts; for the forecast."""


class AnchorCount(msgspec.Struct, frozen=True, kw_only=True):
    """How far a bundle that chargers verify has come. `has_root`: it holds the root of the new CA."""

    purpose: str
    bundle_id: str
    version: int
    has_root: bool
    confirmed: int
    total: int


class RolloverShape(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rollover stands. `waiting_for`: what the next step lacks; empty: it can begin. `certificates` hang on the CA
    that is left (`GET /api/v1/authorities/{leaving_id}/holders` names them), `orders` are with it.
    """

    rollover_id: str
    purpose: str
    leaving_id: str
    to_id: str
    step: Step
    since: field.Time
    started_at: field.Time
    by: str
    reason: str
    renew_after: field.Time | None
    stalled: bool
    waiting_for: list[Obstacle]
    certificates: int
    orders: int
    anchors: list[AnchorCount]


class RolloverForecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a rollover would come to; nothing was begun. `renewals` at most, which take `minutes` at the usual pace."""

    purpose: str
    leaving_id: str
    to_id: str
    blind_gateways: list[str]
    anchors: list[AnchorCount]
    renewals: int
    minutes: int


class RolloverAdvanced(msgspec.Struct, frozen=True, kw_only=True):
    """`rollover` None: it has ended, and the CA that was left is retired."""

    purpose: str
    rollover: RolloverShape | None


class RolloverEnded(msgspec.Struct, frozen=True, kw_only=True):
    """No rollover of the purpose is under way any more."""

    purpose: str
    ended: bool


class StartBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`authority_id` follows the current CA, or `leaving_id` if that is another. What ends by `renew_after` is left to end."""

    authority_id: field.AuthorityId
    reason: field.Reason
    leaving_id: field.AuthorityId | UnsetType = UNSET
    renew_after: field.Time | UnsetType = UNSET
    dry_run: bool = True


class AdvanceBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`step`: the one it stands in now, so that a repetition moves nothing."""

    step: Step
    reason: field.Reason


class Rollovers:
    """`/api/v1/authorities/{purpose}/rollover`."""

    def __init__(self, dependencies: AdminDependencies, fleet: Fleet, commands: Commands) -> None:
        self._reader = dependencies.reader
        self._clock = dependencies.clock
        self._fleet = fleet
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        path = "/api/v1/authorities/{purpose}/rollover"
        return (
            Route(
                method="GET",
                path=path,
                operation="rollovers.get",
                summary="Where the rollover of a purpose stands, and what its next step waits for",
                handler=self.get,
                answer=RolloverShape,
                further={404: "None is under way"},
            ),
            Route(
                method="POST",
                path=path,
                operation="rollovers.start",
                summary="Begin to leave one CA for another; as a dry run unless told otherwise",
                description="A dry run answers 200 with what it would come to. `dry_run: false` begins it: 202. By policy "
                "somebody else must agree first: then 202 with the approval, and nothing was begun.",
                handler=self.start,
                body=StartBody,
                answer=RolloverForecast,
                conflicts=True,
                begun=RolloverShape,
                may_be_held=True,
            ),
            Route(
                method="POST",
                path=f"{path}/advance",
                operation="rollovers.advance",
                summary="Begin the next step; after the last the old CA is retired",
                description="The last one takes trust from the old CA: by policy somebody else must agree to that first.",
                handler=self.advance,
                body=AdvanceBody,
                answer=RolloverAdvanced,
                status=202,
                may_be_held=True,
                conflicts=True,
            ),
            Route(
                method="POST",
                path=f"{path}/abort",
                operation="rollovers.abort",
                summary="End a rollover: what was current before issues again, both CAs stay trusted",
                handler=self.abort,
                body=ReasonBody,
                answer=RolloverEnded,
                status=202,
                conflicts=True,
            ),
        )

    async def get(self, call: Call) -> Answer:
        return Answer(await self._shown(call.path["purpose"]))

    async def start(self, call: Call, body: StartBody) -> Answer:
        purpose = call.path["purpose"]
        command = StartRollover(
            rollover_id=call.repetition.new_id("rollover"),
            purpose=purpose,
            to_id=body.authority_id,
            leaving_id="" if body.leaving_id is UNSET else body.leaving_id,
            renew_after=None if body.renew_after is UNSET else body.renew_after,
            reason=body.reason,
        )
        if body.dry_run:
            return Answer(await self._forecast(command))
        await self._commands.to_fleet(call, command)
        return Answer(await self._shown(purpose), 202)

    async def advance(self, call: Call, body: AdvanceBody) -> Answer:
        purpose = call.path["purpose"]
        facts = (await self._fleet.state()).facts
        under_way = facts.rollovers.get(purpose)
        now = self._clock.now()
        load = await ageing(self._reader, under_way.leaving_arn, now) if under_way is not None else {}
        command = AdvanceRollover(
            purpose=purpose,
            step=body.step,
            reason=body.reason,
            **load,
        )
        await self._commands.to_fleet(call, command)
        if purpose not in (await self._fleet.state()).facts.rollovers:
            return Answer({"purpose": purpose, "rollover": None}, 202)
        return Answer({"purpose": purpose, "rollover": await self._shown(purpose)}, 202)

    async def abort(self, call: Call, body: ReasonBody) -> Answer:
        purpose = call.path["purpose"]
        await self._commands.to_fleet(call, AbortRollover(purpose=purpose, reason=body.reason))
        return Answer(RolloverEnded(purpose=purpose, ended=True), 202)

    # ------------------------------------------------------------ what is shown

    async def _shown(self, purpose: str) -> dict[str, Any]:
        facts = (await self._fleet.state()).facts
        under_way = facts.rollovers.get(purpose)
        if under_way is None:
            raise Problem.unknown("rollover", purpose)
        load = await load_of(self._reader, under_way.leaving_arn, self._clock.now())
        hanging = load["certificates"] + load["orders"]
        found = rollover.waiting(facts, under_way, hanging, load["heard_sequence"], self._clock.now())
        to = rollover.side(facts, purpose, under_way.to_id)
        return {
            **rollover.body(under_way),
            "waiting_for": [{"code": code, "message": message} for code, message in found],
            "certificates": load["certificates"],
            "orders": load["orders"],
            "anchors": await self._anchors(facts, purpose, to),
        }

    async def _anchors(self, facts: FleetFacts, purpose: str, to: Authority | None) -> list[dict[str, Any]]:
        spec = purposes()[purpose]
        lacking = {each.purpose for each in rollover.lacking(facts, spec, to)} if to is not None else set()
        found = []
        for name in sorted({spec.anchor_bundle or spec.name, spec.name}):
            bundle = facts.bundles.get(name)
            if bundle is None:
                continue
            groups = await self._reader.anchor_holders(
                name, [bundle.bundle_id], from_profile=FIRST_TLS_PROFILE
            )
            counts = [(bool(group["rung"]), int(group["count"])) for group in groups]
            found.append(
                {
                    "purpose": name,
                    "bundle_id": bundle.bundle_id,
                    "version": bundle.version,
                    "has_root": name not in lacking,
                    "confirmed": sum(count for is_held, count in counts if is_held),
                    "total": sum(count for _, count in counts),
                }
            )
        return found

    async def _forecast(self, command: StartRollover) -> dict[str, Any]:
        facts = (await self._fleet.state()).facts
        now: datetime = self._clock.now()
        pair = rollover.sides(facts, command, now)
        if isinstance(pair, Refusal):
            raise Problem.of_refusal(pair)
        leaving, to = pair
        since = max(now, command.renew_after) if command.renew_after is not None else now
        (load,) = await self._reader.authority_load([leaving.arn], since)
        renewals = int(load["certificates"])
        return {
            "purpose": command.purpose,
            "leaving_id": leaving.authority_id,
            "to_id": to.authority_id,
            "blind_gateways": facts.blind_nodes(to.fingerprint_sha256),
            "anchors": await self._anchors(facts, command.purpose, to),
            "renewals": renewals,
            "minutes": -(-renewals // RENEWALS_PER_MINUTE),
        }
