"""Taking a charger out of service and putting another unit in its place, through the API."""

from collections.abc import AsyncIterator

import pytest

from bfactors.identity import partition_of
from bfactors.ledger_fold import charger_key
from tests.core.world import World as CoreWorld
from tests.integration.admin_world import CHARGER, AdminWorld

DECOMMISSION = "/api/v1/chargers/CP-1/decommission"
REPLACE = "/api/v1/chargers/CP-1/replace"


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as world:
        yield world


def stored(world: AdminWorld) -> str:
    return world.store.aggregates[partition_of("CP-1"), charger_key("CP-1")].state.decode()


async def test_a_decommissioned_charger_leaves_the_list_and_is_shown_with_its_reason(
    world: AdminWorld,
) -> None:
    core = CoreWorld()
    active = core.to_active()
    await world.adopt(core)
    job = await world.ask("POST", DECOMMISSION, {"reason": "depot closed"}, role="operator")
    assert (job.status, job.body["action"], job.body["stage"]) == (202, "decommission", "revoking")
    assert job.headers["Location"] == f"/api/v1/jobs/{job.body['job_id']}"
    assert (await world.ask("GET", "/api/v1/chargers")).body["items"] == []
    listed = await world.ask("GET", "/api/v1/chargers?decommissioned=true")
    assert [one["charger_id"] for one in listed.body["items"]] == ["CP-1"]
    shown = await world.ask("GET", "/api/v1/chargers/CP-1", role="viewer")
    assert shown.body["decommission_reason"] == "depot closed"
    assert shown.body["decommissioned_at"]
    assert shown.body["session"] is None
    certificate = await world.ask("GET", f"/api/v1/certificates/{active.certificate_id}")
    assert certificate.body["revocation_requested_at"]
    refused = await world.ask("PATCH", "/api/v1/chargers/CP-1", {"cohort": "other"})
    assert (refused.status, refused.body["code"]) == (409, "charger-decommissioned")


async def test_the_same_is_a_job_among_jobs(world: AdminWorld) -> None:
    await world.register()
    body = {"charger_id": "CP-1", "purpose": "charging_station", "action": "decommission", "reason": "sold"}
    job = await world.ask("POST", "/api/v1/jobs", body, role="operator")
    assert (job.status, job.body["action"], job.body["state"]) == (202, "decommission", "succeeded")
    refused = await world.ask("POST", "/api/v1/jobs", body | {"purpose": "backend_server"})
    assert (refused.status, refused.body["errors"][0]["field"]) == (422, "purpose")


async def test_a_new_unit_gets_a_key_that_is_shown_once(world: AdminWorld) -> None:
    made = await world.register()
    job = await world.ask("POST", REPLACE, {"serial_number": "SN-NEW"}, key="k1", role="operator")
    assert (job.status, job.body["action"]) == (202, "replace")
    key = job.body["authorization_key"]
    assert key not in (None, made.body["authorization_key"])
    assert world.mint.verifier(key).verifier in stored(world)
    assert world.mint.verifier(made.body["authorization_key"]).verifier not in stored(world)
    again = await world.ask("POST", REPLACE, {"serial_number": "SN-NEW"}, key="k1", role="operator")
    assert again.body["key_shown"] is True
    assert key not in str((again.body, world.store.aggregates, world.store.idempotency, world.store.events))
    shown = await world.ask("GET", "/api/v1/chargers/CP-1")
    assert shown.body["serial_number"] == "SN-NEW"
    assert shown.body["managed_identity_id"] != made.body["managed_identity_id"]


async def test_a_key_whose_answer_was_lost_is_shown_to_the_repeat(world: AdminWorld) -> None:
    await world.register()
    world.door.lose, world.door.lose_as_retry = 1, True
    lost = await world.ask("POST", REPLACE, {"serial_number": "SN-NEW"}, key="k1")
    assert lost.status == 503
    found = await world.ask("POST", REPLACE, {"serial_number": "SN-NEW"}, key="k1")
    assert world.mint.verifier(found.body["authorization_key"]).verifier in stored(world)


async def test_a_serial_number_in_use_is_refused_until_its_charger_is_out_of_service(
    world: AdminWorld,
) -> None:
    await world.register()
    await world.ask("POST", "/api/v1/chargers", CHARGER | {"charger_id": "CP-2", "serial_number": "SN-2"})
    refused = await world.ask("POST", REPLACE, {"serial_number": "SN-2"})
    assert (refused.status, refused.body["code"]) == (409, "serial-number-in-use")
    await world.ask("POST", "/api/v1/chargers/CP-2/decommission", {"reason": "moved"})
    assert (await world.ask("POST", REPLACE, {"serial_number": "SN-2"})).status == 202


async def test_a_given_key_is_never_shown(world: AdminWorld) -> None:
    await world.register()
    body = {"serial_number": "SN-NEW", "authorization_key": "correct horse battery"}
    job = await world.ask("POST", REPLACE, body)
    assert job.status == 202
    assert "authorization_key" not in job.body
    assert "horse" not in str((job.body, stored(world), world.store.events))


@pytest.mark.parametrize("path", [DECOMMISSION, REPLACE])
async def test_an_unknown_charger_is_404(world: AdminWorld, path: str) -> None:
    body = {"reason": "sold"} if path == DECOMMISSION else {"serial_number": "SN-NEW"}
    assert (await world.ask("POST", path, body)).status == 404
