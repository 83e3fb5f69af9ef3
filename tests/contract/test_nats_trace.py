"""Frames under trace, from connect's account to core's memory over a real server."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest

from bfactors import subject
from bfactors.frame_trace import FRAMES_MAX, TracedFrame
from deploy.embedded import EmbeddedNats
from gateways.nats.trace import MESSAGE_MAX_BYTES, TRACES_MAX, NatsTraceSink, TraceWatch
from tests.fakes.nats_sides import AWKWARD_NAMES, JetStreamSide, jetstream_side
from tests.integration.gateway_world import Counts


@pytest.fixture
async def side(nats_server: EmbeddedNats) -> AsyncIterator[JetStreamSide]:
    async with jetstream_side(nats_server) as jetstream:
        yield jetstream


def frame(number: int = 1, trace_id: str = "t1") -> TracedFrame:
    return TracedFrame(
        trace_id=trace_id,
        at=datetime(2026, 3, 1, tzinfo=UTC),
        session_id="s1",
        direction="from-charger",
        kind="call",
        action="Heartbeat",
        message_id=f"m{number}",
        text="{}",
        chars=20,
    )


async def arrived(side: JetStreamSide) -> None:
    await side.connect.connection.flush()
    await side.core.connection.flush()


@pytest.fixture
async def watch(side: JetStreamSide) -> AsyncIterator[TraceWatch]:
    made = TraceWatch(side.core.connection)
    await made.start()
    await side.core.connection.flush()
    yield made
    await made.stop()


async def test_frames_arrive_in_order_under_their_charger_and_trace(
    side: JetStreamSide, watch: TraceWatch
) -> None:
    sink = NatsTraceSink(side.connect.connection, Counts())
    for name in AWKWARD_NAMES:
        for number in (1, 2):
            sink.saw(name, frame(number))
    await arrived(side)
    for name in AWKWARD_NAMES:
        assert watch.frames(name, "t1") == (frame(1), frame(2))
    assert watch.frames(AWKWARD_NAMES[0], "t2") == ()


async def test_a_cores_memory_is_bounded(side: JetStreamSide, watch: TraceWatch) -> None:
    sink = NatsTraceSink(side.connect.connection, Counts())
    for number in range(FRAMES_MAX + 5):
        sink.saw("CP-1", frame(number))
    await arrived(side)
    assert len(watch.frames("CP-1", "t1")) == FRAMES_MAX
    for number in range(TRACES_MAX):
        sink.saw("CP-2", frame(trace_id=f"other-{number}"))
    await arrived(side)
    assert watch.frames("CP-1", "t1") == (), "the oldest goes first"
    assert len(watch.frames("CP-2", f"other-{TRACES_MAX - 1}")) == 1


async def test_what_is_no_frame_is_passed_over_and_not_logged(
    side: JetStreamSide, watch: TraceWatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        huge = msgspec.json.encode(msgspec.structs.replace(frame(), text="x" * MESSAGE_MAX_BYTES))
        for payload in (b"no-frame-but-a-secret", huge):
            await side.connect.connection.publish(subject.trace("CP-1"), payload)
        await arrived(side)
    assert watch.frames("CP-1", "t1") == ()
    assert "a-secret" not in caplog.text


async def test_without_nats_frames_are_lost_and_counted(side: JetStreamSide) -> None:
    counts = Counts()
    await side.connect.connection.close()
    NatsTraceSink(side.connect.connection, counts).saw("CP-1", frame())
    assert counts.counted["ocpp_trace_frames_lost"] == 1
