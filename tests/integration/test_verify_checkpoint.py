"""With checkpoints from outside, whatever the database's owner does to history is found: in the database and in an export."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest

from bfactors.audit.series import Series, series_of
from bfactors.ledger_row import EventRow
from deploy.command.main import main
from gateways.checkpoint.collection import checkpoints_in, series_in
from gateways.checkpoint.directory_store import DirectoryCheckpoints
from gateways.checkpoint.public_key import Keyring, pem_of
from persistence.checkpoint import PostgresCheckpoints
from persistence.ledger_store import PostgresLedgerStore
from persistence.role import OWNER, READER, WRITER
from persistence.verification import export, verify_database, verify_export
from tests.conftest import FreshDatabase
from tests.contract.test_checkpoint_desk import World
from tests.fakes.checkpoint import ORIGIN, signed, signer_in
from tests.fakes.ledger_row import event
from tests.integration.test_verify import replace, stored

pytest_plugins = ("tests.fakes.ledger_database",)

LONG = timedelta(minutes=5)
ROWS = 12
Tamper = Callable[[asyncpg.Connection], Awaitable[None]]


@pytest.fixture
async def world(
    emptied_ledger_database: FreshDatabase, postgres_ledger_store: PostgresLedgerStore, tmp_path: Path
) -> AsyncIterator[World]:
    """Partition 3 with checkpoints of 4, 8 and 12 rows."""
    rows = await PostgresCheckpoints.open(emptied_ledger_database.dsn(WRITER))
    world = World(emptied_ledger_database, postgres_ledger_store, rows, tmp_path)
    await world.claim()
    for _ in range(3):
        await world.commit(4)
        await world.checkpoint()
    yield world
    await rows.close()


@pytest.fixture
async def owner(world: World) -> AsyncIterator[asyncpg.Connection]:
    """The role that owns the tables, and so may switch off what keeps them append-only."""
    connection = await asyncpg.connect(world.database.dsn(OWNER))
    await connection.execute("ALTER TABLE event DISABLE TRIGGER event_is_append_only")
    yield connection
    await connection.execute("ALTER TABLE event ENABLE TRIGGER event_is_append_only")
    await connection.close()


def outside(world: World) -> Series:
    (world.folder / "trusted.pem").write_text(pem_of(world.signer.keys[0]))
    return series_in(world.folder / "checkpoints", [world.folder / "trusted.pem"])


async def problems(world: World) -> list[tuple[int | None, int | None, str]]:
    """Found in the database; and the same has to be found in an export of it."""
    series = outside(world)
    report = await verify_database(world.database.dsn(READER), series=series)
    target = world.folder / "export.jsonl"
    await export(world.database.dsn(READER), target)
    assert verify_export(target, series=series) == report
    return [(each.partition, each.sequence, each.kind) for each in report.problems]


async def move_head(connection: asyncpg.Connection, sequence: int) -> None:
    row = await stored(connection, sequence)
    await connection.execute(
        "UPDATE partition SET sequence = $1, head_hash = $2 WHERE number = 3",
        sequence,
        bytes.fromhex(row.hash),
    )


async def chain_on(connection: asyncpg.Connection, rows: list[EventRow]) -> None:
    """Replace the end of history by these, renumbered and hashed without a flaw, and move the head."""
    first = ROWS - len(rows) + 1
    await connection.execute("DELETE FROM event WHERE partition = 3 AND sequence >= $1", first)
    previous = (await stored(connection, first - 1)).hash if first > 1 else "0" * 64
    for sequence, row in enumerate(rows, start=first):
        fields = {
            name: value
            for name, value in msgspec.structs.asdict(row).items()
            if name not in ("hash", "previous_hash", "sequence", "partition")
        }
        made = event(previous, 3, sequence, **fields)
        await replace(connection, made)
        previous = made.hash
    await move_head(connection, first + len(rows) - 1)


def statement(sql: str) -> Tamper:
    async def run(connection: asyncpg.Connection) -> None:
        await connection.execute(sql)

    return run


def rechained(first: int, change: Callable[[list[EventRow]], list[EventRow]]) -> Tamper:
    """History from `first` on, changed, hashed anew, the head moved: no chain shows it."""

    async def run(connection: asyncpg.Connection) -> None:
        rows = [await stored(connection, sequence) for sequence in range(first, ROWS + 1)]
        changed = change(rows)
        await chain_on(connection, [*changed, *[rows[-1]] * (len(rows) - len(changed))])

    return run


async def truncated_and_head_moved(connection: asyncpg.Connection) -> None:
    await connection.execute("DELETE FROM event WHERE partition = 3 AND sequence > 9")
    await move_head(connection, 9)


FLIP = statement("UPDATE event SET actor = 'operator:eve' WHERE partition = 3 AND sequence = 6")
DELETE = statement("DELETE FROM event WHERE partition = 3 AND sequence = 6")
REORDER = statement(
    "UPDATE event SET sequence = 100 WHERE partition = 3 AND sequence = 6;"
    "UPDATE event SET sequence = 6 WHERE partition = 3 AND sequence = 7;"
    "UPDATE event SET sequence = 7 WHERE partition = 3 AND sequence = 100"
)
TRUNCATE = statement("DELETE FROM event WHERE partition = 3 AND sequence > 9")


def flipped(rows: list[EventRow]) -> list[EventRow]:
    return [msgspec.structs.replace(rows[0], actor="operator:eve"), *rows[1:]]


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (FLIP, (3, 6, "hash")),
        (DELETE, (3, 7, "gap")),
        (REORDER, (3, 6, "hash")),
        (TRUNCATE, (3, 9, "truncated")),
        # And each of them by somebody who hashes everything anew and moves the head. Then no row is bad by itself; named
        # is the first row that the checkpoints do not vouch for.
        (rechained(6, flipped), (3, 5, "fork")),
        (rechained(6, lambda rows: rows[1:]), (3, 5, "fork")),
        (rechained(6, lambda rows: [rows[1], rows[0], *rows[2:]]), (3, 5, "fork")),
        (truncated_and_head_moved, (3, 9, "truncated")),
        (rechained(12, flipped), (3, 9, "fork")),
        (rechained(1, flipped), (3, 1, "fork")),
    ],
)
async def test_what_the_owner_does_is_named_by_its_first_bad_row(
    world: World, owner: asyncpg.Connection, tamper: Tamper, expected: tuple[int, int, str]
) -> None:
    assert await problems(world) == []
    await tamper(owner)
    assert await problems(world) == [expected]


async def test_checkpoints_deleted_in_the_database_as_well_hide_nothing(
    world: World, owner: asyncpg.Connection
) -> None:
    await owner.execute("ALTER TABLE checkpoint DISABLE TRIGGER checkpoint_is_append_only")
    await owner.execute("DELETE FROM checkpoint")
    await truncated_and_head_moved(owner)
    await owner.execute("ALTER TABLE checkpoint ENABLE TRIGGER checkpoint_is_append_only")
    assert await problems(world) == [(3, 9, "truncated")]


async def test_a_whole_partition_gone_is_truncated_at_nothing(
    world: World, owner: asyncpg.Connection
) -> None:
    await owner.execute("DELETE FROM event")
    await owner.execute("UPDATE partition SET sequence = 0, head_hash = decode(repeat('00', 32), 'hex')")
    assert await problems(world) == [(3, 0, "truncated")]


async def test_rows_behind_the_last_checkpoint_are_counted(world: World) -> None:
    await world.commit(3)
    report = await verify_database(world.database.dsn(READER), series=outside(world))
    assert (report.intact, report.checkpoints, report.uncovered) == (True, 3, 3)


# ---------------------------------------------------------------- what is wrong with checkpoints


async def test_a_checkpoint_edited_outside_is_named(world: World) -> None:
    path = next((world.folder / "checkpoints").glob("checkpoint-*"))
    path.write_text(path.read_text().replace("\n8\n", "\n7\n"))
    assert await problems(world) == [(3, 7, "signature")]


async def test_an_owner_who_signed_two_histories_is_named(world: World) -> None:
    fork = await signed(world.signer, 8, partition=3, fork=True)
    await DirectoryCheckpoints(world.folder / "checkpoints").append(fork)
    assert await problems(world) == [(3, 8, "signed-twice")]


async def test_a_strangers_fork_counts_for_nothing(world: World) -> None:
    stranger = signer_in(world.folder / "stranger")
    await DirectoryCheckpoints(world.folder / "checkpoints").append(await signed(stranger, 8, fork=True))
    assert outside(world).unknown == 1
    assert await problems(world) == []


async def test_another_origin_is_another_series(world: World) -> None:
    found = checkpoints_in(world.folder / "checkpoints")
    other = signer_in(world.folder / "other", name="fleet.example/ledger-2")
    later = await signed(other, 8, origin="fleet.example/ledger-2", fork=True)
    keys = [*world.signer.keys, *other.keys]
    trusted = frozenset((key.name, key.key_id) for key in keys)
    newest = series_of([*found, later], Keyring(keys), trusted)
    assert (newest.origin, newest.count, newest.others) == ("fleet.example/ledger-2", 1, {ORIGIN: 3})
    asked = series_of([*found, later], Keyring(keys), trusted, ORIGIN)
    assert (asked.count, asked.others) == (3, {"fleet.example/ledger-2": 1})


# ---------------------------------------------------------------- the command


@pytest.fixture
async def exported(world: World) -> Path:
    await export(world.database.dsn(READER), world.folder / "ledger.jsonl")
    outside(world)
    return world.folder


def verify(folder: Path, *further: str) -> int:
    return main(["verify", "--export", str(folder / "ledger.jsonl"), *further])


async def test_the_command_says_what_was_held_against_what(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = ("--checkpoints", str(exported / "checkpoints"))
    assert verify(exported, *checkpoints, "--public-key", str(exported / "trusted.pem")) == 0
    said = capsys.readouterr().out
    assert "12 events in 1 partitions: every chain holds" in said
    assert f"3 signed checkpoints of {ORIGIN} held against them, 0 events are under none yet" in said
    assert "believed" not in said
    assert verify(exported, *checkpoints) == 0
    assert "the keys that lie beside the checkpoints are believed" in capsys.readouterr().out
    assert verify(exported) == 0
    assert "no checkpoints were given" in capsys.readouterr().out


async def test_the_command_takes_one_file_of_notes_and_a_verifier_line(
    world: World, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = [str(each.note) for each in await world.rows.notes(ORIGIN, 3, 0, 9)]
    (exported / "notes.txt").write_text("\n\n".join(notes))
    (exported / "verifier").write_text(world.signer.keys[0].verifier + "\n")
    given = ("--checkpoints", str(exported / "notes.txt"), "--public-key", str(exported / "verifier"))
    assert verify(exported, *given) == 0
    assert "3 signed checkpoints" in capsys.readouterr().out


async def test_the_command_refuses_what_it_cannot_hold_against_anything(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = tmp_path / "stranger.pem"
    stranger.write_text(pem_of(signer_in(tmp_path / "s").keys[0]))
    checkpoints = ("--checkpoints", str(exported / "checkpoints"))
    assert verify(exported, *checkpoints, "--public-key", str(stranger)) == 2
    assert verify(exported, "--checkpoints", str(tmp_path / "nowhere")) == 2
    assert verify(exported, "--public-key", str(stranger)) == 2
    assert verify(exported, *checkpoints, "--origin", "other.example/ledger") == 2
    assert "Traceback" not in capsys.readouterr().err


async def test_a_forged_export_fails_the_command_and_names_the_row(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (exported / "ledger.jsonl").read_bytes().splitlines()
    rows = [msgspec.json.decode(line, type=EventRow) for line in lines[1:]]
    previous = rows[5].hash
    for at in range(6, ROWS):
        rows[at] = event(previous, 3, at + 1, actor="operator:eve")
        previous = rows[at].hash
    header = msgspec.json.decode(lines[0])
    header["heads"]["3"] = [ROWS, previous]
    content = [msgspec.json.encode(header), *map(msgspec.json.encode, rows)]
    (exported / "ledger.jsonl").write_bytes(b"\n".join(content) + b"\n")
    assert verify(exported) == 0
    capsys.readouterr()
    assert verify(exported, "--checkpoints", str(exported / "checkpoints")) == 1
    said = capsys.readouterr().out
    assert "event 3:5: fork: the checkpoint of 8 rows, signed 2026-03-01T12:00:00Z, was of other rows" in said
    assert "one of the events 5 to 8" in said
