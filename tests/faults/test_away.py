"""One part is away for a while: sessions stay up, readiness says what is missing, and work goes on by itself."""

from __future__ import annotations

import os
import signal

import pytest

from simulator.charger import Charger
from simulator.charger.credential import CertificateUse, make_key, request_certificate, station_name
from simulator.charger.frame import CallRefused
from tests.faults.depot import Depot, Operator, assert_ledger_intact, depot, pause, peer_statistics
from tests.faults.plant import Plant
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.xdist_group("plant")

CHARGERS = 12


async def enrolled(fleet: Depot) -> None:
    """Everyone on profile 3."""
    await fleet.order()
    await fleet.all_active(PATIENCE_S)


def sessions(fleet: Depot) -> dict[str, int]:
    return {c.configuration.charger_id: c.snapshot().connections for c in fleet.fleet.chargers}


def proven(fleet: Depot) -> dict[str, int]:
    return {c.configuration.charger_id: c.snapshot().sessions for c in fleet.fleet.chargers}


async def all_back(chargers: list[Charger], before: dict[str, int]) -> None:
    """Each has had a further session taken in."""
    for charger in chargers:
        await charger.wait_for(
            lambda seen: seen.sessions > before[seen.charger_id] and seen.is_accepted, PATIENCE_S
        )


async def cut_and_back(fleet: Depot, charger_id: str, within_s: float = PATIENCE_S) -> None:
    """The charger loses its connection and must be taken in again."""
    charger = fleet.fleet.charger(charger_id)
    before = charger.snapshot().sessions
    charger.cut()
    await charger.wait_for(lambda seen: seen.sessions > before and seen.is_accepted, within_s)


async def seen_by_ledger(fleet: Depot, charger_id: str, after: str, within_s: float = PATIENCE_S) -> None:
    """The ledger knows of a session opened after `after` (RFC 3339)."""
    body: dict[str, object] = {}
    for _ in range(int(within_s * 4)):
        status, found = await fleet.operator.get(f"/api/v1/chargers/{charger_id}")
        if status == 200 and (body := found["session"] or {}).get("connected_at", "") > after:
            return
        await pause()
    raise AssertionError(f"the ledger still knows {body}, wanted later than {after}")


async def refused_as_not_stored(charger: Charger) -> None:
    """It asks once for a certificate, perhaps after what it had to say already, and this very call is an InternalError.

    Asking by itself it would ask again, and a request that is accepted once NATS is back ends in a reconnect.
    """
    organization, serial_number = charger.configuration.organization, charger.configuration.serial_number
    key = await make_key(charger.configuration.family.key_type)
    asked = request_certificate(key, station_name(serial_number, organization), 1)
    with pytest.raises(CallRefused, match="InternalError"):
        await charger.initiative.call(
            "SignCertificate", {"csr": asked.csr_pem, "certificateType": CertificateUse.STATION.value}
        )


async def connected_at(fleet: Depot, charger_id: str) -> str:
    _, body = await fleet.operator.get(f"/api/v1/chargers/{charger_id}")
    return str(body["session"]["connected_at"])


async def test_while_postgres_is_away_sessions_stay_and_what_was_acknowledged_is_decided_later(
    plant: Plant,
) -> None:
    async with depot(plant, CHARGERS) as fleet:
        await enrolled(fleet)
        moved = fleet.ids[3]
        before, opened = sessions(fleet), await connected_at(fleet, moved)
        os.kill(plant.postgres.pid, signal.SIGKILL)
        await fleet.operator.missing_becomes({"postgres"}, PATIENCE_S)
        status, problem = await fleet.operator.post(
            "/api/v1/jobs",
            {"charger_id": moved, "purpose": "charging_station", "action": "renew", "reason": "away"},
        )
        assert status == 503, problem
        await cut_and_back(fleet, moved)
        assert fleet.fleet.count().accepted == CHARGERS
        plant.postgres.restart()
        await fleet.operator.missing_becomes((), PATIENCE_S)
        await seen_by_ledger(fleet, moved, opened)
        before[moved] += 1
        assert sessions(fleet) == before
        await fleet.assert_active_exactly_once()
        await assert_ledger_intact(plant)


