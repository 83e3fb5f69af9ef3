"""What only the real outbox and the real command door can get wrong: repeats, stale owners, strangers' bytes, floods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest

from bfactors import subject
from bfactors.command import CancelJob, CommandAnswer, CommandEnvelope
from bfactors.errors import Unavailable
from bfactors.identity import subject_token
from bfactors.instruction import CloseSession, InstructionOrder
from bfactors.ledger_row import GENESIS, EventRow
from deploy.embedded import EmbeddedNats
from gateways.nats.command_door import NatsCommandDoor
from gateways.nats.delivery import Stored
from gateways.nats.ordered_stream import OrderedStream
from gateways.nats.outbox import NatsOutbox
from tests.fakes.nats_sides import JetStreamSide, Seen, a_record, jetstream_side
from tests.patience import PATIENCE_S


@pytest.fixture
async def side(nats_server: EmbeddedNats) -> AsyncIterator[JetStreamSide]:
    async with jetstream_side(nats_server) as jetstream:
        yield jetstream


def an_event(sequence: int) -> EventRow:
    return EventRow(
        partition=3,
        sequence=sequence,
        event="CertificateRequested",
        schema_version=1,
        recorded_at=datetime(2026, 3, 1, tzinfo=UTC),
        actor="operator:ann",
        cause="c1",
        policy_version=1,
        fleet_sequence=0,
        charger_id="CP.1 >",
        managed_identity_id="mi",
        purpose="charging_station",
        variant="default",
        job_id="j1",
        certificate_id=None,
        payload='{"jobId":"j1"}',
        previous_hash=GENESIS,
        hash="1" * 64,
    )


def an_order(instruction_id: str) -> InstructionOrder:
    return InstructionOrder(
        instruction_id=instruction_id,
        charger_id="CP1",
        session_id="s",
        decision=1,
        answer_wait_s=30,
        body=CloseSession("r"),
    )


async def stored_in(side: JetStreamSide, stream: str) -> list[Stored]:
    batches = OrderedStream(side.core.connection, side.core.replies, stream, start="after-position").batches()
    found: list[Stored] = []
    async for batch in batches:
        found += batch.messages
        if batch.caught_up:
            break
    await batches.aclose()
    return found


async def test_events_are_published_in_order_and_a_repeat_is_stored_once(side: JetStreamSide) -> None:
    await side.outbox.publish_events([an_event(number) for number in range(1, 301)])
    await side.outbox.publish_events([an_event(number) for number in range(290, 321)])
    stored = await stored_in(side, subject.STREAM_LEDGER)
    assert [msgspec.json.decode(each.payload, type=EventRow) for each in stored] == [
        an_event(number) for number in range(1, 321)
    ]
    assert stored[0].subject == subject.ledger("CertificateRequested", "3-1")


async def test_a_stale_owner_cannot_put_an_older_record_over_a_newer_one(side: JetStreamSide) -> None:
    stale = NatsOutbox(side.core.connection, side.core.replies, side.core.publisher)
    await stale.put_admission([a_record("CP1", 1)])
    await side.outbox.put_admission([a_record("CP1", 7)])  # does not know of revision 1 either
    await stale.put_admission([a_record("CP1", 2)])
    view = side.admission_view()
    await view.wait_ready()
    assert view.get("CP1") == a_record("CP1", 7)
    await stale.put_admission([a_record("CP1", 8)])
    assert len(await stored_in(side, "KV_bf_admission")) == 1


async def test_a_repeated_record_writes_nothing(side: JetStreamSide) -> None:
    await side.outbox.put_admission([a_record("CP1", 1)])
    for outbox in (side.outbox, NatsOutbox(side.core.connection, side.core.replies, side.core.publisher)):
        await outbox.put_admission([a_record("CP1", 1)])
    (stored,) = await stored_in(side, "KV_bf_admission")
    assert stored.sequence == 1


async def test_an_unreadable_record_in_the_bucket_is_replaced_and_kept_out_of_the_view(
    side: JetStreamSide, caplog: pytest.LogCaptureFixture
) -> None:
    await side.outbox.put_admission([a_record("CP1", 3)])
    view = side.admission_view()
    await view.wait_ready()
    key = f"$KV.bf_admission.{subject_token('CP1')}"
    await side.core.connection.publish(key, b"not a record")
    await side.core.connection.publish("$KV.bf_admission.=FF", b"nor a name")
    fresh = NatsOutbox(side.core.connection, side.core.replies, side.core.publisher)
    seen = Seen()
    view.subscribe(seen.add)
    await fresh.put_admission([a_record("CP1", 4)])
    await seen.until_count(1)
    assert view.get("CP1") == a_record("CP1", 4)
    assert "unreadable" in caplog.text


async def test_a_deleted_record_is_refused_from_then_on(side: JetStreamSide) -> None:
    await side.outbox.put_admission([a_record("CP1", 3)])
    view = side.admission_view()
    await view.wait_ready()
    seen = Seen()
    view.subscribe(seen.add)
    key = f"$KV.bf_admission.{subject_token('CP1')}"
    await side.core.connection.publish(key, b"", "", {"KV-Operation": "DEL"})
    await seen.until_count(1)
    record = view.get("CP1")
    assert record is not None
    assert (record.mode, record.refusal_reason) == ("refused", "admission-record-removed")


async def test_orders_from_another_lane_arrive_in_their_order(side: JetStreamSide) -> None:
    inbox = await side.inbox("node")
    seen = Seen()
    inbox.listen("s", lambda order: seen.add(order.instruction_id))

    async def ledgers_lane() -> None:
        for number in range(500):
            await side.outbox.send_order("node", an_order(str(number)))

    await asyncio.to_thread(asyncio.run, ledgers_lane())
    await seen.until_count(500)
    assert seen == [str(number) for number in range(500)]


async def test_what_is_no_order_is_dropped_and_the_inbox_goes_on(
    side: JetStreamSide, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = await side.inbox("node")
    seen = Seen()
    inbox.listen("s", lambda order: seen.add(order.instruction_id))
    elsewhere = msgspec.json.encode(an_order("stray"))
    await side.core.connection.publish(subject.instruction("node", "s"), b"\xff{")
    await side.core.connection.publish(subject.instruction("node", "other"), elsewhere)
    await side.outbox.send_order("node", an_order("good"))
    await seen.until_count(1)
    assert seen == ["good"]
    assert "not understood" in caplog.text
    assert "another session" in caplog.text


async def test_a_listener_that_fails_does_not_end_the_inbox(side: JetStreamSide) -> None:
    inbox = await side.inbox("node")
    seen = Seen()

    def deliver(order: InstructionOrder) -> None:
        seen.add(order.instruction_id)
        raise RuntimeError("a bug")

    inbox.listen("s", deliver)
    for name in ("one", "two"):
        await side.outbox.send_order("node", an_order(name))
    await seen.until_count(2)
    assert seen == ["one", "two"]


# ---------------------------------------------------------------- the command door


def a_command() -> CommandEnvelope:
    return CommandEnvelope(
        command_id="c", actor="a", role="r", body=CancelJob(charger_id="c", job_id="j", reason="r")
    )


async def test_a_malformed_command_is_answered_with_a_refusal(side: JetStreamSide) -> None:
    async def handle(_: CommandEnvelope) -> CommandAnswer:
        raise AssertionError("must not be reached")

    await side.door().serve(1, handle)
    for sent in (b"", b"{}", b"\xff", b'{"command_id":1}', b"[" * 5000):
        message = await side.core.replies.request(subject.command(1), sent, 5)
        answer = msgspec.json.decode(message.payload, type=CommandAnswer)
        assert answer.refusal is not None
        assert answer.refusal.code == "malformed-command"


async def test_a_handler_that_breaks_asks_to_repeat_and_the_door_stays_open(side: JetStreamSide) -> None:
    broken = True

    async def handle(_: CommandEnvelope) -> CommandAnswer:
        if broken:
            raise RuntimeError("a bug")
        return CommandAnswer(result=b"1")

    door = side.door()
    await door.serve(1, handle)
    assert (await door.request(1, a_command())).retry
    broken = False
    assert (await door.request(1, a_command())).result == b"1"


async def test_more_commands_than_can_be_handled_at_once_are_asked_to_come_again(side: JetStreamSide) -> None:
    release = asyncio.Event()
    started = Seen()

    async def handle(envelope: CommandEnvelope) -> CommandAnswer:
        started.add(envelope)
        await release.wait()
        return CommandAnswer(result=b"1")

    door = NatsCommandDoor(
        side.core.connection, side.core.replies, handled_at_once=3, answer_within_s=PATIENCE_S
    )
    await door.serve(1, handle)
    asked = [asyncio.ensure_future(door.request(1, a_command())) for _ in range(5)]
    async with asyncio.timeout(PATIENCE_S):
        done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 2:
            done, _ = await asyncio.wait(asked, timeout=0.05)
        assert len(started) == 3
        release.set()
        answers = await asyncio.gather(*asked)
    assert [answer.retry for answer in answers].count(True) == 2


async def test_an_answer_too_large_for_nats_is_an_outage_and_not_a_hang(side: JetStreamSide) -> None:
    with pytest.raises(Unavailable):
        await side.outbox.put_control({"huge": b"x" * 2_000_000})
