"""Faults of conduct: what a charger leaves out, does late, or claims to have done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class NeverReconnectAfterCertificate:
    """Accepts a certificate, a profile or a reset and goes on as before, with its old credential."""


@dataclass(frozen=True, slots=True)
class GoesAwayAfter:
    """Answers `action` as it should, loses its connection and does not come back by itself."""

    action: str
    times: int | None = 1


@dataclass(frozen=True, slots=True)
class NoBootOnReconnect:
    """Greets with a Heartbeat on a mere reconnect, whatever its family does."""


@dataclass(frozen=True, slots=True)
class SilentOn:
    """Behaves as if a call had not been heard; for a call of its own: never makes it."""

    action: str
    times: int | None = None


@dataclass(frozen=True, slots=True)
class AnswersWith:
    """Answers `action` with nothing but this status, and does nothing about it."""

    action: str
    status: str
    times: int | None = None


@dataclass(frozen=True, slots=True)
class RejectsSetting:
    """Answers Rejected to the writing of one variable or configuration key, by its 2.x variable name."""

    setting: str
    times: int | None = None


@dataclass(frozen=True, slots=True)
class RebootRequiredFor:
    """Answers RebootRequired to the writing of one setting, by its 2.x variable name; it holds after a reset."""

    setting: str
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
class ComplainsAboutAnswers:
    """OCPP 2.1: answers the answer to its own `action` with CALLRESULTERROR, and takes it for a refusal."""

    action: str
    times: int | None = None


@dataclass(frozen=True, slots=True)
class RejectsTrigger:
    """Answers TriggerMessage with Rejected and does nothing."""

    times: int | None = None


@dataclass(frozen=True, slots=True)
class IgnoresTriggers:
    """Answers TriggerMessage with Accepted and does nothing."""

    times: int | None = None


@dataclass(frozen=True, slots=True)
class WrongBootSerial:
    """Reports another serial number in BootNotification than the one it was built with."""

    serial_number: str


@dataclass(frozen=True, slots=True)
class ClockSkew:
    """Lives `delta` away from true time: in timestamps, certificate checks and TLS."""

    delta: timedelta


@dataclass(frozen=True, slots=True)
class ClockWrongUntilBoot:
    """Lives `delta` away from true time until a BootNotification is answered, and checks no server's dates.

    The charger without a battery for its clock: it must trust a server before it can know the time.
    """

    delta: timedelta


@dataclass(frozen=True, slots=True)
class ClaimsUpload:
    """Reports a log as uploaded without having sent any of it."""


@dataclass(frozen=True, slots=True)
class FirmwareStopsAt:
    """A firmware update ends with this status: DownloadFailed, InvalidSignature, InstallationFailed, ..."""

    status: str


@dataclass(frozen=True, slots=True)
class FloodsSecurityEvents:
    """Sends the same security event `count` times, a second apart by its clock, after it was first accepted."""

    type: str
    count: int


@dataclass(frozen=True, slots=True)
class SendsGarbage:
    """Sends these frames as they are, once, after it was first accepted."""

    frames: tuple[str | bytes, ...]


ConductFault = (
    NeverReconnectAfterCertificate
    | GoesAwayAfter
    | NoBootOnReconnect
    | SilentOn
    | AnswersWith
    | RejectsSetting
    | RebootRequiredFor
    | DropsSocketBeforeAnswering
    | DuplicatesAnswers
    | LateAnswers
    | ComplainsAboutAnswers
    | RejectsTrigger
    | IgnoresTriggers
    | WrongBootSerial
    | ClockSkew
    | ClockWrongUntilBoot
    | ClaimsUpload
    | FirmwareStopsAt
    | FloodsSecurityEvents
    | SendsGarbage
)
