"""A paused family at a running system: it is served and cut as ever, and nothing new is begun with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.control_plane import Body, ControlPlane
from tests.conformance.raw_charger import Charger

pytestmark = pytest.mark.xdist_group("core-201")

FAMILY = "doubtful-three"
PATH = f"/api/v1/supervisors/family/{FAMILY}"


def is_shown(state: str, items: list[Body]) -> bool:
    return any((item["kind"], item["name"], item["state"]) == ("family", FAMILY, state) for item in items)


async def test_a_paused_family_is_served_and_begins_nothing_until_it_is_resumed(
    system: ControlPlane, tmp_path: Path
) -> None:
    charger = await Charger.registered(system, tmp_path, family=FAMILY)
    await system.post(f"{PATH}/pause", {"reason": "the new firmware is under suspicion"})
    await system.until_items("/api/v1/supervisors", lambda items: is_shown("paused", items))
    job_id = await system.order(charger.charger_id)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        job = await system.until_job(job_id, lambda job: job["stage"] == "held")
        assert (job["held_by"], job["reason"]["code"]) == (f"family/{FAMILY}", "paused")
        assert "currentTime" in await session.call("Heartbeat", {})
        assert session.waiting_calls == 0
        await system.post(f"{PATH}/resume", {"reason": "it was the cable"})
        await charger.obey(session, until="Reset")
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        await system.until_job(job_id, lambda job: job["state"] == "succeeded")
    await system.until_items("/api/v1/supervisors", lambda items: is_shown("running", items))
