"""The ledger's tables as an outsider with the reader's password sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from tests.faults.depot import pause
from tests.faults.plant import Plant

PARTITIONS = 16


@dataclass(frozen=True, slots=True)
class LedgerView:
    """One connection under the reader's role."""

    connection: Any

    async def owners(self) -> list[str]:
        """The node of every partition that has a live owner."""
        rows = await self.connection.fetch(
            "SELECT owner FROM partition WHERE lease_until > clock_timestamp()"
        )
        return [row["owner"].partition("/")[0] for row in rows]

    async def owned_by(self, node: str, within_s: float) -> None:
        """Wait until all partitions belong to `node`."""
        owners: list[str] = []
        for _ in range(int(within_s * 4)):
            owners = await self.owners()
            if owners == [node] * PARTITIONS:
                return
            await pause()
        raise AssertionError(f"not all owned by {node} within {within_s:g} s: {owners}")

    async def epochs(self) -> dict[int, int]:
        return {
            r["number"]: r["epoch"]
            for r in await self.connection.fetch("SELECT number, epoch FROM partition")
        }

    async def decided_twice(self) -> list[str]:
        """Events that say the same of the same cause more than once."""
        rows = await self.connection.fetch(
            "SELECT event, cause, payload FROM event GROUP BY partition, event, cause, payload HAVING count(*) > 1"
        )
        return [f"{row['event']} because of {row['cause']}: {row['payload'][:120]}" for row in rows]

    async def events_of(self, charger_id: str) -> list[str]:
        rows = await self.connection.fetch(
            "SELECT event FROM event WHERE charger_id = $1 ORDER BY sequence", charger_id
        )
        return [row["event"] for row in rows]

    async def count(self, event: str, charger_ids: list[str], saying: str = "") -> int:
        """How many events of a name concern these chargers and have this text in their payload."""
        return int(
            await self.connection.fetchval(
                "SELECT count(*) FROM event WHERE event = $1 AND charger_id = ANY ($2) AND strpos(payload, $3) > 0",
                event,
                charger_ids,
                saying,
            )
        )

    async def fetchval(self, query: str, *arguments: object) -> Any:
        return await self.connection.fetchval(query, *arguments)


@asynccontextmanager
async def ledger_view(plant: Plant) -> AsyncIterator[LedgerView]:
    connection = await asyncpg.connect(plant.postgres.dsn("bf_reader"))
    try:
        yield LedgerView(connection)
    finally:
        await connection.close()
