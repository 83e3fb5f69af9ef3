"""Charger families: what each can and cannot do, and how it was qualified; the same for one charger."""

from typing import Annotated, Any, Literal

import msgspec

from bfactors.capability import Capabilities
from bfactors.command import QualifyFamily, SetChargerCapabilities, SetFactoryAnchors, SetFamilyFacts
from bfactors.fleet.family import MOST_FACTORY_ANCHORS
from bfactors.fleet.family import body as family_body
from bfactors.fleet.state import FamilyFacts
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.fleet import Fleet
from gateways.admin.paging import PageQuery, cut
from gateways.admin.ports import Reader
from gateways.admin.problem import Problem
from gateways.admin.route import Answer, Call, Route

_Size = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
_Slot = Annotated[int, msgspec.Meta(ge=0, le=1000)]
_KeyType = Literal["ec-secp256r1", "ec-secp384r1", "rsa-2048", "rsa-3072", "rsa-4096"]


class CapabilitiesBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What differs from a charger that follows the specification; absent fields do not differ."""

    include_root_in_chain: bool = False
    max_chain_chars: _Size | None = None
    trust_store_slots: _Size | None = None
    csr_wait_s: _Size | None = None
    needs_crlf: bool = False
    presents_leaf_only: bool = False
    no_boot_on_reconnect: bool = False
    drops_before_answering: bool = False
    ignores_triggers: bool = False
    cannot_list: bool = False
    cannot_delete: bool = False
    hex_text_password: bool = False
    no_ping: bool = False
    assume_version: Literal["1.6", "2.0.1", "2.1"] | None = None
    key_types: Annotated[list[_KeyType], msgspec.Meta(max_length=8)] = []
    network_slots: Annotated[list[_Slot], msgspec.Meta(max_length=16)] = []
    allows_downgrade: bool = False


class SetFamilyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Replaces what was said of the family before."""

    capabilities: CapabilitiesBody
    note: field.Note = ""


class FactoryAnchorsBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Replaces those named before; an empty list ends first contacts of the family."""

    anchors: Annotated[list[field.Pem], msgspec.Meta(max_length=MOST_FACTORY_ANCHORS)]
    note: field.Note = ""


class SetCapabilitiesBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Replaces what was said of the charger before; it stands on top of its family's capabilities."""

    capabilities: CapabilitiesBody
    reason: field.Reason


_Step = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class QualificationStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that was tried."""

    step: _Step
    outcome: Literal["passed", "failed", "skipped"]
    detail: field.Note = ""


class QualifyFamilyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one real charger of the family did."""

    charger_id: field.ChargerId
    firmware: field.Name
    passed: bool
    steps: Annotated[list[QualificationStep], msgspec.Meta(min_length=1, max_length=64)]


class Qualification(msgspec.Struct, frozen=True, kw_only=True):
    """The last qualification of a family."""

    charger_id: str
    firmware: str
    by: str
    at: str
    passed: bool
    report: list[dict[str, Any]]


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one make, model and firmware line."""

    family: str
    capabilities: dict[str, Any]
    note: str
    changed_by: str | None
    changed_at: str | None
    qualification: Qualification | None
    factory_anchors: list[shape.Anchor] = []


class Families:
    """`/api/v1/families` and `/api/v1/chargers/{charger_id}/capabilities`."""

    def __init__(self, fleet: Fleet, reader: Reader, commands: Commands) -> None:
        self._fleet = fleet
        self._reader = reader
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/api/v1/families",
                operation="families.list",
                summary="Every charger family that has chargers, or that something is known of",
                handler=self.list,
                query=PageQuery,
                answer=shape.Page[Family],
            ),
            Route(
                method="GET",
                path="/api/v1/families/{family}",
                operation="families.get",
                summary="What is known of one charger family",
                handler=self.get,
                answer=Family,
            ),
            Route(
                method="PUT",
                path="/api/v1/families/{family}",
                operation="families.set",
                summary="Say what a charger family can and cannot do",
                handler=self.set,
                body=SetFamilyBody,
                answer=Family,
            ),
            Route(
                method="PUT",
                path="/api/v1/families/{family}/factory-anchors",
                operation="families.set_factory_anchors",
                summary="Say which CAs give a family's chargers their factory certificates",
                description="Where policy allows it (`factory_certificate`), a charger registered for profile 3 that has no "
                "certificate in use is let in, Pending, with a leaf under one of these that names its serial number; it is "
                "given one of its own at once.",
                handler=self.set_factory_anchors,
                body=FactoryAnchorsBody,
                answer=Family,
                conflicts=True,
            ),
            Route(
                method="POST",
                path="/api/v1/families/{family}/qualification",
                operation="families.qualify",
                summary="Record how a charger of the family did when everything was tried with it",
                description="`run.py ctl family qualify` does the trying and sends this.",
                handler=self.qualify,
                body=QualifyFamilyBody,
                answer=Family,
            ),
            Route(
                method="PUT",
                path="/api/v1/chargers/{charger_id}/capabilities",
                operation="chargers.set_capabilities",
                summary="Say what one charger can and cannot do, on top of its family",
                handler=self.set_of_charger,
                body=SetCapabilitiesBody,
                answer=shape.Charger,
            ),
        )

    async def list(self, call: Call, query: PageQuery) -> Answer:
        families = await self._known()
        rows = [families[name] for name in sorted(families)]
        page = cut(
            "families",
            rows,
            lambda row: row.family,
            family_body,
            limit=query.limit,
            cursor=query.cursor or None,
        )
        return Answer(page)

    async def get(self, call: Call) -> Answer:
        name = call.path["family"]
        known = (await self._known()).get(name)
        if known is None:
            raise Problem.unknown("family", name)
        return Answer(family_body(known))

    async def _known(self) -> dict[str, FamilyFacts]:
        """By name; of one that only has chargers nothing more is known."""
        names = {str(group["family"]) for group in await self._reader.charger_groups()}
        said = (await self._fleet.state()).facts.families
        return {name: FamilyFacts(family=name) for name in names} | dict(said)

    async def set(self, call: Call, body: SetFamilyBody) -> Answer:
        command = SetFamilyFacts(
            family=call.path["family"], capabilities=_capabilities(body.capabilities), note=body.note
        )
        return Answer(result_of(await self._commands.to_fleet(call, command)))

    async def set_factory_anchors(self, call: Call, body: FactoryAnchorsBody) -> Answer:
        command = SetFactoryAnchors(
            family=call.path["family"], anchors_pem=tuple(body.anchors), note=body.note
        )
        return Answer(result_of(await self._commands.to_fleet(call, command)))

    async def qualify(self, call: Call, body: QualifyFamilyBody) -> Answer:
        command = QualifyFamily(
            family=call.path["family"],
            charger_id=body.charger_id,
            firmware=body.firmware,
            passed=body.passed,
            report=msgspec.json.encode(body.steps).decode(),
        )
        return Answer(result_of(await self._commands.to_fleet(call, command)))

    async def set_of_charger(self, call: Call, body: SetCapabilitiesBody) -> Answer:
        charger_id = call.path["charger_id"]
        command = SetChargerCapabilities(
            charger_id=charger_id, capabilities=_capabilities(body.capabilities), reason=body.reason
        )
        return Answer(result_of(await self._commands.to_charger(call, charger_id, command)))


def _capabilities(given: CapabilitiesBody) -> Capabilities:
    values = msgspec.structs.asdict(given)
    lists = {"key_types": tuple(given.key_types), "network_slots": tuple(given.network_slots)}
    return Capabilities(**values | lists)
