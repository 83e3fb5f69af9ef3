"""A charger's trace through the API: begun once, read while it runs and after, and recorded with who asked."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bfactors.frame_trace import TracedFrame
from tests.integration.admin_world import CHARGER, AdminWorld

PATH = "/api/v1/chargers/CP-1/trace"
ASKED = {"reason": "it stutters", "seconds": 60, "frames": 5}


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as made:
        await made.ask("POST", "/api/v1/chargers", CHARGER)
        yield made


async def test_a_trace_is_begun_read_and_over_by_itself(world: AdminWorld) -> None:
    begun = await world.ask("POST", PATH, ASKED)
    assert begun.status == 202
    assert begun.body["running"] is True
    assert begun.body["limit"] == 5
    frame = TracedFrame(
        trace_id=begun.body["trace_id"],
        at=world.clock.at,
        session_id="s1",
        direction="to-charger",
        kind="call",
        action="Reset",
        message_id="m1",
        text="{}",
        chars=17,
    )
    world.traced[("CP-1", frame.trace_id)] = [frame]
    read = await world.ask("GET", PATH)
    assert [(one["action"], one["direction"]) for one in read.body["frames"]] == [("Reset", "to-charger")]
    world.clock.at += timedelta(seconds=60)
    assert (await world.ask("GET", PATH)).body["running"] is False


async def test_who_asked_and_why_is_in_the_audit_trail(world: AdminWorld) -> None:
    await world.ask("POST", PATH, ASKED)
    page = await world.ask("GET", "/api/v1/audit?event=TraceStarted")
    (row,) = page.body["items"]
    assert (row["actor"], row["payload"]["reason"]) == ("operator:the-pki-admin", "it stutters")


async def test_the_same_request_again_begins_no_second_trace(world: AdminWorld) -> None:
    first = await world.ask("POST", PATH, ASKED, key="k1")
    again = await world.ask("POST", PATH, ASKED, key="k1")
    assert first.body["trace_id"] == again.body["trace_id"]


@pytest.mark.parametrize("wrong", [{"seconds": 601}, {"frames": 501}, {"seconds": 0}, {"reason": ""}])
async def test_what_is_beyond_the_bounds_is_refused(world: AdminWorld, wrong: dict[str, object]) -> None:
    assert (await world.ask("POST", PATH, ASKED | wrong)).status == 422


async def test_a_trace_nobody_began_and_a_charger_nobody_knows_are_not_found(world: AdminWorld) -> None:
    assert (await world.ask("GET", PATH)).status == 404
    assert (await world.ask("GET", PATH.replace("CP-1", "CP-9"))).status == 404
    assert (await world.ask("POST", PATH.replace("CP-1", "CP-9"), ASKED)).status == 404
