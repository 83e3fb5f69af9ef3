"""What is global: trust anchors, policies, purposes, supervisors, the trail, health."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from bfactors.policy import Policy
from gateways.admin.ports import Readiness
from tests.core import pki
from tests.integration.admin_world import AdminWorld


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as world:
        yield world


@dataclass(frozen=True)
class Status:
    kind: str
    name: str
    standing: str = "running"
    children: int = 3
    restarts: int = 1
    reason: str | None = None

    @property
    def state(self) -> SimpleNamespace:
        return SimpleNamespace(value=self.standing)


# ---------------------------------------------------------------- trust


async def test_the_central_systems_anchors_are_public_and_those_of_the_current_bundle(
    world: AdminWorld,
) -> None:
    path = "/api/v1/trust/central_system.pem"
    missing = await world.ask("GET", path, role=None)
    assert (missing.status, missing.body["code"]) == (404, "no-trust-anchor-bundle")
    await world.bundle([pki.ca().root_pem])
    await world.bundle([pki.ca("Server").root_pem, pki.ca("Other").root_pem])
    found = await world.ask("GET", path, role=None)
    assert (found.status, found.headers["Content-Type"]) == (200, "application/pem-certificate-chain")
    assert found.body.count(b"BEGIN CERTIFICATE") == 2
    assert pki.ca("Server").root_pem.strip().encode() in found.body
    assert pki.ca().root_pem.strip().encode() not in found.body
    assert (await world.ask("GET", "/api/v1/trust/backend_server.pem", role=None)).body == found.body
    assert (await world.ask("GET", "/api/v1/trust/charging_station.pem", role=None)).status == 404


async def test_a_bundle_is_shown_with_version_realm_and_anchors(world: AdminWorld) -> None:
    made = await world.bundle([pki.ca().root_pem])
    assert (made.status, made.body["version"], made.body["realm"]) == (201, 1, "backend-server")
    assert made.body["cohorts"] == []
    second = await world.bundle([pki.ca("Server").root_pem])
    listed = (await world.ask("GET", "/api/v1/trust-anchor-bundles?purpose=backend_server")).body["items"]
    assert [(item["version"], item["current"]) for item in listed] == [(2, True), (1, False)]
    assert (await world.ask("GET", "/api/v1/trust-anchor-bundles?purpose=charging_station")).body[
        "items"
    ] == []
    assert (await world.ask("GET", "/api/v1/trust-anchor-bundles?cohort=canary")).body["items"] == []
    one = await world.ask("GET", second.headers["Location"], role="viewer")
    assert one.body["anchors"][0]["pem"].strip() == pki.ca("Server").root_pem.strip()
    assert (await world.ask("GET", "/api/v1/trust-anchor-bundles/nope")).status == 404


async def test_an_old_set_of_anchors_that_returns_is_a_version_of_its_own(world: AdminWorld) -> None:
    first = await world.bundle([pki.ca().root_pem])
    await world.bundle([pki.ca("Server").root_pem])
    back = await world.bundle([pki.ca().root_pem])
    assert back.body["version"] == 3
    assert back.body["bundle_id"] != first.body["bundle_id"]
    listed = (await world.ask("GET", "/api/v1/trust-anchor-bundles")).body["items"]
    assert [item["version"] for item in listed] == [3, 2, 1]


@pytest.mark.parametrize(
    ("anchors", "code"),
    [(["no pem"], "malformed-certificate"), ([], "invalid-value"), (["leaf"], "not-a-root")],
)
async def test_what_is_no_root_is_no_anchor(world: AdminWorld, anchors: list[str], code: str) -> None:
    pems = [pki.ca().pem if pem == "leaf" else pem for pem in anchors]
    refused = await world.bundle(pems)
    assert (refused.status, refused.body["code"], refused.fields) == (422, code, ["anchors"])


# ---------------------------------------------------------------- families


async def test_a_family_nobody_has_said_anything_of_is_listed_by_its_chargers(world: AdminWorld) -> None:
    assert (await world.ask("GET", "/api/v1/families/acme-one")).status == 404
    registered = await world.register()
    name = registered.body["family"]
    (listed,) = (await world.ask("GET", "/api/v1/families")).body["items"]
    assert (listed["family"], listed["qualification"], listed["changed_by"]) == (name, None, None)
    assert (await world.ask("GET", f"/api/v1/families/{name}")).body == listed


async def test_a_family_is_described_qualified_and_seen_on_its_chargers(world: AdminWorld) -> None:
    path = "/api/v1/families/acme%20one"
    assert (await world.ask("GET", path)).status == 404
    said = {"capabilities": {"needs_crlf": True, "max_chain_chars": 4000}, "note": "bulletin 7"}
    made = await world.ask("PUT", path, said)
    assert made.status == 200
    assert made.body["family"] == "acme one"
    assert (made.body["capabilities"]["needs_crlf"], made.body["qualification"]) == (True, None)
    report = {
        "charger_id": "CP-9",
        "firmware": "1.2",
        "passed": True,
        "steps": [{"step": "list", "outcome": "passed"}],
    }
    qualified = await world.ask("POST", path + "/qualification", report)
    assert qualified.body["qualification"]["firmware"] == "1.2"
    listed = (await world.ask("GET", "/api/v1/families", role="viewer")).body["items"]
    assert [item["family"] for item in listed] == ["acme one"]


@pytest.mark.parametrize(
    ("capabilities", "field"),
    [
        ({"max_chain_chars": 0}, "capabilities.max_chain_chars"),
        ({"needs_crlf": "yes"}, "capabilities.needs_crlf"),
        ({"sings": True}, "capabilities.sings"),
        ({"assume_version": "3.0"}, "capabilities.assume_version"),
    ],
)
async def test_an_unknown_capability_is_refused_by_its_name(
    world: AdminWorld, capabilities: dict[str, object], field: str
) -> None:
    refused = await world.ask("PUT", "/api/v1/families/acme", {"capabilities": capabilities})
    assert (refused.status, refused.fields) == (422, [field])


async def test_one_charger_s_capabilities_are_shown_with_it(world: AdminWorld) -> None:
    await world.register()
    body = {"capabilities": {"no_ping": True}, "reason": "old board"}
    changed = await world.ask("PUT", "/api/v1/chargers/CP-1/capabilities", body)
    assert (changed.status, changed.body["capabilities"]["no_ping"]) == (200, True)
    found = await world.ask("GET", "/api/v1/chargers/CP-1")
    assert found.body["capabilities"]["no_ping"] is True


# ---------------------------------------------------------------- policies


async def test_the_effective_policy_names_the_origin_of_every_field(world: AdminWorld) -> None:
    await world.register()
    scope = "/api/v1/policies/"
    one = await world.ask("PUT", scope + "purpose:charging_station", {"values": {"validity_days": 90}})
    assert (one.status, one.body) == (200, {"scope": "purpose:charging_station", "version": 2})
    body = {"values": {"validity_days": 60, "max_attempts": 9}, "reason": "canaries first"}
    two = await world.ask("PUT", scope + "cohort:canary/charging_station", body)
    assert (two.status, two.body["version"]) == (200, 3)
    found = await world.ask(
        "GET", "/api/v1/policies/effective?charger_id=CP-1&purpose=charging_station", role="viewer"
    )
    policy = found.body["policy"]
    assert found.body["version"] == 3
    assert set(policy) == set(Policy.__struct_fields__)
    assert policy["validity_days"] == {"value": 60, "origin": "cohort:canary/charging_station"}
    assert policy["renew_before_days"]["origin"] == "built-in"
    listed = (await world.ask("GET", "/api/v1/policies")).body["items"]
    assert [item["scope"] for item in listed] == [
        "built-in",
        "cohort:canary/charging_station",
        "purpose:charging_station",
    ]
    await world.ask("PUT", scope + "cohort:canary%2Fcharging_station", {"values": {}})
    found = await world.ask("GET", "/api/v1/policies/effective?charger_id=CP-1&purpose=charging_station")
    assert found.body["policy"]["validity_days"] == {"value": 90, "origin": "purpose:charging_station"}


@pytest.mark.parametrize(
    ("scope", "values", "status", "field"),
    [
        ("purpose:charging_station", {"validity_day": 90}, 422, "values.validity_day"),
        ("purpose:charging_station", {"validity_days": "90"}, 422, "values.validity_days"),
        ("purpose:charging_station", {"validity_days": 0}, 422, "values.validity_days"),
        ("purpose:charging_station", {"last_safe_days": 10**12}, 422, "values.last_safe_days"),
        (
            "purpose:charging_station",
            {"escalate_before_days": [10**12]},
            422,
            "values.escalate_before_days[0]",
        ),
        ("purpose:charging_station", {"key_algorithms": ["dsa"]}, 422, "values.key_algorithms[0]"),
        ("purpose:charging_station", {"renew_before_days": 200}, 422, "renew_before_days"),
        ("purpose:coffee", {"max_attempts": 3}, 404, "scope"),
        ("everything", {"max_attempts": 3}, 404, "scope"),
    ],
)
async def test_a_policy_that_cannot_hold_is_refused(
    world: AdminWorld, scope: str, values: dict[str, object], status: int, field: str
) -> None:
    refused = await world.ask("PUT", f"/api/v1/policies/{scope}", {"values": values})
    assert (refused.status, refused.fields) == (status, [field])


async def test_every_field_of_the_policy_can_be_set_to_what_it_is(world: AdminWorld) -> None:
    built_in = (await world.ask("GET", "/api/v1/policies")).body["items"][0]["values"]
    made = await world.ask("PUT", "/api/v1/policies/purpose:charging_station", {"values": built_in})
    assert made.status == 200


async def test_an_effective_policy_needs_a_known_charger_and_purpose(world: AdminWorld) -> None:
    path = "/api/v1/policies/effective?charger_id=CP-1&purpose="
    assert (await world.ask("GET", path + "coffee")).body["code"] == "unknown-purpose"
    assert (await world.ask("GET", path + "charging_station")).body["code"] == "unknown-charger"


# ---------------------------------------------------------------- supervisors, purposes, trail


async def test_a_pause_is_recorded_and_shown_beside_what_the_supervisor_says(world: AdminWorld) -> None:
    world.statuses = [
        Status("family", "acme-one"),
        Status("purpose", "charging_station", "failed", 0, 9, "gave up"),
    ]
    path = "/api/v1/supervisors/family/acme-one"
    told = await world.ask("POST", f"{path}/pause", {"reason": "bad firmware"}, role="rollout-manager")
    assert (told.status, told.body["state"]) == (200, "paused")
    await world.ask("POST", "/api/v1/supervisors/cohort/north%2Ftwo/drain", {"reason": "moving"})
    items = (await world.ask("GET", "/api/v1/supervisors", role="viewer")).body["items"]
    shown = {(item["kind"], item["name"]): item for item in items}
    family = shown["family", "acme-one"]
    assert (family["state"], family["wanted"], family["children"]) == ("running", "paused", 3)
    assert family["pause"]["by"] == "operator:the-rollout-manager"
    assert shown["cohort", "north/two"]["state"] == "draining"
    assert shown["purpose", "charging_station"]["reason"] == "gave up"
    assert shown["purpose", "charging_station"]["wanted"] == "running"
    told = await world.ask("POST", f"{path}/resume", {"reason": "fixed"}, role="operator")
    assert told.body["state"] == "running"
    items = (await world.ask("GET", "/api/v1/supervisors")).body["items"]
    assert next(item for item in items if item["name"] == "acme-one")["pause"] is None


async def test_an_order_to_a_supervisor_needs_a_known_kind_and_action_and_a_reason(world: AdminWorld) -> None:
    path = "/api/v1/supervisors"
    unknown = await world.ask("POST", f"{path}/planet/mars/pause", {"reason": "x"})
    assert (unknown.status, unknown.body["code"]) == (404, "unknown-supervisor")
    assert (await world.ask("POST", f"{path}/family/a/stop", {"reason": "x"})).status == 404
    assert (await world.ask("POST", f"{path}/family/a/pause", {})).fields == ["reason"]
    assert (await world.ask("POST", f"{path}/family/a/pause", {"reason": " "})).fields == ["reason"]


async def test_purposes_say_realm_modes_owner_bundle_and_rungs(world: AdminWorld) -> None:
    items = (await world.ask("GET", "/api/v1/purposes", role="viewer")).body["items"]
    purpose = next(item for item in items if item["purpose"] == "charging_station")
    assert purpose["realm"] == "charger-identity"
    assert purpose["dependent_bundle"] == "backend_server"
    assert purpose["evidence_rungs"] == ["issued", "installed", "seen-live"]
    assert "managed" in purpose["modes"]


async def test_the_trail_shows_each_event_with_its_hashes(world: AdminWorld) -> None:
    await world.register()
    await world.ask("PATCH", "/api/v1/chargers/CP-1", {"site": "south"})
    items = (await world.ask("GET", "/api/v1/audit?charger_id=CP-1", role="auditor")).body["items"]
    assert [item["event"] for item in items] == ["ChargerRegistered", "ChargerChanged"]
    assert items[1]["previous_hash"] == items[0]["hash"]
    assert items[1]["payload"]["site"] == "south"
    assert (await world.ask("GET", "/api/v1/security-events", role="auditor")).body["items"] == []


# ---------------------------------------------------------------- health


async def test_readiness_names_what_is_missing(world: AdminWorld) -> None:
    ready = await world.ask("GET", "/readyz", role=None)
    assert (ready.status, ready.body) == (200, {"ready": True, "missing": []})
    world.readiness = Readiness(ready=False, missing=("nats", "partition 3"))
    reply = await world.ask("GET", "/readyz", role=None)
    assert (reply.status, reply.body) == (503, {"ready": False, "missing": ["nats", "partition 3"]})
    assert (await world.ask("GET", "/healthz", role=None)).status == 200


async def test_requests_are_counted_by_operation_never_by_charger(world: AdminWorld) -> None:
    await world.register()
    await world.ask("GET", "/api/v1/chargers/CP-1")
    page = await world.ask("GET", "/metrics", role=None)
    assert page.headers["Content-Type"].startswith("text/plain; version=")
    text = page.body.decode()
    assert 'bf_admin_requests_total{operation="chargers.get",status="200"} 1.0' in text
    assert "CP-1" not in text
