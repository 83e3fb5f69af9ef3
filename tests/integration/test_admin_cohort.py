"""Tokens that are limited to cohorts: what they reach, every operation, and what they are told about the rest."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from bfactors import command as c
from gateways.admin.app import described_routes
from gateways.admin.reach import reach_of
from gateways.admin.role import MAY
from tests.integration.admin_world import JOB, AdminWorld, ApiToken, Reply

LIMITED = {
    "anybody": {
        *("chargers.register", "imports.run", "jobs.open", "waivers.request", "approvals.withdraw"),
        *("supervisors.list", "supervisors.pause", "supervisors.resume", "supervisors.drain"),
        *("policies.list", "purposes.list", "families.list", "families.get", "server_certificates.list"),
        *("trust_anchor_bundles.list", "trust_anchor_bundles.get"),
    },
    "one": {
        *("jobs.get", "jobs.cancel", "certificates.get", "certificates.revoke", "certificates.deactivate"),
        *("approvals.get", "approvals.approve", "approvals.reject", "logs.get", "logs.content"),
        "policies.effective",
    },
    "named": {"lockouts.list", "lockouts.counts", "renewals.list"},
    "listed": {
        *("chargers.list", "jobs.list", "certificates.list", "approvals.list", "migrations.list"),
        *("logs.list", "security_events.list", "authorization_keys.list", "waivers.list", "waivers.get"),
        "incidents.targets",
    },
}
"""Written out a second time on purpose. What has a charger in its path goes by that charger, the rest is out of reach."""
ROUTES = {route.operation: route for route in described_routes(AdminWorld().dependencies)}
CANARY = "canary"


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    """CP-1 is of the canary cohort, CP-2 of another; the limited token is a PKI admin's."""
    async with AdminWorld().served() as made:
        for role in ("pki-admin", "operator", "firmware-admin"):
            made.tokens.live[f"bf_limited-{role}"] = ApiToken(f"limited-{role}", role, (CANARY,))
        await made.register()
        await made.register(charger_id="CP-2", serial_number="SN-2", cohort="rest")
        yield made


async def ask(
    world: AdminWorld, method: str, path: str, body: Any = None, *, role: str = "pki-admin"
) -> Reply:
    bearer = {"Authorization": f"Bearer bf_limited-{role}"}
    return await world.ask(method, path, body, role=None, headers=bearer)


def test_every_operation_s_reach_stands_here() -> None:
    found: dict[str, set[str]] = {}
    for operation, route in ROUTES.items():
        if MAY[operation] and "{charger_id}" not in route.path:
            found.setdefault(reach_of(operation, route.path), set()).add(operation)
    for reach, operations in LIMITED.items():
        assert found[reach] == operations, reach
    assert set(found) == {*LIMITED, "fleet"}


async def test_what_is_about_the_whole_fleet_is_out_of_reach_with_the_reason(world: AdminWorld) -> None:
    limited = set().union(*LIMITED.values())
    wrong = []
    for operation, route in ROUTES.items():
        if not MAY[operation] or operation in limited or "{charger_id}" in route.path:
            continue
        role = "firmware-admin" if operation.startswith("firmware") else "pki-admin"
        if role not in MAY[operation]:
            continue
        path = re.sub(r"\{[^}]*\}", "x", route.path)
        reply = await ask(world, route.method, path, {}, role=role)
        if (reply.status, reply.body["code"]) != (403, "fleet-wide"):
            wrong.append((operation, reply.status, reply.body))
    assert wrong == []


