"""Registering and changing chargers through the API."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.admin_world import AdminWorld


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as world:
        yield world


async def test_a_registered_charger_is_answered_with_a_key_and_listed_without(world: AdminWorld) -> None:
    made = await world.register()
    assert made.status == 201
    assert made.body["authorization_key"] == world.mint.minted[0]
    assert made.body["managed_identity_id"]
    shown = await world.ask("GET", "/api/v1/chargers/CP-1", role="viewer")
    assert shown.status == 200
    assert shown.body["authorization_key"]["origin"] == "generated"
    listed = await world.ask("GET", "/api/v1/chargers?cohort=canary", role="viewer")
    assert [item["charger_id"] for item in listed.body["items"]] == ["CP-1"]
    assert world.mint.minted[0] not in str(world.store.aggregates)
