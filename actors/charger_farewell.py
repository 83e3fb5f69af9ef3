"""The last word of sessions whose actors are given up: SessionClosed, recorded from the I/O lane until it is stored.

Without it the ledger would go on believing that the charger is connected. It is the same fact, under the same id, as the
actor would have recorded, so whoever records it first, it counts once.
"""

import asyncio
import logging
from collections.abc import Callable

from actors.charger import ChargerPorts
from bfactors.admission import SessionInfo
from bfactors.errors import Unavailable
from bfactors.evidence import Evidence, SessionClosed, evidence_id, kind_name

_LOG = logging.getLogger(__name__)

RETRY_S = 5.0
PENDING_MAX = 4096
"""Past it a session's end is left to the ledger's other ways of finding out: its next session, or the node's loss."""
_APPEND_TIMEOUT_S = 15.0


class Farewells:
    """One a node; I/O lane only. `said` is called whenever one is stored or given up."""

    def __init__(self, ports: ChargerPorts, said: Callable[[], None]) -> None:
        self._ports = ports
        self._said = said
        self._tasks: set[asyncio.Task[None]] = set()
        self._again: set[asyncio.Event] = set()

    @property
    def pending(self) -> int:
        """Sessions whose end is not stored yet."""
        return len(self._tasks)

    def say(self, info: SessionInfo, reason: str) -> None:
        """Record that this session is over."""
        if len(self._tasks) >= PENDING_MAX:
            _LOG.error("the end of session %s is not recorded: too many wait", info.session_id)
            return
        body = SessionClosed(session_id=info.session_id, reason=reason)
        evidence = Evidence(
            evidence_id=evidence_id(info.session_id, "", kind_name(body)),
            charger_id=info.charger_id,
            source=f"node:{info.node}",
            observed_at=self._ports.clock.now(),
            body=body,
        )
        task = asyncio.get_running_loop().create_task(self._until_stored(evidence), name="farewell")
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def try_now(self) -> None:
        """NATS is back."""
        for again in self._again:
            again.set()

    async def _until_stored(self, evidence: Evidence) -> None:
        while True:
            try:
                async with asyncio.timeout(_APPEND_TIMEOUT_S):
                    await self._ports.evidence.append(evidence)
            except (Unavailable, TimeoutError):
                await self._pause()
            else:
                return

    async def _pause(self) -> None:
        again = asyncio.Event()
        self._again.add(again)
        timer = self._ports.schedule(RETRY_S, again.set)
        try:
            await again.wait()
        finally:
            timer.cancel()
            self._again.discard(again)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("the end of a session is not recorded: %r", error)
        self._said()
