"""Whatever is done to the stored ledger, verification names the first bad row."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest

from bfactors.errors import SettingsError, Unavailable
from bfactors.ledger_row import GENESIS, EventRow
from persistence.chain import ChainCheck
from persistence.ledger_store import PostgresLedgerStore
from persistence.role import READER
from persistence.verification import PAGE_ROWS, export, verify_database, verify_export
from tests.conftest import FreshDatabase
from tests.fakes.ledger_row import batch, event

pytest_plugins = ("tests.fakes.ledger_database",)

LONG = timedelta(minutes=5)
ROWS = 12
NAMES = ", ".join(name for name in EventRow.__struct_fields__)

Tamper = Callable[[asyncpg.Connection], Awaitable[None]]


@pytest.fixture
async def ledger(
    emptied_ledger_database: FreshDatabase, postgres_ledger_store: PostgresLedgerStore
) -> FreshDatabase:
    """Partitions 3 and 5 with 12 events each, in commits of 4."""
    for number in (3, 5):
        lease = await postgres_ledger_store.claim(number, "a", LONG)
        assert lease is not None
        for _ in range(ROWS // 4):
            lease = await postgres_ledger_store.commit(lease, batch(lease, 4), LONG)
    return emptied_ledger_database


@pytest.fixture
async def intruder(ledger: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    """Someone with the superuser's rights and the append-only trigger switched off."""
    connection = await asyncpg.connect(ledger.dsn())
    await connection.execute("SET session_replication_role = replica")
    yield connection
    await connection.close()


async def first_problem(ledger: FreshDatabase) -> tuple[int | None, int | None, str]:
    report = await verify_database(ledger.dsn(READER))
    assert not report.intact
    problem = report.problems[0]
    return problem.partition, problem.sequence, problem.kind


async def test_an_untouched_ledger_is_intact(ledger: FreshDatabase) -> None:
    report = await verify_database(ledger.dsn(READER))
    assert report.intact
    assert report.rows == 2 * ROWS
    assert {number: head[0] for number, head in report.heads.items()} == {3: ROWS, 5: ROWS}


CHANGES = {
    "event": "'CertificateRevoked'",
    "schema_version": "2",
    "recorded_at": "recorded_at + interval '1 microsecond'",
    "actor": "'operator:eve'",
    "cause": "cause || 'x'",
    "policy_version": "2",
    "fleet_sequence": "1",
    "charger_id": "NULL",
    "managed_identity_id": "'mi-2'",
    "purpose": "'contract'",
    "variant": "''",
    "job_id": "'job-2'",
    "certificate_id": "'-'",
    "payload": "payload || ' '",
    "previous_hash": "set_byte(previous_hash, 31, (get_byte(previous_hash, 31) + 1) % 256)",
    "hash": "set_byte(hash, 0, (get_byte(hash, 0) + 1) % 256)",
}


async def test_a_change_to_any_field_is_found_in_its_row(
    ledger: FreshDatabase, intruder: asyncpg.Connection
) -> None:
    assert set(CHANGES) == set(EventRow.__struct_fields__) - {"partition", "sequence"}
    for column, change in CHANGES.items():
        await intruder.execute(
            "CREATE TEMP TABLE kept AS SELECT * FROM event WHERE partition = 5 AND sequence = 7"
        )
        await intruder.execute(f"UPDATE event SET {column} = {change} WHERE partition = 5 AND sequence = 7")
        assert await first_problem(ledger) == (5, 7, "hash"), column
        await intruder.execute("DELETE FROM event WHERE partition = 5 AND sequence = 7")
        await intruder.execute("INSERT INTO event SELECT * FROM kept; DROP TABLE kept")
    assert (await verify_database(ledger.dsn(READER))).intact


async def replace(connection: asyncpg.Connection, row: EventRow) -> None:
    await connection.execute(
        "DELETE FROM event WHERE partition = $1 AND sequence = $2", row.partition, row.sequence
    )
    values = list(msgspec.structs.astuple(row))
    values[-2:] = [bytes.fromhex(text) for text in values[-2:]]
    marks = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    await connection.execute(f"INSERT INTO event ({NAMES}) VALUES ({marks})", *values)


