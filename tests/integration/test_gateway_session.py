"""A session from its opening to its end: cuts, displacement, held reading, dead peers, draining, other lanes."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from bfactors.capability import Capabilities
from bfactors.errors import SettingsError
from bfactors.instruction import CloseSession, Reboot
from bfactors.ocpp import BootNotified, InboundCall, OutboundCall
from gateways.ocpp.option import GatewayOptions
from tests.integration.gateway_world import (
    HOST,
    World,
    answer,
    ask,
    key_of,
    known,
    new_world,
    world,
)
from tests.patience import PATIENCE_S

__all__ = ["world"]
pytestmark = pytest.mark.uvloop


async def closing(client: ClientConnection) -> tuple[int, str]:
    """How the gateway closed: code and reason."""
    with pytest.raises(ConnectionClosed) as caught:
        await answer(client)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


# ---------------------------------------------------------------- cuts


@pytest.mark.parametrize("state", ["revoked", "inactive", "rejected"])
async def test_a_session_is_cut_when_its_leaf_goes_out_of_use(world: World, state: str) -> None:
    leaf = world.issuing.leaf()
    world.charger("CS-1", (leaf, "active"))
    async with world.dial(leaf=leaf) as client:
        await world.door.until(lambda: bool(world.door.sessions))
        world.records.edit("CS-1", credentials=(known(leaf, state),))
        assert world.door.closed_because == {"session-1": f"credential-{state}"}, "told at once"
        assert await closing(client) == (1008, f"credential-{state}")
    assert world.gateway.sessions == ()


async def test_a_session_is_cut_when_its_leaf_is_listed_no_more(world: World) -> None:
    leaf = world.issuing.leaf()
    world.charger("CS-1", (leaf, "active"))
    async with world.dial(leaf=leaf) as client:
        await world.door.until(lambda: bool(world.door.sessions))
        world.records.edit("CS-1", credentials=())
        assert await closing(client) == (1008, "credential-unknown")


async def test_a_session_is_cut_when_its_charger_is_refused_or_its_key_removed(world: World) -> None:
    world.charger()
    async with world.dial_basic() as client:
        await world.door.until(lambda: len(world.door.sessions) == 1)
        world.records.edit("CS-1", mode="refused", refusal_reason="stolen")
        assert await closing(client) == (1008, "stolen")
    world.records.edit("CS-1", mode="accepted")
    async with world.dial_basic() as client:
        await world.door.until(lambda: len(world.door.sessions) == 2)
        world.records.edit("CS-1", keys=(key_of("a-newer-key-000000000", 2),))
        assert await closing(client) == (1008, "key-removed")


async def test_expiry_supersession_and_a_raised_profile_leave_the_session_open(world: World) -> None:
    leaf = world.issuing.leaf()
    world.charger("CS-1", (leaf, "active"))
    world.charger("CS-2")
    async with world.dial(leaf=leaf) as first, world.dial_basic("CS-2") as second:
        await world.door.until(lambda: len(world.door.sessions) == 2)
        world.records.edit("CS-1", credentials=(known(leaf, "superseded"),))
        world.records.edit("CS-1", credentials=(known(leaf, "expired"),))
        world.records.edit("CS-2", allowed_profiles=(3,))
        for client in (first, second):
            await ask(client, [2, "1", "Heartbeat", {}])
        await world.door.until(lambda: len(world.door.calls) == 2)
    assert world.counts.counted["ocpp_sessions_cut credential-superseded"] == 0


async def test_cut_all_closes_those_the_predicate_names(world: World) -> None:
    world.charger("CS-1")
    world.charger("CS-2", family="other")
    async with world.dial_basic("CS-1") as first, world.dial_basic("CS-2"):
        await world.door.until(lambda: len(world.door.sessions) == 2)
        assert world.gateway.cut_all(lambda info: info.record.family == "acme", "lane-abandoned") == 1
        assert await closing(first) == (1008, "lane-abandoned")
        assert [session.info.charger_id for session in world.gateway.sessions] == ["CS-2"]


async def test_a_newer_session_of_the_same_charger_displaces_the_older(world: World) -> None:
    world.charger()
    async with world.dial_basic() as older:
        await world.door.until(lambda: len(world.door.sessions) == 1)
        async with world.dial_basic() as newer:
            assert await closing(older) == (1000, "displaced")
            await world.door.until(lambda: len(world.door.sessions) == 2)
            assert world.door.closed_because == {"session-1": "displaced"}
            await ask(newer, [2, "1", "Heartbeat", {}])
            await world.door.until(lambda: bool(world.door.calls))
            assert [session.info.session_id for session in world.gateway.sessions] == ["session-2"]


async def test_a_failed_attempt_displaces_nobody(world: World) -> None:
    world.charger()
    async with world.dial_basic() as older:
        with pytest.raises(Exception, match="401"):
            async with world.dial(basic=("CS-1", "not-the-password-at-all")):
                pass
        await ask(older, [2, "1", "Heartbeat", {}])
        await world.door.until(lambda: bool(world.door.calls))


# ---------------------------------------------------------------- reading and writing


async def test_reading_stops_when_the_actor_is_full_and_goes_on_where_it_stopped(world: World) -> None:
    world.charger()
    async with world.dial_basic() as client:
        await world.door.until(lambda: bool(world.door.sessions))
        world.door.takes = False
        for number in range(30):
            await ask(client, [2, str(number), "Heartbeat", {}])
        await world.door.until(lambda: len(world.door.calls) == 1)
        session = world.door.sessions[0]
        session.resume_reading()
        await world.door.until(lambda: len(world.door.calls) == 2)
        world.door.takes = True
        session.resume_reading()
        await world.door.until(lambda: len(world.door.calls) == 30)
        assert [call.message_id for call in world.door.calls] == [str(number) for number in range(30)]


async def test_a_session_that_reads_nothing_while_held_can_still_be_closed(world: World) -> None:
    world.charger()
    async with world.dial_basic() as client:
        await world.door.until(lambda: bool(world.door.sessions))
        world.door.takes = False
        await ask(client, [2, "1", "Heartbeat", {}])
        await world.door.until(lambda: bool(world.door.calls))
        world.door.sessions[0].close(1008, "serial-mismatch")
        assert await closing(client) == (1008, "serial-mismatch")


async def test_other_lanes_may_send_and_close_and_their_frames_leave_in_order(world: World) -> None:
    world.charger()
    async with world.dial_basic() as client:
        await world.door.until(lambda: bool(world.door.sessions))
        session = world.door.sessions[0]

        def elsewhere() -> None:
            for number in range(50):
                session.send(OutboundCall(f"c{number}", Reboot()))
            session.send(OutboundCall("the end", CloseSession("credential-activated-elsewhere")))

        await asyncio.to_thread(elsewhere)
        assert [(await answer(client))[1] for _ in range(50)] == [f"c{number}" for number in range(50)]
        assert await closing(client) == (1000, "credential-activated-elsewhere")
        session.send(OutboundCall("too late", Reboot()))
        session.close(1000, "again")
    await world.door.until(lambda: len(world.door.closed_because) == 1)


async def test_a_charger_that_does_not_read_is_dropped_at_the_bound(tmp_path: Path) -> None:
    world = new_world(tmp_path, options=GatewayOptions(unsent_bytes=64 * 1024))
    await world.start()
    world.charger()
    async with world.dial_basic() as client:
        await world.door.until(lambda: bool(world.door.sessions))
        client.transport.pause_reading()
        session = world.door.sessions[0]
        for number in range(100_000):
            session.send(OutboundCall(f"c{number}", Reboot()))
            if world.door.closed_because:
                break
            if number % 500 == 0:
                await asyncio.sleep(0)
        assert world.door.closed_because == {"session-1": "write-buffer-full"}
        client.transport.abort()
    await world.gateway.stop()


async def test_bytes_unsent_for_too_long_drop_the_charger(tmp_path: Path) -> None:
    world = new_world(tmp_path, options=GatewayOptions(unsent_bytes=64 * 1024 * 1024, unsent_s=30))
    await world.start()
    world.charger()
    async with world.dial_basic() as client:
        await world.door.until(lambda: bool(world.door.sessions))
        client.transport.pause_reading()
        connection = next(iter(world.gateway._connections))
        number = 0
        async with asyncio.timeout(PATIENCE_S):
            while connection.transport.get_write_buffer_size() < 500_000:
                for _ in range(500):
                    number += 1
                    world.door.send(OutboundCall(f"c{number}", Reboot()))
                await asyncio.sleep(0)
        world.gateway.beat()
        world.times.advance(29)
        world.gateway.beat()
        assert not world.door.closed_because
        world.times.advance(2)
        world.gateway.beat()
        assert world.door.closed_because == {"session-1": "unsent-too-long"}
        client.transport.abort()
    await world.gateway.stop()


# ---------------------------------------------------------------- signs of life


async def test_a_charger_is_pinged_every_interval_and_lives_as_long_as_it_answers(world: World) -> None:
    world.charger()
    async with world.dial_basic() as client:
        await world.door.until(lambda: bool(world.door.sessions))
        connection = next(iter(world.gateway._connections))
        pings = 0
        for step in range(10):
            world.times.advance(30)
            world.gateway.beat()
            pings += connection.awaiting_pong
            # The client answers a ping by itself, before it sends this call.
            await client.ping()
            await ask(client, [2, str(step), "Heartbeat", {}])
            await world.door.until(lambda step=step: len(world.door.calls) > step)
            assert not connection.awaiting_pong
        assert pings == 5
        assert not world.door.closed_because


async def test_a_charger_that_answers_no_ping_is_dropped(world: World) -> None:
    world.charger()
    async with world.dial_basic() as client:
        await world.door.until(lambda: bool(world.door.sessions))
        client.transport.pause_reading()
        world.times.advance(60)
        world.gateway.beat()
        world.times.advance(29)
        world.gateway.beat()
        assert not world.door.closed_because
        world.times.advance(1)
        world.gateway.beat()
        assert world.door.closed_because == {"session-1": "no-pong"}


async def test_a_charger_that_cannot_answer_pings_is_not_asked(world: World) -> None:
    world.charger(capabilities=Capabilities(no_ping=True))
    async with world.dial_basic() as client:
        await world.door.until(lambda: bool(world.door.sessions))
        client.transport.pause_reading()
        for _ in range(4):
            world.times.advance(60)
            world.gateway.beat()
        assert not world.door.closed_because
        client.transport.resume_reading()


async def test_a_late_beat_judges_nobody_by_a_ping_it_has_just_sent(world: World) -> None:
    world.charger()
    async with world.dial_basic() as client:
        await world.door.until(lambda: bool(world.door.sessions))
        client.transport.pause_reading()
        world.times.advance(110)
        world.gateway.beat()
        assert not world.door.closed_because
        client.transport.resume_reading()


async def test_a_closing_that_the_charger_ignores_ends_by_itself(world: World) -> None:
    world.charger()
    async with world.dial_basic() as client:
        await world.door.until(lambda: bool(world.door.sessions))
        client.transport.pause_reading()
        world.door.sessions[0].close(1008, "cut")
        assert world.door.closed_because == {"session-1": "cut"}
        world.times.advance(6)
        world.gateway.beat()
        await world.counts.until("ocpp_sessions_closed cut", 1)
        client.transport.abort()


async def test_the_end_is_told_with_its_reason_whoever_ends_it(world: World) -> None:
    world.charger()
    async with world.dial_basic():
        await world.door.until(lambda: len(world.door.sessions) == 1)
    await world.door.until(lambda: world.door.closed_because.get("session-1") == "closed-by-charger")
    async with world.dial_basic() as client:
        await world.door.until(lambda: len(world.door.sessions) == 2)
        client.transport.abort()
        await world.door.until(lambda: world.door.closed_because.get("session-2") == "connection-lost")


async def test_an_error_behind_the_door_costs_that_connection_only(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.charger("CS-1")
    world.charger("CS-2")

    def broken(session: object, inbound: object) -> None:
        raise ValueError("a bug behind the door")

    async with world.dial_basic("CS-1") as first, world.dial_basic("CS-2") as second:
        await world.door.until(lambda: len(world.door.sessions) == 2)
        world.door.react = broken
        await ask(first, [2, "1", "Heartbeat", {}])
        with pytest.raises(ConnectionClosed):
            await answer(first)
        world.door.react = lambda session, inbound: None
        await ask(second, [2, "1", "Heartbeat", {}])
        await world.door.until(lambda: len(world.door.calls) == 2)
    assert next(iter(world.door.closed_because.values())) == "internal-error"
    assert "connection failed" in caplog.text


# ---------------------------------------------------------------- the listener


async def test_stop_closes_every_session_and_frees_the_port(world: World) -> None:
    world.charger()
    async with world.dial_basic() as client:
        await world.door.until(lambda: bool(world.door.sessions))
        port = world.gateway.port
        stopping = asyncio.create_task(world.gateway.stop())
        assert await closing(client) == (1001, "gateway-stopping")
        await stopping
    again = world.new_gateway()
    await again.start(HOST, port)
    await again.stop()
    with pytest.raises(OSError):
        socket.create_connection((HOST, port), timeout=1)


async def test_draining_takes_nobody_new_and_closes_the_open_ones(world: World) -> None:
    world.charger("CS-1")
    world.charger("CS-2")
    async with world.dial_basic("CS-1") as first, world.dial_basic("CS-2") as second:
        await world.door.until(lambda: len(world.door.sessions) == 2)
        draining = asyncio.create_task(world.gateway.drain(1000))
        assert {await closing(first), await closing(second)} == {(1001, "draining")}
        await draining
        with pytest.raises(OSError):
            async with world.dial_basic("CS-1"):
                pass


async def test_a_taken_port_is_one_line_for_the_operator(world: World) -> None:
    with pytest.raises(SettingsError, match=f"charger port {HOST}:{world.gateway.port} is taken") as caught:
        await world.new_gateway().start(HOST, world.gateway.port)
    assert "\n" not in str(caught.value)


async def test_the_boot_notification_reaches_the_actor_as_a_typed_message(world: World) -> None:
    world.charger()
    async with world.dial_basic() as client:
        station = {"model": "M1", "vendorName": "ACME", "serialNumber": "SN-1", "firmwareVersion": "1.2"}
        await ask(client, [2, "b", "BootNotification", {"reason": "PowerUp", "chargingStation": station}])
        inbound = await world.door.next_inbound(1)
    assert isinstance(inbound, InboundCall)
    assert inbound.message == BootNotified("ACME", "M1", "SN-1", "1.2", "PowerUp")
    assert world.gateway.url == f"wss://{HOST}:{world.gateway.port}/ocpp"
