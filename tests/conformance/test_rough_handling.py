"""Chargers that behave badly at a running system: what becomes of them, and that nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.conformance.control_plane import ControlPlane
from tests.conformance.raw_charger import Charger
from tests.patience import PATIENCE_S, measured

pytestmark = pytest.mark.xdist_group("core-201")

LARGEST_FRAME_BYTES = 64 * 1024
HANDSHAKE_OR_UPGRADE_S = 10.0
FLOOD_FRAMES = 20_000


async def test_compression_is_offered_in_vain(system: ControlPlane, tmp_path: Path) -> None:
    charger = await Charger.registered(system, tmp_path)
    async with charger.connected(authorization=charger.basic(), compression="deflate") as session:
        assert session.socket.response is not None
        assert "Sec-WebSocket-Extensions" not in session.socket.response.headers
        await charger.boot(session)


async def test_a_frame_too_large_costs_its_sender_the_session(system: ControlPlane, tmp_path: Path) -> None:
    charger = await Charger.registered(system, tmp_path)
    bystander = await Charger.registered(system, tmp_path)
    async with bystander.connected(authorization=bystander.basic()) as calm:
        await bystander.boot(calm)
        for parts in (1, 4):
            async with charger.connected(authorization=charger.basic()) as session:
                await charger.boot(session)
                text = json.dumps(
                    [2, "big", "DataTransfer", {"vendorId": "v", "data": "x" * LARGEST_FRAME_BYTES}]
                )
                size = -(-len(text) // parts)
                whole = iter([text[at : at + size] for at in range(0, len(text), size)])
                with contextlib.suppress(ConnectionClosed):  # it was told before it had sent everything
                    await session.socket.send(text if parts == 1 else whole)
                assert await session.closed() == 1009
        assert "currentTime" in await calm.call("Heartbeat", {})
    assert system.is_alive


async def test_who_dawdles_over_tls_or_the_upgrade_is_dropped_and_delays_nobody(
    system: ControlPlane, tmp_path: Path
) -> None:
    charger = await Charger.registered(system, tmp_path)

    hello = await client_hello()
    writers, ends = [], []
    with measured() as watch:

        async def end_of(reader: asyncio.StreamReader) -> tuple[float, float]:
            while await reader.read(4096):
                pass
            return watch.took_s, watch.fair_s

        for first in (b"", hello[:20]):
            reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
            writer.write(first)
            writers.append(writer)
            ends.append(asyncio.create_task(end_of(reader)))
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", system.port, ssl=system.tls(), server_hostname="localhost"
        )
        writer.write(f"GET /ocpp/{charger.charger_id} HTTP/1.1\r\nHost: localhost\r\n".encode())
        writers.append(writer)
        ends.append(asyncio.create_task(end_of(reader)))
        async with charger.connected(authorization=charger.basic()) as session:
            await charger.boot(session)
        async with asyncio.timeout(PATIENCE_S):
            waited = await asyncio.gather(*ends)
    assert all(took_s > HANDSHAKE_OR_UPGRADE_S - 2 for took_s, _ in waited), waited
    assert all(fair_s < 2 * HANDSHAKE_OR_UPGRADE_S + 5 for _, fair_s in waited), waited
    for writer in writers:
        writer.close()


async def client_hello() -> bytes:
    """The first bytes of a TLS client."""
    outgoing = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


async def test_one_chargers_flood_does_not_delay_another_family(system: ControlPlane, tmp_path: Path) -> None:
    """Roughly: the other family's exchanges stay well under what any charger would notice."""
    flooder = await Charger.registered(system, tmp_path)
    other = await Charger.registered(system, tmp_path, family="calm-two")
    async with other.connected(authorization=other.basic()) as calm:
        await other.boot(calm)
        flood = asyncio.create_task(_flood(flooder))
        slowest_s = 0.0
        asked = 0
        while not flood.done():
            with measured() as watch:
                await calm.call("Heartbeat", {})
                slowest_s = max(slowest_s, watch.fair_s)
            asked += 1
        answered = await flood
        assert answered > 0
        assert asked > 20, "the other charger was served all the while"
        assert slowest_s < 2.0
        assert "currentTime" in await calm.call("Heartbeat", {})


async def _flood(flooder: Charger) -> int:
    """Heartbeats as fast as they can be written, answers read but not waited for; how many came back."""
    answered = 0
    async with connect(
        f"{flooder.system.ocpp_url}/{flooder.charger_id}",
        ssl=flooder.system.tls(),
        host="127.0.0.1",
        additional_headers={"Authorization": flooder.basic()},
        subprotocols=["ocpp2.0.1"],
        compression=None,
        ping_interval=None,
        proxy=None,
    ) as socket:

        async def read() -> None:
            nonlocal answered
            async for _ in socket:
                answered += 1
                if answered >= FLOOD_FRAMES:
                    return

        reading = asyncio.create_task(read())
        try:
            for number in range(FLOOD_FRAMES):
                await socket.send(f'[2,"f{number}","Heartbeat",{{}}]')
            async with asyncio.timeout(20):
                await reading
        except (ConnectionClosed, TimeoutError):
            pass  # cut for flooding, which is as good
        reading.cancel()
    return answered
