"""What would change, for whom, if a policy were saved."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.admin_world import AdminWorld

PATH = "/api/v1/policies/preview"
PURPOSE = "purpose:charging_station"


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as world:
        yield world


async def preview(world: AdminWorld, scope: str, role: str = "viewer", **values: Any) -> Any:
    return await world.ask("POST", PATH, {"scope": scope, "values": values}, role=role)


async def test_a_preview_tells_who_would_change_and_saves_nothing(world: AdminWorld) -> None:
    await world.register()
    await world.register(charger_id="CP-2", serial_number="SN-2", cohort="rest")
    await world.register(charger_id="CP-3", serial_number="SN-3", cohort="rest")
    await world.ask(
        "PUT", "/api/v1/policies/cohort:canary/charging_station", {"values": {"validity_days": 90}}
    )
    found = await preview(world, PURPOSE, validity_days=90)
    assert found.status == 200
    assert (found.body["chargers"], found.body["chargers_unaffected"]) == (2, 1)
    assert found.body["groups"] == [
        {
            "family": "acme-one",
            "cohort": "rest",
            "chargers": 2,
            "changes": {"validity_days": {"before": 180, "after": 90}},
            "renewals_due_at_once": 0,
        }
    ]
    listed = (await world.ask("GET", "/api/v1/policies")).body["items"]
    assert [item["scope"] for item in listed] == ["built-in", "cohort:canary/charging_station"]


async def test_a_preview_of_one_family_reaches_no_other(world: AdminWorld) -> None:
    await world.register()
    await world.register(charger_id="CP-2", serial_number="SN-2", family="volt")
    found = await preview(world, "family:volt/charging_station", max_attempts=9)
    assert [group["family"] for group in found.body["groups"]] == ["volt"]
    assert found.body["chargers_unaffected"] == 1


async def test_what_may_not_be_saved_has_no_preview(world: AdminWorld) -> None:
    refused = await preview(world, PURPOSE, renew_before_days=200)
    assert (refused.status, refused.fields) == (422, ["renew_before_days"])
    assert (await preview(world, "teapot", max_attempts=1)).status == 404
    beyond = await preview(world, PURPOSE, validity_days=2000)
    assert (beyond.status, beyond.body["code"]) == (422, "realm-rule")
