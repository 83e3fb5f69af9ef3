"""A depot goes from one CA to the next, over the embedded AWS peer; a charger that was away all the time holds the end up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from persistence.token import TokenStore
from tests.faults.depot import Body, Depot, Operator, assert_ledger_intact, depot, pause
from tests.faults.plant import Plant
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.xdist_group("plant")

PURPOSE = "charging_station"
ROLLOVER = f"/api/v1/authorities/{PURPOSE}/rollover"
COMPARISON = f"/api/v1/reconciliations/{PURPOSE}"


async def another_ca(plant: Plant) -> str:
    arn = plant.aws.authorities["charger-identity"].issuing_arn
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{plant.aws.url}/_peer/authorities", json={"arn": arn}) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return str((await answer.json())["arn"])


async def said(operator: Operator, path: str, body: Body, status: int) -> Body:
    answered, found = await operator.insist(path, body)
    assert answered == status, found
    return found


@asynccontextmanager
async def second_person(plant: Plant) -> AsyncIterator[Operator]:
    """Somebody else who may agree."""
    tokens = await TokenStore.open(plant.postgres.dsn("bf_writer"), size=1)
    token = await tokens.create("second", "pki-admin")
    await tokens.close()
    assert isinstance(token, str)
    timeout = aiohttp.ClientTimeout(total=8)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        yield Operator(plant.admin_url, http)


async def agreed(second: Operator, held: Body) -> None:
    """Their word; again while what stands in its way is told once everywhere."""
    word = {"content_hash": held["content_hash"], "reason": "read it"}
    waited = 0.0
    while True:
        status, found = await second.insist(f"/api/v1/approvals/{held['approval_id']}/approve", word)
        if status == 200:
            return
        assert found.get("code") in ("authority-in-use", "not-heard-everywhere"), found
        assert waited < PATIENCE_S, found
        await pause()
        waited += 0.25


async def advanced(operator: Operator, step: str) -> Body:
    """The step that follows, as soon as nothing stands in its way but what is told once."""
    waited = 0.0
    while True:
        status, found = await operator.insist(f"{ROLLOVER}/advance", {"step": step, "reason": "on we go"})
        if status == 202:
            return found
        assert found.get("code") in ("gateway-does-not-verify-issuer", "not-heard-everywhere"), found
        assert waited < PATIENCE_S, found
        await pause()
        waited += 0.25


async def authorities(operator: Operator) -> dict[str, Body]:
    return {
        each["state"]: each
        for each in await operator.items("/api/v1/authorities")
        if each["purpose"] == PURPOSE
    }


async def uses(fleet: Depot, charger_id: str, arn: str) -> bool:
    """Whether the charger's session was opened with a certificate of that CA, and the ledger knows."""
    status, body = await fleet.operator.get(f"/api/v1/chargers/{charger_id}")
    if status != 200 or body["session"] is None:
        return False
    (slot,) = [each for each in body["slots"] if each["purpose"] == PURPOSE]
    current = slot["current"] or {}
    held = fleet.fleet.charger(charger_id).snapshot().credential_fingerprint
    return (current.get("issuing_ca_id"), current.get("fingerprint_sha256")) == (arn, held)


async def becomes_used(fleet: Depot, charger_id: str, arn: str) -> None:
    waited = 0.0
    while not await uses(fleet, charger_id, arn):
        assert waited < PATIENCE_S, await fleet.operator.get(f"/api/v1/chargers/{charger_id}")
        await pause()
        waited += 0.25


async def compared(operator: Operator) -> dict[str, tuple[str, int, Body]]:
    """Of each CA how its comparison ended: state, certificates and differences."""
    asked = await said(operator, COMPARISON, {"reason": "both of them"}, 202)
    waited = 0.0
    while True:
        _, found = await operator.get("/api/v1/reconciliations")
        (row,) = [each for each in found["items"] if each["purpose"] == PURPOSE]
        if (row["run_id"], row["state"]) != (asked["run_id"], "running"):
            break
        assert waited < PATIENCE_S, row
        await pause()
        waited += 0.25
    return {
        each["authority_arn"]: (each["state"], each["certificates"], each["counts"])
        for each in row["authorities"]
    }


