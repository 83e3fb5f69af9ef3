"""Checkpoints over a real database: crashes between every two steps, lost places, restores, forks, stale owners."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from bfactors.audit.checkpoint import SignedCheckpoint
from bfactors.audit.merkle import CompactRange
from bfactors.errors import Fenced, LedgerCorrupt, Unavailable
from bfactors.ledger_row import Lease
from deploy.role import checkpoint_desk
from deploy.role.checkpoint_desk import CheckpointDesk
from gateways.checkpoint.directory_store import DirectoryCheckpoints
from gateways.checkpoint.key_file import FileSigner
from gateways.checkpoint.public_key import Keyring
from gateways.metrics import PrometheusMetrics
from persistence.checkpoint import PostgresCheckpoints
from persistence.ledger_store import PostgresLedgerStore
from persistence.role import OWNER, WRITER
from tests.conftest import FreshDatabase
from tests.fakes.checkpoint import ORIGIN, signer_in
from tests.fakes.ledger_row import batch, chain
from tests.integration.admin_world import HandClock

pytest_plugins = ("tests.fakes.ledger_database",)

LONG = timedelta(minutes=5)
PARTITION = 3


class Place(DirectoryCheckpoints):
    """A directory that can be away, or lose our connection just after it wrote."""

    away = False
    dies_after = False

    async def append(self, checkpoint: SignedCheckpoint) -> None:
        if self.away:
            raise Unavailable("checkpoint directory")
        await super().append(checkpoint)
        if self.dies_after:
            raise Unavailable("checkpoint directory")


class World:
    """One ledger, its owner, a place outside."""

    def __init__(
        self, database: FreshDatabase, store: PostgresLedgerStore, rows: PostgresCheckpoints, folder: Path
    ) -> None:
        self.database = database
        self.ledger = store
        self.rows = rows
        self.folder = folder
        self.place = Place(folder / "checkpoints")
        self.signer = signer_in(folder / "key")
        self.metrics = PrometheusMetrics(strict=True)
        self.shown: dict[str, bytes] = {}
        self.lease: Lease
        self.hashes: list[bytes] = []
        self.desk = self.new_desk()

    def new_desk(self, signer: FileSigner | None = None, origin: str = ORIGIN) -> CheckpointDesk:
        async def show(values: Mapping[str, bytes]) -> None:
            self.shown |= values

        return CheckpointDesk(
            origin=origin,
            rows=self.rows,
            store=self.place,
            signer=signer or self.signer,
            believe=Keyring,
            clock=HandClock(),
            metrics=self.metrics,
            show=show,
        )

    async def claim(self, owner: str = "a") -> Lease:
        lease = await self.ledger.claim(PARTITION, owner, LONG)
        assert lease is not None
        self.lease, self.hashes = lease, []
        return lease

    async def commit(self, count: int, **fields: str) -> None:
        rows = batch(self.lease, 0, events=chain(self.lease, count, **fields))
        self.lease = await self.ledger.commit(self.lease, rows, LONG)
        self.hashes += [bytes.fromhex(row.hash) for row in rows.events]

    async def checkpoint(self, hashes: Sequence[bytes] | None = None) -> int:
        told = self.hashes if hashes is None else hashes
        return await self.desk.checkpoint(self.lease, self.lease.sequence - len(told), b"".join(told))

    async def outside(self, origin: str = ORIGIN) -> list[int]:
        return [signed.checkpoint.size for signed in await self.place.held(origin, PARTITION, 0)]

    async def inside(self, origin: str = ORIGIN) -> list[int]:
        return [signed.checkpoint.size for signed in await self.rows.notes(origin, PARTITION, 0, 100)]

    async def as_intruder(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.database.dsn())
        try:
            await connection.execute("SET session_replication_role = replica")
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    def counted(self, outcome: str) -> float:
        value = self.metrics.registry.get_sample_value("bf_checkpoints_total", {"outcome": outcome})
        return value or 0.0


@pytest.fixture
async def world(
    emptied_ledger_database: FreshDatabase, postgres_ledger_store: PostgresLedgerStore, tmp_path: Path
) -> AsyncIterator[World]:
    rows = await PostgresCheckpoints.open(emptied_ledger_database.dsn(WRITER))
    world = World(emptied_ledger_database, postgres_ledger_store, rows, tmp_path)
    await world.claim()
    yield world
    await rows.close()


async def heads_of_rows(world: World) -> dict[int, str]:
    """The tree heads a plain reading of the stored rows gives, by size."""
    stored = await world.rows.row_hashes(PARTITION, 0, world.lease.sequence)
    tree, found = CompactRange(), {}
    for at in range(0, len(stored), 32):
        tree.extend(stored[at : at + 32])
        found[tree.size] = tree.root().hex()
    return found


async def test_a_checkpoint_is_of_the_rows_and_lies_in_both_places_signed(world: World) -> None:
    for count in (5, 1, 300):
        await world.commit(count)
        assert await world.checkpoint() == world.lease.sequence
    assert await world.inside() == await world.outside() == [5, 6, 306]
    heads = await heads_of_rows(world)
    for signed in await world.place.held(ORIGIN, PARTITION, 0):
        assert signed.checkpoint.root_hash == heads[signed.checkpoint.size]
        assert Keyring(world.signer.keys).signed_by(signed.note) == world.signer.keys
    assert signed.checkpoint.head_hash == world.lease.head_hash
    assert world.shown == {"checkpoint/03": str(signed.note).encode()}
    assert await world.rows.keys() == list(world.signer.keys)


@pytest.mark.parametrize("told", [0, 3, 20])
async def test_rows_that_were_not_told_are_read(world: World, told: int) -> None:
    await world.commit(20)
    await world.checkpoint(world.hashes[20 - told :])
    (signed,) = await world.place.held(ORIGIN, PARTITION, 0)
    assert signed.checkpoint.root_hash == (await heads_of_rows(world))[20]


async def test_told_rows_before_the_last_checkpoint_do_no_harm(world: World) -> None:
    await world.commit(10)
    await world.checkpoint()
    await world.commit(10)
    await world.checkpoint()  # told all 20
    assert (await world.place.held(ORIGIN, PARTITION, 20))[0].checkpoint.root_hash == (
        await heads_of_rows(world)
    )[20]


async def test_nothing_new_makes_no_checkpoint(world: World) -> None:
    assert await world.checkpoint() == 0
    await world.commit(2)
    for _ in range(3):
        assert await world.checkpoint() == 2
    assert await world.outside() == [2]


async def test_a_long_ledger_is_caught_up_in_pieces(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_desk, "STEP_ROWS", 50)
    monkeypatch.setattr(checkpoint_desk, "PAGE_ROWS", 7)
    await world.commit(120)
    assert [await world.checkpoint(()) for _ in range(3)] == [50, 100, 120]
    heads = await heads_of_rows(world)
    held = await world.place.held(ORIGIN, PARTITION, 0)
    assert [signed.checkpoint.root_hash for signed in held] == [heads[50], heads[100], heads[120]]


# ---------------------------------------------------------------- crashes and losses


async def test_what_died_between_outside_and_database_is_adopted(world: World) -> None:
    await world.commit(5)
    await world.checkpoint()
    await world.commit(5)
    world.place.dies_after = True
    with pytest.raises(Unavailable):
        await world.checkpoint()
    assert (await world.inside(), await world.outside()) == ([5], [5, 10])
    world.place.dies_after = False
    await world.claim()
    world.desk = world.new_desk()
    assert await world.checkpoint() == 10
    assert await world.inside() == await world.outside() == [5, 10]
    assert world.counted("adopted") == 1
    await world.commit(1)
    assert await world.checkpoint() == 11


async def test_the_same_owner_tries_again_after_the_same_death(world: World) -> None:
    await world.commit(5)
    world.place.dies_after = True
    with pytest.raises(Unavailable):
        await world.checkpoint()
    world.place.dies_after = False
    await world.commit(3)
    assert await world.checkpoint() == 8
    assert (await world.place.held(ORIGIN, PARTITION, 8))[0].checkpoint.root_hash == (
        await heads_of_rows(world)
    )[8]


async def test_a_place_that_is_away_leaves_nothing_half_made(world: World) -> None:
    await world.commit(5)
    world.place.away = True
    with pytest.raises(Unavailable):
        await world.checkpoint()
    assert (await world.inside(), await world.outside()) == ([], [])
    world.place.away = False
    assert await world.checkpoint() == 5


async def test_a_lost_directory_is_filled_again_from_the_database(world: World) -> None:
    for _ in range(3):
        await world.commit(4)
        await world.checkpoint()
    before = await world.place.held(ORIGIN, PARTITION, 0)
    for path in (world.folder / "checkpoints").iterdir():
        path.unlink()
    await world.claim("a")
    await world.commit(1)
    assert await world.checkpoint() == 13
    assert (await world.place.held(ORIGIN, PARTITION, 0))[:3] == before
    assert await world.outside() == [4, 8, 12, 13]
    assert world.counted("copied") == 3


async def test_a_database_that_lost_its_checkpoints_gets_them_back(world: World) -> None:
    for _ in range(3):
        await world.commit(100)
        await world.checkpoint()
    await world.as_intruder("DELETE FROM checkpoint", "DELETE FROM merkle_node")
    await world.claim("a")
    assert await world.checkpoint() == 300
    assert await world.inside() == [100, 200, 300]


# ---------------------------------------------------------------- what must not be signed


async def assert_refused(world: World, words: str) -> None:
    before = await world.outside()
    for _ in range(2):
        with pytest.raises(LedgerCorrupt, match=words):
            await world.checkpoint()
    assert await world.outside() == before
    assert world.counted("refused") == 2


async def test_rows_lost_by_a_restore_are_not_signed_over(world: World) -> None:
    await world.commit(5)
    await world.checkpoint()
    await world.commit(5)
    await world.checkpoint()
    head = (await world.rows.row_hashes(PARTITION, 5, 6)).hex()
    await world.as_intruder(
        "DELETE FROM event WHERE sequence > 6",
        "DELETE FROM checkpoint WHERE size > 6",
        f"UPDATE partition SET sequence = 6, head_hash = decode('{head}', 'hex') WHERE number = 3",
    )
    await world.claim("a")
    await assert_refused(world, "rows were lost")
    await world.commit(4, cause="later")  # other rows in their place
    await world.claim("a")
    world.metrics = PrometheusMetrics(strict=True)
    world.desk = world.new_desk()
    await assert_refused(world, "a fork")
    # Whoever accepts the loss gives the ledger a new name; the old one stays what it was.
    world.desk = world.new_desk(
        signer_in(world.folder / "key2", name="fleet.example/ledger-2"), "fleet.example/ledger-2"
    )
    assert await world.checkpoint() == 10
    assert await world.outside("fleet.example/ledger-2") == [10]


async def test_a_row_changed_after_its_commit_is_under_the_checkpoint_as_it_was_committed(
    world: World,
) -> None:
    await world.commit(8)
    right = (await heads_of_rows(world))[8]
    await world.as_intruder("UPDATE event SET hash = decode(repeat('ab', 32), 'hex') WHERE sequence = 4")
    await world.checkpoint()
    (signed,) = await world.place.held(ORIGIN, PARTITION, 0)
    assert signed.checkpoint.root_hash == right != (await heads_of_rows(world))[8]


async def test_a_last_row_that_is_not_its_owners_is_not_signed(world: World) -> None:
    await world.commit(8)
    await world.as_intruder("UPDATE event SET hash = decode(repeat('ab', 32), 'hex') WHERE sequence = 8")
    with pytest.raises(LedgerCorrupt, match="not the one its owner committed"):
        await world.checkpoint(())


async def test_rows_that_are_missing_are_not_signed_over(world: World) -> None:
    await world.commit(8)
    await world.as_intruder("DELETE FROM event WHERE sequence = 4")
    with pytest.raises(LedgerCorrupt, match="7 of the rows"):
        await world.checkpoint(())


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("frontier = decode(repeat('ab', 64), 'hex')", "not of its frontier"),
        ("frontier = ''", "frontier of 0 bytes"),
        ("note = 'x'", "latest checkpoint"),
        ("note = replace(note, 'time 2026', 'time 2025')", "no signature of ours"),
    ],
)
async def test_a_checkpoint_changed_in_the_database_is_not_built_upon(
    world: World, column: str, words: str
) -> None:
    await world.commit(5)
    await world.checkpoint()
    await world.as_intruder(f"UPDATE checkpoint SET {column}")
    await world.commit(5)
    await assert_refused(world, words)


async def test_a_strangers_checkpoints_outside_stop_nothing(world: World) -> None:
    await world.commit(5)
    stranger = signer_in(world.folder / "stranger")
    theirs = World(world.database, world.ledger, world.rows, world.folder)
    theirs.lease, theirs.hashes = world.lease, [bytes(32)] * 4 + world.hashes[4:]
    signed = await theirs.new_desk(stranger)._signed(PARTITION, CompactRange(), bytes(32))
    await world.place.append(signed)
    assert await world.checkpoint() == 5


# ---------------------------------------------------------------- owners


async def test_a_stale_owner_signs_only_what_the_next_one_would_and_then_stops(world: World) -> None:
    await world.commit(5)
    stale, told = world.lease, list(world.hashes)
    await world.ledger.release(stale)
    lease = await world.claim("b")
    other = world.new_desk()
    with pytest.raises(Fenced):
        await world.desk.checkpoint(stale, 0, b"".join(told))
    assert (await world.inside(), await world.outside()) == ([], [5])
    await world.commit(3)
    assert await other.checkpoint(world.lease, 5, b"".join(world.hashes)) == 8
    assert await world.inside() == await world.outside() == [5, 8]
    assert lease.epoch == stale.epoch + 1


async def test_a_new_owner_with_a_new_key_believes_what_the_old_key_signed(world: World) -> None:
    await world.commit(5)
    await world.checkpoint()
    await world.claim("a")
    world.desk = world.new_desk(signer_in(world.folder / "next"))
    await world.commit(5)
    assert await world.checkpoint() == 10
    assert len(await world.rows.keys()) == 2


@pytest.mark.parametrize("role", [WRITER, OWNER])
async def test_neither_writer_nor_owner_can_take_a_checkpoint_back(world: World, role: str) -> None:
    await world.commit(300)
    await world.checkpoint()
    connection = await asyncpg.connect(world.database.dsn(role))
    try:
        for table in ("checkpoint", "merkle_node", "checkpoint_key"):
            column = "name" if table == "checkpoint_key" else "partition"
            for statement in (
                f"UPDATE {table} SET {column} = {column}",
                f"DELETE FROM {table}",
                f"TRUNCATE {table}",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
    finally:
        await connection.close()
