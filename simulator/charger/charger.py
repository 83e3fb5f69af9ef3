"""One simulated charger: real keys, real TLS, real reconnects, moved by messages only."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from datetime import UTC, datetime
from typing import Any

from simulator.charger.answers import Answers
from simulator.charger.configuration import ChargerConfiguration
from simulator.charger.credential import CertificateUse
from simulator.charger.dial import DialFailed, Manner, dial
from simulator.charger.dialects import dialect_of
from simulator.charger.fault import FaultScript
from simulator.charger.fault_conduct import (
    ClockSkew,
    ComplainsAboutAnswers,
    NeverReconnectAfterCertificate,
    NoBootOnReconnect,
)
from simulator.charger.fault_identity import DiscardsRenewedCertificate, LeafOnlyClient, UsesHexTextAsPassword
from simulator.charger.initiative import Initiative
from simulator.charger.journal import Happening, Journal, Listener
from simulator.charger.link import Link
from simulator.charger.memory import ChargerMemory
from simulator.charger.own_clock import OwnClock
from simulator.charger.promotion import promote
from simulator.charger.route import Route, Way, ways
from simulator.charger.session import Ending, Session, Standing
from simulator.charger.signing import Signing
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
        self._clock = OwnClock(clock, faults)
        self._configuration = configuration
        self._memory = memory or ChargerMemory.commissioned(configuration)
        self._faults = faults
        self._chance = chance
        self._connecting: AbstractAsyncContextManager[Any] = connecting or nullcontext()
        self._dialect = dialect_of(configuration.ocpp_version)
        self._journal = Journal(configuration.charger_id, self._clock)
        self._station = Station.of(configuration, self._memory, faults, self._journal, self._clock)
        self._signing = Signing(self._station, self._dialect, self._usable_link)
        self._answers = Answers(self._station, self._dialect)
        self._initiative = Initiative(self._station, self._dialect, self._signing, self._usable_link)
        self._route = Route(configuration.connection_attempts)
        self._life: asyncio.Task[None] | None = None
        self._session: Session | None = None
        self._way: Way | None = None
        self._present = asyncio.Event()
        self._present.set()
        self._connections = 0
        self._sessions = 0
        self._boot_reason: str | None = "PowerUp"

    @property
    def configuration(self) -> ChargerConfiguration:
        """What it was commissioned with."""
        return self._configuration

    @property
    def initiative(self) -> Initiative:
        """What a test makes it do by itself."""
        return self._initiative

    # -- power and network ---------------------------------------------------------------------

    async def start(self) -> None:
        """Switch on."""
        if self._life is None:
            self._boot_reason = "PowerUp"
            self._life = asyncio.create_task(self._live(), name=f"charger {self._configuration.charger_id}")
            # A life that ends by a defect wakes whoever waits, who then learns of it.
            self._life.add_done_callback(lambda _: self._journal.record(Happening.STATE_CHANGED))

    async def stop(self) -> None:
        """Switch off, closing an open connection in good order.

        Raises: whatever ended the charger's life before; a defect of the simulator.
        """
        life, self._life = self._life, None
        if life is None:
            return
        await self._signing.stop()
        await self._station.logs.stop()
        if self._session is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(3):
                    await self._session.link.close()
        life.cancel()
        with suppress(asyncio.CancelledError):
            await life
        self._session = None
        self._journal.record(Happening.STATE_CHANGED, ChargerState.STOPPED)

    def drop(self) -> None:
        """Lose the network: the connection vanishes without a goodbye, and no new one is tried."""
        self._present.clear()
        if self._session is not None:
            self._session.link.abort()

    def come_back(self) -> None:
        """Have a network again."""
        self._present.set()

    def cut(self) -> None:
        """Lose the connection only; the charger reconnects by itself."""
        if self._session is not None:
            self._session.link.abort()

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
        memory, session, way = self._memory, self._session, self._way
        if self._life is None:
            state = ChargerState.STOPPED
        elif session is not None:
            state = _STATES[session.standing]
        else:
            state = ChargerState.CONNECTING if self._present.is_set() else ChargerState.AWAY
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
            connections=self._connections,
            sessions=self._sessions,
            errors=self._journal.error_count,
            counters=dict(self._journal.counters),
            last_errors=tuple(self._journal.errors),
        )

    async def wait_for(
        self, predicate: Callable[[ChargerSnapshot], bool], timeout: float = 10.0
    ) -> ChargerSnapshot:
        """The first snapshot of which `predicate` holds.

        Raises: TimeoutError after `timeout` seconds, with the last snapshot in words; a defect that
        ended the charger's life.
        """
        try:
            async with asyncio.timeout(timeout):
                while not predicate(seen := self.snapshot()):
                    if self._life is not None and self._life.done() and not self._life.cancelled():
                        self._life.result()
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

    # -- living --------------------------------------------------------------------------------

    async def _live(self) -> None:
        failures = 0
        while True:
            await self._present.wait()
            found = ways(
                self._memory,
                shuns_renewed=self._shuns_renewed or self._faults.awaits(DiscardsRenewedCertificate),
                keeps_old_password=self._configuration.family.keeps_old_password,
            )
            if not found:
                self._journal.record(Happening.CONNECTION_FAILED, "no network profile can be used")
                return
            way = self._route.choose(found)
            session = await self._connect(way, found)
            if session is None:
                failures += 1
            elif self._present.is_set():
                failures = 0 if session.was_proven else failures + 1
                if not session.was_proven and session.ending is None:
                    self._route.failed(found, unreachable=False)
                if session.ending is not None:
                    self._route.start_over()
                    if session.ending is Ending.GONE:
                        self._present.clear()
                    continue
            pause_s = self._configuration.reconnect.delay_s(max(failures - 1, 0), self._chance())
            await asyncio.sleep(pause_s)

    async def _connect(self, way: Way, found: tuple[Way, ...]) -> Session | None:
        """One attempt and, if it worked, the whole session; None if it did not."""
        try:
            async with self._connecting:
                socket = await dial(way, self._configuration, self._memory, self._manner())
        except DialFailed as error:
            if error.distrusted:
                self._memory.note_security_event("InvalidCsmsCertificate", self._clock(), str(error))
            self._journal.record(
                Happening.CONNECTION_FAILED,
                f"slot {way.slot} profile {way.profile.security_profile}: {error}",
            )
            self._route.failed(found, unreachable=error.unreachable)
            return None
        if not self._present.is_set():  # the network went while the connection was being made
            socket.transport.abort()
            return None
        self._connections += 1
        self._way = way
        link = Link(
            socket,
            self._journal,
            self._configuration.answer_timeout,
            is_extended=self._dialect.has_extended_frames,
            disputes=lambda action: self._faults.spend(ComplainsAboutAnswers, action) is not None,
        )
        greets = self._faults.has(NoBootOnReconnect)
        if self._boot_reason is None and self._configuration.family.boots_on_every_connection and not greets:
            self._boot_reason = "Unknown"
        session = Session(
            link,
            self._station,
            self._dialect,
            self._answers,
            self._signing,
            self._initiative.insist,
            lambda: self._prove(way),
            self._boot_reason,
        )
        self._session = session
        self._journal.record(Happening.CONNECTED, f"slot {way.slot} profile {way.profile.security_profile}")
        try:
            await session.run()
        finally:
            self._session = None
        if session.ending is Ending.REBOOT:
            self._boot_reason = "RemoteReset"
            self._station.settings.reset()
            self._memory.note_security_event("ResetOrReboot", self._clock())
        self._journal.record(Happening.DISCONNECTED, session.ending or "")
        return session

    def _prove(self, way: Way) -> None:
        """The central system took the charger in by this way."""
        self._sessions += 1
        self._boot_reason = None
        self._route.start_over()
        self._clock.set_right()
        if self._memory.renewed is not None and way.credential is self._memory.credential is not None:
            self._faults.spend(DiscardsRenewedCertificate)
        promote(self._memory, way, self._journal, self._clock, shuns_renewed=self._shuns_renewed)

    @property
    def _shuns_renewed(self) -> bool:
        return self._faults.has(NeverReconnectAfterCertificate)

    def _manner(self) -> Manner:
        return Manner(
            self._dialect,
            self._faults.has(LeafOnlyClient),
            self._clock if self._faults.has(ClockSkew) else None,
            self._clock.is_wrong,
            self._faults.has(UsesHexTextAsPassword),
        )

    async def _usable_link(self) -> Link:
        """The present connection once it may carry SignCertificate: accepted, or pending (B02)."""
        while (
            self._session is None
            or self._session.standing not in (Standing.ACCEPTED, Standing.PENDING)
            or self._session.link.is_closed
        ):
            await self._journal.wait()
        return self._session.link
