"""Registering, reading and changing chargers through the API."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from bfactors.evidence import Evidence, SessionOpened
from bfactors.identity import partition_of
from bfactors.ledger_fold import charger_key
from gateways.admin.idempotency import repetition
from tests.core.world import World as CoreWorld
from tests.integration.admin_world import BEGIN, CHARGER, AdminWorld


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as world:
        yield world


def stored(world: AdminWorld, charger_id: str = "CP-1") -> str:
    row = world.store.aggregates[partition_of(charger_id), charger_key(charger_id)]
    return row.state.decode()


async def test_a_registered_charger_is_answered_with_a_key_and_listed_without(world: AdminWorld) -> None:
    made = await world.register()
    key = world.mint.minted[0]
    assert (made.status, made.body["authorization_key"]) == (201, key)
    assert made.body["managed_identity_id"]
    assert made.headers["Location"] == "/api/v1/chargers/CP-1"
    shown = await world.ask("GET", "/api/v1/chargers/CP-1", role="viewer")
    assert shown.body["authorization_key"]["origin"] == "generated"
    listed = await world.ask("GET", "/api/v1/chargers?cohort=canary&connected=false", role="viewer")
    assert [item["charger_id"] for item in listed.body["items"]] == ["CP-1"]
    assert key not in str((shown.body, listed.body, world.store.aggregates, world.store.idempotency))


async def test_a_repeat_gets_the_ids_again_but_never_the_key(world: AdminWorld) -> None:
    first = await world.ask("POST", "/api/v1/chargers", CHARGER, key="k1")
    again = await world.ask("POST", "/api/v1/chargers", CHARGER, key="k1")
    assert (first.status, again.status) == (201, 201)
    assert again.body["managed_identity_id"] == first.body["managed_identity_id"]
    assert again.body["key_shown"] is True
    assert first.body["authorization_key"] not in str(again.body)
    assert "key_shown" not in first.body


@pytest.mark.parametrize("as_retry", [False, True])
async def test_a_key_whose_first_answer_was_lost_is_shown_to_the_repeat(
    world: AdminWorld, as_retry: bool
) -> None:
    world.door.lose, world.door.lose_as_retry = 2, as_retry
    for _ in range(2):
        lost = await world.ask("POST", "/api/v1/chargers", CHARGER, key="k1")
        assert (lost.status, lost.headers["Retry-After"]) == (503, "1" if as_retry else "5")
    found = await world.ask("POST", "/api/v1/chargers", CHARGER, key="k1")
    assert found.status == 201
    assert world.mint.verifier(found.body["authorization_key"]).verifier in stored(world)
    again = await world.ask("POST", "/api/v1/chargers", CHARGER, key="k1")
    assert again.body["key_shown"] is True


async def test_a_key_that_was_not_the_one_committed_is_never_shown(world: AdminWorld) -> None:
    await world.ask("POST", "/api/v1/chargers", CHARGER, key="k1")
    world.door.lose = 1  # a repeat of what was answered and shown before
    await world.ask("POST", "/api/v1/chargers", CHARGER, key="k1")
    again = await world.ask("POST", "/api/v1/chargers", CHARGER, key="k1")
    assert again.body["key_shown"] is True
    assert not any(key in str(again.body) for key in world.mint.minted)


async def test_a_given_key_is_kept_as_a_verifier_and_never_shown(world: AdminWorld) -> None:
    secret = "correct horse battery"
    made = await world.register(authorization_key=secret)
    assert made.status == 201
    assert secret not in str(made.body)
    assert "key_shown" not in made.body
    assert made.body["authorization_key"]["origin"] == "given"
    assert world.mint.verifier(secret).verifier in stored(world)
    assert secret not in str((world.store.aggregates, world.store.events, world.store.idempotency))


async def test_what_is_remembered_of_a_request_does_not_give_a_weak_key_away(world: AdminWorld) -> None:
    body = CHARGER | {"authorization_key": "0000000000000001"}
    await world.ask("POST", "/api/v1/chargers", body, key="k1")
    guess = repetition(
        token="the-pki-admin",
        operation="chargers.register",
        key="k1",
        path="/api/v1/chargers",
        body=body,
        unkeyed_seed="",
    )
    (row,) = world.store.idempotency.values()
    assert row.key == guess.key
    assert row.request_hash != guess.request_hash


async def test_another_given_key_under_the_same_idempotency_key_is_another_request(world: AdminWorld) -> None:
    body = CHARGER | {"authorization_key": "correct horse battery"}
    assert (await world.ask("POST", "/api/v1/chargers", body, key="k1")).status == 201
    assert (await world.ask("POST", "/api/v1/chargers", body, key="k1")).status == 201
    body["authorization_key"] = "correct horse batter!"
    refused = await world.ask("POST", "/api/v1/chargers", body, key="k1")
    assert (refused.status, refused.body["code"]) == (422, "idempotency-key-reused")


@pytest.mark.parametrize("profile", [0, 3])
async def test_profiles_without_a_password_get_no_key(world: AdminWorld, profile: int) -> None:
    made = await world.register(security_profile=profile)
    assert made.body["authorization_key"] is None
    assert world.mint.minted == []


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"serial_number": "SN-2"}, "charger-exists", "charger_id"),
        ({"charger_id": "CP-2"}, "serial-number-in-use", "serial_number"),
    ],
)
async def test_what_is_taken_already_is_a_conflict(
    world: AdminWorld, changes: dict[str, str], code: str, field: str
) -> None:
    await world.register()
    if "charger_id" in changes:
        changes = changes | {"charger_id": _in_the_same_partition_as("CP-1")}
    refused = await world.register(**changes)
    assert (refused.status, refused.body["code"], refused.fields) == (409, code, [field])


def _in_the_same_partition_as(charger_id: str) -> str:
    names = (f"CP-{number}" for number in range(2, 500))
    return next(name for name in names if partition_of(name) == partition_of(charger_id))


async def test_a_change_moves_the_charger_and_leaves_the_rest(world: AdminWorld) -> None:
    await world.register(organization="Depot")
    changed = await world.ask("PATCH", "/api/v1/chargers/CP-1", {"cohort": "wave-2"}, role="operator")
    assert changed.status == 200
    shown = (await world.ask("GET", "/api/v1/chargers/CP-1")).body
    assert (shown["cohort"], shown["site"], shown["organization"]) == ("wave-2", "north", "Depot")


async def test_a_change_cannot_clear_a_field(world: AdminWorld) -> None:
    await world.register(organization="Depot")
    refused = await world.ask("PATCH", "/api/v1/chargers/CP-1", {"organization": None})
    assert (refused.status, refused.fields) == (422, ["organization"])


async def test_an_unknown_charger_is_not_found(world: AdminWorld) -> None:
    for method, body in (("GET", None), ("PATCH", {"cohort": "x"})):
        reply = await world.ask(method, "/api/v1/chargers/CP-404", body)
        assert (reply.status, reply.body["code"]) == (404, "unknown-charger")


async def test_a_charger_whose_name_looks_like_an_address_is_reached_percent_encoded(
    world: AdminWorld,
) -> None:
    name = "Depot 7 / Ä".replace(" / ", "·")
    assert (await world.register(charger_id=name)).status == 201
    made = await world.ask("GET", "/api/v1/chargers?q=Depot%207")
    assert [item["charger_id"] for item in made.body["items"]] == [name]
    assert (await world.ask("GET", "/api/v1/chargers/Depot%207%C2%B7%C3%84")).body["charger_id"] == name


async def test_a_charger_on_its_way_is_shown_with_session_slots_and_certificate(world: AdminWorld) -> None:
    core = CoreWorld()
    certificate = core.to_active()
    await world.adopt(core)
    shown = (await world.ask("GET", "/api/v1/chargers/CP-1", role="viewer")).body
    assert shown["session"]["fingerprint_sha256"] == certificate.fingerprint_sha256
    assert shown["slots"][0]["current"]["state"] == "active"
    assert shown["security_profile"] == 3


async def test_open_work_is_shown_with_why_it_waits_though_nothing_is_outstanding(world: AdminWorld) -> None:
    core = CoreWorld()
    core.request()
    await world.adopt(core)
    shown = (await world.ask("GET", "/api/v1/chargers/CP-1")).body
    assert (shown["session"], shown["outstanding"]) == (None, [])
    (job,) = shown["open_jobs"]
    assert (job["action"], job["state"], job["waiting_for"]) == ("issue", "open", "connection")
    assert job == (await world.ask("GET", "/api/v1/jobs?charger_id=CP-1")).body["items"][0]
    assert "open_jobs" not in (await world.ask("GET", "/api/v1/chargers")).body["items"][0]


async def test_the_command_names_the_caller_and_its_role(world: AdminWorld) -> None:
    await world.register()
    sent = world.door.asked[-1]
    assert (sent.actor, sent.role) == ("operator:the-pki-admin", "pki-admin")
    assert len(sent.request_hash) == 64
    audit = await world.ask("GET", "/api/v1/audit?event=ChargerRegistered", role="auditor")
    assert audit.body["items"][0]["actor"] == "operator:the-pki-admin"


async def test_a_charger_was_last_seen_when_a_node_said_so_unless_the_ledger_knows_later(
    world: AdminWorld,
) -> None:
    await world.register()

    async def last_seen() -> tuple[str | None, str | None]:
        one = await world.ask("GET", "/api/v1/chargers/CP-1", role="viewer")
        [listed] = (await world.ask("GET", "/api/v1/chargers", role="viewer")).body["items"]
        return one.body["last_seen_at"], listed["last_seen_at"]

    assert await last_seen() == (None, None)
    world.seen["CP-1"] = BEGIN - timedelta(minutes=1)
    assert await last_seen() == ("2026-03-01T11:59:00Z",) * 2
    await world.door.tell(partition_of("CP-1"), opened("s-1", BEGIN))
    recorded = (await last_seen())[0]
    assert recorded == "2026-03-01T12:00:00Z"
    world.seen["CP-1"] = BEGIN + timedelta(seconds=61)
    assert await last_seen() == ("2026-03-01T12:01:01Z",) * 2


def opened(session_id: str, at: datetime) -> Evidence:
    body = SessionOpened(
        session_id=session_id,
        node="n",
        incarnation="i",
        ocpp_version="2.0.1",
        security_profile=2,
        remote_address="192.0.2.1",
        opened_at=at,
    )
    return Evidence(evidence_id=session_id, charger_id="CP-1", source="node:n", observed_at=at, body=body)


async def test_only_a_paused_charger_can_be_resumed(world: AdminWorld) -> None:
    await world.register()
    refused = await world.ask("POST", "/api/v1/chargers/CP-1/resume", {"reason": "looked at"}, key="r1")
    assert (refused.status, refused.body["code"]) == (409, "not-paused")
    unknown = await world.ask("POST", "/api/v1/chargers/CP-9/resume", {"reason": "looked at"}, key="r2")
    assert unknown.status == 404
