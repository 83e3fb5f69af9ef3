"""Two core nodes on one ledger: one owner at a time, a dead one replaced, a stale one fenced."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections import Counter

import pytest

from persistence.ledger_store import IDLE_COMMIT_ENDS, PostgresLedgerStore
from simulator.charger import Happening
from tests.faults.depot import assert_ledger_intact, depot, peer_statistics
from tests.faults.ledger_view import PARTITIONS, ledger_view
from tests.faults.plant import Plant, Role
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.xdist_group("takeover")

CHARGERS = 32
HANDED_OVER_WITHIN_S = 15.0
PAUSED_HANDED_OVER_WITHIN_S = 25.0
_OWNED = re.compile(r"ledger-(\d\d) is owned here: epoch (\d+)")


def terms(*roles: Role) -> Counter[tuple[str, str]]:
    """How often each (partition, epoch) was taken, over every node."""
    return Counter(match.groups() for role in roles for match in _OWNED.finditer(role.log))  # type: ignore[misc]


async def test_a_killed_owner_is_replaced_within_15_s_and_nothing_is_decided_twice(plant: Plant) -> None:
    other, _ = plant.another_core("core-b")
    async with ledger_view(plant) as ledger, depot(plant, CHARGERS) as fleet:
        await ledger.owned_by("core-a", PATIENCE_S)
        other.start()
        await other.ready()
        await fleet.order()
        await fleet.tally.reaches(Happening.CERTIFICATE_ACCEPTED, CHARGERS // 4, PATIENCE_S)
        plant.core.kill()
        killed = time.monotonic()
        await ledger.owned_by("core-b", HANDED_OVER_WITHIN_S)
        print(f"handed over {time.monotonic() - killed:.1f} s after the kill")
        first = terms(plant.core, other)
        plant.core.start()
        await fleet.all_active(60)
        await plant.core.ready()
        assert await ledger.owners() == ["core-b"] * PARTITIONS
        await fleet.assert_active_exactly_once()
        assert [term for term, count in first.items() if count > 1] == []
        assert await ledger.decided_twice() == []
        assert (await peer_statistics(plant))["token_conflicts"] == []
        await assert_ledger_intact(plant)


async def test_a_paused_owner_that_wakes_after_the_hand_over_writes_nothing(plant: Plant) -> None:
    other, _ = plant.another_core("core-c")
    async with ledger_view(plant) as ledger, depot(plant, CHARGERS) as fleet:
        await ledger.owned_by("core-a", PATIENCE_S)
        other.start()
        await other.ready()
        await fleet.order()
        await fleet.tally.reaches(Happening.CERTIFICATE_ACCEPTED, CHARGERS // 4, PATIENCE_S)
        os.kill(plant.core.pid, signal.SIGSTOP)
        try:
            paused = time.monotonic()
            await ledger.owned_by("core-c", PAUSED_HANDED_OVER_WITHIN_S)
            print(f"handed over {time.monotonic() - paused:.1f} s after the pause")
            epochs = await ledger.epochs()
        finally:
            os.kill(plant.core.pid, signal.SIGCONT)
        await fleet.all_active(60)
        assert await ledger.owners() == ["core-c"] * PARTITIONS
        assert await ledger.epochs() == epochs  # nobody had to take anything back
        await fleet.assert_active_exactly_once()
        assert [term for term, count in terms(plant.core, other).items() if count > 1] == []
        assert await ledger.decided_twice() == []
        assert (await peer_statistics(plant))["token_conflicts"] == []
        await assert_ledger_intact(plant)
        assert plant.core.is_alive


async def test_a_commit_that_stops_half_way_lets_go_of_its_partition(plant: Plant) -> None:
    """As a paused process or a cut network leaves it: the row is locked, and nobody goes on."""
    ended = asyncio.Event()
    store = await PostgresLedgerStore.open(plant.postgres.dsn("bf_writer"), size=1)
    try:
        connection = await store._pool.acquire()
        connection.add_termination_listener(lambda _: ended.set())
        await connection.execute("BEGIN")
        await connection.execute("SELECT FROM partition WHERE number = 9 FOR UPDATE")
        async with asyncio.timeout(IDLE_COMMIT_ENDS.total_seconds() + PATIENCE_S):
            await ended.wait()
    finally:
        await store.close()
    async with ledger_view(plant) as ledger:
        await ledger.owned_by("core-a", PATIENCE_S)
