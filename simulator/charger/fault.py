"""The scripted ways in which a charger misbehaves: data, so that a test or a plan can compose them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar


@dataclass(frozen=True, slots=True)
class NeverReconnectAfterCertificate:
    """Accepts a certificate, a profile or a reset and goes on as before, with its old credential."""


@dataclass(frozen=True, slots=True)
class CsrWithSubjectOf:
    """Asks for a certificate in another unit's name, signed with its own key."""

    serial_number: str


@dataclass(frozen=True, slots=True)
class RejectsCertificate:
    """Answers CertificateSigned with Rejected, whatever it holds; `times` None means always."""

    times: int | None = None


@dataclass(frozen=True, slots=True)
class SilentOn:
    """Behaves as if a call had not been heard; for a call of its own: never makes it."""

    action: str
    times: int | None = None


@dataclass(frozen=True, slots=True)
class DropsSocketBeforeAnswering:
    """Does what a call asks for, then loses the connection before the answer leaves."""

    action: str
    times: int | None = 1


@dataclass(frozen=True, slots=True)
class DuplicatesAnswers:
    """Sends every answer twice under the same message id; `action` narrows it to one kind of call."""

    action: str | None = None


@dataclass(frozen=True, slots=True)
class LateAnswers:
    """Holds an answer back for `delay`, and with it whatever follows from the call; all else goes on."""

    action: str
    delay: timedelta
    times: int | None = None


@dataclass(frozen=True, slots=True)
class RejectsTrigger:
    """Answers TriggerMessage with Rejected and does nothing."""

    times: int | None = None


@dataclass(frozen=True, slots=True)
class CannotListCertificates:
    """Knows no GetInstalledCertificateIds: CALLERROR NotSupported."""


@dataclass(frozen=True, slots=True)
class StoreFull:
    """Has no room for a further root certificate: InstallCertificate fails."""


@dataclass(frozen=True, slots=True)
class SameCsrTwice:
    """Sends each first SignCertificate a second time, byte for byte, under a new message id."""


@dataclass(frozen=True, slots=True)
class NewKeyOnRetry:
    """Makes a new key whenever it asks again, so a certificate for the earlier one is worthless."""


@dataclass(frozen=True, slots=True)
class WrongBootSerial:
    """Reports another serial number in BootNotification than the one it was built with."""

    serial_number: str


@dataclass(frozen=True, slots=True)
class LeafOnlyClient:
    """Presents its client certificate without the intermediates above it."""


@dataclass(frozen=True, slots=True)
class ClockSkew:
    """Lives `delta` away from true time: in timestamps, certificate checks and TLS."""

    delta: timedelta


@dataclass(frozen=True, slots=True)
class SendsGarbage:
    """Sends these frames as they are, once, after it was first accepted."""

    frames: tuple[str | bytes, ...]


Fault = (
    NeverReconnectAfterCertificate
    | CsrWithSubjectOf
    | RejectsCertificate
    | SilentOn
    | DropsSocketBeforeAnswering
    | DuplicatesAnswers
    | LateAnswers
    | RejectsTrigger
    | CannotListCertificates
    | StoreFull
    | SameCsrTwice
    | NewKeyOnRetry
    | WrongBootSerial
    | LeafOnlyClient
    | ClockSkew
    | SendsGarbage
)

FaultT = TypeVar("FaultT", bound=Fault)


class FaultScript:
    """The faults of one charger, and how often each may still strike."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._faults = tuple(faults)
        self._spent = [0] * len(self._faults)

    def find(self, kind: type[FaultT]) -> FaultT | None:
        """The first fault of this kind, without using it up."""
        return next((fault for fault in self._faults if isinstance(fault, kind)), None)

    def has(self, kind: type[Fault]) -> bool:
        """Whether a fault of this kind was scripted."""
        return self.find(kind) is not None

    def spend(self, kind: type[FaultT], action: str | None = None) -> FaultT | None:
        """The first fault of this kind that applies to `action` and is not used up, used once more."""
        for index, fault in enumerate(self._faults):
            if not isinstance(fault, kind):
                continue
            aimed_at = getattr(fault, "action", None)
            times = getattr(fault, "times", None)
            if aimed_at is not None and aimed_at != action:
                continue
            if times is not None and self._spent[index] >= times:
                continue
            self._spent[index] += 1
            return fault
        return None
