"""AuthorizationKeys through the admin API: rotations asked for, keys given and sealed, the fleet's keys listed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bfactors.authorization_key import SECRET_PURPOSE
from bfactors.command import RotateKey
from bfactors.secret import SecretName
from tests.integration.admin_world import JOB, AdminWorld

PATH = "/api/v1/chargers/CP-1/authorization-key"
KEY = "Kx7_pQ2-Zr9.Lm4,Wn8+"


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as world:
        assert (await world.register(target_security_profile=2)).status == 201
        yield world


async def test_a_rotation_is_a_job(world: AdminWorld) -> None:
    reply = await world.ask("POST", PATH, {})
    assert reply.status == 202
    job = reply.body
    assert (job["action"], job["state"], job["waiting_for"]) == ("rotate-key", "open", "key")
    assert reply.headers["Location"] == f"/api/v1/jobs/{job['job_id']}"
    charger = (await world.ask("GET", "/api/v1/chargers/CP-1")).body
    assert charger["authorization_key"]["pending_since"] is not None
    assert (await world.ask("POST", PATH, {})).body["job_id"] == job["job_id"]
    assert not world.secrets.held


async def test_the_general_route_opens_the_same(world: AdminWorld) -> None:
    reply = await world.ask("POST", "/api/v1/jobs", JOB | {"action": "rotate-key"})
    assert (reply.status, reply.body["action"]) == (202, "rotate-key")
    other = await world.ask(
        "POST", "/api/v1/jobs", JOB | {"action": "rotate-key", "purpose": "backend_server"}
    )
    assert (other.status, other.body["errors"][0]["field"]) == (422, "purpose")


async def test_a_given_key_is_sealed_before_the_command_and_is_in_no_record(world: AdminWorld) -> None:
    reply = await world.ask("POST", PATH, {"key": KEY}, key="mine")
    job_id = reply.body["job_id"]
    opened, expires_at = world.secrets.held[job_id]
    assert opened.name == SecretName(secret_id=job_id, purpose=SECRET_PURPOSE, charger_id="CP-1")
    assert opened.disclosed.value == KEY.encode()
    assert expires_at == world.clock.at + timedelta(minutes=15)
    [command] = [envelope.body for envelope in world.door.asked if isinstance(envelope.body, RotateKey)]
    assert command.is_given
    records = repr(
        [world.store.events, world.store.aggregates, world.store.jobs, world.store.idempotency, reply.body]
    )
    assert KEY not in records
    again = await world.ask("POST", PATH, {"key": KEY}, key="mine")
    assert (again.status, again.body["job_id"]) == (202, job_id)


async def test_another_key_under_the_same_idempotency_key_is_no_repeat(world: AdminWorld) -> None:
    world.door.retry = True
    assert (await world.ask("POST", PATH, {"key": KEY}, key="mine")).status == 503
    world.door.retry = False
    reply = await world.ask("POST", PATH, {"key": KEY[::-1]}, key="mine")
    assert (reply.status, reply.body["type"].rpartition(":")[2]) == (422, "idempotency-key-reused")


async def test_a_given_key_beside_an_open_rotation_is_a_conflict(world: AdminWorld) -> None:
    await world.ask("POST", PATH, {})
    reply = await world.ask("POST", PATH, {"key": KEY})
    assert (reply.status, reply.body["type"].rpartition(":")[2]) == (409, "rotation-open")


@pytest.mark.parametrize("versions", [["1.6"], ["2.0.1", "1.6"]])
async def test_a_key_must_suit_every_version_the_charger_may_speak(
    world: AdminWorld, versions: list[str]
) -> None:
    await world.register(charger_id="CP-2", serial_number="SN-2", ocpp_versions=versions)
    reply = await world.ask("POST", "/api/v1/chargers/CP-2/authorization-key", {"key": "ab" * 21 + "-"})
    assert (reply.status, reply.body["errors"][0]["field"]) == (422, "key")
    assert "ab" * 21 not in str(reply.body)
    assert not world.secrets.held


async def test_a_charger_with_a_certificate_has_no_key_to_rotate(world: AdminWorld) -> None:
    await world.register(
        charger_id="CP-3", serial_number="SN-3", security_profile=3, target_security_profile=3
    )
    reply = await world.ask("POST", "/api/v1/chargers/CP-3/authorization-key", {})
    assert reply.status == 409
    assert (await world.ask("POST", "/api/v1/chargers/CP-9/authorization-key", {})).status == 404


async def test_weak_keys_are_flagged_where_their_text_is_known_and_listed(world: AdminWorld) -> None:
    fields = {"charger_id": "CP-4", "serial_number": "SN-4", "authorization_key": "password12345678"}
    reply = await world.register(**fields, authorization_key_origin="factory")
    assert reply.status == 201
    fact = (await world.ask("GET", "/api/v1/chargers/CP-4")).body["authorization_key"]
    assert (fact["origin"], fact["weakness"]) == ("factory", "default-key")
    weak = (await world.ask("GET", "/api/v1/authorization-keys?state=weak")).body
    assert [item["charger_id"] for item in weak["items"]] == ["CP-4"]
    everything = (await world.ask("GET", "/api/v1/authorization-keys")).body
    assert [item["charger_id"] for item in everything["items"]] == ["CP-1", "CP-4"]
    assert (await world.ask("GET", "/api/v1/authorization-keys/counts")).body["total"] == 2
    assert (await world.ask("GET", "/api/v1/authorization-keys?state=odd")).status == 422
    assert (await world.ask("GET", "/api/v1/authorization-keys?older_than_days=0")).status == 422


async def test_a_factory_key_must_be_named(world: AdminWorld) -> None:
    reply = await world.register(charger_id="CP-5", serial_number="SN-5", authorization_key_origin="factory")
    assert (reply.status, reply.body["errors"][0]["field"]) == (422, "authorization_key")
