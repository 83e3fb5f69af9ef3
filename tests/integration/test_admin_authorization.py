"""Who may do what: every operation for every role, for strangers, and for those who come under a wrong name."""

import re
from collections.abc import AsyncIterator

import pytest

from gateways.admin.app import described_routes
from gateways.admin.role import ROLES
from gateways.admin.route import Route
from tests.integration.admin_world import JOB, AdminWorld, token_of

LETTERS = {
    "v": "viewer",
    "o": "operator",
    "p": "pki-admin",
    "r": "rollout-manager",
    "a": "auditor",
    "f": "firmware-admin",
}
EXPECTED = {
    "health.live": "*",
    "health.ready": "*",
    "health.metrics": "*",
    "openapi.get": "*",
    "trust.central_system": "*",
    "trust.purpose": "*",
    "chargers.register": "op",
    "imports.run": "op",
    "chargers.list": "vopra",
    "chargers.get": "vopra",
    "chargers.change": "op",
    "chargers.decommission": "op",
    "chargers.replace": "op",
    "chargers.resume": "op",
    "chargers.set_capabilities": "p",
    "chargers.call": "p",
    "chargers.set_spoken_for": "p",
    "chargers.admit_expired": "p",
    "chargers.trace": "p",
    "chargers.traced": "p",
    "approvals.list": "vopra",
    "approvals.get": "vopra",
    "approvals.approve": "p",
    "approvals.reject": "p",
    "approvals.withdraw": "op",
    "migrations.open": "op",
    "migrations.release": "p",
    "migrations.list": "vopra",
    "logs.request": "op",
    "logs.list": "opa",
    "logs.get": "opa",
    "logs.content": "opa",
    "families.list": "vopra",
    "families.get": "vopra",
    "families.set": "p",
    "families.qualify": "p",
    "families.set_factory_anchors": "p",
    "jobs.open": "op",
    "jobs.list": "vopra",
    "jobs.get": "vopra",
    "jobs.cancel": "op",
    "certificates.list": "vopra",
    "certificates.get": "vopra",
    "certificates.revoke": "p",
    "certificates.deactivate": "op",
    "lockouts.list": "vopra",
    "lockouts.counts": "vopra",
    "renewals.list": "vopra",
    "renewals.counts": "vopra",
    "trust_anchor_bundles.create": "p",
    "trust_anchor_bundles.list": "vopra",
    "trust_anchor_bundles.get": "vopra",
    "supervisors.list": "vopra",
    "supervisors.pause": "opr",
    "supervisors.resume": "opr",
    "supervisors.drain": "opr",
    "identities.register": "op",
    "identities.list": "vopra",
    "identities.get": "vopra",
    "identities.change": "op",
    "identities.retire": "op",
    "identities.erase_personal_data": "p",
    "retention.list": "vopra",
    "retention.set": "p",
    "policies.list": "vopra",
    "policies.effective": "vopra",
    "policies.preview": "vopra",
    "notifications.subscriptions": "opa",
    "notifications.subscribe": "p",
    "notifications.unsubscribe": "p",
    "notifications.test": "p",
    "notifications.list": "opa",
    "policies.set": "p",
    "waivers.request": "op",
    "waivers.list": "vopra",
    "waivers.get": "vopra",
    "waivers.end": "p",
    "authorization_keys.rotate": "op",
    "authorization_keys.list": "opa",
    "authorization_keys.counts": "opa",
    "purposes.list": "vopra",
    "incidents.forecast": "vopra",
    "incidents.open": "p",
    "incidents.list": "vopra",
    "incidents.get": "vopra",
    "incidents.targets": "vopra",
    "incidents.advance": "p",
    "incidents.pause": "p",
    "incidents.resume": "p",
    "incidents.end": "p",
    "server_certificates.list": "vopra",
    "server_certificates.forecast": "vopra",
    "authorities.list": "vopra",
    "authorities.holders": "vopra",
    "authorities.register": "p",
    "rollovers.get": "vopra",
    "rollovers.start": "p",
    "rollovers.advance": "p",
    "rollovers.abort": "p",
    "reconciliations.list": "vopra",
    "reconciliations.items": "vopra",
    "reconciliations.request": "p",
    "audit.list": "opa",
    "audit.checkpoints": "opa",
    "audit.keys": "opa",
    "audit.inclusion": "opa",
    "audit.consistency": "opa",
    "chargers.evidence_pack": "pa",
    "security_events.list": "opa",
    "events.follow": "opra",
    "firmware_trust.record": "f",
    "firmware_trust.anchors": "f",
    "firmware_trust.anchor": "f",
    "firmware_trust.withdraw": "f",
    "firmware_trust.charger": "f",
    "firmware_trust.install": "f",
    "firmware_trust.list": "f",
    "firmware_trust.compare": "f",
    "firmware_trust.delete": "f",
    "firmware_trust.update": "f",
    "firmware_trust.cancel": "f",
    "firmware_trust.events": "f",
}
"""Written out a second time on purpose: a change of the table must be meant."""
ROUTES = {route.operation: route for route in described_routes(AdminWorld().dependencies)}


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as world:
        yield world


