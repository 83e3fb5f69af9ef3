"""What the nodes share about each CA: the newest audit report, and the bucket of calls."""

from datetime import timedelta
from typing import Self

import asyncpg

from bfactors.audit_report import ReportRef
from bfactors.call_bucket import BucketSize, Grant
from persistence.database import open_pool, unavailable_when_lost
from persistence.query import queries

_SQL = queries("ca_desk")
_TAKE_WITHIN = timedelta(seconds=2)


class PostgresCaDesk:
    """`ReportShelf` and `CallBucket`, on the writer's role. Runs on the pool's loop.

    Every method may raise Unavailable.
    """

    def __init__(self, writer_pool: asyncpg.Pool) -> None:
        self._pool = writer_pool

    @classmethod
    async def reach(cls, writer_dsn: str, *, size: int = 2) -> Self:
        """With a pool of its own, ended by `close`; a statement that hangs is given up soon, its caller has another way."""
        return cls(
            await open_pool(writer_dsn, size=size, application="bf-ca-desk", statement_timeout=_TAKE_WITHIN)
        )

    async def close(self) -> None:
        """Cut off what is still under way."""
        self._pool.terminate()

    # ------------------------------------------------------------ ReportShelf

    async def latest(self, authority_arn: str) -> ReportRef | None:
        async with unavailable_when_lost():
            row = await self._pool.fetchrow(_SQL["latest_report"], authority_arn)
        return None if row is None else ReportRef(authority_arn=authority_arn, **row)

    async def put(self, report: ReportRef) -> None:
        """Keeps the newer of two."""
        async with unavailable_when_lost():
            await self._pool.execute(
                _SQL["put_report"],
                report.authority_arn,
                report.report_id,
                report.bucket,
                report.key,
                report.created_at,
            )

    # ------------------------------------------------------------ CallBucket

    async def take(
        self, scope: str, operation: str, *, size: BucketSize, wanted: int, kept_back: float
    ) -> Grant:
        """Take up to `wanted` calls, leaving `kept_back`."""
        async with unavailable_when_lost():
            row = await self._pool.fetchrow(
                _SQL["take"], scope, operation, size.rate_per_s, size.burst, wanted, kept_back
            )
        assert row is not None
        return Grant(row["granted"], row["tokens"])
