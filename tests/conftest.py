"""Real servers for tests, and how far properties are explored.

One PostgreSQL and one NATS per pytest process (so per xdist worker), started when first asked for. They live in a data
directory of their own under the system's temporary folder, are stopped by their ids when the session ends or is interrupted,
and are ended by the kernel when pytest itself is killed. Neither keeps its promises about power loss.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import nats
import pytest
from hypothesis import HealthCheck, settings

from deploy.embedded import DataDirectory, EmbeddedNats, EmbeddedPostgres, inbox_prefix

TEMPLATE_DATABASE = "bf_template"

# How long an example takes says something of the machine and nothing of the code.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""`--hypothesis-profile=explore`: other examples in every run, or those of a `--hypothesis-seed`."""
settings.register_profile("same", settings.get_profile("explore"), derandomize=True)
"""The default: what passed once passes again."""
settings.load_profile("same")


@dataclass(frozen=True, slots=True)
class FreshDatabase:
    """A database that belongs to one test."""

    name: str
    server: EmbeddedPostgres

    def dsn(self, role: str = "postgres") -> str:
        return self.server.dsn(role, self.name)


@pytest.fixture(scope="session")
def server_data() -> Iterator[DataDirectory]:
    folder = Path(tempfile.mkdtemp(prefix="bf-test-"))
    try:
        with DataDirectory.open(folder) as data:
            yield data
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(server_data: DataDirectory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL for the whole session; roles other than `postgres` exist once a migration made them."""
    server = EmbeddedPostgres.start(server_data, durable=False)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def nats_server(server_data: DataDirectory) -> Iterator[EmbeddedNats]:
    """A NATS for the whole session with the users core, connect, observer and the unrestricted `test`."""
    server = EmbeddedNats.start(server_data, durable=False)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
async def nats_emptied(nats_server: EmbeddedNats) -> AsyncIterator[EmbeddedNats]:
    """The session's NATS, without streams and buckets before and after the test: for tests that need the real names."""
    await _delete_streams(nats_server)
    yield nats_server
    await _delete_streams(nats_server)


@pytest.fixture
async def pg_database(postgres: EmbeddedPostgres) -> AsyncIterator[FreshDatabase]:
    """A new database, a copy of `bf_template` when that exists and empty otherwise; dropped with its sessions afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(postgres.dsn())
    try:
        has_template = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", TEMPLATE_DATABASE
        )
        await connection.execute(
            f"CREATE DATABASE {name} TEMPLATE {TEMPLATE_DATABASE if has_template else 'template0'}"
        )
    finally:
        await connection.close()
    yield FreshDatabase(name, postgres)
    connection = await asyncpg.connect(postgres.dsn())
    try:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture
def subject_prefix() -> str:
    """A first subject token no other test uses; also fit for the names of streams and buckets.

    Only the NATS users `core` and `test` may use such subjects; `connect` and `observer` are held to the real ones.
    """
    return f"t{uuid.uuid4().hex[:12]}"


async def _delete_streams(server: EmbeddedNats) -> None:
    client = await nats.connect(
        server.url,
        nkeys_seed=str(server.seed_file("test")),
        inbox_prefix=inbox_prefix("test"),
        allow_reconnect=False,
    )
    try:
        jetstream = client.jetstream()
        for stream in await jetstream.streams_info():
            await jetstream.delete_stream(stream.config.name)
    finally:
        await client.close()
