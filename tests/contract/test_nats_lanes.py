"""Handing over between lanes costs one wake-up for many messages, loses nothing, and outlives the lanes it serves."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from bfactors.errors import Unavailable
from bfactors.identity import partition_of
from deploy.embedded import EmbeddedNats, inbox_prefix
from gateways.nats.connection import NatsConnection
from gateways.nats.crossing import Crossing
from gateways.nats.lanes import run_on
from gateways.nats.settings import NatsSettings
from tests.fakes.nats_sides import JetStreamSide, a_csr, jetstream_side, read_some
from tests.patience import PATIENCE_S


@pytest.fixture
async def side(nats_server: EmbeddedNats) -> AsyncIterator[JetStreamSide]:
    async with jetstream_side(nats_server) as jetstream:
        yield jetstream


class CountedLoop:
    """Counts the wake-ups asked of a loop."""

    def __init__(self) -> None:
        self.wakes = 0
        self._loop = asyncio.get_running_loop()

    def call_soon_threadsafe(self, callback: Callable[..., object], *arguments: Any) -> None:
        self.wakes += 1
        self._loop.call_soon_threadsafe(callback, *arguments)


async def test_many_puts_before_the_loop_turns_cost_one_wake_up() -> None:
    loop, received = CountedLoop(), list[int]()
    crossing = Crossing[int](loop, received.append)  # type: ignore[arg-type]  # all it uses of a loop
    for round_ in range(2):
        for number in range(100):
            crossing.put(number)
        await asyncio.sleep(0)
        assert loop.wakes == round_ + 1
    assert received == 2 * list(range(100))


async def test_a_message_put_just_as_a_delivery_ends_is_delivered_as_well() -> None:
    received: list[str] = []
    crossing = Crossing(asyncio.get_running_loop(), received.append)

    class PutWhenFoundEmpty(deque[str]):
        put_late = True

        def __bool__(self) -> bool:
            found = len(self) > 0
            if not found and self.put_late:
                self.put_late = False
                crossing.put("late")
            return found

    crossing._queue = PutWhenFoundEmpty()
    crossing.put("early")
    for _ in range(3):
        await asyncio.sleep(0)
    assert received == ["early", "late"]


async def test_nothing_is_lost_when_several_threads_put_at_once() -> None:
    received: list[tuple[int, int]] = []
    all_here = asyncio.Event()

    def receive(item: tuple[int, int]) -> None:
        received.append(item)
        if len(received) == 4 * 5000:
            all_here.set()

    crossing = Crossing(asyncio.get_running_loop(), receive)

    def put(thread: int) -> None:
        for number in range(5000):
            crossing.put((thread, number))

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(asyncio.to_thread(put, thread) for thread in range(4)))
        await all_here.wait()
    for thread in range(4):
        assert [number for who, number in received if who == thread] == list(range(5000))


async def test_a_lane_that_ends_while_it_waits_harms_nobody(side: JetStreamSide) -> None:
    async def hasty() -> None:
        asyncio.get_running_loop().create_task(side.log.append(a_csr("CP1", 1)))
        await asyncio.sleep(0)  # on its way, and then the lane is gone

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.to_thread(asyncio.run, hasty())
        await side.log.append(a_csr("CP1", 2))
        found = await read_some(side.reader, partition_of("CP1"), 0, 2)
    assert {evidence.evidence_id for evidence in found} == {
        a_csr("CP1", number).evidence_id for number in (1, 2)
    }


async def test_a_closed_lane_is_an_outage() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(Unavailable):
        await run_on(loop, asyncio.sleep(0))


async def test_pauses_between_attempts_grow_to_their_bound_with_jitter(nats_server: EmbeddedNats) -> None:
    pauses: list[float] = []
    enough = asyncio.Event()

    async def wait(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            enough.set()
            await asyncio.Event().wait()

    reserved = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = reserved.sockets[0].getsockname()[1]
    reserved.close()
    await reserved.wait_closed()
    connection = NatsConnection(
        NatsSettings(
            (f"nats://127.0.0.1:{port}",),
            nats_server.seed_file("core"),
            inbox_prefix("core"),
            "nobody there",
            longest_pause_s=2.0,
        ),
        wait=wait,
        jitter=iter([0.0, 1.0] * 8).__next__,
    )
    connection.start()
    await asyncio.wait_for(enough.wait(), PATIENCE_S)
    assert pauses == [0.1, 0.4, 0.4, 1.6, 1.0, 2.0, 1.0, 2.0]
    assert not connection.healthy
    await connection.close()


async def test_a_refused_seed_is_tried_again_for_ever_and_never_raises(nats_server: EmbeddedNats) -> None:
    import nkeys

    stranger = nats_server.seed_file("core").with_name("stranger.seed")
    stranger.write_bytes(nkeys.encode_seed(b"7" * 32, nkeys.PREFIX_BYTE_USER))
    attempts = asyncio.Event()
    count = 0

    async def wait(_: float) -> None:
        nonlocal count
        count += 1
        if count == 3:
            attempts.set()
            await asyncio.Event().wait()

    connection = NatsConnection(
        NatsSettings((nats_server.url,), stranger, inbox_prefix("core"), "stranger"), wait=wait
    )
    connection.start()
    await asyncio.wait_for(attempts.wait(), PATIENCE_S)
    with pytest.raises(Unavailable):
        await connection.publish("x")
    await connection.close()
    stranger.unlink()
