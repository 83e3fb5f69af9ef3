"""A revocation on two connect nodes: how soon each of them refuses the certificate, and what a silent one delays."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import ssl
import tempfile
import time
from datetime import datetime
from urllib.parse import urlsplit

import aiohttp
import pytest

from simulator.charger import Charger, ChargerEvent, Happening
from tests.faults.depot import Body, Depot, assert_ledger_intact, depot, pause
from tests.faults.evidence_hand import evidence_hand
from tests.faults.plant import Plant
from tests.patience import PATIENCE_S, measured

pytestmark = pytest.mark.xdist_group("takeover")

CHARGERS = 4
REFUSED_WITHIN_S = 3.0
"""Generous: everything of the plant shares this machine. What was measured is printed, less what the machine was late."""
PUBLISHED_WITHIN_S = 60.0
"""A list that follows after 3 s is read after 5, 10 and 20; a core that has just started waits half a minute before."""


def moment_of(charger: Charger, happening: Happening) -> asyncio.Future[float]:
    """When that next happens to it, by the test's own clock."""
    moment: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def heard(event: ChargerEvent) -> None:
        if event.happening is happening and not moment.done():
            moment.set_result(time.monotonic())

    charger.subscribe(heard)
    return moment


async def upgrade_status(url: str, charger_id: str, charger: Charger) -> int:
    """What the charger port of `url` answers to an upgrade under the charger's own certificate."""
    credential = charger._memory.credential
    assert credential is not None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(credential.chain_pem + credential.private_key_pem)
        file.flush()
        context.load_cert_chain(file.name)
    port = urlsplit(url).port
    reader, writer = await asyncio.open_connection(
        "localhost", port, ssl=context, server_hostname="localhost"
    )
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        f"GET /ocpp/{charger_id} HTTP/1.1",
        f"Host: localhost:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: ocpp2.0.1",
    )
    writer.write("\r\n".join((*lines, "", "")).encode())
    status = (await reader.readline()).split()[1]
    writer.close()
    return int(status)


async def active_certificate(fleet: Depot, charger_id: str) -> str:
    found = await fleet.operator.items("/api/v1/certificates", charger_id=charger_id, state="active")
    return str(found[0]["certificate_id"])


async def revoke(fleet: Depot, certificate_id: str) -> None:
    body = {"reason": "key_compromise", "comment": "test"}
    status, answer = await fleet.operator.insist(f"/api/v1/certificates/{certificate_id}/revoke", body)
    assert status == 202, answer


async def is_waited_for(plant: Plant, node: str) -> None:
    """Core has been told that the node lets chargers in: from then on it confirms nothing without the node."""
    async with evidence_hand(plant) as hand, asyncio.timeout(PATIENCE_S):
        while (said := await hand.last_word(node)) is None or said.admission is None:
            await pause()


