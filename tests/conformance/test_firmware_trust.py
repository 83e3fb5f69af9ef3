"""Firmware trust over the wire, against `run.py up`: manufacturer roots in, listed and out again, updates followed.

Its operator has a token of its own; the admin token of operations is refused.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.conformance.control_plane import Body, ControlPlane
from tests.conformance.operator_call import IN_BOTH_VERSIONS, new_root
from tests.conformance.raw_charge_point import ChargePoint
from tests.conformance.raw_charger import Call, Charger, Payload, Session

pytestmark = [pytest.mark.xdist_group("firmware-trust"), pytest.mark.timeout(60)]

ROOT = "/api/v1/firmware-trust"
STORE = "ManufacturerRootCertificate"


def firmware_admin(system: ControlPlane) -> ControlPlane:
    """The same system, as its firmware admin."""
    token = (system.folder / "data" / "secrets" / "firmware.token").read_text().strip()
    return dataclasses.replace(system, token=token)


async def recorded(admin: ControlPlane) -> tuple[str, str]:
    """A manufacturer's root as PEM, and its id."""
    pem = new_root("Maker of the test")
    made = await admin.post(f"{ROOT}/anchors", {"manufacturer": "Maker", "pem": pem})
    return pem, str(made["anchor_id"])


def path_of(charger: Charger) -> str:
    return f"{ROOT}/chargers/{charger.charger_id}"


async def until(admin: ControlPlane, charger: Charger, work_id: str) -> Body:
    """Until that work has ended; the charger's firmware trust then."""

    def has_ended(shown: Body) -> bool:
        return any(work["work_id"] == work_id and work["state"] != "open" for work in shown["work"])

    return await admin._until(lambda: admin._ask("GET", path_of(charger), None), has_ended)


def manufacturer_s(charger: Charger, call: Call) -> Payload:
    """Its list, as a store of manufacturers' roots."""
    listed = charger.listed()
    for entry in listed.get("certificateHashDataChain", ()):
        entry["certificateType"] = STORE
    return listed


async def install(admin: ControlPlane, charger: Charger, session: Session) -> dict[str, Call]:
    """Have a recorded root installed; it is listed after that without being asked for."""
    pem, anchor_id = await recorded(admin)
    order = {"anchor_id": anchor_id, "reason": "TC"}
    work = await admin.post(f"{path_of(charger)}/install", order)
    told = await charger.obey(
        session,
        until="GetInstalledCertificateIds",
        GetInstalledCertificateIds=lambda call: manufacturer_s(charger, call),
    )
    assert told["InstallCertificate"].payload == {"certificateType": STORE, "certificate": pem}
    await until(admin, charger, work["work_id"])

    def is_listed(shown: Body) -> bool:
        return [(root["seen"], root["anchor_id"]) for root in shown["roots"]] == [("listed", anchor_id)]

    await admin._until(lambda: admin._ask("GET", path_of(charger), None), is_listed)
    gone = await admin.post(f"{path_of(charger)}/delete", {"anchor_id": anchor_id, "reason": "TC"})
    deleted = await charger.obey(session, until="DeleteCertificate")
    shown = await until(admin, charger, gone["work_id"])
    assert shown["roots"] == []
    assert charger.roots == {}
    return told | deleted


@IN_BOTH_VERSIONS
async def test_TC_M_02_install_a_manufacturer_root(system: ControlPlane, tmp_path: Path) -> None:
    """A manufacturer root is installed, listed and deleted through firmware trust alone; a call by hand is refused."""
    charger = await Charger.registered(system, tmp_path)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        told = await install(firmware_admin(system), charger, session)
        assert told["GetInstalledCertificateIds"].payload == {"certificateType": [STORE]}
        by_hand = {"certificateType": STORE, "certificate": new_root("By hand")}
        with pytest.raises(AssertionError, match="other-realm"):
            await system.post(f"/api/v1/chargers/{charger.charger_id}/ocpp/InstallCertificate", by_hand)


@IN_BOTH_VERSIONS
async def test_TC_M_13_list_manufacturer_roots(system: ControlPlane, tmp_path: Path) -> None:
    """Manufacturer roots are listed through firmware trust alone; an order waits for the charger to connect."""
    admin = firmware_admin(system)
    charger = await Charger.registered(system, tmp_path)
    work = await admin.post(f"{path_of(charger)}/list", {"reason": "TC"})
    with pytest.raises(AssertionError, match="forbidden"):
        await system.post(f"{path_of(charger)}/list", {"reason": "TC"})
    with pytest.raises(AssertionError, match="forbidden"):
        await admin.get(f"/api/v1/chargers/{charger.charger_id}")
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        call = await session.expect("GetInstalledCertificateIds")
        assert call.payload == {"certificateType": [STORE]}
        await session.answer(call, {"status": "NotFound"})
        shown = await until(admin, charger, work["work_id"])
        assert shown["listed_at"] is not None
        for status in ("Downloading", "Downloaded", "InvalidSignature"):
            told = {"status": status, "requestId": 7}
            assert await session.call("FirmwareStatusNotification", told) == {}

        def is_followed(shown: Body) -> bool:
            steps = [each["status"] for update in shown["updates"] for each in update["statuses"]]
            return steps == ["Downloading", "Downloaded", "InvalidSignature"]

        await admin._until(lambda: admin._ask("GET", path_of(charger), None), is_followed)


async def test_TC_075_1_install_a_manufacturer_root(system: ControlPlane, tmp_path: Path) -> None:
    """Through firmware trust alone: installed as ManufacturerRootCertificate, listed, and deleted again."""
    point = await ChargePoint.registered(system, tmp_path)
    async with point.connected(authorization=point.basic()) as session:
        await point.boot(session)
        told = await install(firmware_admin(system), point, session)
    assert told["GetInstalledCertificateIds"].payload == {"certificateType": STORE}


async def test_what_operations_trust_is_refused_and_the_other_way_round(system: ControlPlane) -> None:
    admin = firmware_admin(system)
    body = {"manufacturer": "Maker", "pem": system.anchors[0]}
    with pytest.raises(AssertionError, match="firmware-hierarchy"):
        await admin.post(f"{ROOT}/anchors", body)
    pem, _ = await recorded(admin)
    bundle = {"purpose": "backend_server", "anchors": [*system.anchors, pem]}
    with pytest.raises(AssertionError, match="firmware-hierarchy"):
        await system.post("/api/v1/trust-anchor-bundles", bundle)
