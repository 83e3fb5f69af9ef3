"""What callers notice when the NATS server is killed in the middle of things and comes back: nothing acked is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from bfactors import subject
from bfactors.command import CancelJob, CommandAnswer, CommandEnvelope
from bfactors.errors import NotOwner, Unavailable
from bfactors.evidence import Evidence
from bfactors.identity import partition_of
from bfactors.instruction import CloseSession, InstructionOrder
from deploy.embedded import DataDirectory, EmbeddedNats
from gateways.nats.evidence_log import NatsEvidenceLog
from gateways.nats.evidence_reader import NatsEvidenceReader
from gateways.nats.instruction_inbox import NatsInstructionInbox
from gateways.nats.layout import NatsLayout
from gateways.nats.ordered_stream import OrderedStream
from gateways.nats.publisher import AckedPublisher
from tests.fakes.nats_sides import (
    DEADLINE_S,
    JetStreamSide,
    Seen,
    a_csr,
    a_record,
    empty,
    jetstream_side,
    read_positions,
)

CHARGER = "CP1"
PARTITION = partition_of(CHARGER)


@pytest.fixture(scope="module")
def killable_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNats]:
    with DataDirectory.open(Path(tmp_path_factory.mktemp("nats")) / "data") as data:
        server = EmbeddedNats.start(data, durable=False)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
async def killable(killable_server: EmbeddedNats) -> AsyncIterator[EmbeddedNats]:
    if not killable_server.is_alive:
        killable_server.restart()
    yield killable_server
    if not killable_server.is_alive:
        killable_server.restart()


@pytest.fixture
async def side(killable: EmbeddedNats) -> AsyncIterator[JetStreamSide]:
    async with jetstream_side(killable) as jetstream:
        yield jetstream
        if not killable.is_alive:  # for the clean-up of the streams
            killable.restart()
            await jetstream.core.connected(DEADLINE_S)


async def kill(server: EmbeddedNats, side: JetStreamSide) -> None:
    """kill -9, and wait until both clients have noticed."""
    lost = [asyncio.Event(), asyncio.Event()]
    for event, gateway in zip(lost, (side.core, side.connect), strict=True):
        if gateway.connection.healthy:
            gateway.connection.on_lost(event.set)
        else:
            event.set()
    os.kill(server.pid, signal.SIGKILL)
    async with asyncio.timeout(DEADLINE_S):
        for event in lost:
            await event.wait()


async def both_connected(side: JetStreamSide) -> None:
    await asyncio.gather(side.core.connected(DEADLINE_S), side.connect.connected(DEADLINE_S))


async def test_killing_the_server_during_publication_loses_nothing_acked_and_callers_resume(
    killable: EmbeddedNats, side: JetStreamSide
) -> None:
    total, failed = 3000, Seen()
    acked: list[str] = []
    quarter = asyncio.Event()

    async def publish(numbers: range) -> None:
        for number in numbers:
            try:
                await side.log.append(a_csr(CHARGER, number))
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
    async with asyncio.timeout(2 * DEADLINE_S):
        await asyncio.gather(*publishing)
    assert acked_before < total
    assert failed == []  # the outage was shorter than the 10 s a caller waits
    found = [evidence.evidence_id for _, evidence in await read_positions(side.reader, PARTITION, 0, total)]
    assert sorted(found) == sorted(acked)  # all of them, and each once


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
        async with asyncio.timeout(DEADLINE_S):
            while stream.live:
                await asyncio.wait({read}, timeout=0.05)
    finally:
        os.kill(killable.pid, signal.SIGCONT)
    await side.log.append(a_csr(CHARGER))
    async with asyncio.timeout(DEADLINE_S):
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


async def test_a_view_keeps_its_records_while_nats_is_away_and_catches_up_afterwards(
    killable: EmbeddedNats, side: JetStreamSide
) -> None:
    await side.outbox.put_admission([a_record("CP1", 1), a_record("CP2", 1)])
    view = side.admission_view()
    async with asyncio.timeout(DEADLINE_S):
        await view.wait_ready()
    assert view.age_s == 0
    await kill(killable, side)
    assert view.ready
    assert view.get("CP1") == a_record("CP1", 1)
    assert view.age_s > 0
    seen = Seen()
    view.subscribe(seen.add)
    killable.restart()
    await both_connected(side)
    await side.outbox.put_admission([a_record("CP2", 2, "refused")])
    await seen.until_count(1)
    assert seen == [a_record("CP2", 2, "refused")]
    assert view.get("CP1") == a_record("CP1", 1)
    assert view.age_s == 0


async def test_a_bucket_made_anew_takes_no_record_from_a_view(
    killable: EmbeddedNats, side: JetStreamSide
) -> None:
    await side.outbox.put_admission([a_record("CP1", 5), a_record("CP2", 5)])
    view = side.admission_view()
    async with asyncio.timeout(DEADLINE_S):
        await view.wait_ready()
    seen = Seen()
    view.subscribe(seen.add)
    await empty(side.core)
    await side.core.ensure_layout(NatsLayout())
    await side.outbox.put_admission([a_record("CP2", 6), a_record("CP1", 4)])
    await seen.until_count(1)
    assert seen == [a_record("CP2", 6)]
    assert view.get("CP1") == a_record("CP1", 5)


async def test_commands_and_instructions_flow_again_after_a_restart(
    killable: EmbeddedNats, side: JetStreamSide
) -> None:
    command = CommandEnvelope(
        command_id="c", actor="a", role="r", body=CancelJob(charger_id="c", job_id="j", reason="r")
    )
    order = InstructionOrder(
        instruction_id="i",
        charger_id="c",
        session_id="s",
        decision=1,
        answer_wait_s=1,
        body=CloseSession("r"),
    )

    async def handle(_: CommandEnvelope) -> CommandAnswer:
        return CommandAnswer()

    door, seen = side.door(), Seen()
    await door.serve(1, handle)
    inbox = NatsInstructionInbox(side.connect.connection, "node")
    await inbox.start()
    inbox.listen("s", seen.add)
    await kill(killable, side)
    with pytest.raises(NotOwner):
        await door.request(1, command)
    with pytest.raises(Unavailable):
        await side.outbox.send_order("node", order)
    killable.restart()
    await both_connected(side)
    assert await door.request(1, command) == CommandAnswer()
    await side.outbox.send_order("node", order)
    await seen.until_count(1)


async def test_a_reader_made_while_nats_is_away_starts_when_it_is_back(
    killable: EmbeddedNats, side: JetStreamSide
) -> None:
    await side.log.append(a_csr(CHARGER))
    await kill(killable, side)
    reader = NatsEvidenceReader(side.core.connection, side.core.replies)
    reading = asyncio.ensure_future(read_positions(reader, PARTITION, 0, 1))
    killable.restart()
    assert [evidence for _, evidence in await reading] == [a_csr(CHARGER)]
