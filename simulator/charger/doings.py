"""What follows from an answer on one connection: the charger says more, asks for something, or goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from typing import assert_never

from simulator.charger.deed import (
    Beat,
    Boot,
    CertificateSettled,
    Deed,
    Reboot,
    Reconnect,
    Report,
    RequestCertificate,
    ShowFirmwareStatus,
    ShowLogStatus,
    ShowMeter,
    ShowStatus,
    Spoken,
    TellSecurityEvents,
    UpdateFirmware,
    UploadLog,
)
from simulator.charger.dialect import Dialect, Said
from simulator.charger.journal import Happening
from simulator.charger.link import Link, LinkClosed
from simulator.charger.signing import Signing
from simulator.charger.station import Station
from simulator.charger.voice import Voice

Insist = Callable[[Said], Awaitable[None]]


class Ending(StrEnum):
    """Why the charger itself ended a connection."""

    RECONNECT = "reconnect"
    REBOOT = "reboot"


class Doings:
    """The deeds of one connection; `tasks` is the connection's own group and is set before any deed begins.

    `insist` says something on this connection or a later one, until it was answered.
    """

    tasks: asyncio.TaskGroup

    def __init__(
        self,
        link: Link,
        voice: Voice,
        station: Station,
        dialect: Dialect,
        signing: Signing,
        insist: Insist,
        boot_again: Callable[[], None],
    ) -> None:
        self._link = link
        self._voice = voice
        self._station = station
        self._dialect = dialect
        self._signing = signing
        self._insist = insist
        self._boot_again = boot_again
        self.ending: Ending | None = None
        self.leaves = False

    def begin(self, deeds: tuple[Deed, ...]) -> None:
        """Do all of these, the long ones in the background."""
        for deed in deeds:
            match deed:
                case RequestCertificate(use, combined):
                    self._signing.begin(use, combined=combined)
                case CertificateSettled(use):
                    self._signing.settle(use)
                case UploadLog(request):
                    self._station.logs.begin(
                        request, self._tell_log, tells_cancelled=self._dialect.tells_cancelled_uploads
                    )
                case Reconnect():
                    self._end(self.ending or Ending.RECONNECT)
                case Reboot():
                    self._station.journal.record(Happening.REBOOTING)
                    self._end(Ending.REBOOT)
                case _:
                    self.tasks.create_task(self._speak(deed))

    def leave(self) -> None:
        """Close the connection and stay away; whatever ended it already still does."""
        self.leaves = True
        self._end(self.ending or Ending.RECONNECT)

    def _end(self, ending: Ending) -> None:
        self.ending = ending
        self.tasks.create_task(self._link.close())

    async def _tell_log(self, request_id: int, status: str) -> None:
        await self._insist(self._dialect.log_status(status, request_id))

    def _evses(self, evse_id: int | None) -> Iterable[int]:
        return range(1, self._station.configuration.evses + 1) if evse_id is None else (evse_id,)

    async def _speak(self, deed: Spoken) -> None:
        try:
            match deed:
                case Boot():
                    self._boot_again()
                case Beat():
                    await self._voice.beat()
                case ShowStatus(evse_id):
                    await self._voice.status(self._evses(evse_id))
                case ShowMeter(evse_id):
                    await self._voice.meter_values(self._evses(evse_id))
                case ShowLogStatus():
                    await self._voice.log_status()
                case ShowFirmwareStatus():
                    await self._voice.firmware_status()
                case UpdateFirmware(request_id):
                    await self._voice.firmware_update(request_id)
                case Report(request_id, entries):
                    await self._voice.report(request_id, entries)
                case TellSecurityEvents():
                    await self._voice.security_events()
                case _:
                    assert_never(deed)
        except LinkClosed:
            return
