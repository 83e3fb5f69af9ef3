"""Deleting by age in PostgreSQL: only what is older, no more than told, one core a round, and no ledger event ever."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from bfactors.disclosed import Disclosed
from bfactors.ledger_row import HolderRow, QuarantineRow, SecurityEventRow
from bfactors.retention import PERSONAL, SWEPT_IN_DATABASE, UNCLAIMED
from deploy.role.custody import SealingKeyFile
from persistence.ledger_store import PostgresLedgerStore
from persistence.personal_identifier import PostgresPersonalIdentifiers
from persistence.retention import PostgresRetention
from persistence.role import WRITER
from tests.conftest import FreshDatabase
from tests.fakes import ledger_row
from tests.fakes.ledger_row import DAWN

pytest_plugins = ("tests.fakes.ledger_database",)

HOUR, LONG = timedelta(hours=1), timedelta(minutes=5)
AGES = tuple(DAWN + number * HOUR for number in range(5))


@pytest.fixture
async def store(emptied_ledger_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[PostgresRetention]:
    SealingKeyFile.make(tmp_path / "key")
    dsn = emptied_ledger_database.dsn(WRITER)
    personal = await PostgresPersonalIdentifiers.reach(dsn, SealingKeyFile.load(tmp_path / "key"))
    reached = await PostgresRetention.reach(dsn, personal)
    for number, at in enumerate(AGES):
        for name in (f"vin:retired:{number}", f"vin:unclaimed:{number}"):
            await personal.put(name, "vin", Disclosed(b"x"), at)
    yield reached
    await reached.close()
    await personal.close()


@pytest.fixture
async def superuser(
    emptied_ledger_database: FreshDatabase,
    postgres_ledger_store: PostgresLedgerStore,
    store: PostgresRetention,
) -> AsyncIterator[asyncpg.Connection]:
    """Beside five records of each kind, an hour apart."""
    lease = await postgres_ledger_store.claim(3, "a", LONG)
    assert lease is not None
    rows = ledger_row.batch(
        lease,
        3,
        security_events=[
            SecurityEventRow(evidence_id=f"e{n}", charger_id=None, kind="k", observed_at=at, doc=b"{}")
            for n, at in enumerate(AGES)
        ],
        quarantine=[QuarantineRow(f"q{n}", "CP-1", "error", b"{}") for n in range(5)],
        identity_holders=[
            HolderRow(external_id=f"vin:retired:{n}", identity_id="i", held=False, kept=True, since=at)
            for n, at in enumerate(AGES)
        ],
    )
    await postgres_ledger_store.commit(lease, rows, LONG)
    connection = await asyncpg.connect(emptied_ledger_database.dsn())
    for n, at in enumerate(AGES):
        await connection.execute(
            "UPDATE quarantined_evidence SET quarantined_at = $2 WHERE evidence_id = $1", f"q{n}", at
        )
        await connection.execute(
            "INSERT INTO notification (notice_id, subscription_id, kind, created_at, state, next_at, settled_at, notice)"
            " VALUES ($1, 's', 'k', $2, $3, $2, $4, '')",
            *(f"n{n}", at, "delivered" if n else "pending", at if n else None),
        )
    await connection.execute(
        "INSERT INTO notification (notice_id, subscription_id, kind, created_at, state, next_at, settled_at, notice)"
        " VALUES ('n5', 's', 'k', $1, 'given-up', $1, $1, '')",
        AGES[0],
    )
    yield connection
    await connection.close()


@pytest.mark.parametrize("kind", [*SWEPT_IN_DATABASE, UNCLAIMED])
async def test_what_is_older_goes_and_no_more_than_told(
    store: PostgresRetention, superuser: asyncpg.Connection, kind: str
) -> None:
    assert await store.sweep(kind, AGES[0], 10) == 0
    assert [await store.sweep(kind, AGES[3], 2) for _ in range(3)] == [2, 1, 0]
    assert await store.sweep(kind, AGES[4] + HOUR, 10) == 2


async def test_a_notice_still_on_its_way_stays(
    store: PostgresRetention, superuser: asyncpg.Connection
) -> None:
    await store.sweep("notices", AGES[4] + HOUR, 10)
    assert await superuser.fetchval("SELECT string_agg(notice_id, ' ') FROM notification") == "n0"


async def test_no_event_is_ever_deleted(store: PostgresRetention, superuser: asyncpg.Connection) -> None:
    events = await superuser.fetch("SELECT sequence, hash FROM event ORDER BY 1")
    for kind in (*SWEPT_IN_DATABASE, UNCLAIMED):
        await store.sweep(kind, AGES[4] + 1000 * HOUR, 1000)
    assert await superuser.fetch("SELECT sequence, hash FROM event ORDER BY 1") == events
    assert len(events) == 3
    assert await superuser.fetchval("SELECT count(*) FROM personal_identifier") == 0


async def test_a_round_is_one_cores(store: PostgresRetention) -> None:
    assert sorted(await asyncio.gather(*(store.begin(DAWN, HOUR) for _ in range(4)))) == [False] * 3 + [True]
    assert not await store.begin(DAWN + HOUR - timedelta(seconds=1), HOUR)
    assert await store.begin(DAWN + HOUR, HOUR)


def test_personal_data_is_a_kind_that_is_swept() -> None:
    assert PERSONAL in SWEPT_IN_DATABASE
