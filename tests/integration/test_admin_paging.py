"""Lists: limits, cursors, and that following the cursors shows everything once."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.core import pki
from tests.integration.admin_world import CHARGER, AdminWorld


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as world:
        yield world


async def walk(world: AdminWorld, path: str, name: str, limit: int) -> list[list[Any]]:
    pages: list[list[Any]] = []
    cursor = None
    while True:
        more = f"&cursor={cursor}" if cursor is not None else ""
        page = (await world.ask("GET", f"{path}?limit={limit}{more}")).body
        assert set(page) == {"items", "next_cursor"}
        pages.append([item[name] for item in page["items"]])
        cursor = page["next_cursor"]
        if cursor is None:
            return pages
        assert len(pages) < 20


async def test_chargers_come_page_by_page_each_once(world: AdminWorld) -> None:
    names = [f"CP-{number}" for number in range(7)]
    for name in names:
        await world.register(charger_id=name, serial_number=f"SN-{name}")
    assert await walk(world, "/api/v1/chargers", "charger_id", 3) == [names[:3], names[3:6], names[6:]]
    assert await walk(world, "/api/v1/chargers", "charger_id", 7) == [names]


@pytest.mark.parametrize(("path", "name"), [("/api/v1/policies", "scope"), ("/api/v1/purposes", "purpose")])
async def test_short_lists_are_cut_here(world: AdminWorld, path: str, name: str) -> None:
    for cohort in ("a", "b", "c"):
        scope = f"cohort:{cohort}%2Fcharging_station"
        assert (
            await world.ask("PUT", f"/api/v1/policies/{scope}", {"values": {"max_attempts": 3}})
        ).status == 200
    whole = await walk(world, path, name, 100)
    assert len(whole) == 1
    cut = await walk(world, path, name, 1)
    assert [names for page in cut for names in page] == whole[0]
    assert all(len(page) == 1 for page in cut)


async def test_bundles_and_supervisors_are_cut_here_too(world: AdminWorld) -> None:
    await world.bundle([pki.ca().root_pem])
    await world.bundle([pki.ca("Server").root_pem])
    versions = await walk(world, "/api/v1/trust-anchor-bundles", "version", 1)
    assert versions == [[2], [1]]
    for name in ("a", "b"):
        await world.ask("POST", f"/api/v1/supervisors/cohort/{name}/pause", {"reason": "x"})
    assert await walk(world, "/api/v1/supervisors", "name", 1) == [["a"], ["b"]]


async def test_a_cursor_belongs_to_its_list(world: AdminWorld) -> None:
    for name in ("CP-1", "CP-2"):
        await world.register(charger_id=name, serial_number=f"SN-{name}")
    cursor = (await world.ask("GET", "/api/v1/chargers?limit=1")).body["next_cursor"]
    for path in ("/api/v1/jobs", "/api/v1/policies", "/api/v1/supervisors", "/api/v1/trust-anchor-bundles"):
        refused = await world.ask("GET", f"{path}?cursor={cursor}")
        assert (refused.status, refused.body["code"], refused.fields) == (
            422,
            "invalid-cursor",
            ["cursor"],
        ), path


async def test_a_filter_leaves_out_what_does_not_fit(world: AdminWorld) -> None:
    await world.register()
    await world.register(charger_id="CP-2", serial_number="SN-2", site="south", cohort="rest")
    for query, found in (
        ("site=north", ["CP-1"]),
        ("cohort=rest", ["CP-2"]),
        (f"family={CHARGER['family']}", ["CP-1", "CP-2"]),
        ("q=SN-2", ["CP-2"]),
        ("connected=true", []),
        ("site=north&cohort=rest", []),
    ):
        page = (await world.ask("GET", f"/api/v1/chargers?{query}")).body
        assert [item["charger_id"] for item in page["items"]] == found, query
