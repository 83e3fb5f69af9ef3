"""What callers notice when the NATS server is killed in the middle of things and comes back: nothing acked is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from bfactors import subject
from bfactors.errors import Unavailable
from bfactors.evidence import Evidence
from bfactors.identity import partition_of
from deploy.embedded import EmbeddedNats
from gateways.nats.evidence_log import NatsEvidenceLog
from gateways.nats.evidence_reader import NatsEvidenceReader
from gateways.nats.layout import NatsLayout
from gateways.nats.ordered_stream import OrderedStream
from gateways.nats.publisher import AckedPublisher
from tests.fakes.killable_nats import both_connected, kill, killable_server, killable_side
from tests.fakes.nats_sides import (
    JetStreamSide,
    Seen,
    a_csr,
    empty,
    read_positions,
)
from tests.patience import PATIENCE_S

CHARGER = "CP1"
PARTITION = partition_of(CHARGER)


@pytest.fixture(scope="module")
def killable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNats]:
    with killable_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
async def side(killable: EmbeddedNats) -> AsyncIterator[JetStreamSide]:
    async with killable_side(killable) as jetstream:
        yield jetstream


async def test_killing_the_server_during_publication_loses_nothing_acked_and_callers_resume(
    killable: EmbeddedNats, side: JetStreamSide
) -> None:
    total, failed = 3000, Seen()
    acked: list[str] = []
    quarter = asyncio.Event()
    publisher = AckedPublisher(side.connect.connection, side.connect.replies, ack_within_s=PATIENCE_S)
    publisher.start()
    log = NatsEvidenceLog(publisher, "node")

    async def publish(numbers: range) -> None:
        for number in numbers:
            try:
                await log.append(a_csr(CHARGER, number))
            except Unavailable as error:
                failed.add(error)
            else:
                acked.append(a_csr(CHARGER, number).evidence_id)
                if len(acked) == total // 4:
                    quarter.set()

    publishing = [asyncio.ensure_future(publish(range(start, total, 50))) for start in range(50)]
    await quarter.wait()
    await kill(killable, side)
    acked_before = len(acked)
    killable.restart()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*publishing)
    assert acked_before < total
    assert failed == []  # the outage was shorter than these callers wait
    found = [evidence.evidence_id for _, evidence in await read_positions(side.reader, PARTITION, 0, total)]
    assert sorted(found) == sorted(acked)  # all of them, and each once
    await publisher.close()


async def test_an_append_is_given_up_when_nobody_acknowledges_in_time(
    killable: EmbeddedNats, side: JetStreamSide
) -> None:
    publisher = AckedPublisher(side.connect.connection, side.connect.replies, ack_within_s=0.3)
    publisher.start()
    log = NatsEvidenceLog(publisher, "node")
    await kill(killable, side)
    with pytest.raises(Unavailable, match="no acknowledgement"):
        await log.append(a_csr(CHARGER))
    killable.restart()
    await both_connected(side)
    await log.append(a_csr(CHARGER))
    await publisher.close()


async def test_an_append_without_a_stream_is_given_up_in_time(side: JetStreamSide) -> None:
    publisher = AckedPublisher(side.connect.connection, side.connect.replies, ack_within_s=0.6)
    publisher.start()
    await empty(side.core)
    with pytest.raises(Unavailable):
        await NatsEvidenceLog(publisher, "node").append(a_csr(CHARGER))
    await publisher.close()


async def test_an_append_waits_for_a_stream_that_is_being_made(side: JetStreamSide) -> None:
    await empty(side.core)
    appending = asyncio.ensure_future(side.log.append(a_csr(CHARGER)))
    await side.connect.connection.flush()  # the server has said that nobody takes it
    assert not appending.done()
    await side.core.ensure_layout(NatsLayout())
    await appending  # or else Unavailable, once it had waited in vain


async def test_a_full_stream_refuses_and_keeps_what_it_has(side: JetStreamSide) -> None:
    name = subject.evidence_stream(PARTITION)
    info = msgspec.json.decode(
        (await side.core.replies.request(f"$JS.API.STREAM.INFO.{name}", b"", 5)).payload
    )
    small = {**info["config"], "max_bytes": 4096}
    await side.core.replies.request(f"$JS.API.STREAM.UPDATE.{name}", msgspec.json.encode(small), 5)
    said = await asyncio.gather(
        *(side.log.append(a_csr(CHARGER, number)) for number in range(100)), return_exceptions=True
    )
    refused = [error for error in said if error is not None]
    assert 0 < len(refused) < 100
    assert all(isinstance(error, Unavailable) and "maximum bytes" in str(error) for error in refused)
    stored = 100 - len(refused)
    assert len(await read_positions(side.reader, PARTITION, 0, stored)) == stored


async def test_a_reader_resumes_gap_free_after_every_kill(
    killable: EmbeddedNats, side: JetStreamSide
) -> None:
    seen = Seen()
    positions: list[int] = []

    async def read() -> None:
        async for batch in side.reader.read(PARTITION, 0):
            for position, raw in batch:
                positions.append(position)
                seen.add(msgspec.json.decode(raw, type=Evidence).evidence_id)

    reading = asyncio.ensure_future(read())
    for first in (0, 300, 600):
        await asyncio.gather(
            *(side.log.append(a_csr(CHARGER, number)) for number in range(first, first + 300))
        )
        if first == 300:
            await seen.until_count(300)  # killed in the middle of reading once, after reading once
        await kill(killable, side)
        killable.restart()
        await both_connected(side)
    await seen.until_count(900)
    reading.cancel()
    await asyncio.wait({reading})
    assert positions == list(range(positions[0], positions[0] + 900))
    assert len(set(seen)) == 900


async def test_a_silent_server_is_noticed_by_its_missing_heartbeats(
    killable: EmbeddedNats, side: JetStreamSide
) -> None:
    stream = OrderedStream(
        side.core.connection,
        side.core.replies,
        subject.evidence_stream(PARTITION),
        start="after-position",
        heartbeat_s=0.2,
    )
    batches = stream.batches()
    assert await anext(batches) == ([], True)
    read = asyncio.ensure_future(anext(batches))
    os.kill(killable.pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while stream.live:
                await asyncio.wait({read}, timeout=0.05)
    finally:
        os.kill(killable.pid, signal.SIGCONT)
    await side.log.append(a_csr(CHARGER))
    async with asyncio.timeout(PATIENCE_S):
        while not (batch := await read).messages:
            read = asyncio.ensure_future(anext(batches))
    assert len(batch.messages) == 1
    await batches.aclose()


async def test_a_reader_steps_over_messages_that_are_gone_and_says_so(
    side: JetStreamSide, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(6):
        await side.log.append(a_csr(CHARGER, number))
    name = subject.evidence_stream(PARTITION)
    info = msgspec.json.decode(
        (await side.core.replies.request(f"$JS.API.STREAM.INFO.{name}", b"", 5)).payload
    )
    # Only the limits of a stream can take messages away: its bytes, here, in place of its age.
    shorter = {**info["config"], "max_msgs": 2, "discard": "old"}
    await side.core.replies.request(f"$JS.API.STREAM.UPDATE.{name}", msgspec.json.encode(shorter), 5)
    found = await read_positions(side.reader, PARTITION, 1, 2)
    assert [position for position, _ in found] == [5, 6]
    assert "3 messages from 2 on are gone" in caplog.text


async def test_a_reader_made_while_nats_is_away_starts_when_it_is_back(
    killable: EmbeddedNats, side: JetStreamSide
) -> None:
    await side.log.append(a_csr(CHARGER))
    await kill(killable, side)
    reader = NatsEvidenceReader(side.core.connection, side.core.replies)
    reading = asyncio.ensure_future(read_positions(reader, PARTITION, 0, 1))
    killable.restart()
    assert [evidence for _, evidence in await reading] == [a_csr(CHARGER)]
