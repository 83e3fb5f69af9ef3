"""The calls a charger makes on its own account, on one connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from simulator.charger.configuration import ChargerConfiguration
from simulator.charger.fault import FaultScript, SilentOn, WrongBootSerial
from simulator.charger.frame import CallRefused, Payload
from simulator.charger.journal import Happening, Journal
from simulator.charger.link import CallUnanswered, Link
from simulator.charger.memory import ChargerMemory

REPORT_ENTRIES = 10  # per NotifyReport


class Voice:
    """Says what a charger says; everything here raises LinkClosed once the connection is gone."""

    def __init__(
        self,
        link: Link,
        configuration: ChargerConfiguration,
        memory: ChargerMemory,
        faults: FaultScript,
        journal: Journal,
        clock: Callable[[], datetime],
    ) -> None:
        self._link = link
        self._configuration = configuration
        self._memory = memory
        self._faults = faults
        self._journal = journal
        self._clock = clock
        self._tells_security_events = False

    async def boot(self, reason: str) -> tuple[str, int]:
        """BootNotification; status and interval of the answer, empty and 0 for none."""
        family = self._configuration.family
        other = self._faults.find(WrongBootSerial)
        payload: Payload = {
            "reason": reason,
            "chargingStation": {
                "model": family.model,
                "vendorName": family.vendor,
                "firmwareVersion": family.firmware,
                "serialNumber": other.serial_number if other else self._configuration.serial_number,
            },
        }
        answer = await self._tell("BootNotification", payload)
        if answer is None:
            return "", 0
        status, interval_s = answer.get("status"), answer.get("interval")
        self._journal.record(Happening.BOOT_ANSWERED, str(status))
        return str(status), interval_s if isinstance(interval_s, int) and interval_s > 0 else 0

    async def greet(self) -> bool:
        """A Heartbeat in place of a boot; whether it was answered as from an accepted charger."""
        return await self._tell("Heartbeat", {}) is not None

    async def beat(self) -> None:
        """A Heartbeat; without any answer the connection is taken for dead and dropped."""
        if self._silent("Heartbeat"):
            return
        try:
            await self._ask("Heartbeat", {})
        except CallUnanswered:
            self._link.abort()
        except CallRefused:
            return

    async def status(self, evse_ids: Iterable[int]) -> None:
        """StatusNotification for these EVSEs' one connector each."""
        for evse_id in evse_ids:
            payload = {
                "timestamp": self._clock().isoformat(),
                "connectorStatus": "Available",
                "evseId": evse_id,
                "connectorId": 1,
            }
            await self._tell("StatusNotification", payload)

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
                payload: Payload = {"type": event.type, "timestamp": event.at.isoformat()}
                if event.tech_info:
                    payload["techInfo"] = event.tech_info
                await self._tell("SecurityEventNotification", payload)
                if events and events[0] is event:  # a full queue drops its oldest by itself
                    events.popleft()
        finally:
            self._tells_security_events = False

    async def report(self, request_id: int, entries: list[Payload]) -> None:
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
            await self._tell("NotifyReport", payload)

    async def _tell(self, action: str, payload: Payload) -> Payload | None:
        """Make a call; None when it was refused or not answered, which is written down."""
        if self._silent(action):
            return None
        try:
            return await self._ask(action, payload)
        except (CallRefused, CallUnanswered):
            return None

    async def _ask(self, action: str, payload: Payload) -> Payload:
        """Make a call.

        Raises: CallRefused, CallUnanswered; both are written down.
        """
        try:
            return await self._link.call(action, payload)
        except CallUnanswered:
            self._journal.record(Happening.CALL_FAILED, f"{action}: not answered")
            raise
        except CallRefused as error:
            self._journal.record(Happening.CALL_FAILED, f"{action}: {error}")
            raise

    def _silent(self, action: str) -> bool:
        if not self._faults.spend(SilentOn, action):
            return False
        self._journal.record(Happening.FAULT_STRUCK, f"SilentOn {action}")
        return True
