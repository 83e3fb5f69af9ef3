"""What only the real store can be asked: rights, lost connections and a database that is killed."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest

from bfactors.errors import Fenced, Unavailable
from bfactors.identity import PARTITIONS
from bfactors.ledger_row import IdempotencyRow, Lease, QuarantineRow, TimerRow
from deploy.embedded import DataDirectory, EmbeddedPostgres
from persistence.ledger_store import PostgresLedgerStore
from persistence.migration import migrate
from persistence.role import OWNER, READER, ROLES, WRITER, ensure_roles
from tests.conftest import FreshDatabase
from tests.fakes.ledger_row import DAWN, aggregate, batch
from tests.patience import PATIENCE_S

pytest_plugins = ("tests.fakes.ledger_database",)

LONG = timedelta(minutes=5)
SHIELDED = ("secret", "personal_identifier", "idempotency", "api_token")


@pytest.fixture
async def superuser(emptied_ledger_database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(emptied_ledger_database.dsn())
    yield connection
    await connection.close()


async def claimed(store: PostgresLedgerStore) -> Lease:
    lease = await store.claim(3, "a", LONG)
    assert lease is not None
    return lease


@pytest.fixture
async def observer(emptied_ledger_database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    """Outside every transaction, because pg_stat_activity stands still inside one."""
    connection = await asyncpg.connect(emptied_ledger_database.dsn())
    yield connection
    await connection.close()


async def until_blocked(observer: asyncpg.Connection, count: int) -> int:
    """Returns once `count` of the store's backends wait for a lock, with the process id of one of them."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            rows = await observer.fetch(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'bf-ledger' AND wait_event_type = 'Lock'"
            )
            if len(rows) >= count:
                pid: int = rows[0]["pid"]
                return pid


# ---------------------------------------------------------------- rights


