"""Core's part in retention: the sweeper's life, and how long logs are kept."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import msgspec

from actors.sweeper import Sweeper
from bfactors.fleet.state import FleetState
from bfactors.identity import FLEET
from bfactors.ledger_fold import FLEET_KEY
from bfactors.ports import Clock, CommandDoor, Metrics
from bfactors.retention import LOGS, RetentionRule
from deploy.role.database import Database
from deploy.role.runtime import cancel

_STATE = msgspec.json.Decoder(FleetState)


class Sweeping:
    """Made and used on the I/O lane."""

    def __init__(self, database: Database, commands: CommandDoor, clock: Clock, metrics: Metrics) -> None:
        self._reader = database.reader
        self._sweeper = Sweeper(
            store=database.retention, rules=self.rules, commands=commands, clock=clock, metrics=metrics
        )
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; what is away is waited for."""
        self._running = asyncio.get_running_loop().create_task(self._sweeper.run(), name="sweeper")

    async def stop(self) -> None:
        """Delete nothing any more."""
        if self._running is not None:
            await cancel([self._running])

    async def rules(self) -> Mapping[str, RetentionRule]:
        """What was decided, by kind. Raises Unavailable."""
        row = await self._reader.aggregate(FLEET, FLEET_KEY)
        return {} if row is None else _STATE.decode(row.state).retention

    async def logs_kept(self, by_setting: timedelta) -> timedelta:
        """How long uploaded logs stay. Raises Unavailable."""
        rule = (await self.rules()).get(LOGS)
        return by_setting if rule is None else timedelta(days=rule.days)
