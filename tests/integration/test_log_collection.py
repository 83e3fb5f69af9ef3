"""Logs and floods on the real thing: `run.py up` as a process, simulated chargers of three OCPP versions."""

from __future__ import annotations

import asyncio
import hashlib
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType

import pytest

from simulator.charger import ClaimsUpload, FloodsSecurityEvents, OcppVersion
from simulator.fleet.admin import AdminClient
from simulator.fleet.fleet import Fleet
from simulator.fleet.plan import FleetPlan
from tests.conformance.control_plane import Body, ControlPlane

pytestmark = pytest.mark.xdist_group("log-collection")

FLOOD = 400
LIAR, FLOODED = 3, 4
VERSIONS = {OcppVersion.V16: 1, OcppVersion.V201: 1, OcppVersion.V21: 1}


@dataclass(frozen=True)
class Scene:
    system: ControlPlane
    fleet: Fleet

    def charger_id(self, index: int) -> str:
        return self.fleet.chargers[index].configuration.charger_id

    async def asked(self, index: int, log: str = "security") -> str:
        body = {"log": log, "reason": "test"}
        job = await self.system.post(f"/api/v1/chargers/{self.charger_id(index)}/logs", body)
        return str(job["job_id"])

    async def ended(self, job_id: str) -> Body:
        return await self.system.until_job(job_id, lambda job: job["state"] != "open")


@pytest.fixture(scope="module")
def system() -> Iterator[ControlPlane]:
    with ControlPlane.running(log_port="0") as plane:
        yield plane


@asynccontextmanager
async def scene_of(system: ControlPlane) -> AsyncIterator[Scene]:
    plan = FleetPlan(
        chargers=6,
        target_url=system.ocpp_url,
        prefix="log",
        faults=MappingProxyType(
            {LIAR: (ClaimsUpload(),), FLOODED: (FloodsSecurityEvents("TamperDetectionActivated", FLOOD),)}
        ),
        versions=MappingProxyType(VERSIONS),
    )
    async with AdminClient(system.admin_url, system.token, attempts=60, retry_s=0.2) as admin:
        roots = await admin.server_roots()
        enrolment = await admin.enrol(plan, plan.planned())
        fleet = Fleet(
            [
                plan.configuration(each, password=enrolment.passwords[each.charger_id], csms_roots=roots)
                for each in plan.planned()
            ]
        )
        await fleet.start()
        try:
            yield Scene(system, fleet)
        finally:
            await fleet.stop()


async def test_logs_come_here_lies_are_found_out_and_a_flood_is_counted(system: ControlPlane) -> None:
    # a charger that reports tampering is not to be given a new password in the middle of its flood
    policy = {"values": {"log_claim_grace_s": 1, "key_rotation_triggers": []}, "reason": "test"}
    await system.put("/api/v1/policies/purpose:charging_station", policy)
    async with scene_of(system) as scene:
        versions = {c.configuration.ocpp_version for c in scene.fleet.chargers[:3]}
        assert versions == set(VERSIONS)
        jobs = [await scene.asked(index) for index in range(3)]
        lie = await scene.asked(LIAR)
        for index, job_id in enumerate(jobs):
            job = await scene.ended(job_id)
            assert (job["state"], job["reason"]) == ("succeeded", None)
            await _is_handed_out(scene, index)
        job = await scene.ended(lie)
        assert (job["state"], job["reason"]["code"]) == ("failed", "uploaded-without-upload")
        (log,) = await system.items(f"/api/v1/logs?charger_id={scene.charger_id(LIAR)}")
        assert (log["state"], log["charger_status"]) == ("failed", "Uploaded")
        await _flood_is_counted(scene)


async def _is_handed_out(scene: Scene, index: int) -> None:
    """What the API hands out is what the charger sent, by its hash."""
    charger_id = scene.charger_id(index)
    (log,) = await scene.system.items(f"/api/v1/logs?charger_id={charger_id}&state=stored")
    content = await asyncio.to_thread(_content, scene.system, log["log_id"])
    assert f"SecurityLog of {charger_id}".encode() in content
    assert hashlib.sha256(content).hexdigest() == log["sha256"]
    assert len(content) == log["size_bytes"]


def _content(system: ControlPlane, log_id: str) -> bytes:
    request = urllib.request.Request(
        f"{system.admin_url}/api/v1/logs/{log_id}/content",
        headers={"Authorization": f"Bearer {system.token}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.headers["Content-Disposition"].startswith("attachment")
        content: bytes = answer.read()
        return content


async def _flood_is_counted(scene: Scene) -> None:
    """Ten alone and the rest in one, once the session is over: so much of a flood reaches the ledger."""
    path = f"/api/v1/security-events?charger_id={scene.charger_id(FLOODED)}&kind=TamperDetectionActivated&limit=500"
    await scene.system.until_items(path, lambda items: len(items) >= 10)
    await scene.fleet.chargers[FLOODED].stop()
    items = await scene.system.until_items(path, lambda items: sum(i["count"] for i in items) >= FLOOD)
    assert len(items) <= 25
    assert all(item["critical"] and item["charger_time"] for item in items)
