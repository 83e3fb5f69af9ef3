"""What the nodes share about each CA: the newest audit report, the bucket of calls, whose turn a reconciliation is."""

from datetime import datetime, timedelta
from typing import Self

import asyncpg

from bfactors.audit_report import ReportRef
from bfactors.call_bucket import Grant
from persistence.database import open_pool, unavailable_when_lost
from persistence.query import queries

_SQL = queries("ca_desk")
_TAKE_WITHIN = timedelta(seconds=2)


class PostgresCaDesk:
    """`ReportShelf`, `CallBucket` and `ReconciliationTurns`, on the writer's role. Runs on the pool's loop.

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
        self, scope: str, operation: str, *, rate_per_s: float, burst: float, wanted: int, kept_back: float
    ) -> Grant:
        """Take up to `wanted` calls, leaving `kept_back`."""
        async with unavailable_when_lost():
            row = await self._pool.fetchrow(
                _SQL["take"], scope, operation, rate_per_s, burst, wanted, kept_back
            )
        assert row is not None
        return Grant(calls=row["granted"], left=row["tokens"])

    # ------------------------------------------------------------ ReconciliationTurns

    async def claim(
        self, authority_arn: str, node: str, *, now: datetime, first_due_at: datetime, lease: timedelta
    ) -> bool:
        """Whether this node is to reconcile that CA now. The first call for a CA sets when it is due first."""
        async with unavailable_when_lost():
            row = await self._pool.fetchrow(_SQL["claim"], authority_arn, node, lease, first_due_at, now)
        return row is not None and bool(row["is_ours"])

    async def due_at(self, authority_arn: str) -> datetime | None:
        async with unavailable_when_lost():
            due: datetime | None = await self._pool.fetchval(_SQL["reconciliation_due"], authority_arn)
        return due

    async def finished(self, authority_arn: str, node: str, next_due_at: datetime) -> None:
        """Give the turn back; the next one comes then."""
        async with unavailable_when_lost():
            await self._pool.execute(_SQL["finish"], authority_arn, node, next_due_at)
