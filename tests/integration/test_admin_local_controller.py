"""Naming who may speak for a charger, through the API."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.admin_world import AdminWorld

PATH = "/api/v1/chargers/CP-1/spoken-for-by"
PRINT = "AB" * 32


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as made:
        await made.register()
        yield made


async def test_who_speaks_is_set_shown_recorded_and_taken_back(world: AdminWorld) -> None:
    controllers = [{"controller_id": "lc-1", "fingerprint_sha256": PRINT}]
    reply = await world.ask("PUT", PATH, {"reason": "behind it", "controllers": controllers})
    assert reply.status == 200
    shown = (await world.ask("GET", "/api/v1/chargers/CP-1")).body["spoken_for_by"]
    assert shown == [{"controller_id": "lc-1", "fingerprint_sha256": PRINT.lower()}]
    await world.ask("PUT", PATH, {"reason": "gone", "controllers": []})
    assert (await world.ask("GET", "/api/v1/chargers/CP-1")).body["spoken_for_by"] == []
    rows = (await world.ask("GET", "/api/v1/audit?event=SpokenForSet")).body["items"]
    assert {row["payload"]["reason"] for row in rows} == {"behind it", "gone"}


@pytest.mark.parametrize(
    "body",
    [
        {"reason": "", "controllers": []},
        {"reason": "x", "controllers": [{"controller_id": "a", "fingerprint_sha256": "zz"}]},
        {"reason": "x", "controllers": [{"controller_id": "a"}]},
        {"reason": "x"},
    ],
)
async def test_what_is_incomplete_is_refused(world: AdminWorld, body: dict[str, object]) -> None:
    assert (await world.ask("PUT", PATH, body)).status == 422


async def test_an_unknown_charger_is_not_found(world: AdminWorld) -> None:
    reply = await world.ask("PUT", PATH.replace("CP-1", "CP-9"), {"reason": "x", "controllers": []})
    assert reply.status == 404
