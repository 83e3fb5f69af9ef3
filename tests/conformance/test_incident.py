"""An incident as chargers see it: refused at once, or given another certificate first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.control_plane import ControlPlane
from tests.conformance.raw_charger import Charger

pytestmark = pytest.mark.xdist_group("core-201")

POLICY_VIOLATION = 1008


async def an_incident(system: ControlPlane, chargers: list[Charger], **fields: Any) -> Any:
    """About the certificates these chargers use: asked for by one person, approved by another."""
    ids = []
    for charger in chargers:
        [one] = await system.items(f"/api/v1/certificates?charger_id={charger.charger_id}&state=active")
        ids.append(one["certificate_id"])
    body = {
        "name": "stolen laptop",
        "reason": "it held their keys",
        "selector": {"purpose": "charging_station", "certificate_ids": ids},
        **fields,
    }
    held = await system.post("/api/v1/incidents", body)
    word = {"content_hash": held["content_hash"], "reason": "read it"}
    await system.second_person().post(f"/api/v1/approvals/{held['approval_id']}/approve", word)
    return (await system.items("/api/v1/incidents"))[0]


async def test_all_are_cut_off_at_once_though_their_stage_has_not_begun(
    system: ControlPlane, tmp_path: Path
) -> None:
    two = [await Charger.enrolled(system, tmp_path) for _ in range(2)]
    async with two[0].connected(two[0].tls()) as first, two[1].connected(two[1].tls()) as second:
        await two[0].boot(first)
        await two[1].boot(second)
        incident = await an_incident(
            system, two, mode="revoke", revocation_reason="key_compromise", percent=1
        )
        assert await first.closed() == POLICY_VIOLATION
        assert await second.closed() == POLICY_VIOLATION
    for charger in two:
        assert await charger.refusal(charger.tls()) == 403
    path = f"/api/v1/incidents/{incident['incident_id']}"
    shown = await system.get(path)
    assert sum(shown["counts"].values()) == 2
    await system.post(f"{path}/advance", {"percent": 100, "reason": "all of them"})
    for charger in two:
        await system.until_items(
            f"/api/v1/certificates?charger_id={charger.charger_id}",
            lambda found: [one["state"] for one in found] == ["revoked"],
        )
    assert (await system.get(path))["counts"] == {"revoked": 2}


async def test_replaced_first_a_charger_is_never_without_a_certificate(
    system: ControlPlane, tmp_path: Path
) -> None:
    charger = await Charger.enrolled(system, tmp_path)
    old = charger.tls()
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        incident = await an_incident(system, [charger], mode="replace")
        await charger.obey(session, until="CertificateSigned")
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        path = f"/api/v1/incidents/{incident['incident_id']}"
        await system.until_items(
            f"/api/v1/certificates?charger_id={charger.charger_id}",
            lambda found: sorted(one["state"] for one in found) == ["active", "revoked"],
        )
        assert (await system.get(path))["counts"] == {"revoked": 1}
        assert await charger.refusal(old) == 403
