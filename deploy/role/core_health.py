"""What a core node's readiness rests on, looked at every few seconds: Postgres, its clock, the partitions' owners, the CAs."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from bfactors.errors import Unavailable
from bfactors.ports import Clock
from deploy.role.authority import CaClients

_LOG = logging.getLogger(__name__)
DATABASE_EVERY_S = 1.0
DATABASE_WITHIN_S = 3.0
CA_EVERY_S = 10.0
CLOCK_APART_S = 2.0


class PartitionReader(Protocol):
    """Raises Unavailable."""

    async def partitions(self) -> Sequence[Mapping[str, Any]]: ...


class CoreHealth:
    """Made and used on the I/O lane; `missing` may be read from any thread."""

    def __init__(self, reader: PartitionReader, ca: CaClients, clock: Clock) -> None:
        self._reader = reader
        self._ca = ca
        self._clock = clock
        self._database: tuple[str, ...] = ("postgres",)

    def missing(self) -> list[str]:
        """`postgres`, `database-clock`, `owner-of-partition-07`, `ca:...`, `aws-role:...` - each only while it is so."""
        return [*self._database, *self._ca.missing()]

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_database())
            tasks.create_task(self._watch_authorities())
            tasks.create_task(self._ca.watch_roles())

    async def _watch_database(self) -> None:
        while True:
            found = await self.look_at_database()
            if found != self._database:
                _LOG.info("of the database is missing: %s", ", ".join(found) or "nothing")
            self._database = found
            await asyncio.sleep(DATABASE_EVERY_S)

    async def _watch_authorities(self) -> None:
        while True:
            await asyncio.sleep(CA_EVERY_S)
            await self._ca.look_again()

    async def look_at_database(self) -> tuple[str, ...]:
        """What the database lacks just now."""
        asked = self._clock.now()
        try:
            async with asyncio.timeout(DATABASE_WITHIN_S):
                rows = await self._reader.partitions()
        except (Unavailable, TimeoutError):
            return ("postgres",)
        answered = self._clock.now()
        missing = [f"owner-of-partition-{row['number']:02d}" for row in rows if not row["live"]]
        if rows and _apart_s(rows[0]["database_now"], asked, answered) > CLOCK_APART_S:
            missing.append("database-clock")
        return tuple(missing)


def _apart_s(theirs: datetime, asked: datetime, answered: datetime) -> float:
    """How far the two clocks are apart at least: their reading was taken between our two."""
    if theirs < asked:
        return (asked - theirs).total_seconds()
    return max(0.0, (theirs - answered).total_seconds())