async def test_the_writer_cannot_rewrite_what_has_been_recorded(
    emptied_ledger_database: FreshDatabase,
) -> None:
    connection = await asyncpg.connect(emptied_ledger_database.dsn(WRITER))
    try:
        for statement in (
            "UPDATE event SET actor = 'x'",
            "DELETE FROM event",
            "TRUNCATE event",
            "UPDATE inbox SET evidence_id = 'x'",
            "UPDATE key_owner SET managed_identity_id = 'x'",
            "DELETE FROM aggregate",
            "DELETE FROM certificate",
            "INSERT INTO partition (number) VALUES (16)",
            "UPDATE api_token SET role = 'admin'",
            "DROP TABLE event",
            "ALTER TABLE event DISABLE TRIGGER ALL",
            "CREATE TABLE mine ()",
            "UPDATE schema_migration SET checksum = ''",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_even_the_owner_does_not_change_events_by_accident(
    emptied_ledger_database: FreshDatabase,
) -> None:
    connection = await asyncpg.connect(emptied_ledger_database.dsn(OWNER))
    try:
        for statement in ("UPDATE event SET actor = 'x'", "DELETE FROM event", "TRUNCATE event"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_the_reader_reads_every_table_but_secrets_and_writes_none(
    emptied_ledger_database: FreshDatabase, superuser: asyncpg.Connection
) -> None:
    tables = {
        row["tablename"]
        for row in await superuser.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    }
    assert tables > {"event", "charger", *SHIELDED}
    connection = await asyncpg.connect(emptied_ledger_database.dsn(READER))
    try:
        for table in sorted(tables - set(SHIELDED)):
            await connection.fetch(f"SELECT * FROM {table} LIMIT 1")
        for table in SHIELDED:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM {table} LIMIT 1")
        await connection.execute("SET default_transaction_read_only = off")
        for table in sorted(tables):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"DELETE FROM {table}")
    finally:
        await connection.close()


async def test_there_is_a_row_for_every_partition(superuser: asyncpg.Connection) -> None:
    numbers = [row["number"] for row in await superuser.fetch("SELECT number FROM partition ORDER BY number")]
    assert numbers == list(range(PARTITIONS))


# ---------------------------------------------------------------- lost connections


TAKE_A_TIMER = "INSERT INTO timer (partition, key, due_at) VALUES (3, 'charger:1', now())"
"""Uncommitted, this holds up a commit that has moved its lease and now comes to the same timer."""


async def test_a_connection_lost_in_the_middle_of_a_commit_leaves_nothing(
    postgres_ledger_store: PostgresLedgerStore,
    superuser: asyncpg.Connection,
    observer: asyncpg.Connection,
) -> None:
    store = postgres_ledger_store
    lease = await claimed(store)
    doubtful = batch(
        lease, 5, aggregates=[aggregate("a")], inbox=["e1"], timers=[TimerRow("charger:1", DAWN)]
    )
    holding = superuser.transaction()
    await holding.start()
    await superuser.execute(TAKE_A_TIMER)
    commit = asyncio.create_task(store.commit(lease, doubtful, LONG))
    await superuser.execute("SELECT pg_terminate_backend($1)", await until_blocked(observer, 1))
    with pytest.raises(Unavailable):
        await commit
    await holding.rollback()
    again = await claimed(store)
    assert (again.sequence, again.evidence_position) == (0, 0)
    assert await store.events_after(3, 0, 10) == []
    assert await store.load(3, ["a"]) == {}
    assert await store.known_evidence(3, ["e1"]) == set()
    assert (await store.commit(again, doubtful, LONG)).sequence == 5


async def test_a_claim_waits_for_a_commit_that_has_begun_to_write(
    postgres_ledger_store: PostgresLedgerStore,
    superuser: asyncpg.Connection,
    observer: asyncpg.Connection,
) -> None:
    store = postgres_ledger_store
    lease = await claimed(store)
    doubtful = batch(lease, 2, timers=[TimerRow("charger:1", DAWN)])
    holding = superuser.transaction()
    await holding.start()
    await superuser.execute(TAKE_A_TIMER)
    commit = asyncio.create_task(store.commit(lease, doubtful, LONG))
    await until_blocked(observer, 1)
    asked = asyncio.create_task(store.claim(3, "a", LONG))
    await until_blocked(observer, 2)
    assert not asked.done()
    await holding.rollback()
    committed = await commit
    assert await asked == msgspec.structs.replace(committed, epoch=committed.epoch + 1)


async def test_a_commit_held_up_before_it_writes_is_fenced_by_the_next_claim(
    postgres_ledger_store: PostgresLedgerStore,
    superuser: asyncpg.Connection,
    observer: asyncpg.Connection,
) -> None:
    store = postgres_ledger_store
    lease = await claimed(store)
    late = batch(lease, 2, aggregates=[aggregate("a")], inbox=["e1"], timers=[TimerRow("charger:1", DAWN)])
    async with superuser.transaction():
        await superuser.execute("LOCK TABLE timer IN ACCESS EXCLUSIVE MODE")
        commit = asyncio.create_task(store.commit(lease, late, LONG))
        await until_blocked(observer, 1)
        again = await claimed(store)
    with pytest.raises(Fenced):
        await commit
    assert (again.sequence, await store.events_after(3, 0, 10)) == (0, [])
    assert await store.load(3, ["a"]) == {}
    assert await store.known_evidence(3, ["e1"]) == set()


async def test_a_lost_server_is_unavailable_and_a_mistake_of_ours_is_not(
    postgres_ledger_store: PostgresLedgerStore,
) -> None:
    store = postgres_ledger_store
    lease = await claimed(store)
    with pytest.raises(asyncpg.DataError):
        await store.load(3, [1])  # type: ignore[list-item]
    await store.close()
    with pytest.raises(Unavailable):
        await store.commit(lease, batch(lease), LONG)
    with pytest.raises(Unavailable):
        await PostgresLedgerStore.open("postgresql://nobody:x@127.0.0.1:1/none")


async def test_evidence_whose_error_quotes_unstorable_text_can_be_quarantined(
    postgres_ledger_store: PostgresLedgerStore, superuser: asyncpg.Connection
) -> None:
    lease = await claimed(postgres_ledger_store)
    row = QuarantineRow(evidence_id="e1", charger_id="c", error="bad \x00 and \ud800", body=b"\x00\xff")
    await postgres_ledger_store.commit(lease, batch(lease, quarantine=[row]), LONG)
    stored = await superuser.fetchrow("SELECT error, body FROM quarantined_evidence")
    assert tuple(stored) == ("bad \\x00 and \\ud800", b"\x00\xff")


async def test_pruning_deletes_only_what_is_past_its_time(
    postgres_ledger_store: PostgresLedgerStore, superuser: asyncpg.Connection
) -> None:
    store = postgres_ledger_store
    lease = await claimed(store)
    answers = [IdempotencyRow(key, "hash", b"{}") for key in ("old", "new")]
    await store.commit(lease, batch(lease, inbox=["old", "new"], idempotency=answers), LONG)
    await superuser.execute("UPDATE idempotency SET recorded_at = now() - interval '25 h' WHERE key = 'old'")
    await superuser.execute(
        "UPDATE inbox SET recorded_at = now() - interval '15 d' WHERE evidence_id = 'old'"
    )
    assert await store.prune() == 2
    assert await store.prune() == 0
    assert await store.idempotent_answer("new") == ("hash", b"{}")
    assert await store.known_evidence(3, ["old", "new"]) == {"new"}


# ---------------------------------------------------------------- kill -9


@pytest.fixture
def durable_server() -> Iterator[EmbeddedPostgres]:
    folder = Path(tempfile.mkdtemp(prefix="bf-kill-"))
    try:
        with DataDirectory.open(folder) as data:
            server = EmbeddedPostgres.start(data, durable=True)
            try:
                yield server
            finally:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def commit_until_lost(store: PostgresLedgerStore, lease: Lease, enough: asyncio.Event) -> Lease:
    """Commit batch after batch; the last lease whose commit was acknowledged."""
    try:
        while True:
            key = f"after-{lease.sequence + 20}"
            rows = batch(
                lease, 20, aggregates=[aggregate("chain", lease.sequence + 20)], inbox=[key, f"{key}-b"]
            )
            lease = await store.commit(lease, rows, LONG)
            if lease.sequence >= 100:
                enough.set()
    except Unavailable:
        return lease


async def test_a_killed_database_keeps_every_acknowledged_commit_and_no_half_one(
    durable_server: EmbeddedPostgres,
) -> None:
    await ensure_roles(durable_server.dsn(), {role: durable_server.password(role) for role in ROLES})
    await migrate(durable_server.dsn(OWNER))
    for _ in range(2):
        store = await PostgresLedgerStore.open(durable_server.dsn(WRITER), size=2)
        lease = await store.claim(3, "a", LONG)
        assert lease is not None
        enough = asyncio.Event()
        committing = asyncio.create_task(commit_until_lost(store, lease, enough))
        async with asyncio.timeout(PATIENCE_S):
            await enough.wait()
            os.kill(durable_server.pid, signal.SIGKILL)
            acknowledged = await committing
        with pytest.raises(Unavailable):
            await store.load(3, ["chain"])
        durable_server.restart()
        found = await store.claim(3, "a", LONG)  # the same pool finds its way back
        assert found is not None
        assert found.sequence in (acknowledged.sequence, acknowledged.sequence + 20)
        events = await store.events_after(3, 0, 1_000_000)
        assert [row.sequence for row in events] == list(range(1, found.sequence + 1))
        assert events[-1].hash == found.head_hash
        assert (await store.load(3, ["chain"]))["chain"].version == found.sequence
        last = f"after-{found.sequence}"
        unwritten = f"after-{found.sequence + 20}"
        assert await store.known_evidence(3, [last, f"{last}-b", unwritten]) == {last, f"{last}-b"}
        await store.close()
