"""CommandDoor, and instructions from outbox to inbox, keep one contract, over NATS and in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bfactors.command import CancelJob, CommandAnswer, CommandEnvelope
from bfactors.errors import Fenced, NotOwner
from bfactors.instruction import CloseSession, InstructionOrder
from bfactors.refusal import Refusal
from tests.fakes.nats_sides import AWKWARD_NAMES, NatsSide, Seen, in_memory_side, jetstream_side
from tests.patience import PATIENCE_S


@pytest.fixture(params=["jetstream", "in-memory"])
async def side(request: pytest.FixtureRequest) -> AsyncIterator[NatsSide]:
    if request.param == "in-memory":
        async with in_memory_side() as memory:
            yield memory
    else:
        async with jetstream_side(request.getfixturevalue("nats_server")) as jetstream:
            yield jetstream


def a_command(charger_id: str = "CP1") -> CommandEnvelope:
    return CommandEnvelope(
        command_id="c1",
        actor="operator:ann",
        role="operator",
        body=CancelJob(charger_id=charger_id, job_id="j1", reason="wrong charger"),
    )


def an_order(session_id: str) -> InstructionOrder:
    return InstructionOrder(
        instruction_id="i1",
        charger_id="CP1",
        session_id=session_id,
        decision=1,
        answer_wait_s=30,
        body=CloseSession("superseded"),
    )


# ---------------------------------------------------------------- commands


async def test_a_command_is_answered_by_the_partitions_owner(side: NatsSide) -> None:
    seen = Seen()

    async def handle(envelope: CommandEnvelope) -> CommandAnswer:
        seen.add(envelope)
        return CommandAnswer(result=b'{"ok":true}')

    owner, asking = side.door(), side.door()
    await owner.serve(3, handle)
    answers = [await asking.request(3, a_command(name)) for name in AWKWARD_NAMES]
    assert answers == [CommandAnswer(result=b'{"ok":true}')] * len(AWKWARD_NAMES)
    assert seen == [a_command(name) for name in AWKWARD_NAMES]


async def test_a_refusal_travels_as_an_answer(side: NatsSide) -> None:
    refused = CommandAnswer(refusal=Refusal("unknown-job", "There is no such job.", "job_id", 404))

    async def handle(_: CommandEnvelope) -> CommandAnswer:
        return refused

    await side.door().serve(3, handle)
    assert await side.door().request(3, a_command()) == refused


async def test_without_an_owner_asking_ends_in_not_owner(side: NatsSide) -> None:
    with pytest.raises(NotOwner):
        await side.door().request(4, a_command())


async def test_an_owner_that_stays_silent_is_no_owner(side: NatsSide) -> None:
    never = asyncio.Event()

    async def handle(_: CommandEnvelope) -> CommandAnswer:
        await never.wait()
        return CommandAnswer()

    await side.door().serve(3, handle)
    with pytest.raises(NotOwner):
        await side.door(answer_within_s=0.05).request(3, a_command())
    never.set()


async def test_after_withdrawing_nothing_is_served(side: NatsSide) -> None:
    async def handle(_: CommandEnvelope) -> CommandAnswer:
        return CommandAnswer()

    owner = side.door()
    await owner.serve(3, handle)
    await owner.withdraw(3)
    with pytest.raises(NotOwner):
        await side.door().request(3, a_command())


async def test_a_fenced_owner_asks_to_repeat_the_command(side: NatsSide) -> None:
    async def handle(_: CommandEnvelope) -> CommandAnswer:
        raise Fenced

    await side.door().serve(3, handle)
    assert (await side.door().request(3, a_command())).retry


async def test_commands_of_one_partition_are_handled_side_by_side(side: NatsSide) -> None:
    both_here = asyncio.Barrier(2)

    async def handle(_: CommandEnvelope) -> CommandAnswer:
        await both_here.wait()
        return CommandAnswer()

    await side.door().serve(3, handle)
    asking = side.door()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(asking.request(3, a_command()), asking.request(3, a_command()))


async def test_a_handler_runs_on_the_lane_that_serves(side: NatsSide) -> None:
    served, done = asyncio.Event(), asyncio.Event()
    here = asyncio.get_running_loop()

    async def owners_lane() -> None:
        own = asyncio.get_running_loop()
        answered = asyncio.Event()

        async def handle(_: CommandEnvelope) -> CommandAnswer:
            assert asyncio.get_running_loop() is own
            answered.set()
            return CommandAnswer(result=b"1")

        owner = side.door()
        await owner.serve(3, handle)
        here.call_soon_threadsafe(served.set)
        await asyncio.wait_for(answered.wait(), PATIENCE_S)
        await asyncio.wait_for(
            asyncio.wrap_future(asyncio.run_coroutine_threadsafe(done.wait(), here)), PATIENCE_S
        )

    lane = asyncio.ensure_future(asyncio.to_thread(asyncio.run, owners_lane()))
    async with asyncio.timeout(PATIENCE_S):
        await served.wait()
        assert (await side.door().request(3, a_command())).result == b"1"
        done.set()
        await lane


# ---------------------------------------------------------------- instructions


async def test_an_order_reaches_the_session_it_is_addressed_to(side: NatsSide) -> None:
    for node in AWKWARD_NAMES:
        inbox = await side.inbox(node)
        mine, others = Seen(), Seen()
        inbox.listen("session.1", mine.add)
        inbox.listen("session.2", others.add)
        await side.outbox.send_order(node, an_order("session.1"))
        await mine.until_count(1)
        assert mine == [an_order("session.1")]
        assert others == []


async def test_orders_for_other_nodes_and_forgotten_sessions_are_dropped(side: NatsSide) -> None:
    here, there = await side.inbox("here"), await side.inbox("there")
    seen_here, seen_there, last = Seen(), Seen(), Seen()
    for inbox, seen in ((here, seen_here), (there, seen_there)):
        inbox.listen("s1", seen.add)
    here.listen("gone", seen_here.add)
    here.forget("gone")
    here.listen("last", last.add)
    await side.outbox.send_order("here", an_order("gone"))
    await side.outbox.send_order("there", an_order("s1"))
    await side.outbox.send_order("here", an_order("last"))
    await last.until_count(1)
    await seen_there.until_count(1)
    assert seen_here == []
