"""A connection pool for single statements: what a statement has used, the next one finds ready."""

from typing import Any

import asyncpg

KEPT = 4
"""Connections held ready at most; the pool closes the others when they have been idle for long."""


class StatementPool(asyncpg.Pool):  # type: ignore[misc]  # the library is untyped
    """asyncpg's pool, but a statement that succeeded leaves its connection at hand.

    Giving one back costs the library a task and a shield, which is for transactions left open and sessions changed: a
    statement by itself leaves neither. After a failure, or with somebody waiting, the connection goes the library's way.
    """

    __slots__ = ("_awaited", "_kept")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._kept: list[Any] = []
        self._awaited = 0

    async def _acquire(self, timeout: float | None) -> Any:
        while self._kept:
            connection = self._kept.pop()
            if connection._con is None:
                continue  # the server closed it, and the pool has it back
            if not connection._con.is_closed():
                return connection
            await self.release(connection)
        self._awaited += 1
        try:
            return await super()._acquire(timeout)
        finally:
            self._awaited -= 1

    async def fetch(self, query: str, *arguments: Any, **options: Any) -> Any:
        return await self._run("fetch", query, arguments, options)

    async def fetchrow(self, query: str, *arguments: Any, **options: Any) -> Any:
        return await self._run("fetchrow", query, arguments, options)

    async def fetchval(self, query: str, *arguments: Any, **options: Any) -> Any:
        return await self._run("fetchval", query, arguments, options)

    async def execute(self, query: str, *arguments: Any, **options: Any) -> Any:
        return await self._run("execute", query, arguments, options)

    async def close(self) -> None:
        """As the library's: waits for those in use."""
        while self._kept:
            await self.release(self._kept.pop())
        await super().close()

    async def _run(self, method: str, query: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        self._check_init()
        if self.is_closing():
            raise asyncpg.InterfaceError("pool is closing")
        connection = await self._acquire(None)
        try:
            found = await getattr(connection, method)(query, *arguments, **options)
        except BaseException:
            await self.release(connection)
            raise
        if self._awaited or self.is_closing() or len(self._kept) >= KEPT:
            await self.release(connection)
        else:
            self._kept.append(connection)
        return found
