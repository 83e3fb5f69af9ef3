"""What views, doors and inboxes do while the NATS server is gone, and when it is back, with or without its store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from bfactors.command import CancelJob, CommandAnswer, CommandEnvelope
from bfactors.errors import NotOwner, Unavailable
from bfactors.instruction import CloseSession, InstructionOrder
from deploy.embedded import EmbeddedNats
from gateways.nats.instruction_inbox import NatsInstructionInbox
from gateways.nats.layout import NatsLayout
from gateways.nats.outbox import NatsOutbox
from tests.fakes.killable_nats import both_connected, kill, killable_server, killable_side
from tests.fakes.nats_sides import JetStreamSide, Seen, a_record, empty
from tests.patience import PATIENCE_S


@pytest.fixture(scope="module")
def killable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNats]:
    with killable_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
async def side(killable: EmbeddedNats) -> AsyncIterator[JetStreamSide]:
    async with killable_side(killable) as jetstream:
        yield jetstream


async def test_a_view_keeps_its_records_while_nats_is_away_and_catches_up_afterwards(
    killable: EmbeddedNats, side: JetStreamSide
) -> None:
    await side.outbox.put_admission([a_record("CP1", 1), a_record("CP2", 1)])
    view = side.admission_view()
    async with asyncio.timeout(PATIENCE_S):
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
    async with asyncio.timeout(PATIENCE_S):
        await view.wait_ready()
    seen = Seen()
    view.subscribe(seen.add)
    await empty(side.core)
    await side.core.ensure_layout(NatsLayout())
    after = NatsOutbox(side.core.connection, side.core.replies, side.core.publisher)
    await after.put_admission([a_record("CP1", 4)])
    await after.put_admission([a_record("CP2", 6)])
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
    assert side.outbox.losses == 1, "what was under way may be lost"
    killable.restart()
    await both_connected(side)
    assert await door.request(1, command) == CommandAnswer()
    await side.outbox.send_order("node", order)
    await seen.until_count(1)
