"""What a charger does while one connection lasts: boots, reports, beats, listens, answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum

from simulator.charger.answer import Answer
from simulator.charger.answers import Answers
from simulator.charger.dialect import Dialect
from simulator.charger.doings import Doings, Ending, Insist
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
        self._proven = proven
        self._boot_reason = boot_reason
        self._boot_now = asyncio.Event()
        self._doings = Doings(link, self._voice, station, dialect, signing, insist, self._boot_again)
        self._tasks: asyncio.TaskGroup
        self.standing = Standing.UNKNOWN
        self.was_proven = False

    @property
    def link(self) -> Link:
        """The connection this session lives on."""
        return self._link

    @property
    def ending(self) -> Ending | None:
        """Why the charger itself ended the connection, if it did."""
        return self._doings.ending

    @property
    def leaves(self) -> bool:
        """Whether it ended the connection never to come back by itself."""
        return self._doings.leaves

    async def run(self) -> None:
        """Live until the connection ends, whoever ends it."""
        self._station.accepted = False
        async with asyncio.TaskGroup() as tasks:
            self._tasks = self._doings.tasks = tasks
            tasks.create_task(self._live())
            async for call in self._link.calls():
                await self._hear(call)
            # From here on every wait on the link ends by itself, and with it the tasks of the group.
            self._boot_now.set()

    # -- speaking ------------------------------------------------------------------------------

    async def _live(self) -> None:
        try:
            await self._introduce()
            await self._voice.status(range(1, self._configuration.evses + 1))
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

    def _boot_again(self) -> None:
        self._boot_reason = "Triggered"
        self._boot_now.set()

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
        self._doings.begin(answer.deeds)
        if self._faults.spend(GoesAwayAfter, call.action):
            self._journal.record(Happening.FAULT_STRUCK, f"GoesAwayAfter {call.action}")
            self._doings.leave()

    async def _reply_later(
        self, action: str, reply: CallResult | CallError, answer: Answer, delay_s: float
    ) -> None:
        if not await self._link.closed_within(delay_s):
            with suppress(LinkClosed):
                await self._reply(action, reply)
        self._doings.begin(answer.deeds)

    async def _reply(self, action: str, reply: CallResult | CallError) -> None:
        await self._link.send(reply)
        self._journal.record(Happening.CALL_ANSWERED, action)
        if self._faults.spend(DuplicatesAnswers, action):
            await self._link.send(reply)
