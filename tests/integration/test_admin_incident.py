"""Incidents through the API: forecast, opened by two people, staged, followed, ended."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bfactors.evidence import DeadlinePassed, FleetFactsChanged
from bfactors.identity import FLEET, partition_of
from gateways.admin.ports import Token
from tests.core.world import ARN, evidence
from tests.core.world import World as CoreWorld
from tests.integration.admin_world import AdminWorld, ApiToken

PATH = "/api/v1/incidents"
FORECAST = "/api/v1/incident-forecast"
BY_CA = {"purpose": "charging_station", "issuing_ca_ids": [ARN]}


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as made:
        core = CoreWorld()
        core.to_active()
        await made.adopt(core)
        second: Token = ApiToken(name="second", role="pki-admin")
        made.tokens.live["bf_second-token"] = second  # type: ignore[assignment]
        yield made


def wanted(**changes: Any) -> dict[str, Any]:
    return {
        "name": "stolen laptop",
        "reason": "it held the keys of a batch",
        "selector": BY_CA,
        "mode": "revoke",
        "revocation_reason": "key_compromise",
        **changes,
    }


async def opened(world: AdminWorld, **changes: Any) -> Any:
    """Asked for by one, approved by another; the incident as it is then shown."""
    held = await world.ask("POST", PATH, wanted(**changes), role="pki-admin")
    assert held.status == 202, held.body
    assert held.body["content"]["expected"] == 1
    word = {"content_hash": held.body["content_hash"], "reason": "seen"}
    own = await world.ask("POST", f"{held.headers['Location']}/approve", word)
    assert (own.status, own.body["code"]) == (403, "own-approval")
    by_second = {"Authorization": "Bearer bf_second-token"}
    given = await world.ask("POST", f"{held.headers['Location']}/approve", word, role=None, headers=by_second)
    assert given.status == 200, given.body
    return (await world.ask("GET", PATH)).body["items"][0]


async def test_a_forecast_counts_what_it_would_cost_and_whom_it_would_shut_out(world: AdminWorld) -> None:
    found = await world.ask("POST", FORECAST, {"selector": BY_CA}, role="viewer")
    assert found.status == 200
    assert (found.body["certificates"], found.body["locked_out"], found.body["cost_usd"]) == (1, 1, 0)
    assert found.body["ca_seconds"] > 0
    gentle = await world.ask("POST", FORECAST, {"selector": BY_CA, "mode": "replace"})
    assert (gentle.body["locked_out"], gentle.body["ca_calls"]) == (0, 3)
    none = await world.ask("POST", FORECAST, {"selector": BY_CA | {"cohorts": ["other"]}})
    assert (none.body["certificates"], none.body["shares"]) == (0, [])
    wide = await world.ask("POST", FORECAST, {"selector": {"purpose": "charging_station"}})
    assert (wide.status, wide.body["errors"][0]["field"]) == (422, "selector")


async def test_two_people_open_it_and_it_is_shown(world: AdminWorld) -> None:
    incident = await opened(world, percent=10)
    assert (incident["state"], incident["percent"], incident["expected"]) == ("running", 10, 1)
    assert incident["author"] != incident["approver"]
    one = f"{PATH}/{incident['incident_id']}"
    assert (await world.ask("GET", one)).body["name"] == "stolen laptop"
    further = await world.ask("POST", f"{one}/advance", {"percent": 100, "reason": "the canary is well"})
    assert further.body["percent"] == 100
    assert (await world.ask("POST", f"{one}/advance", {"percent": 5, "reason": "no"})).status == 422
    paused = await world.ask("POST", f"{one}/pause", {"reason": "night"})
    assert paused.body["state"] == "paused"
    assert (await world.ask("POST", f"{one}/resume", {"reason": "day"})).body["state"] == "running"
    ended = await world.ask("POST", f"{one}/end", {"reason": "done", "lift": True})
    assert (ended.body["state"], ended.body["is_lifted"]) == ("ended", True)
    assert (await world.ask("POST", f"{one}/pause", {"reason": "late"})).status == 409
    assert (await world.ask("GET", f"{PATH}?state=ended")).body["items"][0]["end_reason"] == "done"
    assert (await world.ask("GET", f"{PATH}/unknown")).status == 404


async def arrived(world: AdminWorld, incident: Any) -> None:
    """The charger's partition hears of it, and looks at the charger."""
    facts = world.door.memories[FLEET].facts
    here = partition_of("CP-1")
    await world.door.tell(here, evidence("", FleetFactsChanged(facts=facts), world.clock.at))
    await world.door.tell(here, evidence("CP-1", DeadlinePassed(at=world.clock.at), world.clock.at))
    assert incident["incident_id"] in facts.incidents


async def test_its_certificates_are_followed_to_their_end(world: AdminWorld) -> None:
    incident = await opened(world)
    await arrived(world, incident)
    one = f"{PATH}/{incident['incident_id']}"
    assert (await world.ask("GET", one)).body["counts"] == {"revoking": 1}
    [target] = (await world.ask("GET", f"{one}/targets?state=revoking")).body["items"]
    assert (target["charger_id"], target["certificate_state"]) == ("CP-1", "active")
    assert (await world.ask("GET", f"{one}/targets?state=revoked")).body["items"] == []
    shown = await world.ask("GET", f"/api/v1/certificates/{target['certificate_id']}")
    assert shown.body["incident"] == {"incident_id": incident["incident_id"], "state": "revoking"}
    [job] = (await world.ask("GET", "/api/v1/jobs?state=open")).body["items"]
    assert (job["action"], job["stage"]) == ("revoke", "revoking")
