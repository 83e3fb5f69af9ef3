"""A running system finds what its CA signed without its asking: ledger, actors, AWS client, S3, database and API together."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest

from bfactors.ca import SigningOrder
from deploy.role.clock import SystemClock
from gateways.ca.aws_private_ca import AwsPrivateCa
from gateways.ca.aws_session import AwsSettings
from gateways.ca.call_limits import CallLimits
from gateways.ca.retry import RetryPolicy
from tests.core import pki
from tests.fakes.ca import CountedMetrics
from tests.faults.depot import Depot, depot, pause
from tests.faults.plant import Plant
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.xdist_group("plant")

PATH = "/api/v1/reconciliations/charging_station"
HOUR_S = 3600


async def set_peer_clock(plant: Plant, step_s: float) -> None:
    async with aiohttp.ClientSession() as http:
        await http.post(f"{plant.aws.url}/_peer/clock", json={"advance_s": step_s})


async def signed_elsewhere(plant: Plant) -> str:
    """Somebody with the CA's role has a certificate made, an hour ago."""
    clock = SystemClock()
    client = AwsPrivateCa(
        AwsSettings(
            region="eu-central-1",
            endpoint_url=plant.aws.url,
            access_key_id="peer",
            secret_access_key="peer",
        ),
        clock=clock,
        metrics=CountedMetrics(),
        limits=CallLimits(20, monotonic=clock.monotonic),
        retry=RetryPolicy(),
    )
    await client.start()
    await set_peer_clock(plant, -HOUR_S)
    try:
        now = clock.now().replace(microsecond=0)
        return await client.issue(
            SigningOrder(
                authority_arn=plant.core_environment["BF_AWS_CHARGING_STATION_CA_ARN"],
                token="elsewhere",
                csr_pem=pki.csr("NOBODY"),
                template="EndEntityClientAuthCertificate/V1",
                signing_algorithm="SHA256WITHECDSA",
                not_before=now - timedelta(hours=2),
                not_after=now + timedelta(days=9),
                call_before=now + timedelta(minutes=4),
            )
        )
    finally:
        await set_peer_clock(plant, HOUR_S)
        await client.close()


async def first_look_at_the_report_takes(plant: Plant, seconds: float) -> None:
    fault = {"operation": "DescribeCertificateAuthorityAuditReport", "delay_s": seconds}
    async with aiohttp.ClientSession() as http:
        await http.post(f"{plant.aws.url}/_peer/faults", json=fault)


async def report_is_made(plant: Plant) -> None:
    """And every core knows of it. One that died before that would have to do without until the CA makes another."""
    connection = await asyncpg.connect(plant.postgres.dsn())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await connection.fetchval("SELECT 1 FROM ca_report"):
                await pause()
    finally:
        await connection.close()


async def ended(fleet: Depot, run_id: str) -> dict[str, Any]:
    for _ in range(600):
        status, found = await fleet.operator.get("/api/v1/reconciliations")
        for known in found["items"] if status == 200 else ():
            if known["run_id"] == run_id and known["state"] != "running":
                return known
        await pause()
    raise AssertionError(f"{run_id} has not ended")


async def test_what_was_signed_elsewhere_is_found_although_the_core_dies_over_it(own_plant: Plant) -> None:
    plant = own_plant
    await plant.ready()
    async with depot(plant, 2) as fleet:
        await fleet.order()
        await fleet.all_active(60)
        external_ref = await signed_elsewhere(plant)
        await first_look_at_the_report_takes(plant, 3600)
        status, asked = await fleet.operator.insist(PATH, {"reason": "test"})
        assert (status, asked["state"]) == (202, "running")
        await report_is_made(plant)
        os.kill(plant.core.pid, signal.SIGKILL)
        plant.core.start()
        await plant.core.ready()
        known = await ended(fleet, asked["run_id"])
        assert (known["state"], known["counts"]) == ("done", {"unexplained": 1}), known
        items = await fleet.operator.items(f"{PATH}/items")
        assert [(item["kind"], item["external_ref"]) for item in items] == [("unexplained", external_ref)]
        status, again = await fleet.operator.insist(PATH, {"reason": "at once again"})
        assert (status, again["state"]) == (202, "running"), "it waits for the next report"
