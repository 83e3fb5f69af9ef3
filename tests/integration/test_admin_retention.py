"""How long records are kept, through the API."""

from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from bfactors.retention import KINDS
from deploy.role.sweeping import Sweeping
from tests.integration.admin_world import AdminWorld

PATH = "/api/v1/retention"


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as world:
        yield world


async def test_every_kind_is_listed_with_its_bounds(world: AdminWorld) -> None:
    items = (await world.ask("GET", PATH, role="viewer")).body["items"]
    assert [item["kind"] for item in items] == list(KINDS)
    assert items[1] == {
        "kind": "notices",
        "what": "notices that were delivered, given up or withdrawn",
        "days": 30,
        "default_days": 30,
        "least_days": 1,
        "most_days": 730,
        "set": None,
        "last_swept": None,
    }


async def test_a_kind_is_set_and_shown_with_who_and_why(world: AdminWorld) -> None:
    reply = await world.ask("PUT", PATH, {"kind": "notices", "days": 7, "reason": "less is more"})
    assert (reply.status, reply.body["days"]) == (200, 7)
    shown = (await world.ask("GET", PATH)).body["items"][1]
    assert shown == reply.body
    assert (shown["set"]["by"], shown["set"]["reason"]) == ("operator:the-pki-admin", "less is more")
    refused = await world.ask("PUT", PATH, {"kind": "security-events", "days": 1, "reason": "x"})
    assert (refused.status, refused.body["code"], refused.fields) == (422, "retention-out-of-range", ["days"])


async def test_how_long_logs_are_kept_is_the_setting_until_somebody_decides(world: AdminWorld) -> None:
    database: Any = SimpleNamespace(reader=world.reader, retention=None)
    sweeping = Sweeping(database, world.door, world.clock, world.metrics)
    by_setting = timedelta(days=30)
    assert await sweeping.logs_kept(by_setting) == by_setting
    await world.ask("PUT", PATH, {"kind": "uploaded-logs", "days": 5, "reason": "less is more"})
    assert await sweeping.logs_kept(by_setting) == timedelta(days=5)