def path_of(route: Route) -> str:
    return re.sub(r"\{[^}]*\}", "x", route.path)


def test_every_operation_stands_in_the_matrix() -> None:
    assert set(EXPECTED) == set(ROUTES)


async def test_every_role_may_do_what_the_matrix_says_and_nothing_else(world: AdminWorld) -> None:
    wrong = []
    for operation, letters in EXPECTED.items():
        route = ROUTES[operation]
        for letter, role in LETTERS.items():
            reply = await world.ask(route.method, path_of(route), role=role)
            may = letters == "*" or letter in letters
            if (reply.status == 403) is may or reply.status == 401:
                wrong.append((operation, role, reply.status))
    assert wrong == []
    assert set(LETTERS.values()) == ROLES
    assert world.door.asked == []


async def test_strangers_reach_only_what_is_public(world: AdminWorld) -> None:
    for operation, letters in EXPECTED.items():
        route = ROUTES[operation]
        reply = await world.ask(route.method, path_of(route), role=None)
        assert (reply.status == 401) is (letters != "*"), operation
        if reply.status == 401:
            assert reply.headers["WWW-Authenticate"].startswith("Bearer")
            assert reply.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Basic {token_of('pki-admin')}",
        token_of("pki-admin"),
        f"Bearer {token_of('pki-admin')} x",
        f"Bearer {'x' * 5000}",
        "Bearer tökén",
    ],
)
async def test_what_is_not_a_live_token_is_unauthorized(world: AdminWorld, header: str) -> None:
    reply = await world.ask("GET", "/api/v1/jobs", role=None, headers={"Authorization": header})
    assert (reply.status, reply.body["code"]) == (401, "unauthorized")


async def test_a_revoked_token_ends_at_once(world: AdminWorld) -> None:
    assert (await world.ask("GET", "/api/v1/jobs", role="viewer")).status == 200
    del world.tokens.live[token_of("viewer")]
    assert (await world.ask("GET", "/api/v1/jobs", role="viewer")).status == 401


async def test_a_role_nobody_knows_may_do_nothing(world: AdminWorld) -> None:
    token = world.tokens.live[token_of("viewer")]
    world.tokens.live[token_of("viewer")] = type(token)(name="odd", role="superuser")
    reply = await world.ask("GET", "/api/v1/jobs", role="viewer")
    assert (reply.status, reply.body["code"]) == (403, "forbidden")


async def test_nothing_is_served_while_tokens_cannot_be_verified(world: AdminWorld) -> None:
    world.tokens.away = True
    reply = await world.ask("GET", "/api/v1/jobs")
    assert (reply.status, reply.body["code"]) == (503, "unavailable")
    assert (await world.ask("GET", "/healthz", role=None)).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9080", "localhost.evil.example", "[::2]:80", ""]
)
async def test_a_request_under_a_foreign_host_name_is_not_served(world: AdminWorld, host: str) -> None:
    for path in ("/api/v1/jobs", "/api/v1/trust/central_system.pem", "/api/v1/openapi.json"):
        reply = await world.ask("GET", path, headers={"Host": host})
        assert (reply.status, reply.body["code"]) == (421, "unknown-host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9080", "[::1]:9080", "[::1]"])
async def test_the_listed_host_names_are_served_on_any_port(world: AdminWorld, host: str) -> None:
    assert (await world.ask("GET", "/api/v1/jobs", headers={"Host": host})).status == 200


async def test_probes_and_prometheus_come_by_address(world: AdminWorld) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await world.ask("GET", path, role=None, headers={"Host": "10.0.0.7:9080"})).status == 200


async def test_no_answer_allows_another_origin(world: AdminWorld) -> None:
    origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for method in ("GET", "OPTIONS"):
        reply = await world.ask(method, "/api/v1/jobs", headers=origin)
        assert not any(name.lower().startswith("access-control") for name in reply.headers)
    assert (await world.ask("OPTIONS", "/api/v1/jobs", headers=origin)).status == 405


async def test_a_token_is_never_stored_or_cached(world: AdminWorld) -> None:
    reply = await world.ask("POST", "/api/v1/jobs", JOB)
    assert token_of("pki-admin") not in str(reply.body)
    reply = await world.ask("GET", "/api/v1/jobs")
    assert reply.headers["Cache-Control"] == "no-store"
    assert token_of("pki-admin") not in str(
        (world.store.aggregates, world.store.events, world.store.idempotency)
    )
