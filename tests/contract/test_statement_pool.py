"""The pool of single statements: a connection stays at hand, and nobody waits for one that does."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from bfactors.errors import Unavailable
from persistence.database import open_pool, unavailable_when_lost
from persistence.role import WRITER
from tests.conftest import FreshDatabase
from tests.patience import PATIENCE_S

pytest_plugins = ("tests.fakes.ledger_database",)
ME = "SELECT pg_backend_pid()"


@pytest.fixture
async def pool(emptied_ledger_database: FreshDatabase) -> AsyncIterator[asyncpg.Pool]:
    pool = await open_pool(emptied_ledger_database.dsn(WRITER), size=2, application="test")
    yield pool
    pool.terminate()


async def test_statements_one_after_another_share_a_connection(pool: asyncpg.Pool) -> None:
    assert len({await pool.fetchval(ME) for _ in range(5)}) == 1
    assert (await pool.fetchrow(ME))[0] == (await pool.fetch(ME))[0][0]


async def test_more_statements_than_connections_are_all_answered(pool: asyncpg.Pool) -> None:
    async with asyncio.timeout(PATIENCE_S):
        found = await asyncio.gather(
            *(pool.fetchval("SELECT $1::int, pg_sleep(0.001)", n) for n in range(40))
        )
    assert found == list(range(40))


async def test_whoever_wants_a_connection_of_his_own_gets_it(pool: asyncpg.Pool) -> None:
    await asyncio.gather(pool.fetchval(ME), pool.fetchval(ME))  # both are kept now
    async with asyncio.timeout(PATIENCE_S):
        async with pool.acquire() as mine, pool.acquire() as other:
            waiting = asyncio.create_task(pool.fetchval(ME))
            first = await mine.fetchval(ME)
            assert first != await other.fetchval(ME)
        assert await waiting


async def test_a_statement_that_failed_leaves_nothing_behind(pool: asyncpg.Pool) -> None:
    for _ in range(5):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await pool.fetchval("SELECT 1 / 0")
    assert await pool.fetchval("SELECT 1") == 1


async def test_a_statement_cancelled_in_the_middle_takes_no_connection_with_it(pool: asyncpg.Pool) -> None:
    running = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(4):
            statement = asyncio.create_task(pool.fetchval("SELECT pg_sleep(60)"))
            while await pool.fetchval(running) != 1:
                pass
            statement.cancel()
            with pytest.raises(asyncio.CancelledError):
                await statement
        assert await asyncio.gather(pool.fetchval("SELECT 1"), pool.fetchval("SELECT 2")) == [1, 2]


async def test_connections_ended_by_the_server_while_kept_are_replaced(
    pool: asyncpg.Pool, emptied_ledger_database: FreshDatabase
) -> None:
    await asyncio.gather(pool.fetchval(ME), pool.fetchval(ME))
    other = await asyncpg.connect(emptied_ledger_database.dsn())
    try:
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test'"
        )
    finally:
        await other.close()
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(10):
            try:
                async with unavailable_when_lost():
                    assert await pool.fetchval("SELECT 1") == 1
            except Unavailable:
                continue  # the news had not arrived
    assert await asyncio.gather(pool.fetchval("SELECT 1"), pool.fetchval("SELECT 2")) == [1, 2]


async def test_a_closed_pool_says_so(pool: asyncpg.Pool) -> None:
    await pool.fetchval(ME)
    await pool.close()
    with pytest.raises(Unavailable):
        async with unavailable_when_lost():
            await pool.fetchval(ME)
