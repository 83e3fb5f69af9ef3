"""Due renewals through the API: which, since when, why they wait, and the stragglers among them."""

from collections.abc import AsyncIterator
from datetime import datetime

import pytest

from tests.core.world import World
from tests.integration.admin_world import AdminWorld

PATH = "/api/v1/renewals"


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as made:
        yield made


async def test_a_straggler_is_listed_with_its_windows_and_why_it_waits(world: AdminWorld) -> None:
    core = World()
    certificate = core.to_active()
    core.lose_session()
    core.wait(days=136)
    due_since = core.now
    core.wait(days=38)
    core.request("renew", job_id="renewal", certificate_id=certificate.certificate_id)
    await world.door.adopt(core)
    [item] = (await world.ask("GET", f"{PATH}?state=escalated&offline=true", role="viewer")).body["items"]
    assert item["certificate_id"] == certificate.certificate_id
    assert datetime.fromisoformat(item["due_since"]) == due_since
    assert (item["states"], item["windows_passed"]) == (["due", "escalated"], [30, 14, 7])
    assert (item["job_id"], item["waits_for"]["code"]) == ("renewal", "offline")
    assert (await world.ask("GET", f"{PATH}?offline=false")).body["items"] == []
    assert (await world.ask("GET", f"{PATH}?state=overdue")).body["items"] == []
    counts = (await world.ask("GET", f"{PATH}/counts")).body["groups"]
    assert counts == [
        {
            "purpose": "charging_station",
            "cohort": "canary",
            "due": 1,
            "overdue": 0,
            "escalated": 1,
            "offline": 1,
            "stragglers": 1,
        }
    ]


async def test_one_that_is_due_and_has_no_job_yet_waits_for_its_turn_or_for_a_pause(
    world: AdminWorld,
) -> None:
    core = World()
    core.to_active()
    core.wait(days=136)
    await world.door.adopt(core)
    [item] = (await world.ask("GET", PATH)).body["items"]
    assert (item["states"], item["windows_passed"], item["job_id"]) == (["due"], [], None)
    assert item["waits_for"]["code"] == "turn"
    await world.ask("POST", "/api/v1/supervisors/purpose/charging_station/pause", {"reason": "CA audit"})
    [item] = (await world.ask("GET", PATH)).body["items"]
    assert item["waits_for"] == {"code": "paused", "message": "purpose/charging_station is paused: CA audit"}


@pytest.mark.parametrize("query", ["state=late", "offline=maybe", "ends_before=soon", "q=x"])
async def test_a_filter_that_means_nothing_is_refused(world: AdminWorld, query: str) -> None:
    assert (await world.ask("GET", f"{PATH}?{query}")).status == 422