async def test_while_nats_is_away_sessions_stay_and_nothing_is_accepted_that_could_be_lost(
    plant: Plant,
) -> None:
    async with depot(plant, CHARGERS) as fleet:
        await enrolled(fleet)
        moved = fleet.ids[5]
        before, opened = sessions(fleet), await connected_at(fleet, moved)
        os.kill(plant.nats.pid, signal.SIGKILL)
        await fleet.operator.missing_becomes({"nats"}, PATIENCE_S)
        await Operator(plant.connect_health_url, fleet.operator.http).missing_becomes({"nats"}, PATIENCE_S)
        await cut_and_back(fleet, moved)
        await refused_as_not_stored(fleet.fleet.charger(moved))
        plant.nats.restart()
        await fleet.operator.missing_becomes((), PATIENCE_S)
        await seen_by_ledger(fleet, moved, opened)
        before[moved] += 1
        assert sessions(fleet) == before
        await assert_ledger_intact(plant)


async def test_while_aws_is_away_orders_wait_with_a_reason_and_are_carried_out_afterwards(
    plant: Plant,
) -> None:
    async with depot(plant, CHARGERS) as fleet:
        issued_before = (await peer_statistics(plant))["certificates"]
        os.kill(plant.aws.pid, signal.SIGKILL)
        await fleet.order()
        await fleet.operator.missing_becomes({"ca:charging_station", "ca:backend_server"}, PATIENCE_S)
        jobs = await fleet.jobs()
        assert {job["stage"] for job in jobs} == {"issuing"}, jobs
        assert {job["waiting_for"] for job in jobs} == {"ca"}
        assert all(job["reason"] is not None for job in jobs), jobs
        assert fleet.fleet.count().accepted == CHARGERS
        plant.restart_aws()
        await fleet.all_active(PATIENCE_S)
        await fleet.operator.missing_becomes((), PATIENCE_S)
        await fleet.assert_active_exactly_once()
        stats = await peer_statistics(plant)
        arn = plant.aws.authorities["charger-identity"].issuing_arn
        assert stats["certificates"][arn]["issued"] - issued_before[arn]["issued"] == CHARGERS
        assert stats["token_conflicts"] == []
        await assert_ledger_intact(plant)


async def test_with_core_and_postgres_away_every_charger_returns_but_the_one_revoked(plant: Plant) -> None:
    async with depot(plant, CHARGERS) as fleet:
        await enrolled(fleet)
        revoked = fleet.fleet.charger(fleet.ids[7])
        _, body = await fleet.operator.get(f"/api/v1/chargers/{fleet.ids[7]}")
        certificate_id = body["slots"][0]["current"]["certificate_id"]
        status, problem = await fleet.operator.insist(
            f"/api/v1/certificates/{certificate_id}/revoke", {"reason": "key_compromise", "comment": "test"}
        )
        assert status == 202, problem
        await revoked.wait_for(lambda seen: not seen.is_accepted, PATIENCE_S)
        sessions_of_revoked = revoked.snapshot().sessions
        opened = {c: await connected_at(fleet, c) for c in fleet.ids if c != fleet.ids[7]}
        plant.core.kill()
        os.kill(plant.postgres.pid, signal.SIGKILL)
        others = [c for c in fleet.fleet.chargers if c is not revoked]
        before = proven(fleet)
        fleet.fleet.drop_all()
        fleet.fleet.return_all()
        await all_back(others, before)
        before = proven(fleet)
        plant.connect.kill()  # and once more from a snapshot that this process has never seen
        plant.connect.start()
        await plant.connect.ready()
        await all_back(others, before)
        failures = revoked.journal.error_count
        await revoked.wait_for(lambda seen: seen.errors >= failures + 2, PATIENCE_S)
        assert revoked.snapshot().sessions == sessions_of_revoked
        plant.postgres.restart()
        plant.core.start()
        await plant.core.ready()
        for charger_id, at in opened.items():
            await seen_by_ledger(fleet, charger_id, at)
        await assert_ledger_intact(plant)
