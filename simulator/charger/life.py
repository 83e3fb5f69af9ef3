"""A charger's life between power on and power off: it finds a way, connects, learns from it, comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from simulator.charger.answers import Answers
from simulator.charger.credential import ClientCredential
from simulator.charger.dial import DialFailed, Manner, dial
from simulator.charger.dialect import Dialect
from simulator.charger.doings import Ending
from simulator.charger.fault_conduct import (
    ClockSkew,
    ComplainsAboutAnswers,
    NeverReconnectAfterCertificate,
    NoBootOnReconnect,
)
from simulator.charger.fault_identity import DiscardsRenewedCertificate, LeafOnlyClient, UsesHexTextAsPassword
from simulator.charger.initiative import Initiative
from simulator.charger.journal import Happening
from simulator.charger.link import Link
from simulator.charger.own_clock import OwnClock
from simulator.charger.promotion import promote
from simulator.charger.route import Route, Way, ways
from simulator.charger.session import Session, Standing
from simulator.charger.signing import Signing
from simulator.charger.station import Station


class Life:
    """`session` is the present connection's, made by `way`; `present` is set while there is a network."""

    def __init__(
        self,
        station: Station,
        dialect: Dialect,
        clock: OwnClock,
        chance: Callable[[], float],
        connecting: AbstractAsyncContextManager[Any],
    ) -> None:
        self._station = station
        self._configuration = station.configuration
        self._memory = station.memory
        self._faults = station.faults
        self._journal = station.journal
        self._dialect = dialect
        self._clock = clock
        self._chance = chance
        self._connecting = connecting
        self._signing = Signing(station, dialect, self._usable_link)
        self._answers = Answers(station, dialect)
        self._route = Route(station.configuration.connection_attempts)
        self._boot_reason: str | None = "PowerUp"
        self.initiative = Initiative(station, dialect, self._signing, self._usable_link)
        self.session: Session | None = None
        self.way: Way | None = None
        self.present = asyncio.Event()
        self.present.set()
        self.connections = 0
        self.sessions = 0

    async def stop(self) -> None:
        """Leave off what goes on beside the connection."""
        await self._signing.stop()
        await self._station.logs.stop()

    async def run(self) -> None:
        """Live until cancelled, or until no way of connecting is left."""
        self._boot_reason = "PowerUp"
        failures = 0
        while True:
            await self.present.wait()
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
            elif self.present.is_set():
                failures = 0 if session.was_proven else failures + 1
                if not session.was_proven and session.ending is None:
                    self._route.failed(found, unreachable=False)
                if session.ending is not None:
                    self._route.start_over()
                    if session.leaves:
                        self.present.clear()
                    continue
            pause_s = self._configuration.reconnect.delay_s(max(failures - 1, 0), self._chance())
            await asyncio.sleep(pause_s)

    async def _connect(self, way: Way, found: tuple[Way, ...]) -> Session | None:
        """One attempt and, if it worked, the whole session; None if it did not."""
        renewed = self._memory.renewed
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
        if not self.present.is_set():  # the network went while the connection was being made
            socket.transport.abort()
            return None
        self.connections += 1
        self.way = way
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
            self.initiative.insist,
            lambda: self._prove(way, renewed),
            self._boot_reason,
        )
        self.session = session
        self._journal.record(Happening.CONNECTED, f"slot {way.slot} profile {way.profile.security_profile}")
        try:
            await session.run()
        finally:
            self.session = None
        if session.ending is Ending.REBOOT:
            self._boot_reason = "RemoteReset"
            self._station.settings.reset()
            self._memory.note_security_event("ResetOrReboot", self._clock())
        self._journal.record(Happening.DISCONNECTED, session.ending or "")
        return session

    def _prove(self, way: Way, renewed: ClientCredential | None) -> None:
        """The central system took the charger in by this way."""
        self.sessions += 1
        self._boot_reason = None
        self._route.start_over()
        self._clock.set_right()
        if self._memory.renewed is not None and way.credential is self._memory.credential is not None:
            self._faults.spend(DiscardsRenewedCertificate)
        promote(self._memory, way, renewed, self._journal, self._clock, shuns_renewed=self._shuns_renewed)

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
            self.session is None
            or self.session.standing not in (Standing.ACCEPTED, Standing.PENDING)
            or self.session.link.is_closed
        ):
            await self._journal.wait()
        return self.session.link
