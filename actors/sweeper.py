"""The sweeper: once an hour in the whole system, what is past its time is deleted in portions, and that is put on record."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from bfactors.command import CommandEnvelope, RecordSweep
from bfactors.errors import Unavailable
from bfactors.identity import FLEET
from bfactors.ports import Clock, CommandDoor, Metrics, RetentionStore
from bfactors.retention import (
    RUN_EVERY,
    SWEPT_IN_DATABASE,
    UNCLAIMED,
    UNCLAIMED_AFTER,
    RetentionRule,
    days_of,
)

_LOG = logging.getLogger(__name__)
ACTOR = "system:retention"
LOOKED_EVERY_S = 300.0
AT_ONCE = 1000
PORTIONS_MAX = 1000
"""A round deletes no more of a kind than a million; the rest waits for the next."""
TOLD_AGAIN_S = 1.0
TOLD_TIMES = 60

Rules = Callable[[], Awaitable[Mapping[str, RetentionRule]]]


class Sweeper:
    """One per core node, on the I/O lane; `run` goes on until cancelled. Whose round it is, the store says."""

    def __init__(
        self,
        *,
        store: RetentionStore,
        rules: Rules,
        commands: CommandDoor,
        clock: Clock,
        metrics: Metrics,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._rules = rules
        self._commands = commands
        self._clock = clock
        self._metrics = metrics
        self._wait = wait

    async def run(self) -> None:
        """Look for a free round now and then."""
        while True:
            try:
                if await self._store.begin(self._clock.now(), RUN_EVERY):
                    await self.sweep()
            except Unavailable as away:
                _LOG.info("what is past its time waits: %s", away)
            await self._wait(LOOKED_EVERY_S)

    async def sweep(self) -> None:
        """One round. Raises Unavailable; what was deleted until then is on record."""
        rules, now = await self._rules(), self._clock.now()
        await self._sweep(UNCLAIMED, now - UNCLAIMED_AFTER)
        for kind in SWEPT_IN_DATABASE:
            await self._sweep(kind, now - timedelta(days=days_of(rules, kind)))

    async def _sweep(self, kind: str, before: datetime) -> None:
        count = 0
        try:
            for _ in range(PORTIONS_MAX):
                gone = await self._store.sweep(kind, before, AT_ONCE)
                count += gone
                if gone < AT_ONCE:
                    break
                await self._wait(0)
        finally:
            if count:
                self._metrics.count("bf_retention_deleted_total", count, kind=kind)
                await self._tell(kind, count, before)

    async def _tell(self, kind: str, count: int, before: datetime) -> None:
        """On record as soon as the fleet's partition has an owner; given up after a minute, and then in the log only."""
        envelope = CommandEnvelope(
            command_id=self._clock.new_id(),
            actor=ACTOR,
            role="system",
            body=RecordSweep(kind=kind, count=count, before=before),
        )
        for _ in range(TOLD_TIMES):
            try:
                answer = await self._commands.request(FLEET, envelope)
            except Unavailable as away:
                _LOG.info("a sweep is not on record yet: %s", away)
            else:
                if not answer.retry:
                    return
            await self._wait(TOLD_AGAIN_S)
        _LOG.error(
            "a sweep is not on record", extra={"kind": kind, "count": count, "before": before.isoformat()}
        )
