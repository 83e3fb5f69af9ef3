"""Waivers through the API, by two people: asked for, granted, shown, ended."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from bfactors.evidence import DeadlinePassed
from bfactors.identity import FLEET
from tests.core.world import evidence
from tests.integration.admin_world import AdminWorld, Reply

PATH = "/api/v1/waivers"
EFFECTIVE = "/api/v1/policies/effective?charger_id=CP-1&purpose=charging_station"


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as made:
        await made.register()
        yield made


def wanted(world: AdminWorld, **changes: Any) -> dict[str, Any]:
    return {
        "subject": "charger:CP-1",
        "purpose": "charging_station",
        "rule": "validity_days",
        "value": 60,
        "reason": "swap in May",
        "ends_at": (world.clock.at + timedelta(days=30)).isoformat(),
        **changes,
    }


async def granted(world: AdminWorld, **changes: Any) -> Any:
    """Asked for by an operator, approved by somebody of the PKI; the waiver."""
    held = await world.ask("POST", PATH, wanted(world, **changes), role="operator")
    assert held.status == 202, held.body
    word = {"content_hash": held.body["content_hash"], "reason": "seen"}
    given = await world.ask("POST", f"{held.headers['Location']}/approve", word)
    assert given.status == 200, given.body
    return (await world.ask("GET", PATH)).body["items"][0]


async def value_and_origin(world: AdminWorld, field: str = "validity_days") -> tuple[Any, str]:
    found = (await world.ask("GET", EFFECTIVE)).body["policy"][field]
    return found["value"], found["origin"]


async def charger(world: AdminWorld) -> Any:
    return (await world.ask("GET", "/api/v1/chargers/CP-1")).body


async def test_a_waiver_takes_two_and_is_shown_wherever_it_counts(world: AdminWorld) -> None:
    assert (await charger(world))["waivers"] == []
    waiver = await granted(world)
    assert (waiver["state"], waiver["author"], waiver["approver"]) == (
        "in-force",
        "operator:the-operator",
        "operator:the-pki-admin",
    )
    assert await value_and_origin(world) == (60, f"waiver:{waiver['waiver_id']}")
    assert (await charger(world))["waivers"] == [waiver]
    assert (await world.ask("GET", f"{PATH}/{waiver['waiver_id']}")).body == waiver
    trail = await world.ask("GET", "/api/v1/audit?charger_id=CP-1")
    assert {"WaiverRequested", "WaiverGranted"} <= {one["event"] for one in trail.body["items"]}


async def test_while_it_waits_it_is_listed_and_counts_for_nothing(world: AdminWorld) -> None:
    await world.ask("POST", PATH, wanted(world), role="operator")
    (listed,) = (await world.ask("GET", f"{PATH}?state=requested&charger_id=CP-1")).body["items"]
    assert listed["approver"] is None
    assert await value_and_origin(world) == (180, "built-in")
    early = await world.ask("POST", f"{PATH}/{listed['waiver_id']}/end", {"reason": "x"})
    assert (early.status, early.body["code"]) == (409, "waiver-not-in-force")


async def test_it_is_over_at_its_end_before_anybody_has_noticed(world: AdminWorld) -> None:
    waiver = await granted(world)
    world.clock.at += timedelta(days=30)
    assert await value_and_origin(world) == (180, "built-in")
    assert (await charger(world))["waivers"] == []
    assert (await world.ask("GET", f"{PATH}/{waiver['waiver_id']}")).body["state"] == "ended"
    await world.door.tell(FLEET, evidence("", DeadlinePassed(at=world.clock.at)))
    (ended,) = (await world.ask("GET", "/api/v1/audit?event=WaiverEnded")).body["items"]
    assert ended["payload"]["cause"] == "date-passed"


async def test_it_is_ended_by_hand(world: AdminWorld) -> None:
    path = f"{PATH}/{(await granted(world))['waiver_id']}/end"
    assert (await world.ask("POST", path, {"reason": "swapped"}, role="operator")).status == 403
    ended = await world.ask("POST", path, {"reason": "swapped"})
    assert (ended.status, ended.body["state"], ended.body["end_reason"]) == (200, "ended", "swapped")
    assert await value_and_origin(world) == (180, "built-in")
    assert (await world.ask("POST", path, {"reason": "again"})).status == 409
    assert (await world.ask("POST", f"{PATH}/none/end", {"reason": "x"})).status == 404


async def test_a_cohort_s_waiver_reaches_its_chargers(world: AdminWorld) -> None:
    waiver = await granted(world, subject="cohort:canary", rule="max_attempts", value=2)
    assert await value_and_origin(world, "max_attempts") == (2, f"waiver:{waiver['waiver_id']}")
    listed = (await world.ask("GET", f"{PATH}?charger_id=CP-1")).body["items"]
    assert [one["waiver_id"] for one in listed] == [waiver["waiver_id"]]
    assert listed[0]["charger_id"] is None


@pytest.mark.parametrize(
    ("changes", "status", "fields"),
    [
        ({"subject": "charger:CP-9"}, 404, []),
        ({"subject": "site:north"}, 422, ["subject"]),
        ({"purpose": "teapot"}, 422, ["purpose"]),
        ({"rule": "approvals_needed", "value": ["rollback"]}, 422, ["rule"]),
        ({"value": "long"}, 422, ["value"]),
        ({"value": None}, 422, ["value"]),
        ({"value": 5000}, 422, ["value"]),
        ({"value": 1100}, 422, ["value"]),
        ({"rule": "trust-gate"}, 422, ["value"]),
        ({"ends_at": "2020-01-01T00:00:00Z"}, 422, ["ends_at"]),
        ({"reason": ""}, 422, ["reason"]),
    ],
)
async def test_what_cannot_be_waived_is_refused_naming_the_field(
    world: AdminWorld, changes: dict[str, Any], status: int, fields: list[str]
) -> None:
    refused: Reply = await world.ask("POST", PATH, wanted(world, **changes))
    assert (refused.status, refused.fields) == (status, fields), refused.body
    assert (await world.ask("GET", "/api/v1/approvals")).body["items"] == []


async def test_where_policy_asks_for_nobody_else_it_is_in_force_at_once(world: AdminWorld) -> None:
    policy = "/api/v1/policies/purpose:charging_station"
    held = await world.ask("PUT", policy, {"values": {"approvals_needed": ["rollback"]}}, role="pki-admin")
    assert held.status == 202
    world.tokens.live["bf_second"] = type(world.tokens.live["bf_viewer-token"])("second", "pki-admin")
    word = {"content_hash": held.body["content_hash"], "reason": "one admin"}
    bearer = {"Authorization": "Bearer bf_second"}
    await world.ask("POST", f"{held.headers['Location']}/approve", word, role=None, headers=bearer)
    done = await world.ask("POST", PATH, wanted(world))
    assert (done.status, done.body["state"], done.body["approver"]) == (201, "in-force", None)
    assert done.headers["Location"] == f"{PATH}/{done.body['waiver_id']}"
