"""Deleting what is past its time, a portion at a time, and whose turn it is to do so."""

from datetime import datetime, timedelta
from typing import Self

import asyncpg

from bfactors.ports import PersonalIdentifiers
from bfactors.retention import PERSONAL, UNCLAIMED
from persistence.database import open_pool, unavailable_when_lost
from persistence.query import queries

_SQL = queries("retention")


class PostgresRetention:
    """`bfactors.ports.RetentionStore` on the writer's role. Runs on the pool's loop; methods may raise Unavailable."""

    def __init__(self, writer_pool: asyncpg.Pool, personal: PersonalIdentifiers) -> None:
        self._pool = writer_pool
        self._personal = personal

    @classmethod
    async def reach(cls, writer_dsn: str, personal: PersonalIdentifiers) -> Self:
        """With a pool of its own, ended by `close`. Raises Unavailable."""
        return cls(await open_pool(writer_dsn, size=1, application="bf-retention"), personal)

    async def close(self) -> None:
        """Cut off what is still under way."""
        self._pool.terminate()

    async def begin(self, now: datetime, every: timedelta) -> bool:
        """Whether this round is the caller's: nobody else began one within `every`."""
        async with unavailable_when_lost():
            return await self._pool.fetchval(_SQL["begin"], now, every) is not None

    async def sweep(self, kind: str, before: datetime, limit: int) -> int:
        """Delete up to `limit` records of a kind that are older; how many."""
        if kind == PERSONAL:
            return await self._personal.sweep_retired(before, limit)
        if kind == UNCLAIMED:
            return await self._personal.sweep_unwanted(before, limit)
        async with unavailable_when_lost():
            return int(await self._pool.fetchval(_SQL[kind.replace("-", "_")], before, limit))
