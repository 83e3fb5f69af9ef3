"""The TLS end of the charger port: versions, suites, resumption, swaps, and handshakes that lead nowhere."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import socket
import ssl
import struct
import warnings
from datetime import timedelta
from pathlib import Path

import pytest
import uvloop
from websockets.exceptions import InvalidMessage

from bfactors.errors import SettingsError
from gateways.ocpp.option import GatewayOptions
from gateways.ocpp.tls import CIPHERS, FrontTls, ServerIdentity
from tests.core.x509_maker import NOW, Authority
from tests.integration.gateway_world import (
    HOST,
    PASSWORD,
    RawClient,
    World,
    answer,
    ask,
    known,
    new_world,
    world,
)
from tests.patience import PATIENCE_S

__all__ = ["world"]
pytestmark = pytest.mark.uvloop

BASIC = "Authorization: Basic " + base64.b64encode(f"CS-1:{PASSWORD}".encode()).decode()
DEAD = (InvalidMessage, ConnectionError, EOFError, OSError)


async def test_the_gateway_runs_on_the_loop_of_production(world: World) -> None:
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)


@pytest.mark.parametrize(
    "suite",
    [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
    ],
)
async def test_every_mandatory_suite_leads_to_a_session_over_tls_1_2(world: World, suite: str) -> None:
    world.charger()
    context = world.client_tls(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(f"{suite}:@SECLEVEL=1")

    def dial() -> tuple[int, str, str | None]:
        client = RawClient(world.gateway.port, context)
        status, _ = client.upgrade("CS-1", BASIC)
        cipher = client.tls.cipher()
        compression = client.tls.compression()
        client.close()
        assert cipher is not None
        return status, cipher[0], compression

    assert await asyncio.to_thread(dial) == (101, suite, None)


async def test_tls_1_3_is_offered_without_tickets(world: World) -> None:
    world.charger()

    def dial() -> tuple[int, str | None, bool]:
        client = RawClient(world.gateway.port, world.client_tls())
        status, _ = client.upgrade("CS-1", BASIC)
        has_ticket = client.tls.session is not None and client.tls.session.has_ticket
        version = client.tls.version()
        client.close()
        return status, version, has_ticket

    assert await asyncio.to_thread(dial) == (101, "TLSv1.3", False)


async def test_tls_1_1_is_terminated(world: World) -> None:
    context = world.client_tls()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.to_thread(RawClient, world.gateway.port, context)
    await world.reports.wait_for_failures(1)


async def test_a_leaf_of_an_unknown_ca_dies_in_the_handshake_and_is_counted(world: World) -> None:
    world.charger()
    stranger = Authority.root("Stranger").leaf()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with pytest.raises(DEAD):
            async with world.dial(tls=world.client_tls(stranger, maximum_version=version)):
                pass
    await world.reports.wait_for_failures(2)
    assert world.reports.refused == []
    assert world.counts.counted["ocpp_handshakes_started"] == 2
    assert world.counts.counted["ocpp_handshakes_failed"] == 2


async def test_a_client_refused_in_the_handshake_gets_the_alert_that_says_why(world: World) -> None:
    context = world.client_tls(Authority.root("Stranger").leaf(), maximum_version=ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"):
        await asyncio.to_thread(RawClient, world.gateway.port, context)


async def test_a_server_only_leaf_of_our_own_ca_does_not_come_in(world: World) -> None:
    leaf = world.issuing.leaf(usage="server")
    world.charger("CS-1", (leaf, "active"))
    with pytest.raises(DEAD):
        async with world.dial(leaf=leaf):
            pass
    await world.reports.wait_for_failures(1)


# ---------------------------------------------------------------- resumption


async def dropped(reader: asyncio.StreamReader) -> None:
    """Returns once the server has closed or reset the connection."""
    async with asyncio.timeout(PATIENCE_S):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""


class Resumption:
    """A TLS 1.2 client that keeps its session between connections."""

    def __init__(self, world: World, leaf: object) -> None:
        self._world = world
        self._context = world.client_tls(leaf, maximum_version=ssl.TLSVersion.TLSv1_2)  # type: ignore[arg-type]
        self._session: ssl.SSLSession | None = None

    async def dial(self) -> tuple[int, bool]:
        def blocking() -> tuple[int, bool]:
            client = RawClient(self._world.gateway.port, self._context, self._session)
            status, _ = client.upgrade("CS-1")
            self._session = client.tls.session
            reused = bool(client.tls.session_reused)
            client.close()
            return status, reused

        return await asyncio.to_thread(blocking)


async def test_a_resumed_session_is_admitted_by_the_path_its_full_handshake_showed(world: World) -> None:
    leaf = world.issuing.leaf()
    world.charger("CS-1", (leaf, "active"))
    client = Resumption(world, leaf)
    assert await client.dial() == (101, False)
    assert await client.dial() == (101, True)


async def test_a_revoked_leaf_is_refused_on_a_resumed_session_too(world: World) -> None:
    leaf = world.issuing.leaf()
    world.charger("CS-1", (leaf, "active"))
    client = Resumption(world, leaf)
    assert await client.dial() == (101, False)
    world.records.edit("CS-1", credentials=(known(leaf, "revoked"),))
    assert await client.dial() == (403, True)
    assert world.reports.refused == [("CS-1", "credential-revoked", 403)]


async def test_a_leaf_that_expires_between_two_handshakes_is_refused_when_it_resumes(world: World) -> None:
    leaf = world.issuing.leaf(not_after=NOW + timedelta(hours=1))
    world.charger("CS-1", (leaf, "active"))
    client = Resumption(world, leaf)
    assert await client.dial() == (101, False)
    world.times.advance(7200)
    assert await client.dial() == (403, True)
    assert world.reports.refused == [("CS-1", "leaf-expired", 403)]


async def test_nothing_resumes_across_a_change_of_trust(world: World) -> None:
    leaf = world.issuing.leaf()
    world.charger("CS-1", (leaf, "active"))
    client = Resumption(world, leaf)
    assert await client.dial() == (101, False)
    world.tls.replace_trust([world.root.pair.pem, Authority.root("Next root").pair.pem])
    assert await client.dial() == (101, False)


# ---------------------------------------------------------------- swaps


async def test_trust_and_server_certificates_are_swapped_without_touching_live_connections(
    world: World,
) -> None:
    leaf = world.issuing.leaf()
    world.charger("CS-1", (leaf, "active"))
    newcomer_root = Authority.root("Next root")
    newcomer = newcomer_root.leaf("SN-2")
    world.charger("CS-2", (newcomer, "active"), serial_number="SN-2", expected_common_name="SN-2")
    async with world.dial(leaf=leaf) as living:
        with pytest.raises(DEAD):
            async with world.dial("CS-2", newcomer):
                pass
        world.tls.replace_trust([world.root.pair.pem, newcomer_root.pair.pem])
        async with world.dial("CS-2", newcomer):
            pass
        old_root, world.server_root = (
            world.server_root,
            Authority.root("Next server root", now=world.real_now),
        )
        world.tls.replace_identities(world.server_identities())
        async with world.dial("CS-2", newcomer):
            pass
        assert old_root is not world.server_root
        await ask(living, [2, "1", "Heartbeat", {}])
        await world.door.until(lambda: bool(world.door.calls))
        world.tls.replace_trust([])
        await ask(living, [2, "2", "Heartbeat", {}])
        await world.door.until(lambda: len(world.door.calls) == 2)


async def test_a_broken_replacement_changes_nothing(world: World, tmp_path: Path) -> None:
    world.charger()
    with pytest.raises(SettingsError):
        world.tls.replace_trust(["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
    with pytest.raises(SettingsError):
        world.tls.replace_identities([ServerIdentity(tmp_path / "none.pem", tmp_path / "none.key")])
    with pytest.raises(SettingsError):
        FrontTls([], [])
    async with world.dial_basic():
        pass


async def test_the_four_suites_ocpp_demands_are_among_the_ciphers_and_nothing_older_than_tls_1_2(
    world: World,
) -> None:
    assert world.tls._context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert {
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
    } <= set(CIPHERS.split(":"))


# ---------------------------------------------------------------- peers that are no chargers


async def test_garbage_instead_of_a_handshake_costs_one_connection(world: World) -> None:
    world.charger()
    reader, writer = await asyncio.open_connection(HOST, world.gateway.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
    async with asyncio.timeout(PATIENCE_S):
        await reader.read()
    writer.close()
    await world.reports.wait_for_failures(1)
    async with world.dial_basic():
        pass


async def test_a_probe_that_sends_nothing_is_not_a_failed_handshake(world: World) -> None:
    _, writer = await asyncio.open_connection(HOST, world.gateway.port)
    writer.close()
    await writer.wait_closed()
    world.charger()
    async with world.dial_basic():
        await world.door.until(lambda: bool(world.door.sessions))
    assert world.reports.failed_handshakes == 0


async def test_garbage_inside_tls_is_dropped_and_counts_as_a_handshake_that_led_nowhere(world: World) -> None:
    def dial() -> bytes:
        client = RawClient(world.gateway.port, world.client_tls())
        client.tls.sendall(b"\x00\x01\x02 not http\r\n\r\n")
        try:
            return client.tls.recv(100)
        finally:
            client.close()

    assert await asyncio.to_thread(dial) == b""
    await world.reports.wait_for_failures(1)


async def test_who_does_not_finish_the_handshake_or_the_upgrade_in_time_is_dropped(world: World) -> None:
    reader, writer = await asyncio.open_connection(HOST, world.gateway.port)
    client = await asyncio.to_thread(RawClient, world.gateway.port, world.client_tls())
    world.times.advance(9)
    world.gateway.beat()
    assert not reader.at_eof()
    world.times.advance(2)
    world.gateway.beat()
    await dropped(reader)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        assert await asyncio.to_thread(client.tls.recv, 1) == b""
    await world.reports.wait_for_failures(1)
    writer.close()
    client.close()


async def test_handshakes_beyond_the_limit_wait_for_their_turn(tmp_path: Path) -> None:
    world = new_world(tmp_path, options=GatewayOptions(handshakes_in_flight=1))
    await world.start()
    world.charger()
    # A first byte takes the only place; the next charger waits until that peer is gone.
    _, stuck = await asyncio.open_connection(HOST, world.gateway.port)
    stuck.write(b"\x16")
    await stuck.drain()
    await world.counts.until("ocpp_handshakes_started", 1)
    waiting = asyncio.create_task(_open(world))
    await world.counts.until("ocpp_handshakes_started", 2)
    await _turns()
    assert not world.door.sessions
    stuck.close()
    async with asyncio.timeout(PATIENCE_S):
        await waiting
    await world.gateway.stop()


async def test_a_handshake_that_waited_for_its_turn_has_all_its_time_then(tmp_path: Path) -> None:
    world = new_world(tmp_path, options=GatewayOptions(handshakes_in_flight=1))
    await world.start()
    first, slow = await asyncio.open_connection(HOST, world.gateway.port)
    slow.write(b"\x16")
    await slow.drain()
    await world.counts.until("ocpp_handshakes_started", 1)
    waiting, patient = await asyncio.open_connection(HOST, world.gateway.port)
    patient.write(b"\x16")
    await patient.drain()
    await world.counts.until("ocpp_handshakes_started", 2)
    world.times.advance(11)
    world.gateway.beat()
    await dropped(first)  # it had its turn, and now the other one has
    world.times.advance(9)
    world.gateway.beat()
    await _turns()
    assert not waiting.at_eof()
    world.times.advance(2)
    world.gateway.beat()
    await dropped(waiting)
    slow.close()
    patient.close()
    await world.gateway.stop()


async def test_who_waits_for_a_turn_that_does_not_come_is_dropped_in_the_end(tmp_path: Path) -> None:
    world = new_world(tmp_path, options=GatewayOptions(handshakes_in_flight=0, turn_wait_s=30))
    await world.start()
    reader, writer = await asyncio.open_connection(HOST, world.gateway.port)
    writer.write(b"\x16")
    await writer.drain()
    await world.counts.until("ocpp_handshakes_started", 1)
    world.times.advance(29)
    world.gateway.beat()
    await _turns()
    assert not reader.at_eof()
    world.times.advance(2)
    world.gateway.beat()
    await dropped(reader)
    writer.close()
    await world.gateway.stop()


async def test_a_connection_that_is_gone_leaves_nothing_for_the_garbage_collector(world: World) -> None:
    world.charger()
    gc.collect()
    gc.disable()
    try:
        others = _server_ends()  # of whatever this process tested before
        async with world.dial_basic():
            await world.door.until(lambda: bool(world.door.sessions))
            assert len(_server_ends()) == len(others) + 1
        await world.counts.until("ocpp_sessions_closed closed-by-charger", 1)
        # The session is still known to the door, as it is to an actor that owes evidence.
        assert [each for each in _server_ends() if each not in others] == []
    finally:
        gc.enable()


def _server_ends() -> list[ssl.SSLObject]:
    return [each for each in gc.get_objects() if type(each) is ssl.SSLObject and each.server_side]


async def _turns() -> None:
    for _ in range(500):  # of the loop client and server share: more than a handshake needs
        await asyncio.sleep(0)


async def _open(world: World) -> None:
    async with world.dial_basic():
        await world.door.until(lambda: bool(world.door.sessions))


async def test_sockets_beyond_the_cap_are_dropped_and_sessions_do_not_count(tmp_path: Path) -> None:
    world = new_world(tmp_path, options=GatewayOptions(sockets_not_upgraded=1))
    await world.start()
    world.charger()
    async with world.dial_basic():
        await world.door.until(lambda: bool(world.door.sessions))
        _, idle = await asyncio.open_connection(HOST, world.gateway.port)
        await world.counts.until("ocpp_sockets_refused too-many-not-upgraded", 0)
        reader, second = await asyncio.open_connection(HOST, world.gateway.port)
        await dropped(reader)
        idle.close()
        second.close()
    await world.gateway.stop()


async def test_a_reset_in_the_middle_of_the_handshake_is_counted(world: World) -> None:
    plain = socket.create_connection((HOST, world.gateway.port))
    plain.sendall(b"\x16\x03\x01\x02\x00")
    await world.counts.until("ocpp_handshakes_started", 1)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plain.close()
    await world.reports.wait_for_failures(1)


async def test_frames_larger_than_one_tls_record_arrive_whole(world: World) -> None:
    world.charger()
    async with world.dial_basic() as socket:
        await ask(socket, [2, "1", "DataTransfer", {"vendorId": "v", "data": "x" * 60_000}])
        inbound = await world.door.next_inbound(1)
        assert getattr(inbound, "size", 0) > 60_000
        await ask(socket, "[" + " " * 70_000 + "]")
        with pytest.raises(Exception, match="1009"):
            await answer(socket)
