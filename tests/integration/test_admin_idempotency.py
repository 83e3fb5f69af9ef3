"""Idempotency-Key on every POST, and what the API does while its peers are away."""

from collections.abc import AsyncIterator

import pytest

from gateways.admin.app import described_routes
from gateways.admin.role import MAY
from tests.core import pki
from tests.integration.admin_world import CHARGER, JOB, AdminWorld
from tests.integration.test_admin_authorization import path_of

POSTS = [route for route in described_routes(AdminWorld().dependencies) if route.method == "POST"]


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as world:
        yield world


@pytest.mark.parametrize("key", [None, " ", "x" * 201, "clé", "a b"])
async def test_every_post_needs_a_usable_key(world: AdminWorld, key: str | None) -> None:
    assert POSTS
    for route in POSTS:
        headers = {"Idempotency-Key": key} if key is not None else {}
        role = "pki-admin" if "pki-admin" in MAY[route.operation] else min(MAY[route.operation])
        refused = await world.ask("POST", path_of(route), {}, role=role, key=None, headers=headers)
        assert (refused.status, refused.body["code"]) == (422, "idempotency-key-required")
        assert refused.fields == ["Idempotency-Key"]


async def test_the_same_key_with_another_body_is_refused(world: AdminWorld) -> None:
    await world.register()
    await world.ask("POST", "/api/v1/jobs", JOB, key="k1")
    refused = await world.ask("POST", "/api/v1/jobs", JOB | {"reason": "another"}, key="k1")
    assert (refused.status, refused.body["code"]) == (422, "idempotency-key-reused")
    assert refused.fields == ["Idempotency-Key"]


async def test_the_order_of_fields_and_blanks_make_no_other_body(world: AdminWorld) -> None:
    await world.register()
    first = await world.ask("POST", "/api/v1/jobs", JOB, key="k1")
    shuffled = dict(reversed(list(JOB.items())))
    again = await world.ask("POST", "/api/v1/jobs", shuffled, key="k1")
    assert (again.status, again.body["job_id"]) == (202, first.body["job_id"])


async def test_the_same_key_on_another_resource_of_a_route_is_refused(world: AdminWorld) -> None:
    body = {"reason": "maintenance"}
    assert (await world.ask("POST", "/api/v1/supervisors/cohort/a/pause", body, key="k1")).status == 200
    refused = await world.ask("POST", "/api/v1/supervisors/cohort/b/pause", body, key="k1")
    assert (refused.status, refused.body["code"]) == (422, "idempotency-key-reused")


async def test_two_clients_and_two_routes_may_use_the_same_key(world: AdminWorld) -> None:
    await world.ask("POST", "/api/v1/chargers", CHARGER, key="k1")
    one = await world.ask("POST", "/api/v1/jobs", JOB, key="k1", role="operator")
    other = await world.ask("POST", "/api/v1/jobs", JOB | {"reason": "mine"}, key="k1", role="pki-admin")
    assert (one.status, other.status) == (202, 202)
    keys = [sent.idempotency_key for sent in world.door.asked]
    assert len(set(keys)) == 3
    assert "k1" not in str(keys)


async def test_a_refusal_is_repeated_too(world: AdminWorld) -> None:
    first = await world.ask("POST", "/api/v1/jobs", JOB, key="k1")
    assert (first.status, first.body["code"]) == (404, "unknown-charger")
    await world.register()
    again = await world.ask("POST", "/api/v1/jobs", JOB, key="k1")
    assert again.body == first.body


async def test_a_bundle_repeated_is_the_same_bundle(world: AdminWorld) -> None:
    body = {"purpose": "backend_server", "anchors": [pki.ca().root_pem], "note": ""}
    first = await world.ask("POST", "/api/v1/trust-anchor-bundles", body, key="k1")
    again = await world.ask("POST", "/api/v1/trust-anchor-bundles", body, key="k1")
    assert (first.status, again.body) == (201, first.body)


async def test_a_partition_without_an_owner_is_unavailable_for_a_while(world: AdminWorld) -> None:
    world.door.away = True
    reply = await world.register()
    assert (reply.status, reply.headers["Retry-After"], reply.body["code"]) == (503, "7", "unavailable")
    assert (await world.ask("GET", "/api/v1/chargers")).status == 200


async def test_an_owner_that_asks_to_come_again_is_obeyed(world: AdminWorld) -> None:
    world.door.retry = True
    reply = await world.register()
    assert (reply.status, reply.body["code"]) == (503, "unavailable")
    assert int(reply.headers["Retry-After"]) >= 1


async def test_nothing_can_be_read_while_the_database_is_away(world: AdminWorld) -> None:
    await world.register()
    world.reader.away = True
    for path in (
        "/api/v1/chargers",
        "/api/v1/chargers/CP-1",
        "/api/v1/policies",
        "/api/v1/trust/central_system.pem",
    ):
        reply = await world.ask("GET", path)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5"), path
    assert (await world.ask("PATCH", "/api/v1/chargers/CP-1", {"site": "south"})).status == 200
