"""Fixtures: a migrated database, either of one test's own or shared and emptied before each test (much quicker).

A test module asks for them with `pytest_plugins = ("tests.fakes.ledger_database",)`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from deploy.embedded import EmbeddedPostgres
from persistence.ledger_store import PostgresLedgerStore
from persistence.migration import migrate
from persistence.role import OWNER, ROLES, WRITER, ensure_roles
from tests.conftest import TEMPLATE_DATABASE, FreshDatabase

_SHARED_DATABASE = "test_ledger_shared"
_EMPTY = """
SET session_replication_role = replica;  -- the trigger that keeps events append-only
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migration' LOOP
        EXECUTE format('DELETE FROM %I', name);
    END LOOP;
END $$;
INSERT INTO partition (number) SELECT generate_series(0, 15);
"""


async def _execute(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _exists(server: EmbeddedPostgres, database: str) -> bool:
    connection = await asyncpg.connect(server.dsn())
    try:
        found: bool = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database
        )
        return found
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def ledger_template(postgres: EmbeddedPostgres) -> EmbeddedPostgres:
    """The session's server, holding the roles and a migrated `bf_template`; `pg_database` then copies that."""

    async def build() -> None:
        if await _exists(postgres, TEMPLATE_DATABASE):
            return
        draft = f"{TEMPLATE_DATABASE}_draft"
        await _execute(postgres.dsn(), f"CREATE DATABASE {draft} TEMPLATE template0")
        await ensure_roles(postgres.dsn(database=draft), {role: postgres.password(role) for role in ROLES})
        await migrate(postgres.dsn(OWNER, draft))
        # Under its name only when it is whole: others copy it as soon as they see it.
        await _execute(postgres.dsn(), f"ALTER DATABASE {draft} RENAME TO {TEMPLATE_DATABASE}")

    asyncio.run(build())
    return postgres


@pytest.fixture
def ledger_database(ledger_template: EmbeddedPostgres, pg_database: FreshDatabase) -> FreshDatabase:
    """A migrated database of this test's own."""
    return pg_database


@pytest.fixture
async def empty_database(ledger_template: EmbeddedPostgres, pg_database: FreshDatabase) -> FreshDatabase:
    """As `pg_database`, whatever its template held."""
    connection = await asyncpg.connect(pg_database.dsn())
    try:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    finally:
        await connection.close()
    passwords = {role: ledger_template.password(role) for role in ROLES}
    await ensure_roles(pg_database.dsn(), passwords)
    return pg_database


@pytest.fixture(scope="session")
def _shared_database(ledger_template: EmbeddedPostgres) -> Iterator[FreshDatabase]:
    create = f"CREATE DATABASE {_SHARED_DATABASE} TEMPLATE {TEMPLATE_DATABASE}"
    asyncio.run(_execute(ledger_template.dsn(), create))
    yield FreshDatabase(_SHARED_DATABASE, ledger_template)
    asyncio.run(_execute(ledger_template.dsn(), f"DROP DATABASE {_SHARED_DATABASE} WITH (FORCE)"))


@pytest.fixture
async def emptied_ledger_database(_shared_database: FreshDatabase) -> FreshDatabase:
    """A migrated database whose rows were deleted just now; not for tests that change the schema."""
    await _execute(_shared_database.dsn(), _EMPTY)
    return _shared_database


@pytest.fixture
async def postgres_ledger_store(emptied_ledger_database: FreshDatabase) -> AsyncIterator[PostgresLedgerStore]:
    """The real store on the shared, emptied database."""
    store = await PostgresLedgerStore.open(emptied_ledger_database.dsn(WRITER), size=4)
    yield store
    await store.close()
