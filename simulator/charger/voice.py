"""The calls a charger makes on its own account, on one connection."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from simulator.charger.dialect import Dialect, Said
from simulator.charger.fault_conduct import SilentOn, WrongBootSerial
from simulator.charger.firmware import update_statuses
from simulator.charger.frame import CallRefused, Payload
from simulator.charger.journal import Happening
from simulator.charger.link import CallUnanswered, Link
from simulator.charger.memory import SecurityEvent
from simulator.charger.station import Station

METER_WH = 1000  # what a meter shows outside a transaction
REPORT_ENTRIES = 10  # per NotifyReport


class Voice:
    """Says what a charger says; everything here raises LinkClosed once the connection is gone."""

    def __init__(self, link: Link, station: Station, dialect: Dialect) -> None:
        self._link = link
        self._station = station
        self._dialect = dialect
        self._memory = station.memory
        self._faults = station.faults
        self._journal = station.journal
        self._clock = station.clock
        self._tells_security_events = False

    async def boot(self, reason: str) -> tuple[str, int]:
        """BootNotification; status and interval of the answer, empty and 0 for none."""
        configuration = self._station.configuration
        other = self._faults.find(WrongBootSerial)
        serial_number = other.serial_number if other else configuration.serial_number
        answer = await self._tell(self._dialect.boot(reason, configuration.family, serial_number))
        if answer is None:
            return "", 0
        status, interval_s = answer.get("status"), answer.get("interval")
        self._journal.record(Happening.BOOT_ANSWERED, str(status))
        return str(status), interval_s if isinstance(interval_s, int) and interval_s > 0 else 0

    async def greet(self) -> bool:
        """A Heartbeat in place of a boot; whether it was answered as from an accepted charger."""
        return await self._tell(self._dialect.heartbeat()) is not None

    async def beat(self) -> None:
        """A Heartbeat; without any answer the connection is taken for dead and dropped."""
        if self._silent("Heartbeat"):
            return
        try:
            await self._ask(self._dialect.heartbeat())
        except CallUnanswered:
            self._link.abort()
        except CallRefused:
            return

    async def status(self, evse_ids: Iterable[int]) -> None:
        """StatusNotification for these EVSEs' one connector each."""
        for evse_id in evse_ids:
            await self._tell(self._dialect.status(evse_id, self._clock()))

    async def meter_values(self, evse_ids: Iterable[int]) -> None:
        """MeterValues for these EVSEs."""
        for evse_id in evse_ids:
            await self._tell(self._dialect.meter_values(evse_id, self._clock(), METER_WH))

    async def log_status(self) -> None:
        """LogStatusNotification as things stand."""
        logs = self._station.logs
        await self._tell(self._dialect.log_status(logs.status, logs.request_id))

    async def firmware_status(self) -> None:
        """The firmware status between updates."""
        await self._tell(self._dialect.firmware_status("Idle", None))

    async def firmware_update(self, request_id: int) -> None:
        """All statuses of one update, and the event that ends a good or a forged one."""
        for status in update_statuses(self._faults):
            self._journal.record(Happening.FIRMWARE_STATUS, status)
            await self._tell(self._dialect.firmware_status(status, request_id))
        event = {"Installed": "FirmwareUpdated", "InvalidSignature": "InvalidFirmwareSignature"}.get(status)
        if event is not None:
            self._memory.note_security_event(event, self._clock())
            await self.security_events()

    async def security_events(self) -> None:
        """Whatever waits to be told; an event is kept until answered, so a lost connection costs none.

        Source: OCPP 2.0.1 A04.FR.02.
        """
        events = self._memory.security_events
        if self._tells_security_events:  # the round under way takes new ones along
            return
        self._tells_security_events = True
        try:
            while events:
                event = events[0]
                await self._tell(self._dialect.security_event(event))
                if events and events[0] is event:  # a full queue drops its oldest by itself
                    events.popleft()
        finally:
            self._tells_security_events = False

    async def flood(self, kind: str, count: int) -> None:
        """The same event over and over, each a second older than the next by the charger's clock."""
        now = self._clock()
        for number in range(count, 0, -1):
            event = SecurityEvent(kind, now - timedelta(seconds=number))
            await self._tell(self._dialect.security_event(event))

    async def report(self, request_id: int, entries: tuple[Payload, ...]) -> None:
        """NotifyReport, in parts."""
        parts = [entries[start : start + REPORT_ENTRIES] for start in range(0, len(entries), REPORT_ENTRIES)]
        for number, part in enumerate(parts):
            payload: Payload = {
                "requestId": request_id,
                "generatedAt": self._clock().isoformat(),
                "seqNo": number,
                "tbc": number + 1 < len(parts),
                "reportData": part,
            }
            await self._tell(Said("NotifyReport", payload))

    async def _tell(self, said: Said) -> Payload | None:
        """Make a call; None when it was refused or not answered, which is written down."""
        if self._silent(said.action):
            return None
        try:
            return await self._ask(said)
        except (CallRefused, CallUnanswered):
            return None

    async def _ask(self, said: Said) -> Payload:
        """Make a call.

        Raises: CallRefused, CallUnanswered; both are written down.
        """
        try:
            return await self._link.call(said.action, said.payload)
        except CallUnanswered:
            self._journal.record(Happening.CALL_FAILED, f"{said.action}: not answered")
            raise
        except CallRefused as error:
            self._journal.record(Happening.CALL_FAILED, f"{said.action}: {error}")
            raise

    def _silent(self, action: str) -> bool:
        if not self._faults.spend(SilentOn, action):
            return False
        self._journal.record(Happening.FAULT_STRUCK, f"SilentOn {action}")
        return True
