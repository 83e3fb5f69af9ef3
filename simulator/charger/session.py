"""What a charger does while one connection lasts: boots, reports, beats, listens, answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from enum import StrEnum
from typing import assert_never

from simulator.charger.answer import Answer
from simulator.charger.answers import Answers
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
from simulator.charger.fault_conduct import (
    DropsSocketBeforeAnswering,
    DuplicatesAnswers,
    FloodsSecurityEvents,
    GoesAwayAfter,
    LateAnswers,
    SendsGarbage,
    SilentOn,
)
from simulator.charger.frame import Call, CallError, CallRefused, CallResult
from simulator.charger.journal import Happening
from simulator.charger.link import Link, LinkClosed
from simulator.charger.signing import Signing
from simulator.charger.station import Station
from simulator.charger.voice import Voice

Insist = Callable[[Said], Awaitable[None]]

HEARTBEAT_S = 300  # until the central system names another


class Standing(StrEnum):
    """What the central system makes of the charger on this connection."""

    UNKNOWN = "unknown"
    PENDING = "pending"
    REJECTED = "rejected"
    ACCEPTED = "accepted"


_STANDINGS = {
    standing.value.capitalize(): standing for standing in Standing if standing is not Standing.UNKNOWN
}


class Ending(StrEnum):
    """Why the charger itself ended a connection."""

    RECONNECT = "reconnect"
    REBOOT = "reboot"
    GONE = "gone"


class Session:
    """One connection's life. `proven` runs once, when the central system first answers as to one of its own.

    `insist` says something on this connection or a later one, until it was answered.
    """

    def __init__(
        self,
        link: Link,
        station: Station,
        dialect: Dialect,
        answers: Answers,
        signing: Signing,
        insist: Insist,
        proven: Callable[[], None],
        boot_reason: str | None,
    ) -> None:
        self._link = link
        self._station = station
        self._dialect = dialect
        self._voice = Voice(link, station, dialect)
        self._configuration = station.configuration
        self._memory = station.memory
        self._faults = station.faults
        self._journal = station.journal
        self._answers = answers
        self._signing = signing
        self._insist = insist
        self._proven = proven
        self._boot_reason = boot_reason
        self._boot_now = asyncio.Event()
        self._tasks: asyncio.TaskGroup
        self.standing = Standing.UNKNOWN
        self.was_proven = False
        self.ending: Ending | None = None

    @property
    def link(self) -> Link:
        """The connection this session lives on."""
        return self._link

    async def run(self) -> None:
        """Live until the connection ends, whoever ends it."""
        self._station.accepted = False
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._live())
            async for call in self._link.calls():
                await self._hear(call)
            # From here on every wait on the link ends by itself, and with it the tasks of the group.
            self._boot_now.set()

    # -- speaking ------------------------------------------------------------------------------

    async def _live(self) -> None:
        try:
            await self._introduce()
            await self._voice.status(self._evses(None))
            await self._voice.security_events()
            garbage = self._faults.find(SendsGarbage)
            if garbage is not None and self._journal.counters[Happening.ACCEPTED] == 1:
                for frame in garbage.frames:
                    await self._link.send_raw(frame)
            flood = self._faults.find(FloodsSecurityEvents)
            if flood is not None and self._journal.counters[Happening.ACCEPTED] == 1:
                await self._voice.flood(flood.type, flood.count)
            while not await self._link.closed_within(self._memory.heartbeat_s or HEARTBEAT_S):
                await self._voice.beat()
        except LinkClosed:
            return

    async def _introduce(self) -> None:
        """Become accepted, however often that takes a BootNotification."""
        if self._boot_reason is None:
            if await self._voice.greet():
                self._stand(Standing.ACCEPTED)
                return
            self._boot_reason = "Unknown"  # the central system wants to hear who this is
        while True:
            status, interval_s = await self._voice.boot(self._boot_reason)
            if status in _STANDINGS:
                self._stand(_STANDINGS[status])
            if self.standing is Standing.ACCEPTED:
                if interval_s and self._configuration.heartbeat_interval is None:
                    self._memory.heartbeat_s = interval_s
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(interval_s or self._configuration.boot_retry.total_seconds()):
                    await self._boot_now.wait()
            self._boot_now.clear()

    def _stand(self, standing: Standing) -> None:
        self.standing = standing
        self._station.accepted = standing is Standing.ACCEPTED
        if standing in (Standing.ACCEPTED, Standing.PENDING) and not self.was_proven:
            self.was_proven = True
            self._proven()
        self._journal.record(
            Happening.ACCEPTED if standing is Standing.ACCEPTED else Happening.STATE_CHANGED, standing
        )

    # -- listening -----------------------------------------------------------------------------

    async def _hear(self, call: Call) -> None:
        self._journal.record(Happening.CALL_HEARD, call.action)
        if self._faults.spend(SilentOn, call.action):
            self._journal.record(Happening.FAULT_STRUCK, f"SilentOn {call.action}")
            return
        reply: CallResult | CallError
        try:
            answer = self._answers.to(call)
            reply = CallResult(call.message_id, answer.payload)
        except CallRefused as error:
            answer = Answer({})
            reply = CallError(call.message_id, error.code, error.description)
            self._journal.record(Happening.CALL_REFUSED, f"{call.action}: {error}")
        late = self._faults.spend(LateAnswers, call.action)
        if self._faults.spend(DropsSocketBeforeAnswering, call.action):
            self._journal.record(Happening.FAULT_STRUCK, f"DropsSocketBeforeAnswering {call.action}")
            self._link.abort()
        elif late is not None:
            self._journal.record(Happening.FAULT_STRUCK, f"LateAnswers {call.action}")
            self._tasks.create_task(self._reply_later(call.action, reply, answer, late.delay.total_seconds()))
            return
        else:
            with suppress(LinkClosed):
                await self._reply(call.action, reply)
        self._begin(answer.deeds)
        if self._faults.spend(GoesAwayAfter, call.action):
            self._journal.record(Happening.FAULT_STRUCK, f"GoesAwayAfter {call.action}")
            self.ending = Ending.GONE
            self._tasks.create_task(self._link.close())

    async def _reply_later(
        self, action: str, reply: CallResult | CallError, answer: Answer, delay_s: float
    ) -> None:
        if not await self._link.closed_within(delay_s):
            with suppress(LinkClosed):
                await self._reply(action, reply)
        self._begin(answer.deeds)

    async def _reply(self, action: str, reply: CallResult | CallError) -> None:
        await self._link.send(reply)
        self._journal.record(Happening.CALL_ANSWERED, action)
        if self._faults.spend(DuplicatesAnswers, action):
            await self._link.send(reply)

    # -- doing ---------------------------------------------------------------------------------

    def _begin(self, deeds: tuple[Deed, ...]) -> None:
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
                    self.ending = self.ending or Ending.RECONNECT
                    self._tasks.create_task(self._link.close())
                case Reboot():
                    self.ending = Ending.REBOOT
                    self._journal.record(Happening.REBOOTING)
                    self._tasks.create_task(self._link.close())
                case _:
                    self._tasks.create_task(self._speak(deed))

    async def _tell_log(self, request_id: int, status: str) -> None:
        await self._insist(self._dialect.log_status(status, request_id))

    def _evses(self, evse_id: int | None) -> Iterable[int]:
        return range(1, self._configuration.evses + 1) if evse_id is None else (evse_id,)

    async def _speak(self, deed: Spoken) -> None:
        try:
            match deed:
                case Boot():
                    self._boot_reason = "Triggered"
                    self._boot_now.set()
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
