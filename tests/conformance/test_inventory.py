"""A running system reconciles what chargers list, installs anchors on them and deletes what nobody needs, over real sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.conformance.control_plane import ControlPlane
from tests.conformance.operator_call import IN_BOTH_VERSIONS, new_root, until_live
from tests.conformance.raw_charge_point import ChargePoint
from tests.conformance.raw_charger import Call, Charger


def give(charger: Charger | ChargePoint, name: str) -> None:
    """Somebody on site puts another root into its store."""
    root = x509.load_pem_x509_certificate(new_root(name).encode())
    charger.roots[root.fingerprint(hashes.SHA256()).hex()] = root


def strange(shown: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in shown["reported_certificates"] if "issued" not in entry["sources"]]


async def gone_through(system: ControlPlane, charger: Any, session: Any) -> None:
    """Anchors by a job, a strange root in the list, its deletion by a job, and what is refused."""
    give(charger, f"Stranger of {charger.charger_id}")
    job_id = await system.order(charger.charger_id, "install-anchor", purpose="backend_server")
    await charger.obey(session, until="GetInstalledCertificateIds")
    assert (await system.until_job(job_id, lambda job: job["state"] != "open"))["state"] == "succeeded"
    shown = await system.charger(charger.charger_id)
    (stray,) = strange(shown)
    assert [one["code"] for one in stray["differences"]] == ["unknown-on-charger", "foreign-root"]
    known = [entry for entry in shown["reported_certificates"] if entry is not stray]
    assert all(entry["match"] and not entry["differences"] for entry in known)
    for entry in known:
        with pytest.raises(AssertionError, match=r"409 .*anchor-of-live-session"):
            await system.order(
                charger.charger_id, "delete", purpose="backend_server", reported_ref=entry["hash_data"]
            )
    job_id = await system.order(
        charger.charger_id, "delete", purpose="backend_server", reported_ref=stray["hash_data"]
    )
    listed_first: list[Call] = []
    told = await charger.obey(
        session,
        until="DeleteCertificate",
        GetInstalledCertificateIds=lambda call: (listed_first.append(call), charger._as_told(call))[1],
    )
    assert len(listed_first) == 1
    assert (
        told["DeleteCertificate"].payload["certificateHashData"]["serialNumber"]
        == (stray["hash_data"]["serial_number"])
    )
    await charger.obey(session, until="GetInstalledCertificateIds")
    assert (await system.until_job(job_id, lambda job: job["state"] != "open"))["state"] == "succeeded"
    shown = await system.charger(charger.charger_id)
    assert not strange(shown)
    assert len(shown["reported_certificates"]) == len(system.anchors)
    events = {
        row["event"] for row in await system.items(f"/api/v1/audit?charger_id={charger.charger_id}&limit=200")
    }
    assert {"InventoryReconciled", "CertificateDeleted"} <= events


@IN_BOTH_VERSIONS
async def test_a_strange_root_is_shown_and_deleted_and_ours_stay(
    system: ControlPlane, tmp_path: Path
) -> None:
    charger = await Charger.registered(system, tmp_path)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        await until_live(charger, session)
        await gone_through(system, charger, session)


async def test_the_same_over_ocpp_16(system: ControlPlane, tmp_path: Path) -> None:
    point = await ChargePoint.registered(system, tmp_path)
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        await until_live(point, session)
        await gone_through(system, point, session)
