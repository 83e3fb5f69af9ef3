"""Firmware trust through its API, over the real decisions: its own role, its own views, and nothing shared."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from bfactors import evidence as v
from bfactors.certificate_hash import ReportedCertificate
from bfactors.firmware.state import FLEET_KEY
from bfactors.identity import partition_of
from bfactors.ledger_row import AggregateRow
from bfactors.ocpp import Answered, Outcome
from bfactors.x509 import hash_data, parse_certificate
from deploy.role.firmware_separation import MISSING, FirmwareSeparation
from tests.core import pki
from tests.core.test_firmware_trust import signer
from tests.core.world import World as CoreWorld
from tests.core.world import evidence
from tests.integration.admin_world import AdminWorld, Reply

ROOT = "/api/v1/firmware-trust"
CHARGER = f"{ROOT}/chargers/CP-1"
PARTITION = partition_of("CP-1")
MAKER = pki.ca("API maker").root_pem
NAME = hash_data(parse_certificate(MAKER), parse_certificate(MAKER))


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as made:
        core = CoreWorld()
        core.connect()
        await made.adopt(core)
        yield made


async def ask(world: AdminWorld, method: str, path: str, body: Any = None, **more: Any) -> Reply:
    return await world.ask(method, path, body, role="firmware-admin", **more)


async def recorded(world: AdminWorld, pem: str = MAKER, key: str = "record") -> Reply:
    return await ask(world, "POST", f"{ROOT}/anchors", {"manufacturer": "Maker", "pem": pem}, key=key)


async def answer(world: AdminWorld, work_id: str, outcome: Outcome) -> None:
    body = v.InstructionAnswered(instruction_id=work_id, decision=1, session_id="s1", outcome=outcome)
    await world.door.tell(PARTITION, evidence("CP-1", body, world.clock.at))


async def test_a_root_is_recorded_installed_listed_and_deleted(world: AdminWorld) -> None:
    made = await recorded(world)
    assert made.status == 201
    anchor_id = made.body["anchor_id"]
    assert made.headers["Location"] == f"{ROOT}/anchors/{anchor_id}"
    assert (await ask(world, "GET", f"{ROOT}/anchors/{anchor_id}")).body == made.body
    assert (await ask(world, "GET", f"{ROOT}/anchors?state=recorded")).body["items"] == [made.body]
    assert (await ask(world, "GET", f"{ROOT}/anchors?state=withdrawn")).body["items"] == []

    body = {"anchor_id": anchor_id, "reason": "new hall"}
    work = await ask(world, "POST", f"{CHARGER}/install", body, key="install")
    assert (work.status, work.body["state"], work.body["action"]) == (202, "open", "install")
    assert (await ask(world, "POST", f"{CHARGER}/install", body, key="install")).body == work.body
    await answer(world, work.body["work_id"], Answered("Accepted"))
    shown = (await ask(world, "GET", CHARGER)).body
    assert [(root["seen"], root["manufacturer"]) for root in shown["roots"]] == [("accepted", "Maker")]
    listing = shown["work"][0]
    listed = Answered("Accepted", listed=(ReportedCertificate("ManufacturerRootCertificate", NAME),))
    await answer(world, listing["work_id"], listed)
    shown = (await ask(world, "GET", CHARGER)).body
    (root,) = shown["roots"]
    assert (root["seen"], root["anchor_id"]) == ("listed", anchor_id)

    gone = {"hash_data": root["hash_data"], "reason": "key leaked"}
    work = await ask(world, "POST", f"{CHARGER}/delete", gone, key="delete")
    assert work.status == 202, work.body
    await answer(world, work.body["work_id"], Answered("Accepted"))
    assert (await ask(world, "GET", CHARGER)).body["roots"] == []
    trail = await ask(world, "GET", f"{ROOT}/events?event=FirmwareAnchorDeleted&charger_id=CP-1")
    assert [row["payload"]["workId"] for row in trail.body["items"]] == [work.body["work_id"]]


async def test_operations_do_not_see_it_in_their_own_views(world: AdminWorld) -> None:
    before = (await world.ask("GET", "/api/v1/chargers/CP-1")).body
    work = await ask(world, "POST", f"{CHARGER}/list", {"reason": "audit"}, key="list")
    listed = Answered("Accepted", listed=(ReportedCertificate("ManufacturerRootCertificate", NAME),))
    await answer(world, work.body["work_id"], listed)
    assert (await world.ask("GET", "/api/v1/chargers/CP-1")).body == before


async def test_a_root_in_both_stores_of_a_charger_is_shown_to_firmware_admins(world: AdminWorld) -> None:
    anchor_id = (await recorded(world)).body["anchor_id"]
    before = (await world.ask("GET", "/api/v1/chargers/CP-1")).body
    work = await ask(world, "POST", f"{CHARGER}/compare", {"reason": "audit"}, key="compare")
    assert (work.status, work.body["action"], work.body["state"]) == (202, "compare", "open")
    stores = ("CSMSRootCertificate", "ManufacturerRootCertificate")
    listed = tuple(ReportedCertificate(store, NAME) for store in stores)
    await answer(world, work.body["work_id"], Answered("Accepted", listed=listed))
    shown = (await ask(world, "GET", CHARGER)).body
    assert [(root["anchor_id"], root["manufacturer"]) for root in shown["shared_roots"]] == [
        (anchor_id, "Maker")
    ]
    assert shown["compared_at"] is not None
    trail = await ask(world, "GET", f"{ROOT}/events?event=FirmwareListsCompared&charger_id=CP-1")
    (event,) = trail.body["items"]
    assert len(event["payload"]["shared"]) == 1
    assert (await world.ask("GET", "/api/v1/chargers/CP-1")).body == before, "operations were told nothing"


async def test_a_shared_root_is_refused_from_either_side(world: AdminWorld) -> None:
    assert (await recorded(world)).status == 201
    bundle = {"purpose": "backend_server", "anchors": [MAKER]}
    refused = await world.ask("POST", "/api/v1/trust-anchor-bundles", bundle, key="b", role="pki-admin")
    assert (refused.status, refused.body["code"]) == (422, "firmware-hierarchy")
    ours = pki.ca().root_pem
    bundle = {"purpose": "backend_server", "anchors": [ours]}
    made = await world.ask("POST", "/api/v1/trust-anchor-bundles", bundle, key="b2", role="pki-admin")
    assert made.status == 201
    refused = await recorded(world, ours, key="ours")
    assert (refused.status, refused.body["code"]) == (422, "firmware-hierarchy")


async def test_a_withdrawn_anchor_is_installed_no_more(world: AdminWorld) -> None:
    anchor_id = (await recorded(world)).body["anchor_id"]
    path = f"{ROOT}/anchors/{anchor_id}/withdraw"
    assert (await ask(world, "POST", path, {"reason": "old"}, key="w")).body["state"] == "withdrawn"
    body = {"anchor_id": anchor_id, "reason": "new hall"}
    refused = await ask(world, "POST", f"{CHARGER}/install", body, key="i")
    assert (refused.status, refused.body["code"]) == (409, "anchor-withdrawn")
    refused = await ask(world, "POST", f"{CHARGER}/update", update(anchor_id), key="u")
    assert (refused.status, refused.body["code"]) == (409, "anchor-withdrawn")


def update(anchor_id: str, **more: Any) -> dict[str, Any]:
    return {
        "anchor_id": anchor_id,
        "location": "https://firmware.example/1.bin",
        "signing_certificate": signer(pki.ca("API maker")),
        "signature": "AA==",
        "retrieve_at": "2026-06-01T04:00:00+02:00",
        "reason": "bulletin",
        **more,
    }


async def test_a_signed_update_is_ordered_and_operators_see_how_far_it_is(world: AdminWorld) -> None:
    anchor_id = (await recorded(world)).body["anchor_id"]
    other = update(anchor_id, signing_certificate=signer(pki.ca("Another maker")))
    refused = await ask(world, "POST", f"{CHARGER}/update", other, key="u1")
    assert (refused.status, refused.body["code"]) == (422, "firmware-signer-unknown")
    work = await ask(world, "POST", f"{CHARGER}/update", update(anchor_id), key="u2")
    assert (work.status, work.body["action"], work.body["anchor_id"]) == (202, "update", anchor_id)
    (order,) = (await ask(world, "GET", f"{ROOT}/events?event=FirmwareUpdateRequested")).body["items"]
    assert (order["payload"]["retrieveAt"], order["payload"]["requestId"]) == (
        "2026-06-01T02:00:00.000Z",
        1001,
    )
    assert (await world.ask("GET", "/api/v1/chargers/CP-1")).body["firmware_update"] is None
    await answer(world, work.body["work_id"], Answered("Accepted"))
    status = v.FirmwareStatusReported(session_id="s1", status="Installed", request_id=1001)
    await world.door.tell(PARTITION, evidence("CP-1", status, world.clock.at))
    (followed,) = (await ask(world, "GET", CHARGER)).body["updates"]
    assert (followed["work_id"], followed["statuses"][0]["status"]) == (work.body["work_id"], "Installed")
    shown = (await world.ask("GET", "/api/v1/chargers/CP-1")).body["firmware_update"]
    assert (shown["status"], shown["request_id"]) == ("Installed", 1001)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", f"{ROOT}/anchors/none", None, 404, "unknown-anchor"),
        ("POST", f"{ROOT}/anchors/none/withdraw", {"reason": "x"}, 404, "unknown-anchor"),
        ("GET", f"{ROOT}/chargers/CP-9", None, 404, "unknown-charger"),
        ("POST", f"{ROOT}/chargers/CP-9/list", {"reason": "x"}, 404, "unknown-charger"),
        ("POST", f"{CHARGER}/install", {"anchor_id": "none", "reason": "x"}, 422, "unknown-anchor"),
        ("POST", f"{CHARGER}/delete", {"reason": "x"}, 422, "invalid-value"),
        ("POST", f"{CHARGER}/work/none/cancel", {"reason": "x"}, 404, "unknown-work"),
        ("GET", f"{ROOT}/events?event=ChargerRegistered", None, 422, "invalid-value"),
    ],
)
async def test_what_cannot_be_is_said(
    world: AdminWorld, method: str, path: str, body: Any, status: int, code: str
) -> None:
    reply = await ask(world, method, path, body, key="k")
    assert (reply.status, reply.body["code"]) == (status, code)


async def test_an_overlap_found_at_start_keeps_the_node_unready(world: AdminWorld) -> None:
    separation = FirmwareSeparation(world.reader)
    assert (await recorded(world)).status == 201
    assert await separation.is_apart()
    assert separation.missing() == []
    assert not await separation.is_apart([MAKER])
    assert separation.missing() == [MISSING]
    row = await world.reader.aggregate(0, FLEET_KEY)
    assert isinstance(row, AggregateRow)
    assert msgspec.json.decode(row.state)["anchors"]
    assert await separation.is_apart()
    assert separation.missing() == []
