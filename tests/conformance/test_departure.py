"""A charger is taken out of service, or its unit is replaced, while it is connected: seen from the charger's side."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.control_plane import ControlPlane
from tests.conformance.raw_charger import Charger

pytestmark = pytest.mark.xdist_group("core-201")

POLICY_VIOLATION = 1008


async def test_a_decommissioned_charger_is_cut_off_and_stays_out(
    system: ControlPlane, tmp_path: Path
) -> None:
    charger = await Charger.enrolled(system, tmp_path)
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        path = f"/api/v1/chargers/{charger.charger_id}/decommission"
        job = await system.post(path, {"reason": "depot closed"})
        assert await session.closed() == POLICY_VIOLATION
    assert await charger.refusal(charger.tls()) == 403
    assert await charger.refusal(authorization=charger.basic()) in (401, 403)
    await system.until_job(job["job_id"], lambda job: job["state"] == "succeeded")
    certificates = await system.items(f"/api/v1/certificates?charger_id={charger.charger_id}")
    assert [one["state"] for one in certificates] == ["revoked"]
    shown = await system.charger(charger.charger_id)
    assert (shown["session"], shown["decommission_reason"]) == (None, "depot closed")


async def test_a_new_unit_takes_over_the_position(system: ControlPlane, tmp_path: Path) -> None:
    old = await Charger.enrolled(system, tmp_path)
    async with old.connected(old.tls()) as session:
        await old.boot(session)
        body = {"serial_number": f"{old.serial}B", "reason": "burnt out"}
        job = await system.post(f"/api/v1/chargers/{old.charger_id}/replace", body)
        assert await session.closed() == POLICY_VIOLATION
    assert await old.refusal(old.tls()) == 403
    assert await old.refusal(authorization=old.basic()) in (401, 403)
    new = Charger(system, tmp_path, old.charger_id, f"{old.serial}B", job["authorization_key"])
    order = await system.order(new.charger_id)
    async with new.connected(authorization=new.basic()) as session:
        await new.boot(session)
        await new.obey(session, until="Reset")
    async with new.connected(new.tls()) as session:
        await new.boot(session)
        await system.until_job(order, lambda job: job["state"] == "succeeded")
        assert await old.refusal(old.tls()) == 403, "while the new one is connected, too"
    done = await system.until_job(job["job_id"], lambda job: job["state"] == "succeeded")
    assert done["action"] == "replace"
    certificates = await system.items(f"/api/v1/certificates?charger_id={new.charger_id}")
    assert {one["state"]: one["managed_identity_id"] for one in certificates} == {
        "active": (await system.charger(new.charger_id))["managed_identity_id"],
        "revoked": next(one for one in certificates if one["state"] == "revoked")["managed_identity_id"],
    }
    assert len({one["managed_identity_id"] for one in certificates}) == 2
