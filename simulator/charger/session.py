"""What a charger does while one connection lasts: boots, reports, beats, listens, answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from simulator.charger.answers import (
    Answer,
    Answers,
    CertificateSettled,
    Deed,
    Reboot,
    Reconnect,
    Report,
    RequestCertificate,
    Say,
    TellSecurityEvents,
)
from simulator.charger.configuration import ChargerConfiguration
from simulator.charger.fault import (
    DropsSocketBeforeAnswering,
    DuplicatesAnswers,
    FaultScript,
    LateAnswers,
    SendsGarbage,
    SilentOn,
    WrongBootSerial,
)
from simulator.charger.frame import Call, CallError, CallRefused, CallResult, Payload
from simulator.charger.journal import Happening, Journal
from simulator.charger.link import CallUnanswered, Link, LinkClosed
from simulator.charger.memory import ChargerMemory
from simulator.charger.signing import Signing


class Standing(StrEnum):
    """What the central system makes of the charger on this connection."""

    UNKNOWN = "unknown"
    PENDING = "pending"
    REJECTED = "rejected"
    ACCEPTED = "accepted"


class Ending(StrEnum):
    """Why the charger itself ended a connection."""

    RECONNECT = "reconnect"
    REBOOT = "reboot"


class Session:
    """One connection's life. `proven` runs once, when the central system first answers as to one of its own."""

    def __init__(
        self,
        link: Link,
        configuration: ChargerConfiguration,
        memory: ChargerMemory,
        faults: FaultScript,
        journal: Journal,
        answers: Answers,
        signing: Signing,
        clock: Callable[[], datetime],
        proven: Callable[[], None],
        boot_reason: str | None,
    ) -> None:
        self._link = link
        self._configuration = configuration
        self._memory = memory
        self._faults = faults
        self._journal = journal
        self._answers = answers
        self._signing = signing
        self._clock = clock
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
        self._answers.accepted = False
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
            beat_s = await self._introduce()
            for evse_id in range(1, self._configuration.evses + 1):
                await self._tell("StatusNotification", self._status(evse_id))
            await self._tell_security_events()
            garbage = self._faults.spend(SendsGarbage)
            if garbage is not None and self._journal.counters[Happening.ACCEPTED] == 1:
                for frame in garbage.frames:
                    await self._link.send_raw(frame)
            while not await self._link.closed_within(self._memory.heartbeat_s or beat_s):
                await self._tell("Heartbeat", {})
        except LinkClosed:
            return

    async def _introduce(self) -> float:
        """Become accepted; the answer is the heartbeat interval in seconds that came with it."""
        if self._boot_reason is None:
            try:
                await self._ask("Heartbeat", {})
            except CallRefused:
                self._boot_reason = "Unknown"  # the central system wants to hear who this is
            else:
                self._stand(Standing.ACCEPTED)
                return 300
        while True:
            interval_s = await self._boot()
            if self.standing is Standing.ACCEPTED:
                return interval_s or 300
            retry_s = interval_s or self._configuration.boot_retry.total_seconds()
            with suppress(TimeoutError):
                async with asyncio.timeout(retry_s):
                    await self._boot_now.wait()
            self._boot_now.clear()

    async def _boot(self) -> float:
        """One BootNotification; the answer is the interval the central system gave, 0 for none."""
        family = self._configuration.family
        other = self._faults.find(WrongBootSerial)
        payload: Payload = {
            "reason": self._boot_reason or "Unknown",
            "chargingStation": {
                "model": family.model,
                "vendorName": family.vendor,
                "firmwareVersion": family.firmware,
                "serialNumber": other.serial_number if other else self._configuration.serial_number,
            },
        }
        answer = await self._tell("BootNotification", payload)
        if answer is None:
            return 0
        self._journal.record(Happening.BOOT_ANSWERED, str(answer.get("status")))
        try:
            self._stand(Standing(str(answer.get("status")).lower()))
        except ValueError:
            return 0
        interval = answer.get("interval")
        return float(interval) if isinstance(interval, int) and interval > 0 else 0

    def _stand(self, standing: Standing) -> None:
        self.standing = standing
        self._answers.accepted = standing is Standing.ACCEPTED
        if standing in (Standing.ACCEPTED, Standing.PENDING) and not self.was_proven:
            self.was_proven = True
            self._proven()
        self._journal.record(
            Happening.ACCEPTED if standing is Standing.ACCEPTED else Happening.STATE_CHANGED, standing
        )

    def _status(self, evse_id: int) -> Payload:
        return {
            "timestamp": self._clock().isoformat(),
            "connectorStatus": "Available",
            "evseId": evse_id,
            "connectorId": 1,
        }

    async def _tell(self, action: str, payload: Payload) -> Payload | None:
        """Make a call; None when it was refused or not answered, which is written down.

        Raises: LinkClosed.
        """
        if self._faults.spend(SilentOn, action):
            self._journal.record(Happening.FAULT_STRUCK, f"SilentOn {action}")
            return None
        try:
            return await self._ask(action, payload)
        except CallRefused:
            return None

    async def _ask(self, action: str, payload: Payload) -> Payload | None:
        """Make a call; None when it was not answered.

        Raises: CallRefused, LinkClosed.
        """
        try:
            return await self._link.call(action, payload)
        except CallUnanswered:
            self._journal.record(Happening.CALL_FAILED, f"{action}: not answered")
            return None
        except CallRefused as error:
            self._journal.record(Happening.CALL_FAILED, f"{action}: {error}")
            raise

    async def _tell_security_events(self) -> None:
        events = self._memory.security_events
        while events:
            event = events[0]
            payload: Payload = {"type": event.type, "timestamp": event.at.isoformat()}
            if event.tech_info:
                payload["techInfo"] = event.tech_info
            # Kept until answered, so a connection lost meanwhile costs nothing (A04.FR.02).
            await self._tell("SecurityEventNotification", payload)
            if events and events[0] is event:
                events.popleft()

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
                case RequestCertificate():
                    self._signing.begin()
                case CertificateSettled():
                    self._signing.settle()
                case Reconnect():
                    self.ending = self.ending or Ending.RECONNECT
                    self._tasks.create_task(self._link.close())
                case Reboot():
                    self.ending = Ending.REBOOT
                    self._journal.record(Happening.REBOOTING)
                    self._tasks.create_task(self._link.close())
                case Say() | Report() | TellSecurityEvents():
                    self._tasks.create_task(self._speak(deed))
                case _:
                    assert_never(deed)

    async def _speak(self, deed: Say | Report | TellSecurityEvents) -> None:
        try:
            match deed:
                case Say("BootNotification"):
                    self._boot_reason = "Triggered"
                    self._boot_now.set()
                case Say("Heartbeat"):
                    await self._tell("Heartbeat", {})
                case Say(_, evse_id):
                    evses = range(1, self._configuration.evses + 1) if evse_id is None else (evse_id,)
                    for each in evses:
                        await self._tell("StatusNotification", self._status(each))
                case Report(request_id):
                    await self._report(request_id)
                case TellSecurityEvents():
                    await self._tell_security_events()
                case _:
                    assert_never(deed)
        except LinkClosed:
            return

    async def _report(self, request_id: int) -> None:
        entries = self._answers.report()
        parts = [entries[start : start + 10] for start in range(0, len(entries), 10)]
        for number, part in enumerate(parts):
            payload: Payload = {
                "requestId": request_id,
                "generatedAt": self._clock().isoformat(),
                "seqNo": number,
                "tbc": number + 1 < len(parts),
                "reportData": part,
            }
            await self._tell("NotifyReport", payload)
