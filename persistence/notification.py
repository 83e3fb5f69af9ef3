"""Notices on their way as rows: who goes through the events, how far, and what still has to be sent to whom."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Self

import asyncpg
import msgspec

from bfactors.errors import Fenced
from bfactors.notice import Notice, NotifierLease, Telling
from persistence.database import open_pool, unavailable_when_lost
from persistence.query import queries

_SQL = queries("notification")
_ERROR_MAX_CHARS = 300
_encode = msgspec.json.Encoder().encode
_NOTICE = msgspec.json.Decoder(Notice)


class PostgresNotifications:
    """`bfactors.ports.NotificationStore` on the writer's role. Runs on the pool's loop; methods may raise Unavailable."""

    def __init__(self, writer_pool: asyncpg.Pool) -> None:
        self._pool = writer_pool

    @classmethod
    async def reach(cls, writer_dsn: str, *, size: int = 2) -> Self:
        """With a pool of its own, ended by `close`. Raises Unavailable."""
        return cls(await open_pool(writer_dsn, size=size, application="bf-notification"))

    async def close(self) -> None:
        """Cut off what is still under way."""
        self._pool.terminate()

    async def hold(self, owner: str, lease_time: timedelta) -> NotifierLease | None:
        """Become or stay the one that goes through the events; None while another one is."""
        async with unavailable_when_lost():
            row = await self._pool.fetchrow(_SQL["hold"], owner, lease_time)
        return None if row is None else NotifierLease(owner, row["epoch"], row["position"])

    async def release(self, lease: NotifierLease) -> None:
        """Let another one begin at once."""
        async with unavailable_when_lost():
            await self._pool.execute(_SQL["release"], lease.owner, lease.epoch)

    async def take(self, lease: NotifierLease, position: int, tellings: Sequence[Telling]) -> None:
        """Note how far the events have been gone through, with what they led to. Raises Fenced."""
        async with unavailable_when_lost(), self._pool.acquire() as connection, connection.transaction():
            moved = await connection.fetchval(_SQL["advance"], lease.owner, lease.epoch, position)
            if moved is None:
                raise Fenced("another core goes through the events now")
            for telling in tellings:
                notice = telling.notice
                await connection.execute(
                    _SQL["add"],
                    *(notice.notice_id, telling.subscription_id, notice.kind, notice.charger_id),
                    *(telling.created_at, _encode(notice)),
                )

    async def due(self, now: datetime, limit: int) -> Sequence[Telling]:
        """What is to be sent by now, the longest due first."""
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SQL["due"], now, limit)
        return [
            Telling(
                notice=_NOTICE.decode(row["notice"]),
                subscription_id=row["subscription_id"],
                created_at=row["created_at"],
                attempts=row["attempts"],
            )
            for row in rows
        ]

    async def settled(self, telling: Telling, state: str, at: datetime, error: str | None = None) -> None:
        """It is `delivered`, `given-up` or `withdrawn`."""
        async with unavailable_when_lost():
            await self._pool.execute(
                _SQL["settled"],
                *(telling.notice.notice_id, telling.subscription_id),
                *(state, at, _cut(error)),
            )

    async def failed(self, telling: Telling, next_at: datetime, error: str) -> None:
        """It is to be sent again."""
        async with unavailable_when_lost():
            await self._pool.execute(
                _SQL["failed"],
                *(telling.notice.notice_id, telling.subscription_id),
                *(next_at, _cut(error)),
            )


def _cut(error: str | None) -> str | None:
    return None if error is None else error.replace("\x00", "")[:_ERROR_MAX_CHARS]
