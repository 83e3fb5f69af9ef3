"""What a charger did and met, for tests and for the fleet's display to watch."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Happening(StrEnum):
    """What an event says happened."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    CONNECTION_FAILED = "connection-failed"
    BOOT_ANSWERED = "boot-answered"
    ACCEPTED = "accepted"
    CALL_HEARD = "call-heard"
    CALL_ANSWERED = "call-answered"
    CALL_REFUSED = "call-refused"
    CALL_MADE = "call-made"
    CALL_FAILED = "call-failed"
    ROOT_INSTALLED = "root-installed"
    ROOT_REMOVED = "root-removed"
    ROOT_REFUSED = "root-refused"
    CERTIFICATE_REQUESTED = "certificate-requested"
    CERTIFICATE_REQUEST_REFUSED = "certificate-request-refused"
    CERTIFICATE_REQUEST_GIVEN_UP = "certificate-request-given-up"
    CERTIFICATE_ACCEPTED = "certificate-accepted"
    CERTIFICATE_REFUSED = "certificate-refused"
    CERTIFICATE_PROVEN = "certificate-proven"
    CERTIFICATE_DISCARDED = "certificate-discarded"
    PROFILE_RAISED = "profile-raised"
    NETWORK_PROFILE_SET = "network-profile-set"
    PASSWORD_ACCEPTED = "password-accepted"  # noqa: S105  # a name, no secret
    PASSWORD_CHANGED = "password-changed"  # noqa: S105  # a name, no secret
    PASSWORD_DISCARDED = "password-discarded"  # noqa: S105  # a name, no secret
    LOG_STATUS = "log-status"
    FIRMWARE_STATUS = "firmware-status"
    MESSAGE_HEARD = "message-heard"
    ANSWER_DISPUTED = "answer-disputed"
    REBOOTING = "rebooting"
    FAULT_STRUCK = "fault-struck"
    MALFORMED_FRAME = "malformed-frame"
    STRAY_ANSWER = "stray-answer"
    STATE_CHANGED = "state-changed"


_ERRORS = frozenset(
    {
        Happening.CONNECTION_FAILED,
        Happening.CALL_REFUSED,
        Happening.CALL_FAILED,
        Happening.ROOT_REFUSED,
        Happening.CERTIFICATE_REQUEST_REFUSED,
        Happening.CERTIFICATE_REQUEST_GIVEN_UP,
        Happening.CERTIFICATE_REFUSED,
        Happening.CERTIFICATE_DISCARDED,
        Happening.MALFORMED_FRAME,
    }
)


@dataclass(frozen=True, slots=True)
class ChargerEvent:
    """One thing that happened at one charger; `detail` is an action, a fingerprint or a reason, never a secret."""

    at: datetime
    charger_id: str
    happening: Happening
    detail: str


Listener = Callable[[ChargerEvent], None]


class Journal:
    """Counts, recent events and recent errors of one charger; the older ones are forgotten."""

    def __init__(self, charger_id: str, clock: Callable[[], datetime]) -> None:
        self._charger_id = charger_id
        self._clock = clock
        self._listeners: list[Listener] = []
        self._next: asyncio.Future[None] | None = None
        self.counters: Counter[str] = Counter()
        self.recent: deque[ChargerEvent] = deque(maxlen=32)
        self.errors: deque[str] = deque(maxlen=8)
        self.error_count = 0

    def record(self, happening: Happening, detail: str = "") -> None:
        """Write one event down and tell whoever listens or waits."""
        event = ChargerEvent(self._clock(), self._charger_id, happening, detail)
        self.counters[happening.value] += 1
        if detail and happening in (Happening.CALL_HEARD, Happening.CALL_MADE):
            self.counters[f"{happening.value}:{detail}"] += 1
        self.recent.append(event)
        if happening in _ERRORS:
            self.error_count += 1
            self.errors.append(f"{happening}: {detail}" if detail else happening)
        for listener in tuple(self._listeners):
            listener(event)
        if self._next is not None:
            future, self._next = self._next, None
            if not future.done():
                future.set_result(None)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event from now on; the answer ends the subscription."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def wait(self) -> None:
        """Return after the next event."""
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._next)