async def stored(connection: asyncpg.Connection, sequence: int) -> EventRow:
    row = await connection.fetchrow(
        f"SELECT {NAMES} FROM event WHERE partition = 3 AND sequence = $1", sequence
    )
    fields = dict(row)
    return EventRow(**{**fields, "previous_hash": row["previous_hash"].hex(), "hash": row["hash"].hex()})


async def rewrite_one_with_a_right_hash(connection: asyncpg.Connection) -> None:
    old = await stored(connection, 7)
    await replace(connection, event(old.previous_hash, 3, 7, actor="operator:eve"))


async def fork(connection: asyncpg.Connection) -> None:
    """History from event 7 on, made up anew and hashed without a flaw."""
    head = (await stored(connection, 6)).hash
    for sequence in range(7, ROWS + 1):
        row = event(head, 3, sequence, actor="operator:eve")
        await replace(connection, row)
        head = row.hash


async def fork_and_move_the_head(connection: asyncpg.Connection) -> None:
    await fork(connection)
    head = (await stored(connection, ROWS)).hash
    await connection.execute("UPDATE partition SET head_hash = $1 WHERE number = 3", bytes.fromhex(head))


async def append_past_the_head(connection: asyncpg.Connection) -> None:
    head = (await stored(connection, ROWS)).hash
    await replace(connection, event(head, 3, ROWS + 1))


def statement(sql: str) -> Tamper:
    async def run(connection: asyncpg.Connection) -> None:
        await connection.execute(sql)

    return run


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (statement("DELETE FROM event WHERE partition = 3 AND sequence = 1"), (3, 2, "gap")),
        (statement("DELETE FROM event WHERE partition = 3 AND sequence IN (6, 7)"), (3, 8, "gap")),
        (statement("DELETE FROM event WHERE partition = 3 AND sequence > 9"), (3, 9, "head")),
        (statement("DELETE FROM event WHERE partition = 3"), (3, 0, "head")),
        (statement("TRUNCATE event"), (3, 0, "head")),
        (
            statement(
                "UPDATE event SET sequence = 100 WHERE partition = 3 AND sequence = 6;"
                "UPDATE event SET sequence = 6 WHERE partition = 3 AND sequence = 7;"
                "UPDATE event SET sequence = 7 WHERE partition = 3 AND sequence = 100"
            ),
            (3, 6, "hash"),
        ),
        (statement("UPDATE event SET partition = 4 WHERE partition = 3"), (3, 0, "head")),
        (
            statement("UPDATE event SET partition = 99 WHERE partition = 5 AND sequence = 12"),
            (5, 11, "head"),
        ),
        (statement("UPDATE partition SET sequence = 11 WHERE number = 5"), (5, 12, "head")),
        (statement("DELETE FROM partition WHERE number = 5"), (5, 12, "head")),
        (rewrite_one_with_a_right_hash, (3, 8, "previous-hash")),
        (fork, (3, 12, "head")),
        (append_past_the_head, (3, 13, "head")),
    ],
)
async def test_tampering_is_named_by_its_first_bad_row(
    ledger: FreshDatabase,
    intruder: asyncpg.Connection,
    tamper: Tamper,
    expected: tuple[int, int, str],
) -> None:
    await tamper(intruder)
    assert await first_problem(ledger) == expected


async def test_history_forged_without_a_flaw_is_found_by_a_head_written_down_before(
    ledger: FreshDatabase, intruder: asyncpg.Connection
) -> None:
    before = (await verify_database(ledger.dsn(READER))).heads
    await fork_and_move_the_head(intruder)
    assert (await verify_database(ledger.dsn(READER))).intact
    report = await verify_database(ledger.dsn(READER), before)
    assert [(p.partition, p.sequence, p.kind) for p in report.problems] == [(3, ROWS, "rewritten")]


