"""The fixtures of tests/conftest.py hold what they say."""

from __future__ import annotations

import asyncpg
import nats

from deploy.embedded import EmbeddedNats, inbox_prefix
from tests.conftest import FreshDatabase
from tests.patience import PATIENCE_S


async def test_a_fresh_database_accepts_a_table_and_a_row(pg_database: FreshDatabase) -> None:
    connection = await asyncpg.connect(pg_database.dsn())
    try:
        await connection.execute("CREATE TABLE seen (number int)")
        await connection.execute("INSERT INTO seen VALUES (1)")
        assert await connection.fetchval("SELECT count(*) FROM seen") == 1
    finally:
        await connection.close()


async def test_core_reaches_the_session_nats_with_its_seed(
    nats_server: EmbeddedNats, subject_prefix: str
) -> None:
    client = await nats.connect(
        nats_server.url, nkeys_seed=str(nats_server.seed_file("core")), inbox_prefix=inbox_prefix("core")
    )
    try:
        subscription = await client.subscribe(f"{subject_prefix}.evidence.>")
        await client.publish(f"{subject_prefix}.evidence.0", b"seen")
        assert (await subscription.next_msg(timeout=PATIENCE_S)).data == b"seen"
    finally:
        await client.close()
