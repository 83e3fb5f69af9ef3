"""Refusals and failed handshakes as evidence, ten seconds at a time."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from bfactors.errors import Unavailable
from bfactors.evidence import ConnectionRefused, Evidence, evidence_id, kind_name
from bfactors.identity import charger_id_problem
from bfactors.ports import Clock, EvidenceLog
from gateways.nats.background import begun, ended
from gateways.nats.edge_fold import KEYS_MAX, EdgeWindow

_LOG = logging.getLogger(__name__)

WINDOW_S = 10.0
UNSENT_MAX = 5 * KEYS_MAX
SENT_AT_ONCE = 32


class NatsEdgeReporter:
    """`bfactors.ports.EdgeReporter`; I/O lane only. What cannot be stored now is tried again with the next window,
    up to a bound beyond which the oldest is forgotten."""

    def __init__(
        self,
        log: EvidenceLog,
        clock: Clock,
        *,
        node: str,
        incarnation: str,
        window_s: float = WINDOW_S,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._log = log
        self._clock = clock
        self._node = node
        self._incarnation = incarnation
        self._window_s = window_s
        self._wait = wait
        self._window = EdgeWindow()
        self._opened_at: float | None = None
        self._number = 0
        self._unsent: deque[Evidence] = deque(maxlen=UNSENT_MAX)
        self._something = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = begun(self._run(), "edge reporter")

    async def stop(self) -> None:
        """Stop; what is in the window is sent if NATS takes it."""
        await ended(self._task)
        self._close_window()
        await self._send()

    def connection_refused(
        self,
        charger_id: str,
        remote_address: str,
        reason: str,
        http_status: int,
        fingerprint_sha256: str | None,
    ) -> None:
        known_form = charger_id_problem(charger_id) is None
        self._window.refused(
            charger_id if known_form else "",
            ConnectionRefused(
                remote_address=remote_address,
                reason=reason,
                http_status=http_status,
                fingerprint_sha256=fingerprint_sha256,
            ),
        )
        self._opened()

    def handshake_failed(self, remote_address: str) -> None:
        self._window.handshake_failed(remote_address)
        self._opened()

    def _opened(self) -> None:
        if self._opened_at is None:
            self._opened_at = self._clock.monotonic()
            self._something.set()

    async def _run(self) -> None:
        while True:
            if not self._unsent:
                await self._something.wait()
            opened_at = self._opened_at if self._opened_at is not None else self._clock.monotonic()
            while (left := opened_at + self._window_s - self._clock.monotonic()) > 0:
                await self._wait(left)
            self._close_window()
            await self._send()

    def _close_window(self) -> None:
        self._something.clear()
        self._opened_at = None
        self._number += 1
        now = self._clock.now()
        for charger_id, fact in self._window.facts():
            reason = fact.reason if isinstance(fact, ConnectionRefused) else ""
            self._unsent.append(
                Evidence(
                    evidence_id=evidence_id(
                        self._node,
                        self._incarnation,
                        str(self._number),
                        kind_name(fact),
                        charger_id,
                        fact.remote_address,
                        reason,
                    ),
                    charger_id=charger_id,
                    source=f"node:{self._node}",
                    observed_at=now,
                    body=fact,
                )
            )

    async def _send(self) -> None:
        while self._unsent:
            some = [self._unsent.popleft() for _ in range(min(SENT_AT_ONCE, len(self._unsent)))]
            stored = await asyncio.gather(*(self._append(evidence) for evidence in some))
            missing = [evidence for evidence, is_stored in zip(some, stored, strict=True) if not is_stored]
            if missing:
                self._unsent.extendleft(reversed(missing))
                return

    async def _append(self, evidence: Evidence) -> bool:
        try:
            await self._log.append(evidence)
        except Unavailable as away:
            _LOG.warning("an observation at the edge is kept for later: %s", away)
            return False
        return True
