"""A thousand chargers from passwords to certificates, and a storm in which all of them come back at once."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from simulator.charger import ReconnectBackoff
from simulator.fleet import AdminClient, Fleet, FleetPlan
from tests.slow.control_plane import ControlPlane

pytestmark = pytest.mark.slow
CHARGERS = 1000
STORMS = 5


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with tempfile.TemporaryDirectory(prefix="bf-scale-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's account must get through it to the data directory
        running = ControlPlane.start(Path(folder) / "data")
        yield running
        running.stop()


async def enrolled(plane: ControlPlane, chargers: int) -> Fleet:
    plan = FleetPlan(
        chargers=chargers,
        target_url=plane.ocpp_url,
        prefix="scale",
        reconnect=ReconnectBackoff(timedelta(milliseconds=200), timedelta(seconds=2), 3),
    )
    async with AdminClient(plane.admin_url, plane.token) as admin:
        roots = await admin.server_roots()
        enrolment = await admin.enrol(plan, plan.planned(), lambda: None)
        fleet = Fleet(
            plan.configuration(each, password=enrolment.passwords[each.charger_id], csms_roots=roots)
            for each in plan.planned()
        )
        await fleet.start()
        await admin.order("issue", list(enrolment.passwords), "scale")
    return fleet


async def until_on_profile_3(fleet: Fleet, within_s: float) -> float:
    """Seconds until every charger is accepted with its certificate."""
    began = time.monotonic()
    while True:
        count = fleet.count()
        if count.by_profile.get(3, 0) == count.accepted == count.chargers:
            return time.monotonic() - began
        assert time.monotonic() - began < within_s, count
        await asyncio.sleep(0.2)


async def test_a_thousand_chargers_become_active_and_survive_storms(plane: ControlPlane) -> None:
    began, cpu = time.monotonic(), plane.cpu_s
    fleet = await enrolled(plane, CHARGERS)
    try:
        await until_on_profile_3(fleet, 600)
        seconds, cost = time.monotonic() - began, plane.cpu_s - cpu
        print(f"{CHARGERS} enrolled in {seconds:.0f} s, {1000 * cost / CHARGERS:.1f} ms CPU each")
        after_enrolment = plane.resident_mib
        for number in range(STORMS):
            fleet.drop_all()
            fleet.return_all()
            back = await until_on_profile_3(fleet, 120)
            print(f"storm {number + 1}: all back in {back:.1f} s, {plane.resident_mib:.0f} MiB")
        assert plane.resident_mib < after_enrolment * 1.5 + 64
    finally:
        await fleet.stop()
    assert plane.stop() == 0
