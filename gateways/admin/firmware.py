"""Firmware-signing trust: a workflow of its own, for a role of its own, which may do nothing else."""

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import UNSET, UnsetType

from bfactors.certificate_hash import HashData
from bfactors.firmware import event as e
from bfactors.firmware.command import (
    CancelFirmwareWork,
    CompareRootStores,
    DeleteFirmwareAnchor,
    InstallFirmwareAnchor,
    ListFirmwareAnchors,
    OrderFirmwareUpdate,
    RecordFirmwareAnchor,
    WithdrawFirmwareAnchor,
)
from bfactors.firmware.signer import SIGNING_CERTIFICATE_CHARS
from bfactors.firmware.state import (
    FLEET_KEY,
    FirmwareAnchor,
    FirmwareCharger,
    FirmwareFleet,
    charger_key,
    work_id,
)
from bfactors.firmware.update import LOCATION_CHARS, SIGNATURE_CHARS
from bfactors.firmware.view import anchor_body, charger_body
from bfactors.identity import FLEET, partition_of
from gateways.admin import field, firmware_shape, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.inbound import given, ocpp_time
from gateways.admin.paging import cut, page_of
from gateways.admin.ports import Reader
from gateways.admin.problem import Problem
from gateways.admin.route import Answer, Call, Route
from gateways.admin.trail import LedgerEvent

_FLEET = msgspec.json.Decoder(FirmwareFleet)
_CHARGER = msgspec.json.Decoder(FirmwareCharger)
_ROOT = "/api/v1/firmware-trust"
_WorkCommand = (
    InstallFirmwareAnchor
    | ListFirmwareAnchors
    | CompareRootStores
    | DeleteFirmwareAnchor
    | OrderFirmwareUpdate
)
_EVENT_NAMES = tuple(sorted(kind.__name__ for kind in get_args(e.FirmwareEvent)))


class RecordAnchorBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A manufacturer's root, self-signed: with it a charger verifies who signed its firmware."""

    manufacturer: field.Name
    pem: field.Pem
    note: field.Note = ""


class ReasonBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why, for people."""

    reason: field.Reason


class InstallBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recorded anchor that is not withdrawn."""

    anchor_id: field.Id
    reason: field.Reason


class DeleteBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the two: a recorded anchor, or a root of the charger's last list by its hash data."""

    reason: field.Reason
    anchor_id: field.Id | UnsetType = UNSET
    hash_data: firmware_shape.RootName | UnsetType = UNSET


class UpdateBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Signed firmware: where it lies, its signature, who signed it, and the recorded anchor that vouches for the signer."""

    anchor_id: field.Id
    location: Annotated[
        str, msgspec.Meta(min_length=1, max_length=LOCATION_CHARS, description="Without a password")
    ]
    signing_certificate: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            max_length=SIGNING_CERTIFICATE_CHARS,
            description="The signer's PEM, then CAs below the anchor",
        ),
    ]
    signature: Annotated[str, msgspec.Meta(min_length=1, max_length=SIGNATURE_CHARS, description="Base64")]
    retrieve_at: field.Time
    install_at: field.Time | None = None
    reason: field.Reason


class AnchorQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Recorded or withdrawn ones; all by default."""

    state: Literal["recorded", "withdrawn"] | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class EventQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events of one name, of firmware trust only; of one charger, if named."""

    event: Annotated[str, msgspec.Meta(pattern="^(" + "|".join(_EVENT_NAMES) + ")$")]
    charger_id: field.Search | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class FirmwareTrust:
    """`/api/v1/firmware-trust`."""

    def __init__(self, reader: Reader, commands: Commands) -> None:
        self._reader = reader
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path=f"{_ROOT}/anchors",
                operation="firmware_trust.record",
                summary="Record a manufacturer's root; the same root again changes nothing",
                description="Refused as `firmware-hierarchy` if its key, issuer or certificate is known to operations.",
                handler=self.record,
                body=RecordAnchorBody,
                answer=firmware_shape.Anchor,
                status=201,
                conflicts=True,
            ),
            Route(
                method="GET",
                path=f"{_ROOT}/anchors",
                operation="firmware_trust.anchors",
                summary="List manufacturers' roots, by id",
                handler=self.anchors,
                query=AnchorQuery,
                answer=shape.Page[firmware_shape.Anchor],
            ),
            Route(
                method="GET",
                path=f"{_ROOT}/anchors/{{anchor_id}}",
                operation="firmware_trust.anchor",
                summary="One manufacturer's root",
                handler=self.anchor,
                answer=firmware_shape.Anchor,
            ),
            Route(
                method="POST",
                path=f"{_ROOT}/anchors/{{anchor_id}}/withdraw",
                operation="firmware_trust.withdraw",
                summary="Install a manufacturer's root no more; chargers keep theirs until told to delete it",
                handler=self.withdraw,
                body=ReasonBody,
                answer=firmware_shape.Anchor,
            ),
            Route(
                method="GET",
                path=f"{_ROOT}/chargers/{{charger_id}}",
                operation="firmware_trust.charger",
                summary="A charger's manufacturer roots, what is under way, and its firmware updates",
                handler=self.charger,
                answer=firmware_shape.ChargerFirmware,
            ),
            self._work_route("install", "Install a recorded root, then have it listed", InstallBody),
            self._work_route("list", "Ask which manufacturer roots the charger holds", ReasonBody),
            self._work_route(
                "compare",
                "Ask, in one request, whether a root sits in the manufacturers' store and the central system's",
                ReasonBody,
            ),
            self._work_route("delete", "Delete a manufacturer's root that the charger lists", DeleteBody),
            self._work_route(
                "update", "Have the charger install firmware a recorded root vouches for", UpdateBody
            ),
            Route(
                method="POST",
                path=f"{_ROOT}/chargers/{{charger_id}}/work/{{work_id}}/cancel",
                operation="firmware_trust.cancel",
                summary="Give up what the charger has not answered; it may have been sent",
                handler=self.cancel,
                body=ReasonBody,
                answer=firmware_shape.Work,
                conflicts=True,
            ),
            Route(
                method="GET",
                path=f"{_ROOT}/events",
                operation="firmware_trust.events",
                summary="Firmware trust's own ledger events of one name, oldest first",
                handler=self.events,
                query=EventQuery,
                answer=shape.Page[LedgerEvent],
            ),
        )

    def _work_route(self, action: str, summary: str, body: type) -> Route:
        return Route(
            method="POST",
            path=f"{_ROOT}/chargers/{{charger_id}}/{action}",
            operation=f"firmware_trust.{action}",
            summary=summary,
            description="Done when the charger is connected; see its work for what came of it.",
            handler=getattr(self, action),
            body=body,
            answer=firmware_shape.Work,
            status=202,
            conflicts=True,
        )

    # ------------------------------------------------------------ anchors

    async def record(self, call: Call, body: RecordAnchorBody) -> Answer:
        command = RecordFirmwareAnchor(
            anchor_id=call.repetition.new_id("firmware-anchor"),
            manufacturer=body.manufacturer,
            pem=body.pem,
            note=body.note,
        )
        anchor = result_of(await self._commands.to_fleet(call, command))
        return Answer(anchor, 201, {"Location": f"{_ROOT}/anchors/{anchor['anchor_id']}"})

    async def anchors(self, call: Call, query: AnchorQuery) -> Answer:
        wanted = given(query)
        fleet = await self._fleet()
        rows = [anchor_body(fleet.anchors[key]) for key in sorted(fleet.anchors)]
        state = wanted.get("state")
        return Answer(
            cut(
                "firmware-anchors",
                [row for row in rows if state is None or row["state"] == state],
                lambda row: str(row["anchor_id"]),
                lambda row: row,
                limit=query.limit,
                cursor=wanted.get("cursor"),
            )
        )

    async def anchor(self, call: Call) -> Answer:
        return Answer(anchor_body(await self._known(call.path["anchor_id"])))

    async def withdraw(self, call: Call, body: ReasonBody) -> Answer:
        command = WithdrawFirmwareAnchor(anchor_id=call.path["anchor_id"], reason=body.reason)
        return Answer(result_of(await self._commands.to_fleet(call, command)))

    # ------------------------------------------------------------ chargers

    async def charger(self, call: Call) -> Answer:
        charger_id = call.path["charger_id"]
        row = await self._reader.aggregate(partition_of(charger_id), charger_key(charger_id))
        if row is not None:
            state = _CHARGER.decode(row.state)
        elif await self._reader.charger(charger_id) is not None:
            state = FirmwareCharger(charger_id=charger_id)
        else:
            raise Problem.unknown("charger", charger_id)
        return Answer(charger_body(state, await self._fleet()))

    async def install(self, call: Call, body: InstallBody) -> Answer:
        anchor = await self._in_force(body.anchor_id)
        return await self._ask(
            call,
            InstallFirmwareAnchor(
                work_id=self._work_id(call),
                charger_id=call.path["charger_id"],
                anchor_id=anchor.anchor_id,
                pem=anchor.pem,
                reason=body.reason,
            ),
        )

    async def list(self, call: Call, body: ReasonBody) -> Answer:
        charger_id = call.path["charger_id"]
        command = ListFirmwareAnchors(work_id=self._work_id(call), charger_id=charger_id, reason=body.reason)
        return await self._ask(call, command)

    async def compare(self, call: Call, body: ReasonBody) -> Answer:
        charger_id = call.path["charger_id"]
        command = CompareRootStores(work_id=self._work_id(call), charger_id=charger_id, reason=body.reason)
        return await self._ask(call, command)

    async def delete(self, call: Call, body: DeleteBody) -> Answer:
        if isinstance(body.anchor_id, str) and body.hash_data is UNSET:
            names = (await self._known(body.anchor_id, "anchor_id")).hash_data
        elif isinstance(body.hash_data, firmware_shape.RootName) and body.anchor_id is UNSET:
            names = (HashData(*msgspec.structs.astuple(body.hash_data)),)
        else:
            raise Problem.of_field("hash_data", "name one of anchor_id and hash_data")
        return await self._ask(
            call,
            DeleteFirmwareAnchor(
                work_id=self._work_id(call),
                charger_id=call.path["charger_id"],
                names=names,
                reason=body.reason,
            ),
        )

    async def update(self, call: Call, body: UpdateBody) -> Answer:
        anchor = await self._in_force(body.anchor_id)
        return await self._ask(
            call,
            OrderFirmwareUpdate(
                work_id=self._work_id(call),
                charger_id=call.path["charger_id"],
                anchor_id=anchor.anchor_id,
                anchor_pem=anchor.pem,
                location=body.location,
                retrieve_at=str(ocpp_time(body.retrieve_at)),
                install_at=ocpp_time(body.install_at),
                signing_certificate=body.signing_certificate,
                signature=body.signature,
                reason=body.reason,
            ),
        )

    async def cancel(self, call: Call, body: ReasonBody) -> Answer:
        charger_id = call.path["charger_id"]
        command = CancelFirmwareWork(charger_id=charger_id, work_id=call.path["work_id"], reason=body.reason)
        return Answer(result_of(await self._commands.to_charger(call, charger_id, command)))

    async def events(self, call: Call, query: EventQuery) -> Answer:
        return page_of(await self._reader.audit(**given(query)))

    # ------------------------------------------------------------ within

    async def _ask(self, call: Call, command: _WorkCommand) -> Answer:
        return Answer(result_of(await self._commands.to_charger(call, command.charger_id, command)), 202)

    def _work_id(self, call: Call) -> str:
        return work_id(call.repetition.new_id("work"))

    async def _fleet(self) -> FirmwareFleet:
        row = await self._reader.aggregate(FLEET, FLEET_KEY)
        return FirmwareFleet() if row is None else _FLEET.decode(row.state)

    async def _in_force(self, anchor_id: str) -> FirmwareAnchor:
        anchor = await self._known(anchor_id, "anchor_id")
        if anchor.withdrawn_at is not None:
            raise Problem.of_field("anchor_id", "this anchor was withdrawn", "anchor-withdrawn", 409)
        return anchor

    async def _known(self, anchor_id: str, in_field: str | None = None) -> FirmwareAnchor:
        anchor = (await self._fleet()).anchors.get(anchor_id)
        if anchor is not None:
            return anchor
        if in_field is None:
            raise Problem.unknown("anchor", anchor_id)
        raise Problem.of_field(in_field, "no firmware anchor is called that", "unknown-anchor")