async def test_a_charger_of_its_cohort_is_in_reach_and_another_is_not(world: AdminWorld) -> None:
    for method, path, body in (
        ("GET", "/api/v1/chargers/{}", None),
        ("PATCH", "/api/v1/chargers/{}", {"site": "south"}),
        ("POST", "/api/v1/chargers/{}/migration", {"target_profile": 3}),
        ("GET", "/api/v1/policies/effective?charger_id={}&purpose=charging_station", None),
    ):
        assert (await ask(world, method, path.format("CP-1"), body)).status < 300, path
        refused = await ask(world, method, path.format("CP-2"), body)
        assert (refused.status, refused.body["code"]) == (403, "other-cohort"), path
        assert CANARY in refused.body["detail"]
    assert (await ask(world, "GET", "/api/v1/chargers/CP-9")).status == 404


async def test_jobs_and_what_hangs_on_them_follow_their_charger(world: AdminWorld) -> None:
    mine = await ask(world, "POST", "/api/v1/jobs", JOB)
    assert mine.status == 202
    refused = await ask(world, "POST", "/api/v1/jobs", JOB | {"charger_id": "CP-2"})
    assert (refused.status, refused.body["code"]) == (403, "other-cohort")
    other = (await world.ask("POST", "/api/v1/jobs", JOB | {"charger_id": "CP-2"})).body["job_id"]
    for method, path, body in (("GET", "", None), ("POST", "/cancel", {"reason": "x"})):
        path = f"/api/v1/jobs/{{}}{path}"
        assert (await ask(world, method, path.format(other), body)).body["code"] == "other-cohort"
        assert (await ask(world, method, path.format(mine.body["job_id"]), body)).status == 200
    assert (await ask(world, "GET", "/api/v1/jobs/none")).status == 404


async def test_lists_show_what_is_in_reach(world: AdminWorld) -> None:
    for charger_id in ("CP-1", "CP-2"):
        await world.ask("POST", "/api/v1/jobs", JOB | {"charger_id": charger_id})
    for path in ("chargers", "jobs", "migrations", "authorization-keys", "certificates", "logs"):
        everything = (await world.ask("GET", f"/api/v1/{path}")).body["items"]
        shown = (await ask(world, "GET", f"/api/v1/{path}")).body["items"]
        assert shown == [item for item in everything if item["charger_id"] == "CP-1"], path
    assert (await ask(world, "GET", "/api/v1/chargers?cohort=rest")).body["items"] == []
    assert (await ask(world, "GET", "/api/v1/jobs?charger_id=CP-2")).body["items"] == []


async def test_a_charger_is_registered_in_and_moved_to_its_cohorts_only(world: AdminWorld) -> None:
    body = {
        "charger_id": "CP-3",
        "serial_number": "SN-3",
        "family": "acme-one",
        "site": "north",
        "security_profile": 2,
    }
    refused = await ask(world, "POST", "/api/v1/chargers", body | {"cohort": "rest"})
    assert (refused.status, refused.body["code"]) == (403, "other-cohort")
    assert (await ask(world, "POST", "/api/v1/chargers", body | {"cohort": CANARY})).status == 201
    moved = await ask(world, "PATCH", "/api/v1/chargers/CP-3", {"cohort": "rest"})
    assert (moved.status, moved.body["code"]) == (403, "other-cohort")
    await world.ask("PATCH", "/api/v1/chargers/CP-3", {"cohort": "rest"})
    assert (await ask(world, "GET", "/api/v1/chargers/CP-3")).body["code"] == "other-cohort"


async def test_the_ledger_decides_on_the_cohort_it_knows_not_on_what_the_edge_read(
    world: AdminWorld,
) -> None:
    envelope = c.CommandEnvelope(
        command_id="c1",
        actor="operator:limited",
        role="pki-admin",
        cohorts=(CANARY,),
        body=c.ChangeCharger(charger_id="CP-2", site="south"),
    )
    from bfactors.identity import partition_of

    answer = await world.door.request(partition_of("CP-2"), envelope)
    assert answer.refusal is not None
    assert (answer.refusal.code, answer.refusal.status) == ("other-cohort", 403)


