"""Identities through the API: registered, found, changed, retired, erased - and their VIN nowhere but under its seal."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from bfactors.pseudonym import PseudonymKey, pseudonym
from tests.integration.admin_world import AdminWorld, Reply

VIN, PCID, EMAID = "WDB2030461A123456", "HUBOpenProvCert001", "DE8AACA1B2C3D4"
KEY = PseudonymKey.of(b"k" * 32)
NAME = pseudonym(KEY, "vin", VIN)
VEHICLE = {"kind": "vehicle", "external_ids": {"vin": VIN}, "family": "eCitaro", "cohort": "buses"}
PATH = "/api/v1/identities"


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as world:
        yield world


async def registered(world: AdminWorld, body: dict[str, Any] | None = None) -> str:
    reply = await world.ask("POST", PATH, body or VEHICLE)
    assert reply.status == 201, reply.body
    return str(reply.body["identity_id"])


async def erase(world: AdminWorld, identity_id: str, **options: Any) -> Reply:
    path = f"{PATH}/{identity_id}/erase-personal-data"
    return await world.ask("POST", path, {"reason": "asked for"}, **options)


async def found(world: AdminWorld, query: str = "", **options: Any) -> list[str]:
    reply = await world.ask("GET", f"{PATH}{query}", **options)
    assert reply.status == 200, reply.body
    return [item["identity_id"] for item in reply.body["items"]]


def everything(world: AdminWorld) -> str:
    """All that was sent to the ledger and all it holds, but the sealed values."""
    kept = {name: part for name, part in vars(world.store).items() if name not in ("personal", "_now")}
    return f"{world.door.asked} {kept}"


async def test_a_vehicle_is_registered_under_a_pseudonym_and_shown_masked(world: AdminWorld) -> None:
    reply = await world.ask("POST", PATH, VEHICLE)
    identity_id = reply.body["identity_id"]
    assert reply.headers["Location"] == f"{PATH}/{identity_id}"
    assert reply.body == (await world.ask("GET", f"{PATH}/{identity_id}")).body
    assert reply.body == {
        "identity_id": identity_id,
        "kind": "vehicle",
        "state": "registered",
        "external_ids": {"vin": "WDB…3456"},
        "pseudonyms": {"vin": NAME},
        "erased": False,
        "family": "eCitaro",
        "site": "",
        "cohort": "buses",
        "charger_id": None,
        "registered_at": "2026-03-01T12:00:00Z",
        "retired_at": None,
    }
    assert world.store.personal[NAME][0].value == VIN.encode()


@pytest.mark.parametrize(
    ("role", "shown"), [("viewer", None), ("rollout-manager", None), ("auditor", "WDB…3456")]
)
async def test_the_ends_of_a_vin_are_for_few(world: AdminWorld, role: str, shown: str | None) -> None:
    identity_id = await registered(world)
    body = (await world.ask("GET", f"{PATH}/{identity_id}", role=role)).body
    assert (body["external_ids"]["vin"], body["erased"]) == (shown, False)


async def test_however_it_is_spelled_it_is_found_and_taken(world: AdminWorld) -> None:
    identity_id = await registered(world)
    await registered(world, {"kind": "contract", "external_ids": {"emaid": EMAID}})
    for spelled in (VIN, VIN.lower(), "WDB-203046-1A123456"):
        assert await found(world, f"?vin={spelled}") == [identity_id]
        assert await found(world, f"?q={spelled}") == [identity_id]
        taken = await world.ask("POST", PATH, {"kind": "vehicle", "external_ids": {"vin": spelled}})
        assert (taken.status, taken.body["code"]) == (409, "external-id-held")
        assert identity_id in taken.body["detail"]
    assert len(await found(world, "?emaid=DE-8AA-CA1B2C3D4-7")) == 1
    assert await found(world, f"?vin={VIN[:-1]}7") == []
    assert await found(world, f"?vin={VIN}&emaid={EMAID}") == []


async def test_a_repeat_is_answered_and_does_nothing_twice(world: AdminWorld) -> None:
    first = await world.ask("POST", PATH, VEHICLE, key="once")
    again = await world.ask("POST", PATH, VEHICLE, key="once")
    other = await world.ask("POST", PATH, VEHICLE | {"external_ids": {"vin": VIN[:-1] + "7"}}, key="once")
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert (other.status, other.body["code"]) == (422, "idempotency-key-reused")
    assert [row.event for rows in world.store.events.values() for row in rows] == ["IdentityRegistered"]


async def test_an_identity_is_changed_and_retired_and_its_vin_is_free(world: AdminWorld) -> None:
    identity_id = await registered(world)
    changed = await world.ask("PATCH", f"{PATH}/{identity_id}", {"site": "north"})
    assert (changed.status, changed.body["site"], changed.body["cohort"]) == (200, "north", "buses")
    for _ in range(2):
        retired = await world.ask("DELETE", f"{PATH}/{identity_id}")
        assert (retired.status, retired.body["state"]) == (200, "retired")
    assert (await world.ask("PATCH", f"{PATH}/{identity_id}", {"site": "x"})).body[
        "code"
    ] == "identity-retired"
    following = await registered(world)
    assert following != identity_id
    assert set(await found(world, f"?vin={VIN}")) == {identity_id, following}
    assert await found(world, f"?vin={VIN}&state=registered") == [following]


async def test_after_an_erasure_the_identity_stays_and_its_masks_are_gone(world: AdminWorld) -> None:
    identity_id = await registered(world, VEHICLE | {"external_ids": {"vin": VIN, "pcid": PCID}})
    hashes = [row.hash for rows in world.store.events.values() for row in rows]
    for _ in range(2):
        reply = await erase(world, identity_id)
        assert (reply.status, reply.body["erased"]) == (200, True)
        assert reply.body["external_ids"] == {"vin": None, "pcid": None}
        assert reply.body["pseudonyms"]["vin"] == NAME
    assert world.store.personal == {}
    events = [row for rows in world.store.events.values() for row in rows]
    assert [row.hash for row in events][: len(hashes)] == hashes
    erased = msgspec.json.decode(events[-1].payload)
    assert [row.event for row in events] == ["IdentityRegistered", "PersonalDataErased"]
    assert (erased["count"], erased["reason"], erased["by"]) == (2, "asked for", "operator:the-pki-admin")
    assert await found(world, f"?vin={VIN}") == [identity_id]


async def test_a_refused_request_does_not_bring_back_what_was_erased(world: AdminWorld) -> None:
    identity_id = await registered(world)
    await erase(world, identity_id)
    assert (await world.ask("POST", PATH, VEHICLE)).body["code"] == "external-id-held"
    body = (await world.ask("GET", f"{PATH}/{identity_id}")).body
    assert (body["erased"], body["external_ids"]["vin"]) == (True, None)


async def test_given_again_it_has_the_same_pseudonym_and_a_value(world: AdminWorld) -> None:
    identity_id = await registered(world)
    await erase(world, identity_id)
    again = await world.ask("PATCH", f"{PATH}/{identity_id}", {"external_ids": {"vin": VIN}})
    assert (again.body["erased"], again.body["external_ids"]) == (False, {"vin": "WDB…3456"})
    assert again.body["pseudonyms"] == {"vin": NAME}


async def test_an_evse_stands_where_its_charger_stands(world: AdminWorld) -> None:
    body = {"kind": "evse", "external_ids": {"evse_id": "de*abc*e1"}, "charger_id": "CP-1"}
    assert (await world.ask("POST", PATH, body)).body["code"] == "unknown-charger"
    await world.register()
    evse = (await world.ask("POST", PATH, body)).body
    assert (evse["external_ids"], evse["cohort"]) == ({"evse_id": "DE*ABC*E1"}, "canary")
    await world.ask("PATCH", "/api/v1/chargers/CP-1", {"cohort": "second"})
    assert (await world.ask("GET", f"{PATH}/{evse['identity_id']}")).body["cohort"] == "second"
    assert await found(world, "?kind=evse&cohort=second&charger_id=CP-1") == [evse["identity_id"]]
    assert (await world.ask("DELETE", f"{PATH}/{evse['identity_id']}")).body["state"] == "retired"
    assert {event.partition for rows in world.store.events.values() for event in rows} == {
        next(number for number, rows in world.store.events.items() if rows)
    }


async def test_chargers_are_identities_and_are_changed_elsewhere(world: AdminWorld) -> None:
    await world.register()
    (identity_id,) = await found(world, "?kind=charger")
    shown = (await world.ask("GET", f"{PATH}/{identity_id}")).body
    assert (shown["kind"], shown["external_ids"]) == ("charger", {"serial_number": "SN-1"})
    refused = [
        await world.ask("PATCH", f"{PATH}/{identity_id}", {"site": "x"}),
        await world.ask("DELETE", f"{PATH}/{identity_id}"),
        await erase(world, identity_id),
    ]
    assert {(reply.status, reply.body["code"]) for reply in refused} == {(409, "identity-of-charger")}


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (VEHICLE | {"external_ids": {"vin": VIN[:-1]}}, "invalid-identifier", "external_ids"),
        (VEHICLE | {"external_ids": {"emaid": EMAID}}, "wrong-identity", "external_ids"),
        (VEHICLE | {"external_ids": {}}, "invalid-value", "external_ids"),
        (VEHICLE | {"charger_id": "CP-1"}, "wrong-identity", "charger_id"),
    ],
)
async def test_what_cannot_be_is_refused_without_repeating_it(
    world: AdminWorld, body: dict[str, Any], code: str, field: str
) -> None:
    reply = await world.ask("POST", PATH, body)
    assert (reply.status, reply.body["code"], reply.fields) == (422, code, [field])
    assert VIN[:-1] not in str(reply.body)


async def test_without_a_key_there_are_no_vehicles() -> None:
    async with AdminWorld(pseudonym_keys=()).served() as without:
        reply = await without.ask("POST", PATH, VEHICLE)
        assert (reply.status, reply.body["code"]) == (409, "no-pseudonym-key")
        await registered(without, {"kind": "server", "external_ids": {"host_name": "A.example"}})
        assert await found(without, f"?vin={VIN}") == []


async def test_under_a_new_key_the_same_vin_keeps_its_name(world: AdminWorld) -> None:
    identity_id = await registered(world)
    await world.ask("DELETE", f"{PATH}/{identity_id}")
    newer = AdminWorld(store=world.store, pseudonym_keys=(KEY, PseudonymKey.of(b"n" * 32)))
    async with newer.served():
        newer.door._memories = world.door._memories
        again = await newer.ask("POST", PATH, VEHICLE, key="later")
        assert again.body["pseudonyms"] == {"vin": NAME}
        assert set(await found(newer, f"?vin={VIN}")) == {identity_id, again.body["identity_id"]}
        body = VEHICLE | {"external_ids": {"vin": VIN[:-1] + "7"}}
        another = await newer.ask("POST", PATH, body, key="third")
        assert not another.body["pseudonyms"]["vin"].startswith(f"vin:{KEY.key_id}:")


async def test_neither_command_nor_ledger_nor_log_has_it_in_clear(
    world: AdminWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bodies = (VEHICLE, {"kind": "contract", "external_ids": {"emaid": "de-8aa-ca1b2c3d4"}})
    for body in bodies:
        identity_id = await registered(world, body)
        await world.ask("POST", PATH, body, key="fixed")
        await world.ask("PATCH", f"{PATH}/{identity_id}", {"external_ids": body["external_ids"]})
        await erase(world, identity_id)
    await found(world, f"?vin={VIN}")
    for value in (VIN, VIN.lower(), EMAID, "de-8aa-ca1b2c3d4", "WDB…", "CA1B2C3D4"):
        assert value not in everything(world)
        assert value not in caplog.text
