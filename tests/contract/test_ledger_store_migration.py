"""Migrations are applied once, in order, and never argued with."""

import asyncio
import base64
from pathlib import Path

import asyncpg
import msgspec
import pytest

from bfactors.errors import SettingsError, Unavailable
from deploy.embedded import EmbeddedPostgres
from persistence.migration import Migration, MigrationRefused, known_migrations, migrate
from persistence.query import queries
from persistence.role import OWNER, READER, ROLES, WRITER, ensure_roles, scram_verifier
from tests.conftest import FreshDatabase

pytest_plugins = ("tests.fakes.ledger_database",)

VERSIONS = [migration.version for migration in known_migrations()]


async def tables(database: FreshDatabase) -> set[str]:
    connection = await asyncpg.connect(database.dsn())
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {row["tablename"] for row in rows}
    finally:
        await connection.close()


async def test_migrating_twice_applies_everything_once(empty_database: FreshDatabase) -> None:
    assert await migrate(empty_database.dsn(OWNER)) == VERSIONS
    assert await migrate(empty_database.dsn(OWNER)) == []
    assert {"partition", "event", "certificate", "api_token", "schema_migration"} <= await tables(
        empty_database
    )


async def test_nodes_that_start_together_migrate_once(empty_database: FreshDatabase) -> None:
    applied = await asyncio.gather(*(migrate(empty_database.dsn(OWNER)) for _ in range(4)))
    assert sorted(applied) == [[], [], [], VERSIONS]


async def test_a_changed_migration_is_refused(empty_database: FreshDatabase) -> None:
    await migrate(empty_database.dsn(OWNER))
    changed = known_migrations()
    changed[0] = msgspec.structs.replace(changed[0], sql=changed[0].sql + "\n-- one more thought")
    with pytest.raises(MigrationRefused, match="0001_ledger"):
        await migrate(empty_database.dsn(OWNER), changed)


async def test_a_database_newer_than_the_program_is_refused(empty_database: FreshDatabase) -> None:
    await migrate(empty_database.dsn(OWNER))
    with pytest.raises(MigrationRefused, match="run a newer one"):
        await migrate(empty_database.dsn(OWNER), known_migrations()[:-1])


async def test_a_migration_that_fails_leaves_the_database_at_the_one_before(
    empty_database: FreshDatabase,
) -> None:
    good = Migration(1, "good", "CREATE TABLE kept ()")
    bad = Migration(2, "bad", "CREATE TABLE half (); SELECT 1/0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty_database.dsn(OWNER), [good, bad])
    assert await tables(empty_database) == {"kept", "schema_migration"}
    repaired = Migration(2, "bad", "CREATE TABLE whole ()")
    assert await migrate(empty_database.dsn(OWNER), [good, repaired]) == [2]


def test_migration_numbers_run_without_a_gap(tmp_path: Path) -> None:
    for name in ("0001_a.sql", "0003_c.sql", "notes.txt"):
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationRefused, match="0002"):
        known_migrations(tmp_path)


async def test_roles_log_in_with_the_password_given_last(
    empty_database: FreshDatabase, ledger_template: EmbeddedPostgres
) -> None:
    kept = {role: ledger_template.password(role) for role in ROLES}
    await ensure_roles(empty_database.dsn(), {**kept, READER: "another-password"})
    try:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(empty_database.dsn(READER))
    finally:
        await ensure_roles(empty_database.dsn(), kept)
    await (await asyncpg.connect(empty_database.dsn(READER))).close()


async def test_nobody_else_can_enter_the_database(empty_database: FreshDatabase) -> None:
    connection = await asyncpg.connect(empty_database.dsn())
    try:
        assert not await connection.fetchval(
            "SELECT has_database_privilege('public', current_database(), 'CONNECT')"
        )
        assert not await connection.fetchval(
            "SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = $1", WRITER
        )
    finally:
        await connection.close()


@pytest.mark.parametrize("password", ["", "schlüssel", "line\nbreak"])
async def test_a_password_that_cannot_be_sent_unchanged_is_refused(password: str) -> None:
    with pytest.raises(SettingsError):
        scram_verifier(password)


def test_the_verifier_is_the_one_of_the_specification() -> None:
    # RFC 7677 section 3: user "user", password "pencil", the salt below, 4096 iterations.
    verifier = scram_verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    assert verifier.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    assert verifier.endswith(":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")


async def test_a_database_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await migrate("postgresql://nobody:x@127.0.0.1:1/none")


def test_queries_are_found_by_topic_and_name() -> None:
    assert "WHERE number = $1 AND epoch = $2 AND sequence = $3" in queries("commit")["lease"]
    with pytest.raises(FileNotFoundError):
        queries("nothing")
