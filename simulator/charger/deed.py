"""What a charger does after the answer to a call is out."""

from __future__ import annotations

from dataclasses import dataclass


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
class RequestCertificate:
    """Make a key and send SignCertificate."""


@dataclass(frozen=True, slots=True)
class CertificateSettled:
    """Stop asking: CertificateSigned came, and was taken or not."""


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


@dataclass(frozen=True, slots=True)
class TellSecurityEvents:
    """Send the queued security events."""


Spoken = Boot | Beat | ShowStatus | Report | TellSecurityEvents
Deed = Spoken | RequestCertificate | CertificateSettled | Reconnect | Reboot
