"""How persistence reaches PostgreSQL: pools, limits, and which of its errors mean "try again"."""

from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType

import asyncpg

from bfactors.errors import Unavailable
from persistence.pool import StatementPool

MIGRATION_LOCK = 0x62665F6C65646765
"""Advisory lock key for role and schema changes ("bf_ledge"); advisory locks guard nothing else."""

PEER = "postgres"
_MAX_QUERIES = 50_000
_IDLE_S = 300.0

_TRANSIENT = (
    OSError,  # refused, reset, unreachable; TimeoutError is one
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutdown, crash of a sibling backend, still starting, statement timeout
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,  # deadlock, serialization
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a fail-over left us on a standby
)


class unavailable_when_lost:  # noqa: N801 - read as a clause: `async with unavailable_when_lost():`
    """Turn every error that says the server is away, full or overtaken into Unavailable; others pass as bugs.

    A class rather than a generator, because every query of the ledger goes through it.
    """

    __slots__ = ()

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        if isinstance(error, _TRANSIENT):
            raise Unavailable(PEER, type(error).__name__) from error
        # One class for "connection is closed", "pool is closing" and for our own mistakes; only its text tells them apart.
        if type(error) is asyncpg.InterfaceError and "clos" in str(error):
            raise Unavailable(PEER, str(error)) from error


async def _leave_as_it_is(connection: object) -> None:
    """What a connection goes through on its way back to the pool, beyond the end of a transaction left open.

    Nobody here changes a session's settings, listens, holds an advisory lock or leaves a cursor: the usual reset would
    be a round trip after every query.
    """


async def open_pool(
    dsn: str,
    *,
    size: int,
    application: str,
    statement_timeout: timedelta = timedelta(seconds=10),
    settings: Mapping[str, str] | None = None,
) -> asyncpg.Pool:
    """A pool of up to `size` connections on the running loop, each statement bounded on both sides of the wire.

    Raises Unavailable when not even one connection can be opened.
    """
    limit_s = statement_timeout.total_seconds()
    async with unavailable_when_lost():
        return await StatementPool(
            dsn,
            min_size=1,
            max_size=size,
            max_queries=_MAX_QUERIES,
            max_inactive_connection_lifetime=_IDLE_S,
            connection_class=asyncpg.Connection,
            record_class=asyncpg.Record,
            setup=None,
            init=None,
            loop=None,
            # The server ends the statement first; this only bounds a server that no longer answers at all.
            command_timeout=limit_s + 2,
            timeout=10,
            reset=_leave_as_it_is,
            server_settings={
                "application_name": application,
                "statement_timeout": f"{int(limit_s * 1000)}ms",
                "lock_timeout": f"{int(limit_s * 1000)}ms",
                **(settings or {}),
            },
        )