async def test_a_ledger_cut_short_of_a_known_head_is_found(
    ledger: FreshDatabase, intruder: asyncpg.Connection
) -> None:
    before = (await verify_database(ledger.dsn(READER))).heads
    await intruder.execute("DELETE FROM event WHERE partition = 3 AND sequence > 9")
    head = (await stored(intruder, 9)).hash
    await intruder.execute(
        "UPDATE partition SET sequence = 9, head_hash = $1 WHERE number = 3", bytes.fromhex(head)
    )
    assert (await verify_database(ledger.dsn(READER))).intact
    report = await verify_database(ledger.dsn(READER), before)
    assert [(p.partition, p.sequence, p.kind) for p in report.problems] == [(3, 9, "rewritten")]


async def test_a_bad_partition_does_not_hide_another_one(
    ledger: FreshDatabase, intruder: asyncpg.Connection
) -> None:
    await intruder.execute("UPDATE event SET actor = 'eve' WHERE sequence IN (4, 5)")
    report = await verify_database(ledger.dsn(READER))
    assert [(p.partition, p.sequence) for p in report.problems] == [(3, 4), (5, 4)]
    assert str(report.problems[0]) == "event 3:4: hash: its fields do not give the hash stored with it"


async def test_chains_longer_than_a_page_are_read_to_their_end(
    emptied_ledger_database: FreshDatabase, postgres_ledger_store: PostgresLedgerStore
) -> None:
    lease = await postgres_ledger_store.claim(3, "a", LONG)
    assert lease is not None
    await postgres_ledger_store.commit(lease, batch(lease, PAGE_ROWS + 1), LONG)
    report = await verify_database(emptied_ledger_database.dsn(READER))
    assert (report.intact, report.rows) == (True, PAGE_ROWS + 1)


# ---------------------------------------------------------------- exports


async def test_an_export_is_verified_without_the_database(ledger: FreshDatabase, tmp_path: Path) -> None:
    target = tmp_path / "ledger.jsonl"
    assert await export(ledger.dsn(READER), target) == 2 * ROWS
    assert verify_export(target) == await verify_database(ledger.dsn(READER))
    assert not target.with_name("ledger.jsonl.draft").exists()


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda lines: lines[:6] + lines[7:], (3, 7, "gap")),
        (lambda lines: [*lines[:6], lines[7], lines[6], *lines[8:]], (3, 7, "gap")),
        (lambda lines: [*lines[:7], lines[6], *lines[7:]], (3, 6, "repeated")),
        (lambda lines: [*lines[:6], lines[6].replace(b"ada", b"eve"), *lines[7:]], (3, 6, "hash")),
        (lambda lines: lines[:-1], (5, 11, "head")),
        (lambda lines: lines[:1], (3, 0, "head")),
        (lambda lines: [*lines[:6], b'{"partition":', *lines[7:]], (None, None, "unreadable")),
        (lambda lines: lines[1:], (None, None, "unreadable")),
        (lambda lines: [], (None, None, "unreadable")),
    ],
)
async def test_an_edited_export_is_named_by_its_first_bad_row(
    ledger: FreshDatabase,
    tmp_path: Path,
    edit: Callable[[list[bytes]], list[bytes]],
    expected: tuple[int | None, int | None, str],
) -> None:
    target = tmp_path / "ledger.jsonl"
    await export(ledger.dsn(READER), target)
    target.write_bytes(b"\n".join(edit(target.read_bytes().splitlines())))
    problem = verify_export(target).problems[0]
    assert (problem.partition, problem.sequence, problem.kind) == expected


async def test_an_export_that_cannot_be_written_says_so(ledger: FreshDatabase, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot write"):
        await export(ledger.dsn(READER), tmp_path / "missing" / "ledger.jsonl")
    with pytest.raises(Unavailable):
        await verify_database("postgresql://nobody:x@127.0.0.1:1/none")


def test_an_empty_ledger_is_intact() -> None:
    report = ChainCheck().finish(dict.fromkeys(range(16), (0, GENESIS)))
    assert report.intact