async def test_its_cohort_is_paused_and_no_family_or_other_cohort(world: AdminWorld) -> None:
    for kind, name, status in (("cohort", CANARY, 200), ("cohort", "rest", 403), ("family", "acme-one", 403)):
        path = f"/api/v1/supervisors/{kind}/{name}/pause"
        assert (await ask(world, "POST", path, {"reason": "x"})).status == status, (kind, name)


async def test_waivers_are_asked_for_and_seen_within_its_cohorts(world: AdminWorld) -> None:
    wanted = {
        "purpose": "charging_station",
        "rule": "validity_days",
        "value": 60,
        "reason": "x",
        "ends_at": (world.clock.at + timedelta(days=3)).isoformat(),
    }
    for subject, status in (
        ("charger:CP-1", 202),
        (f"cohort:{CANARY}", 202),
        ("charger:CP-2", 403),
        ("cohort:rest", 403),
    ):
        reply = await ask(world, "POST", "/api/v1/waivers", wanted | {"subject": subject}, role="operator")
        assert reply.status == status, reply.body
    other = await world.ask("POST", "/api/v1/waivers", wanted | {"subject": "cohort:rest"})
    shown = (await ask(world, "GET", "/api/v1/waivers")).body["items"]
    assert {one["subject"] for one in shown} == {"charger:CP-1", f"cohort:{CANARY}"}
    (hidden,) = (await world.ask("GET", "/api/v1/waivers?subject=cohort:rest")).body["items"]
    assert (await ask(world, "GET", f"/api/v1/waivers/{hidden['waiver_id']}")).status == 404
    word = {"content_hash": other.body["content_hash"], "reason": "ok"}
    refused = await ask(world, "POST", f"/api/v1/approvals/{other.body['approval_id']}/approve", word)
    assert (refused.status, refused.body["code"]) == (403, "fleet-wide")


async def test_what_was_asked_for_with_a_limited_token_is_withdrawn_with_it(world: AdminWorld) -> None:
    wanted = {
        "subject": "charger:CP-1",
        "purpose": "charging_station",
        "rule": "validity_days",
        "value": 60,
        "reason": "x",
        "ends_at": (world.clock.at + timedelta(days=3)).isoformat(),
    }
    held = await ask(world, "POST", "/api/v1/waivers", wanted)
    word = {"content_hash": held.body["content_hash"], "reason": "not needed"}
    done = await ask(world, "POST", f"{held.headers['Location']}/withdraw", word)
    assert (done.status, done.body["state"]) == (200, "withdrawn")


async def test_a_forecast_is_narrowed_down_to_one_of_its_cohorts(world: AdminWorld) -> None:
    assert (await ask(world, "GET", "/api/v1/renewals?cohort=rest")).body["code"] == "other-cohort"
    assert (await ask(world, "GET", f"/api/v1/renewals?cohort={CANARY}")).status == 200
    assert (await ask(world, "GET", "/api/v1/lockout-forecast")).body["code"] == "fleet-wide"
    assert (await ask(world, "GET", "/api/v1/lockout-forecast?cohort=rest")).body["code"] == "other-cohort"
    assert (await ask(world, "GET", "/api/v1/lockout-forecast?charger_id=CP-2")).body[
        "code"
    ] == "other-cohort"


async def test_a_token_limited_to_no_cohort_reaches_nothing(world: AdminWorld) -> None:
    world.tokens.live["bf_limited-pki-admin"] = ApiToken("nobody", "pki-admin", ())
    assert (await ask(world, "GET", "/api/v1/chargers")).body["items"] == []
    assert (await ask(world, "GET", "/api/v1/chargers/CP-1")).status == 403
    assert (await ask(world, "POST", "/api/v1/jobs", JOB)).status == 403


async def test_what_was_out_of_reach_is_on_record(world: AdminWorld) -> None:
    await ask(world, "GET", "/api/v1/chargers/CP-2")
    assert [(one.who, one.code) for one in world.denied] == [("limited-pki-admin", "other-cohort")]
