"""Fixtures: a migrated database for one test, copied from a template that is migrated once a session.

A test module asks for them with `pytest_plugins = ("tests.fakes.ledger_database",)`.
"""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from deploy.embedded import EmbeddedPostgres
from persistence.ledger_store import PostgresLedgerStore
from persistence.migration import migrate
from persistence.role import OWNER, ROLES, WRITER, ensure_roles
from tests.conftest import TEMPLATE_DATABASE, FreshDatabase


async def prepare(server: EmbeddedPostgres, database: str) -> None:
    """Roles and schema in an existing, empty database."""
    await ensure_roles(server.dsn(database=database), {role: server.password(role) for role in ROLES})
    await migrate(server.dsn(OWNER, database))


@pytest.fixture(scope="session")
def ledger_template(postgres: EmbeddedPostgres) -> EmbeddedPostgres:
    """The session's server, holding the roles and a migrated `bf_template`; `pg_database` then copies that."""

    async def build() -> None:
        connection = await asyncpg.connect(postgres.dsn())
        try:
            exists = await connection.fetchval(
                "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", TEMPLATE_DATABASE
            )
            if not exists:
                draft = f"{TEMPLATE_DATABASE}_draft"
                await connection.execute(f"CREATE DATABASE {draft} TEMPLATE template0")
                await prepare(postgres, draft)
                # Under its name only when it is whole: others copy it as soon as they see it.
                await connection.execute(f"ALTER DATABASE {draft} RENAME TO {TEMPLATE_DATABASE}")
        finally:
            await connection.close()

    asyncio.run(build())
    return postgres


@pytest.fixture
def ledger_database(ledger_template: EmbeddedPostgres, pg_database: FreshDatabase) -> FreshDatabase:
    """A migrated database of this test's own."""
    return pg_database


@pytest.fixture
async def postgres_ledger_store(ledger_database: FreshDatabase) -> AsyncIterator[PostgresLedgerStore]:
    """The real store on this test's database."""
    store = await PostgresLedgerStore.open(ledger_database.dsn(WRITER), size=4)
    yield store
    await store.close()