async def refused_everywhere(fleet: Depot, certificate_id: str, within_s: float) -> Body:
    """Its `revocation` once every node has confirmed."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        _, body = await fleet.operator.get(f"/api/v1/certificates/{certificate_id}")
        if body and body["revocation"]["refused_at_edge_at"]:
            return dict(body["revocation"])
        await pause()
    raise AssertionError(f"not refused on every node within {within_s:g} s")


def seconds(revocation: Body) -> float:
    moments = (revocation["refused_at_edge_at"], revocation["requested_at"])
    last, first = (datetime.fromisoformat(text) for text in moments)
    return (last - first).total_seconds()


async def test_a_revoked_certificate_is_refused_on_both_nodes_within_seconds_and_its_socket_cut(
    plant: Plant,
) -> None:
    other, other_url = plant.another_connect("connect-b")
    other.start()
    await other.ready()
    async with depot(plant, CHARGERS) as here, depot(plant, CHARGERS, url=other_url) as there:
        for fleet in (here, there):
            await fleet.order()
        for fleet in (here, there):
            await fleet.all_active(60)
        refused_s: list[float] = []
        cut_s: list[float] = []
        for fleet in (here, there):
            for charger_id in fleet.ids:
                charger = fleet.fleet.charger(charger_id)
                certificate_id = await active_certificate(fleet, charger_id)
                back = moment_of(charger, Happening.CONNECTED)
                assert await upgrade_status(fleet.plan.target_url, charger_id, charger) == 101
                async with asyncio.timeout(PATIENCE_S):
                    await back  # the session just opened had displaced the charger's own
                cut = moment_of(charger, Happening.DISCONNECTED)
                asked = time.monotonic()
                with measured() as watch:
                    await revoke(fleet, certificate_id)
                    async with asyncio.timeout(PATIENCE_S):
                        cut_s.append(await cut - asked - watch.late_s)
                    revocation = await refused_everywhere(fleet, certificate_id, PATIENCE_S)
                    refused_s.append(seconds(revocation) - watch.late_s)
                for url in (plant.ocpp_url, other_url):
                    assert await upgrade_status(url, charger_id, charger) == 403
        print(f"refused on both nodes after {[f'{each:.3f}' for each in refused_s]} s")
        print(f"sockets cut after {[f'{each:.3f}' for each in cut_s]} s, from the POST on")
        assert max(refused_s + cut_s) < REFUSED_WITHIN_S
        await assert_ledger_intact(plant)


async def test_a_node_that_says_nothing_more_delays_the_confirmation_until_it_is_lost(plant: Plant) -> None:
    other, _ = plant.another_connect("connect-c")
    other.start()
    await other.ready()
    async with depot(plant, 1) as fleet:
        await fleet.order()
        await fleet.all_active(60)
        certificate_id = await active_certificate(fleet, fleet.ids[0])
        await is_waited_for(plant, "connect-c")
        os.kill(other.pid, signal.SIGSTOP)
        try:
            await revoke(fleet, certificate_id)
            revocation = await refused_everywhere(fleet, certificate_id, PATIENCE_S)
        finally:
            os.kill(other.pid, signal.SIGCONT)
        print(f"confirmed {seconds(revocation):.1f} s after the request, without the node that is lost")
        assert seconds(revocation) > 2


async def lists_follow_after(plant: Plant, seconds_: float) -> None:
    """How late the AWS peer publishes what was revoked."""
    url = f"{plant.aws.url}/_peer/lists"
    async with aiohttp.ClientSession() as http, http.post(url, json={"crl_lag_s": seconds_}) as answer:
        assert answer.status == 200, await answer.text()


async def test_a_revocation_is_seen_on_the_cas_own_list_and_its_job_tells_the_whole_way(plant: Plant) -> None:
    async with depot(plant, 1) as fleet:
        await fleet.order()
        await fleet.all_active(60)
        certificate_id = await active_certificate(fleet, fleet.ids[0])
        await lists_follow_after(plant, 3)
        try:
            await revoke(fleet, certificate_id)
            began = time.monotonic()
            revocation: Body = {}
            while not revocation.get("published_at") and time.monotonic() - began < PUBLISHED_WITHIN_S:
                await pause()
                _, body = await fleet.operator.get(f"/api/v1/certificates/{certificate_id}")
                revocation = body["revocation"]
        finally:
            await lists_follow_after(plant, 1800)
        assert revocation["publication"]["source"] == "crl", revocation
        moments = ["requested_at", "refused_at_edge_at", "ca_revoked_at", "published_at"]
        assert all(revocation[name] for name in moments), revocation
        _, job = await fleet.operator.get(f"/api/v1/jobs/{revocation['job_id']}")
        events = [step["event"] for step in job["timeline"]]
        assert {
            "CertificateRevocationRequested",
            "CertificateRefusedAtEdge",
            "CertificateRevoked",
            "CertificateRevocationPublished",
        } <= set(events), events
        assert job["state"] == "succeeded"
        print({name: revocation[name] for name in moments}, revocation["publication"])
        await assert_ledger_intact(plant)
