"""The sweeper: one round an hour in the whole system, in portions, each kind by its own days, and on record."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from actors.sweeper import AT_ONCE, LOOKED_EVERY_S, Sweeper
from bfactors.command import CommandAnswer, CommandEnvelope, RecordSweep
from bfactors.errors import NotOwner, Unavailable
from bfactors.retention import KINDS, LOGS, UNCLAIMED, RetentionRule
from gateways.metrics import PrometheusMetrics
from tests.fakes.retention import FakeRetention

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - NOW).total_seconds()

    def new_id(self) -> str:
        return "id"


class Ledger:
    """The fleet's partition as a command door; `refusals` of its answers never come."""

    def __init__(self) -> None:
        self.told: list[RecordSweep] = []
        self.refusals = 0

    async def request(self, partition: int, command: CommandEnvelope) -> CommandAnswer:
        if self.refusals:
            self.refusals -= 1
            raise NotOwner("the owner of partition 0")
        assert partition == 0
        assert command.role == "system"
        assert isinstance(command.body, RecordSweep)
        self.told.append(command.body)
        return CommandAnswer()

    async def serve(self, partition: int, handle: object) -> None:
        raise NotImplementedError

    async def withdraw(self, partition: int) -> None:
        raise NotImplementedError


class World:
    """A store, and a core that sweeps in it; waiting moves the clock."""

    def __init__(self, store: FakeRetention | None = None, clock: Clock | None = None) -> None:
        self.store = store or FakeRetention()
        self.clock = clock or Clock()
        self.ledger = Ledger()
        self.metrics = PrometheusMetrics(strict=True)
        self.rules: dict[str, RetentionRule] = {}
        self._looks = 0
        self.sweeper = Sweeper(
            store=self.store,
            rules=self._rules,
            commands=self.ledger,
            clock=self.clock,
            metrics=self.metrics,
            wait=self._wait,
        )

    async def look(self, times: int = 1) -> list[tuple[str, int]]:
        self._looks = times
        with pytest.raises(asyncio.CancelledError):
            await self.sweeper.run()
        return [(told.kind, told.count) for told in self.ledger.told]

    def rule(self, kind: str, days: int) -> None:
        self.rules[kind] = RetentionRule(days=days, reason="r", by="operator:ada", at=NOW)

    async def _rules(self) -> Mapping[str, RetentionRule]:
        return self.rules

    async def _wait(self, seconds: float) -> None:
        self.clock.at += timedelta(seconds=seconds)
        if seconds == LOOKED_EVERY_S:
            self._looks -= 1
            if not self._looks:
                raise asyncio.CancelledError


async def test_each_kind_goes_by_its_own_days_to_the_second() -> None:
    world = World()
    for kind in KINDS:
        past = timedelta(days=KINDS[kind].default_days)
        world.store.records[kind] = [NOW - past - timedelta(seconds=1), NOW - past]
    world.store.records[UNCLAIMED] = [NOW - timedelta(seconds=3601), NOW - timedelta(seconds=3600)]
    told = await world.look()
    assert dict(told) == dict.fromkeys((UNCLAIMED, *(kind for kind in KINDS if kind != LOGS)), 1)
    assert len(world.store.records[LOGS]) == 2
    assert {each.kind: each.before for each in world.ledger.told}["notices"] == NOW - 30 * DAY
    assert b'bf_retention_deleted_total{kind="notices"} 1.0' in world.metrics.exposition()[0]


async def test_what_somebody_decided_counts_instead() -> None:
    world = World()
    world.rule("notices", 2)
    world.store.records["notices"] = [NOW - 3 * DAY, NOW - 1 * DAY]
    assert await world.look() == [("notices", 1)]


async def test_nothing_gone_is_nothing_on_record() -> None:
    world = World()
    world.store.records["notices"] = [NOW]
    assert await world.look() == []


async def test_it_goes_in_portions_and_on_record_once() -> None:
    world = World()
    world.store.records["notices"] = [NOW - 99 * DAY] * (2 * AT_ONCE + 1)
    assert await world.look() == [("notices", 2 * AT_ONCE + 1)]


async def test_of_two_cores_one_sweeps_and_within_the_hour_nobody_does_again() -> None:
    store, clock = FakeRetention(), Clock()
    one, two = World(store, clock), World(store, clock)
    store.records["notices"] = [NOW - 99 * DAY]
    assert await one.look() == [("notices", 1)]
    store.records["notices"] = [NOW - 99 * DAY]
    assert await two.look(times=5) == []
    clock.at = NOW + timedelta(hours=1)
    assert await two.look() == [("notices", 1)]


async def test_with_the_database_away_it_looks_again() -> None:
    world = World()
    world.store.away = True
    world.store.records["notices"] = [NOW - 99 * DAY]
    assert await world.look(times=3) == []
    world.store.away = False
    assert await world.look() == [("notices", 1)]


async def test_what_went_before_a_failure_is_on_record_and_the_next_round_does_the_rest() -> None:
    world = World()
    world.store.records[UNCLAIMED] = [NOW - 99 * DAY] * (AT_ONCE + 5)
    world.store.fails_after = 1
    with pytest.raises(Unavailable):
        await world.sweeper.sweep()
    assert [(told.kind, told.count) for told in world.ledger.told] == [(UNCLAIMED, AT_ONCE)]
    world.store.fails_after, world.store.away = None, False
    assert (await world.look())[1:] == [(UNCLAIMED, 5)]


async def test_while_the_fleets_partition_has_no_owner_it_is_told_later() -> None:
    world = World()
    world.ledger.refusals = 5
    world.store.records["notices"] = [NOW - 99 * DAY]
    assert await world.look() == [("notices", 1)]
