"""One simulated charger: real keys, real TLS, real reconnects, moved by messages only."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from datetime import UTC, datetime
from typing import Any

from simulator.charger.configuration import ChargerConfiguration
from simulator.charger.credential import CertificateUse
from simulator.charger.dialects import dialect_of
from simulator.charger.fault import FaultScript
from simulator.charger.initiative import Initiative
from simulator.charger.journal import Happening, Journal, Listener
from simulator.charger.life import Life
from simulator.charger.memory import ChargerMemory
from simulator.charger.own_clock import OwnClock
from simulator.charger.session import Standing
from simulator.charger.snapshot import ChargerSnapshot, ChargerState
from simulator.charger.station import Station

_STATES = {
    Standing.UNKNOWN: ChargerState.CONNECTED,
    Standing.PENDING: ChargerState.PENDING,
    Standing.REJECTED: ChargerState.REJECTED,
    Standing.ACCEPTED: ChargerState.ACCEPTED,
}


class Charger:
    """A charger that runs on the current event loop between `start` and `stop`.

    `memory` continues an earlier life (see `dump_memory`). `connecting` is entered around every
    attempt to connect; a fleet passes a semaphore there.
    """

    def __init__(
        self,
        configuration: ChargerConfiguration,
        *,
        memory: ChargerMemory | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        chance: Callable[[], float] = random.random,
        connecting: AbstractAsyncContextManager[Any] | None = None,
    ) -> None:
        faults = FaultScript(configuration.faults)
        own_clock = OwnClock(clock, faults)
        self._configuration = configuration
        self._memory = memory or ChargerMemory.commissioned(configuration)
        self._journal = Journal(configuration.charger_id, own_clock)
        station = Station.of(configuration, self._memory, faults, self._journal, own_clock)
        dialect = dialect_of(configuration.ocpp_version)
        self._life = Life(station, dialect, own_clock, chance, connecting or nullcontext())
        self._living: asyncio.Task[None] | None = None

    @property
    def configuration(self) -> ChargerConfiguration:
        """What it was commissioned with."""
        return self._configuration

    @property
    def initiative(self) -> Initiative:
        """What a test makes it do by itself."""
        return self._life.initiative

    # -- power and network ---------------------------------------------------------------------

    async def start(self) -> None:
        """Switch on."""
        if self._living is None:
            name = f"charger {self._configuration.charger_id}"
            self._living = asyncio.create_task(self._life.run(), name=name)
            # A life that ends by a defect wakes whoever waits, who then learns of it.
            self._living.add_done_callback(lambda _: self._journal.record(Happening.STATE_CHANGED))

    async def stop(self) -> None:
        """Switch off, closing an open connection in good order.

        Raises: whatever ended the charger's life before; a defect of the simulator.
        """
        living, self._living = self._living, None
        if living is None:
            return
        await self._life.stop()
        if self._life.session is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(3):
                    await self._life.session.link.close()
        living.cancel()
        with suppress(asyncio.CancelledError):
            await living
        self._life.session = None
        self._journal.record(Happening.STATE_CHANGED, ChargerState.STOPPED)

    def drop(self) -> None:
        """Lose the network: the connection vanishes without a goodbye, and no new one is tried."""
        self._life.present.clear()
        if self._life.session is not None:
            self._life.session.link.abort()

    def come_back(self) -> None:
        """Have a network again."""
        self._life.present.set()

    def cut(self) -> None:
        """Lose the connection only; the charger reconnects by itself."""
        if self._life.session is not None:
            self._life.session.link.abort()

    # -- watching ------------------------------------------------------------------------------

    @property
    def journal(self) -> Journal:
        """Counters, recent events and errors."""
        return self._journal

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event; the answer ends the subscription."""
        return self._journal.subscribe(listener)

    def snapshot(self) -> ChargerSnapshot:
        """The charger as it is now."""
        memory, session, way = self._memory, self._life.session, self._life.way
        if self._living is None:
            state = ChargerState.STOPPED
        elif session is not None:
            state = _STATES[session.standing]
        else:
            state = ChargerState.CONNECTING if self._life.present.is_set() else ChargerState.AWAY
        live = way if session is not None else None
        return ChargerSnapshot(
            charger_id=self._configuration.charger_id,
            state=state,
            security_profile=memory.security_profile,
            slot=live.slot if live else None,
            session_fingerprint=live.credential.fingerprint_sha256 if live and live.credential else None,
            credential_fingerprint=memory.credential.fingerprint_sha256 if memory.credential else None,
            renewed_fingerprint=memory.renewed.fingerprint_sha256 if memory.renewed else None,
            awaits_certificate=CertificateUse.STATION in memory.pending,
            root_fingerprints=memory.trust.fingerprints(),
            priority=memory.priority,
            network_profiles={slot: each.security_profile for slot, each in memory.network_profiles.items()},
            connections=self._life.connections,
            sessions=self._life.sessions,
            errors=self._journal.error_count,
            counters=dict(self._journal.counters),
            last_errors=tuple(self._journal.errors),
        )

    async def wait_for(
        self, predicate: Callable[[ChargerSnapshot], bool], timeout: float = 60.0
    ) -> ChargerSnapshot:
        """The first snapshot of which `predicate` holds.

        Raises: TimeoutError after `timeout` seconds, with the last snapshot in words; a defect that
        ended the charger's life.
        """
        try:
            async with asyncio.timeout(timeout):
                while not predicate(seen := self.snapshot()):
                    if self._living is not None and self._living.done() and not self._living.cancelled():
                        self._living.result()
                    await self._journal.wait()
                return seen
        except TimeoutError as error:
            seen = self.snapshot()
            raise TimeoutError(
                f"{seen.charger_id} is {seen.state}, profile {seen.security_profile}, errors {seen.last_errors}"
            ) from error

    def dump_memory(self) -> dict[str, Any]:
        """Its memory as JSON values, private keys included; `ChargerMemory.load` reads it again."""
        return self._memory.dump()
