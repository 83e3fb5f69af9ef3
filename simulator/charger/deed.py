"""What a charger does after the answer to a call is out."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.charger.credential import CertificateUse
from simulator.charger.frame import Payload
from simulator.charger.log_request import LogRequest


@dataclass(frozen=True, slots=True)
class Boot:
    """Send BootNotification now."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Send Heartbeat now."""


@dataclass(frozen=True, slots=True)
class ShowStatus:
    """Send StatusNotification for one EVSE, or for all."""

    evse_id: int | None = None


@dataclass(frozen=True, slots=True)
class ShowMeter:
    """Send MeterValues for one EVSE, or for all."""

    evse_id: int | None = None


@dataclass(frozen=True, slots=True)
class ShowLogStatus:
    """Send LogStatusNotification for the upload under way, or Idle."""


@dataclass(frozen=True, slots=True)
class ShowFirmwareStatus:
    """Send the firmware status, which between updates is Idle."""


@dataclass(frozen=True, slots=True)
class RequestCertificate:
    """Make a key and send SignCertificate; `combined` leaves out what the certificate is for."""

    use: CertificateUse = CertificateUse.STATION
    combined: bool = False


@dataclass(frozen=True, slots=True)
class CertificateSettled:
    """Stop asking: CertificateSigned came, and was taken or not."""

    use: CertificateUse = CertificateUse.STATION


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Close the connection and come back with what is new."""


@dataclass(frozen=True, slots=True)
class Reboot:
    """Start again, from the first slot."""


@dataclass(frozen=True, slots=True)
class Report:
    """Send the device model as NotifyReport."""

    request_id: int
    entries: tuple[Payload, ...]


@dataclass(frozen=True, slots=True)
class TellSecurityEvents:
    """Send the queued security events."""


@dataclass(frozen=True, slots=True)
class UploadLog:
    """Send a log to where GetLog said."""

    request: LogRequest


@dataclass(frozen=True, slots=True)
class UpdateFirmware:
    """Walk through an update's statuses."""

    request_id: int


Spoken = (
    Boot
    | Beat
    | ShowStatus
    | ShowMeter
    | ShowLogStatus
    | ShowFirmwareStatus
    | Report
    | TellSecurityEvents
    | UpdateFirmware
)
Deed = Spoken | UploadLog | RequestCertificate | CertificateSettled | Reconnect | Reboot
