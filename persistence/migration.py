"""Forward-only schema migrations: `persistence/schema/NNNN_<name>.sql`, each applied once, each in one transaction.

A file that was applied may never change (its checksum is recorded), and a database that knows a newer migration than
this program refuses to work with it.
"""

import hashlib
import re
from importlib.resources import files
from importlib.resources.abc import Traversable

import asyncpg
import msgspec

from bfactors.errors import SettingsError
from persistence.database import MIGRATION_LOCK, unavailable_when_lost
from persistence.query import queries

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


class MigrationRefused(SettingsError):
    """The database and this program's migrations contradict each other; nothing was changed."""


class Migration(msgspec.Struct, frozen=True):
    """One numbered file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Lower-hex SHA-256 of the file's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def known_migrations(folder: Traversable | None = None) -> list[Migration]:
    """The migrations of this program in order, by default those in `persistence/schema/`.

    Raises MigrationRefused when the numbers do not run 1, 2, 3...
    """
    found = []
    for entry in (folder or files("persistence").joinpath("schema")).iterdir():
        if match := _FILE_NAME.fullmatch(entry.name):
            found.append(Migration(int(match[1]), match[2], entry.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.version)
    for expected, migration in enumerate(found, start=1):
        if migration.version != expected:
            raise MigrationRefused(
                f"migration {expected:04d} is missing or doubled (found {migration.version:04d})"
            )
    return found


async def migrate(owner_dsn: str, migrations: list[Migration] | None = None) -> list[int]:
    """Bring the database up to date as the owner role and return the versions applied just now.

    Several nodes may start at once: one migrates, the others wait for it. Raises MigrationRefused, Unavailable.
    """
    wanted = known_migrations() if migrations is None else migrations
    sql = queries("migration")
    async with unavailable_when_lost():
        connection = await asyncpg.connect(owner_dsn, server_settings={"lock_timeout": "60s"})
        try:
            # Held by the session, so it also covers the moments between two migrations.
            await connection.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
            await connection.execute(sql["create_record"])
            applied = {row["version"]: row for row in await connection.fetch(sql["applied"])}
            _refuse_contradictions(wanted, {version: row["checksum"] for version, row in applied.items()})
            fresh = [migration for migration in wanted if migration.version not in applied]
            for migration in fresh:
                async with connection.transaction():
                    await connection.execute(migration.sql)
                    await connection.execute(
                        sql["record"], migration.version, migration.name, migration.checksum
                    )
            return [migration.version for migration in fresh]
        finally:
            await connection.close()


def _refuse_contradictions(wanted: list[Migration], applied: dict[int, str]) -> None:
    if applied and max(applied) > len(wanted):
        raise MigrationRefused(
            f"the database is at migration {max(applied):04d}, this program knows only {len(wanted):04d}; run a newer one"
        )
    for migration in wanted:
        if applied.get(migration.version, migration.checksum) != migration.checksum:
            raise MigrationRefused(
                f"migration {migration.version:04d}_{migration.name}.sql differs from what was applied; add a new one instead"
            )
