"""Frames of one charger on demand, over real sockets: begun and ended by its admission record, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection

from bfactors.frame_trace import TracedFrame, TraceOrder
from bfactors.ocpp import CallErrorReply, Inbound, InboundCall, OutboundReply
from bfactors.ports import Session
from tests.integration.gateway_world import World, answer, new_world

pytestmark = pytest.mark.uvloop


SECRET = "MIIBSecretOfTheCharger"


class Sink:
    def __init__(self) -> None:
        self.seen: list[tuple[str, TracedFrame]] = []

    def saw(self, charger_id: str, frame: TracedFrame) -> None:
        self.seen.append((charger_id, frame))

    def told(self) -> list[tuple[str, str, str | None]]:
        return [(frame.direction, frame.kind, frame.action) for _, frame in self.seen]


def refuse(session: Session, inbound: Inbound) -> None:
    if isinstance(inbound, InboundCall):
        session.send(OutboundReply(inbound.message_id, inbound.action, CallErrorReply("InternalError", "")))


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
async def world(tmp_path: Path, sink: Sink) -> AsyncIterator[World]:
    made = new_world(tmp_path, traces=sink)
    made.door.react = refuse
    await made.start()
    yield made
    await made.gateway.stop()


def order(world: World, trace_id: str = "t1", seconds: int = 60, frames: int = 10) -> TraceOrder:
    return TraceOrder(trace_id=trace_id, until=world.times.at + timedelta(seconds=seconds), frames=frames)


async def exchanged(client: ClientConnection, message_id: str) -> None:
    call = [
        2,
        message_id,
        "SignCertificate",
        {"csr": SECRET, "certificateType": "ChargingStationCertificate"},
    ]
    await client.send(json.dumps(call))
    assert (await answer(client))[1] == message_id


CALL = ("from-charger", "call", "SignCertificate")
REPLY = ("to-charger", "error", "SignCertificate")


async def test_a_trace_begins_within_an_open_session_and_shows_both_directions(
    world: World, sink: Sink
) -> None:
    world.charger()
    async with world.dial_basic() as client:
        await exchanged(client, "m1")
        assert sink.seen == [], "off unless asked for"
        world.records.edit("CS-1", trace=order(world))
        await exchanged(client, "m2")
    assert sink.told() == [CALL, REPLY]
    assert {(charger, frame.message_id, frame.session_id) for charger, frame in sink.seen} == {
        ("CS-1", "m2", "session-1")
    }
    assert SECRET not in repr(sink.seen)


async def test_a_trace_goes_on_in_the_next_session(world: World, sink: Sink) -> None:
    world.charger(trace=order(world))
    for number in (1, 2):
        async with world.dial_basic() as client:
            await exchanged(client, f"m{number}")
    assert [frame.session_id for _, frame in sink.seen] == [
        "session-1",
        "session-1",
        "session-2",
        "session-2",
    ]


async def test_a_trace_ends_by_number_and_is_not_begun_again_by_another_change(
    world: World, sink: Sink
) -> None:
    world.charger(trace=order(world, frames=1))
    async with world.dial_basic() as client:
        await exchanged(client, "m1")
        world.records.edit("CS-1", site="elsewhere")
        await exchanged(client, "m2")
        assert sink.told() == [CALL]
        world.records.edit("CS-1", trace=order(world, "t2", frames=1))
        await exchanged(client, "m3")
    assert [frame.message_id for _, frame in sink.seen] == ["m1", "m3"]


async def test_a_trace_ends_by_time(world: World, sink: Sink) -> None:
    world.charger(trace=order(world, seconds=60))
    async with world.dial_basic() as client:
        world.times.advance(60)
        await exchanged(client, "m1")
    async with world.dial_basic() as client:
        await exchanged(client, "m2")
    assert sink.seen == []
    assert all(session.trace is None for session in world.gateway.sessions)


async def test_nobody_else_is_traced(world: World, sink: Sink) -> None:
    world.charger("CS-1", trace=order(world))
    world.charger("CS-2")
    async with world.dial_basic("CS-2") as client:
        await exchanged(client, "m1")
    assert sink.seen == []


async def test_what_cannot_be_read_is_noted_but_not_shown(world: World, sink: Sink) -> None:
    world.charger(trace=order(world))
    async with world.dial_basic() as client:
        await client.send(f'[2,"m1","X",{{"csr":"{SECRET}"')
        await asyncio.wait_for(world.door.next_inbound(1), 5)
    assert [frame.kind for _, frame in sink.seen][:1] == ["unreadable"]
    assert SECRET not in repr(sink.seen)