async def holders(operator: Operator, authority_id: str) -> list[str]:
    found = await operator.items(f"/api/v1/authorities/{authority_id}/holders")
    return sorted({each["charger_id"] for each in found})


async def test_a_fleet_rolls_over_and_the_charger_that_was_away_is_named_until_it_has_come_by(
    own_plant: Plant,
) -> None:
    await own_plant.ready()
    first = own_plant.aws.authorities["charger-identity"].issuing_arn
    async with depot(own_plant, 3) as fleet, second_person(own_plant) as second_one:
        operator = fleet.operator
        async with operator.http.put(
            f"{operator.base}/api/v1/policies/purpose:{PURPOSE}",
            json={"values": {"superseded_grace_days": 0}},
        ) as answer:
            assert answer.status == 200, await answer.text()
        await fleet.order()
        await fleet.all_active(PATIENCE_S)
        *present, absent = fleet.ids
        await fleet.fleet.charger(absent).stop()

        second = await another_ca(own_plant)
        made = await said(operator, "/api/v1/authorities", {"purpose": PURPOSE, "authority_arn": second}, 201)
        assert (made["state"], made["certificates"]) == ("incoming", 0)
        wanted = {"authority_id": made["authority_id"], "reason": "the first one ends"}
        forecast = await said(operator, ROLLOVER, wanted, 200)
        assert forecast["renewals"] == 3
        assert [each["has_root"] for each in forecast["anchors"] if each["purpose"] == "backend_server"] == [
            False
        ]
        assert (await operator.get(ROLLOVER))[0] == 404
        held = await said(operator, ROLLOVER, {**wanted, "dry_run": False}, 202)
        assert (await operator.get(ROLLOVER))[0] == 404
        await agreed(second_one, held)

        for step in ("gateways", "anchors", "overlap"):
            assert (await advanced(operator, step))["rollover"] is not None
        known = await authorities(operator)
        assert (known["current"]["authority_arn"], known["outgoing"]["authority_arn"]) == (second, first)
        for charger_id in present:
            await becomes_used(fleet, charger_id, second)

        refused: Body = {}
        for _ in range(int(PATIENCE_S * 4)):
            status, refused = await operator.insist(
                f"{ROLLOVER}/advance", {"step": "renewal", "reason": "done"}
            )
            assert status == 409, refused
            if await holders(operator, known["outgoing"]["authority_id"]) == [absent]:
                break
            await pause()
        assert refused["code"] == "authority-in-use"
        assert await holders(operator, known["outgoing"]["authority_id"]) == [absent]
        _, shown = await operator.get(ROLLOVER)
        assert (shown["step"], shown["certificates"]) == ("renewal", 1)

        assert await compared(operator) == {second: ("done", 2, {}), first: ("done", 3, {})}

        await fleet.fleet.charger(absent).start()  # with its certificate of the first CA: it is let in
        await becomes_used(fleet, absent, second)
        ended: Body = {}
        for _ in range(int(PATIENCE_S * 4)):
            status, ended = await operator.insist(
                f"{ROLLOVER}/advance", {"step": "renewal", "reason": "done"}
            )
            if status == 202:
                break
            await pause()
        assert ended["kind"] == "rollover", ended
        assert (await operator.get(ROLLOVER))[0] == 200
        await agreed(second_one, ended)
        assert (await operator.get(ROLLOVER))[0] == 404
        known = await authorities(operator)
        assert (known["current"]["authority_arn"], known["retired"]["authority_arn"]) == (second, first)
        for charger_id in fleet.ids:
            charger = fleet.fleet.charger(charger_id)
            before = charger.snapshot().sessions
            charger.cut()
            await charger.wait_for(
                lambda seen, before=before: seen.sessions > before and seen.is_accepted, PATIENCE_S
            )
        events = {row["event"] for row in await operator.items("/api/v1/audit")}
        assert {"CaRolloverStarted", "CaRolloverAdvanced", "CaRolloverCompleted"} <= events
        await assert_ledger_intact(own_plant)
