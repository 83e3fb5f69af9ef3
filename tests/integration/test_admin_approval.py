"""Approvals of fleet commands through the API, by two people."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from bfactors.evidence import FleetFactsChanged
from bfactors.fleet.state import FleetState
from bfactors.identity import partition_of
from gateways.admin.ports import Token
from tests.core import pki
from tests.core.test_charger_expired import expired
from tests.core.world import evidence
from tests.integration.admin_world import AdminWorld, ApiToken, Reply

POLICY = "/api/v1/policies/purpose:charging_station"
BUNDLES = "/api/v1/policies/purpose:backend_server"
TWO = ["rollback", "waiver", "incident", "rollover", "policy", "trust-anchor-bundle"]


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as made:
        second: Token = ApiToken(name="second", role="pki-admin")
        made.tokens.live["bf_second-token"] = second  # type: ignore[assignment]
        for path in (POLICY, BUNDLES):
            reply = await made.ask("PUT", path, {"values": {"approvals_needed": TWO}})
            assert reply.status == 200
        yield made


async def by_second(world: AdminWorld, path: str, body: Any) -> Reply:
    return await world.ask("POST", path, body, role=None, headers={"Authorization": "Bearer bf_second-token"})


def change(days: int = 90) -> Any:
    return {"values": {"validity_days": days, "approvals_needed": TWO}, "reason": "shorter"}


async def test_a_policy_takes_two_people(world: AdminWorld) -> None:
    held = await world.ask("PUT", POLICY, change())
    assert held.status == 202
    assert held.headers["Location"] == f"/api/v1/approvals/{held.body['approval_id']}"
    assert {"approval_id", "content_hash", "expires_at"} <= held.body.keys()
    (listed,) = (await world.ask("GET", "/api/v1/approvals?state=open&kind=policy")).body["items"]
    assert listed == held.body
    assert listed["charger_id"] is None
    path = held.headers["Location"]
    word = {"content_hash": listed["content_hash"], "reason": "read it"}
    own = await world.ask("POST", f"{path}/approve", word)
    assert (own.status, own.body["code"]) == (403, "own-approval")
    wrong = await by_second(world, f"{path}/approve", word | {"content_hash": "0" * 64})
    assert (wrong.status, wrong.body["code"]) == (409, "content-changed")
    given = await by_second(world, f"{path}/approve", word)
    assert (given.status, given.body["state"], given.body["decided_by"]) == (
        200,
        "approved",
        "operator:second",
    )
    items = (await world.ask("GET", "/api/v1/policies")).body["items"]
    assert any(item["values"].get("validity_days") == 90 and item["scope"] != "built-in" for item in items)
    trail = [one["event"] for one in (await world.ask("GET", "/api/v1/audit")).body["items"]]
    assert trail[-3:] == ["ApprovalRequested", "ApprovalDecided", "PolicySetChanged"]
    again = await by_second(world, f"{path}/approve", word)
    assert (again.status, again.body["code"]) == (409, "approval-ended")


async def test_the_same_request_sent_again_is_answered_with_the_same_approval(world: AdminWorld) -> None:
    body = {"purpose": "backend_server", "anchors": [pki.ca().root_pem], "note": "first"}
    first = await world.ask("POST", "/api/v1/trust-anchor-bundles", body, key="k")
    again = await world.ask("POST", "/api/v1/trust-anchor-bundles", body, key="k")
    assert (first.status, again.status) == (202, 202)
    assert first.body == again.body
    assert (await world.ask("GET", "/api/v1/trust-anchor-bundles")).body["items"] == []
    word = {"content_hash": first.body["content_hash"], "reason": "ok"}
    assert (await by_second(world, f"{first.headers['Location']}/approve", word)).status == 200
    (bundle,) = (await world.ask("GET", "/api/v1/trust-anchor-bundles")).body["items"]
    assert bundle["version"] == 1


async def test_what_was_asked_for_is_rejected_by_another_or_withdrawn_by_its_author(
    world: AdminWorld,
) -> None:
    for verdict, state in (("reject", "rejected"), ("withdraw", "withdrawn")):
        held = await world.ask("PUT", POLICY, change())
        word = {"content_hash": held.body["content_hash"], "reason": "no"}
        path = f"{held.headers['Location']}/{verdict}"
        by_author, by_other = await world.ask("POST", path, word), None
        if by_author.status == 403:
            by_other = await by_second(world, path, word)
        assert (by_other or by_author).body["state"] == state
    assert (await world.ask("GET", "/api/v1/approvals?state=open")).body["items"] == []


async def test_what_is_approved_too_late_is_not_done(world: AdminWorld) -> None:
    held = await world.ask("PUT", POLICY, change())
    world.clock.at += timedelta(hours=72)
    word = {"content_hash": held.body["content_hash"], "reason": "late"}
    late = await by_second(world, f"{held.headers['Location']}/approve", word)
    assert (late.status, late.body["code"]) == (409, "approval-ended")


async def test_taking_a_kind_out_of_the_policy_takes_two(world: AdminWorld) -> None:
    held = await world.ask("PUT", POLICY, {"values": {"approvals_needed": ["rollback"]}})
    assert held.status == 202


async def test_an_expired_certificate_is_let_in_by_two_where_policy_says_so(world: AdminWorld) -> None:
    core, _ = expired()
    await world.adopt(core)
    needed = [*TWO, "break-glass"]
    held = await world.ask("PUT", POLICY, {"values": {"approvals_needed": needed}})
    word = {"content_hash": held.body["content_hash"], "reason": "ok"}
    assert (await by_second(world, f"{held.headers['Location']}/approve", word)).status == 200
    state = await world.reader.aggregate(0, "fleet")
    assert state is not None
    facts = msgspec.json.decode(state.state, type=FleetState).facts
    told = FleetFactsChanged(facts=msgspec.structs.replace(facts, sequence=facts.sequence + 1000))
    await world.door.tell(partition_of("CP-1"), evidence("", told))
    path = "/api/v1/chargers/CP-1/expired-certificate-admission"
    body = {"until": (world.clock.at + timedelta(days=2)).isoformat(), "reason": "workshop"}
    asked = await world.ask("POST", path, body)
    assert (asked.status, asked.body["kind"], asked.body["charger_id"]) == (202, "break-glass", "CP-1")
    charger = await world.ask("GET", "/api/v1/chargers/CP-1")
    assert charger.body["expired_certificate_admission"] is None
    word = {"content_hash": asked.body["content_hash"], "reason": "ok"}
    given = await by_second(world, f"{asked.headers['Location']}/approve", word)
    assert (given.status, given.body["state"]) == (200, "approved")
    charger = await world.ask("GET", "/api/v1/chargers/CP-1")
    assert charger.body["expired_certificate_admission"] is not None
