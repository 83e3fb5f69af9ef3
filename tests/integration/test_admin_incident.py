"""Incidents through the API: forecast, opened by two people, staged, followed, ended."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from bfactors.evidence import DeadlinePassed, FleetFactsChanged
from bfactors.identity import FLEET, partition_of
from gateways.admin.ports import Token
from tests.core.world import ARN, evidence
from tests.core.world import World as CoreWorld
from tests.integration.admin_world import AdminWorld, ApiToken, Reply

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


async def held(world: AdminWorld, **changes: Any) -> Reply:
    """Asked for by one, and waiting."""
    reply = await world.ask("POST", PATH, wanted(**changes), role="pki-admin")
    assert reply.status == 202, reply.body
    return reply


def targets_of(reply: Reply) -> str:
    return f"{PATH}/{reply.body['content']['incident_id']}/targets"


async def decided(world: AdminWorld, reply: Reply, verdict: str = "approve") -> Reply:
    word = {"content_hash": reply.body["content_hash"], "reason": "seen"}
    by_second = {"Authorization": "Bearer bf_second-token"}
    path = f"{reply.headers['Location']}/{verdict}"
    return await world.ask("POST", path, word, role=None, headers=by_second)


BY_COHORT = {"purpose": "charging_station", "cohorts": ["canary", "spare"]}


async def test_who_is_to_agree_sees_which_certificates_the_rule_chooses_now(world: AdminWorld) -> None:
    asked = await held(world)
    [target] = (await world.ask("GET", targets_of(asked), role="viewer")).body["items"]
    assert (target["charger_id"], target["state"], target["certificate_state"], target["came_later"]) == (
        "CP-1",
        "selected",
        "active",
        False,
    )
    assert (await world.ask("GET", f"{targets_of(asked)}?state=selected")).body["items"] == [target]
    assert (await world.ask("GET", f"{targets_of(asked)}?state=waiting")).body["items"] == []
    seen = (await world.ask("GET", asked.headers["Location"], role="viewer")).body
    assert seen["selection"].pop("at")
    assert seen["selection"] == {
        "certificates": 1,
        "connected": 1,
        "families": [{"family": "acme-one", "certificates": 1}],
        "issuing_cas": [{"issuing_ca_id": ARN, "certificates": 1}],
    }
    assert seen["content_hash"] == asked.body["content_hash"]


async def test_what_is_seen_moves_with_the_fleet_and_the_content_does_not(world: AdminWorld) -> None:
    asked = await held(world, selector=BY_COHORT)
    assert asked.body["content"]["expected"] == 1
    moved = await world.ask("PATCH", "/api/v1/chargers/CP-1", {"cohort": "rest"}, role="operator")
    assert moved.status == 200, moved.body
    assert (await world.ask("GET", targets_of(asked))).body["items"] == []
    seen = (await world.ask("GET", asked.headers["Location"])).body
    assert (seen["selection"]["certificates"], seen["selection"]["families"]) == (0, [])
    assert (seen["content_hash"], seen["content"]) == (asked.body["content_hash"], asked.body["content"])
    given = await decided(world, asked)
    assert given.status == 200, given.body
    [incident] = (await world.ask("GET", PATH)).body["items"]
    assert (incident["expected"], incident["agreed"], incident["came_later"]) == (1, 0, 0)


async def test_what_the_rule_has_come_to_choose_since_is_counted_and_marked(world: AdminWorld) -> None:
    await world.ask("PATCH", "/api/v1/chargers/CP-1", {"cohort": "rest"}, role="operator")
    asked = await held(world, selector=BY_COHORT, mode="replace", revocation_reason="superseded")
    assert (await decided(world, asked)).status == 200
    [incident] = (await world.ask("GET", PATH)).body["items"]
    await arrived(world, incident)
    assert (await world.ask("GET", targets_of(asked))).body["items"] == []
    world.clock.at += timedelta(minutes=5)
    await world.ask("PATCH", "/api/v1/chargers/CP-1", {"cohort": "spare"}, role="operator")
    shown = (await world.ask("GET", f"{PATH}/{incident['incident_id']}")).body
    assert (shown["agreed"], shown["came_later"], sum(shown["counts"].values())) == (0, 1, 1)
    [target] = (await world.ask("GET", targets_of(asked))).body["items"]
    assert (target["charger_id"], target["came_later"]) == ("CP-1", True)


async def test_one_that_is_not_agreed_to_has_no_targets_and_no_selection_any_more(world: AdminWorld) -> None:
    asked = await held(world)
    assert (await decided(world, asked, "reject")).status == 200
    assert (await world.ask("GET", targets_of(asked))).status == 404
    assert (await world.ask("GET", asked.headers["Location"])).body.get("selection") is None


async def test_a_token_of_one_cohort_sees_its_own_certificates_of_an_incident(world: AdminWorld) -> None:
    for cohort in ("canary", "rest"):
        limited: Token = ApiToken(name=cohort, role="viewer", cohorts=(cohort,))
        world.tokens.live[f"bf_{cohort}-token"] = limited  # type: ignore[assignment]
    asked = await held(world)

    async def seen(cohort: str) -> int:
        headers = {"Authorization": f"Bearer bf_{cohort}-token"}
        reply = await world.ask("GET", targets_of(asked), role=None, headers=headers)
        assert reply.status == 200, reply.body
        return len(reply.body["items"])

    assert (await seen("canary"), await seen("rest")) == (1, 0)
    assert (await decided(world, asked)).status == 200
    [incident] = (await world.ask("GET", PATH)).body["items"]
    await arrived(world, incident)
    assert (await seen("canary"), await seen("rest")) == (1, 0)


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
