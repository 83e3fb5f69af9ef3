"""When a partition's owner makes checkpoints, what it tells, and what a place that is away does to its work: nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.ledger import checkpoint as checkpoint_module
from actors.ledger.checkpoint import Checkpointer
from bfactors.errors import Fenced, LedgerCorrupt, Unavailable
from bfactors.ledger_row import GENESIS, Lease
from tests.actors.charger_world import ManualTime
from tests.actors.ledger_world import PARTITION, LedgerWorld, chargers_of
from tests.core.ledger import registration
from tests.fakes.ledger_row import chain

EVERY_S = 300.0


class Desk:
    """Covers whatever it is given, or fails as told."""

    every_events = 10
    every_s = EVERY_S

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []
        self.told: dict[int, bytes] = {}
        self.failure: Exception | None = None
        self.step = 10**9
        self.covered = 0

    async def checkpoint(self, lease: Lease, after: int, hashes: bytes) -> int:
        rows = [hashes[at : at + 32] for at in range(0, len(hashes), 32)]
        self.asked.append((lease.sequence, after, len(rows)))
        self.told |= {after + number: row for number, row in enumerate(rows, start=1)}
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.covered = min(lease.sequence, self.covered + self.step)
        return self.covered


class World:
    """One checkpointer and the commits it hears of."""

    def __init__(self, sequence: int = 0) -> None:
        self.time = ManualTime()
        self.desk = Desk()
        self.lease = Lease(
            partition=3,
            owner="a",
            epoch=1,
            sequence=sequence,
            head_hash=GENESIS,
            evidence_position=0,
            fleet_position=0,
            outbox_position=0,
        )
        self.checkpointer = Checkpointer(self.desk, self.time, self.lease)
        self.committed: dict[int, bytes] = {}
        self.task = asyncio.get_running_loop().create_task(self.checkpointer.run())

    async def commit(self, count: int) -> None:
        rows = chain(self.lease, count)
        self.committed |= {row.sequence: bytes.fromhex(row.hash) for row in rows}
        self.lease = Lease(
            partition=3,
            owner="a",
            epoch=1,
            sequence=rows[-1].sequence,
            head_hash=rows[-1].hash,
            evidence_position=0,
            fleet_position=0,
            outbox_position=0,
        )
        self.checkpointer.committed(rows, self.lease)
        await self.settle()

    async def later(self, seconds: float) -> None:
        self.time.now_s += seconds
        self.checkpointer.look()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    world.task.cancel()


async def test_so_many_events_make_one(world: World) -> None:
    await world.commit(9)
    assert world.desk.asked == []
    await world.commit(1)
    assert world.desk.asked == [(10, 0, 10)]
    assert world.checkpointer.lag == 0


async def test_a_few_events_get_theirs_in_time(world: World) -> None:
    await world.commit(2)
    await world.later(EVERY_S - 1)
    assert world.desk.asked == []
    await world.later(1)
    assert world.desk.asked == [(2, 0, 2)]


async def test_without_events_there_is_nothing_to_do(world: World) -> None:
    await world.later(10 * EVERY_S)
    assert world.desk.asked == []


async def test_every_row_is_told_once_and_as_it_was_committed(world: World) -> None:
    for count in (4, 7, 3, 20, 1, 9):
        await world.commit(count)
    await world.later(EVERY_S)
    assert world.desk.told == world.committed
    afters = [after for _, after, _ in world.desk.asked]
    assert afters == [sequence for sequence, _, _ in [(0, 0, 0), *world.desk.asked]][:-1]


async def test_what_an_earlier_owner_left_is_covered_too(world: World) -> None:
    other = World(sequence=25)
    other.desk.step = 10
    await other.later(0)
    await other.settle()
    assert [sequence for sequence, _, _ in other.desk.asked] == [25, 25]  # 5 left: those have time
    await other.later(EVERY_S)
    assert other.desk.covered == 25
    other.task.cancel()


@pytest.mark.parametrize("failure", [Unavailable("place"), LedgerCorrupt("a fork")])
async def test_one_that_could_not_be_made_is_tried_again_after_a_while(
    world: World, failure: Exception
) -> None:
    world.desk.failure = failure
    await world.commit(10)
    await world.commit(10)
    assert len(world.desk.asked) == 1
    await world.later(checkpoint_module.RETRY_S)
    assert len(world.desk.asked) == 2
    world.desk.failure = None
    await world.later(checkpoint_module.RETRY_S)
    assert world.desk.asked[-1] == (20, 0, 20)
    assert world.desk.told == world.committed
    assert not world.task.done()


async def test_memory_is_bounded_while_no_place_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_module, "KEPT", 15)
    world.desk.failure = Unavailable("place")
    for _ in range(5):
        await world.commit(6)
    world.desk.failure = None
    await world.later(checkpoint_module.RETRY_S)
    sequence, after, count = world.desk.asked[-1]
    assert (sequence, after + count) == (30, 30)
    assert count <= 15


async def test_a_fenced_owner_ends(world: World) -> None:
    world.desk.failure = Fenced("gone")
    await world.commit(10)
    assert isinstance(world.task.exception(), Fenced)


# ---------------------------------------------------------------- in the actor


async def test_a_ledger_makes_checkpoints_of_what_it_commits_and_goes_on_when_it_cannot() -> None:
    world = LedgerWorld()
    desk = world.checkpoints = Desk()
    desk.every_events = 1
    desk.failure = LedgerCorrupt("a fork")
    actor = world.start()
    try:
        await world.accepted(registration())
        await world.until(lambda: desk.asked)
        second = chargers_of(PARTITION, 1, other_than="CP-1")[0]
        await world.accepted(registration(second, serial_number="SN-9"))
        desk.failure = None
        stored = world.store.events[PARTITION]
        world.time.now_s += EVERY_S
        assert actor._term is not None
        actor._term.checkpointer.look()
        await world.until(lambda: desk.covered == len(stored))
        assert list(desk.told.values()) == [bytes.fromhex(row.hash) for row in stored]
        assert world.failures == []
    finally:
        await world.stop()
