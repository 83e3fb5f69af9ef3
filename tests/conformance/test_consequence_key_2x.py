"""What follows from A01 for a password's rotation, against `run.py up`: what a charger may be using stays admitted.

The first sentence of a test is its row in docs/conformance.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conformance.control_plane import Body, ControlPlane
from tests.conformance.raw_charger import Charger, Session
from tests.conformance.test_cases_2x import rotate

pytestmark = pytest.mark.xdist_group("core-201")

GIVEN = "Kx7_pQ2-Zr9.Lm4,Wn8+Ty5"


async def told(charger: Charger, session: Session, status: str) -> str:
    """What the next order for this rotation says; answered as said."""
    call = await session.expect("SetVariables")
    [entry] = call.payload["setVariableData"]
    result = {"attributeStatus": status, "component": entry["component"], "variable": entry["variable"]}
    await session.answer(call, {"setVariableResult": [result]})
    return str(entry["attributeValue"])


async def rotation_of(system: ControlPlane, charger: Charger) -> Body:
    [job] = [
        job
        for job in await system.items(f"/api/v1/jobs?charger_id={charger.charger_id}")
        if job["action"] == "rotate-key"
    ]
    return job


def reasons(job: Body) -> set[str | None]:
    """Every reason the job has had; the present one may be none again by now."""
    return {step["detail"].get("reasonCode") for step in job["timeline"]}


async def test_a_key_that_needs_a_reboot_is_followed_by_a_reset(system: ControlPlane, tmp_path: Path) -> None:
    """RebootRequired: both keys stay valid, a Reset OnIdle follows, and the new key's session ends the old one."""
    charger = await Charger.registered(system, tmp_path, target_profile=2)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        password = await rotate(charger, session, "RebootRequired")
        reset = await session.expect("Reset")
        assert reset.payload == {"type": "OnIdle"}
        await session.answer(reset, {"status": "Scheduled"})
    assert await charger.refusal(authorization=charger.basic()) == 101
    async with charger.connected(authorization=charger.basic(password=password)) as session:
        await charger.boot(session)
    assert await charger.until_refused(authorization=charger.basic()) == 401


async def test_a_charger_that_keeps_its_old_key_is_told_the_same_again(
    system: ControlPlane, tmp_path: Path
) -> None:
    """Accepted, and back with the old password: it is let in, and told the same password again."""
    charger = await Charger.registered(system, tmp_path, target_profile=2)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        password = await rotate(charger, session, "Accepted")
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        assert await told(charger, session, "Accepted") == password
    job = await rotation_of(system, charger)
    assert job["state"] == "open"
    await system.until_job(job["job_id"], lambda job: "reconnected-with-old-key" in reasons(job))
    async with charger.connected(authorization=charger.basic(password=password)) as session:
        await charger.boot(session)
    await system.until_job(job["job_id"], lambda job: job["state"] == "succeeded")


async def test_a_lost_answer_costs_nothing(system: ControlPlane, tmp_path: Path) -> None:
    """The connection ends before the answer: a session with the new password is proof, and one with the old is told again."""
    charger = await Charger.registered(system, tmp_path, target_profile=2)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        await system.post(f"/api/v1/chargers/{charger.charger_id}/authorization-key", {})
        call = await session.expect("SetVariables")
    password = str(call.payload["setVariableData"][0]["attributeValue"])
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        again = await session.expect("SetVariables")
    assert again.payload == call.payload
    async with charger.connected(authorization=charger.basic(password=password)) as session:
        await charger.boot(session)
    assert (await rotation_of(system, charger))["state"] in ("open", "succeeded")
    assert await charger.until_refused(authorization=charger.basic()) == 401


def holds(paths: Iterable[Path], needles: Iterable[bytes]) -> list[tuple[str, bytes]]:
    """Which files hold which of these bytes."""
    wanted = list(needles)
    return [
        (path.name, needle)
        for path in paths
        if path.is_file()
        for needle in wanted
        if needle in path.read_bytes()
    ]


async def test_a_key_is_nowhere_in_clear(system: ControlPlane, tmp_path: Path) -> None:
    """A password made here, and one given, stand in no table, stream or log, before, during and after their rotation."""
    charger = await Charger.registered(system, tmp_path, target_profile=2)
    path = f"/api/v1/chargers/{charger.charger_id}/authorization-key"
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        made = await rotate(charger, session, "Accepted")
    async with charger.connected(authorization=charger.basic(password=made)) as session:
        await charger.boot(session)
        await system.until_charger(
            charger.charger_id, lambda body: body["authorization_key"]["pending_since"] is None
        )
        job_id = (await system.post(path, {"key": GIVEN}))["job_id"]
        assert await told(charger, session, "Accepted") == GIVEN
    files = [path for path in system.folder.rglob("*") if "secrets" not in path.parts]
    secrets = [made.encode(), bytes.fromhex(made), GIVEN.encode()]
    assert await asyncio.to_thread(holds, files, secrets) == []
    found = {name for name, _ in await asyncio.to_thread(holds, files, [charger.charger_id.encode()])}
    assert "up.log" in found, "the search finds what is in the log"
    assert any(name.endswith(".blk") for name in found), "... and in the streams"
    assert any(name.isdigit() or len(name) == 24 for name in found), "... and in tables or their log"
    async with charger.connected(authorization=charger.basic(password=GIVEN)) as session:
        await charger.boot(session)
    await system.until_job(job_id, lambda job: job["state"] == "succeeded")
    told_of_it = [
        await system.get(f"/api/v1/jobs/{job_id}"),
        await system.get(f"/api/v1/chargers/{charger.charger_id}"),
        await system.get(f"/api/v1/audit?charger_id={charger.charger_id}&limit=500"),
    ]
    assert GIVEN not in str(told_of_it)
    assert made not in str(told_of_it)
