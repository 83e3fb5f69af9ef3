"""Signed firmware updates: what is checked first, and the statuses an update walks through (OCPP L01)."""

from __future__ import annotations

from cryptography import x509

from simulator.charger.certificate_desk import Verdict
from simulator.charger.credential import issued_by
from simulator.charger.deed import TellSecurityEvents, UpdateFirmware
from simulator.charger.fault import FaultScript
from simulator.charger.fault_conduct import FirmwareStopsAt
from simulator.charger.frame import Payload, number_of, object_of, text_of
from simulator.charger.station import Station
from simulator.charger.trust_store import MANUFACTURER_ROOT

_STEPS = ("Downloading", "Downloaded", "SignatureVerified", "Installing", "Installed")
_INSTEAD_OF = {
    "DownloadFailed": "Downloaded",
    "InvalidSignature": "SignatureVerified",
    "InstallationFailed": "Installed",
    "InstallVerificationFailed": "Installed",
}


def check_update(station: Station, payload: Payload) -> Verdict:
    """Whether an update is begun: its signing certificate must be issued by an installed manufacturer's root."""
    request_id = number_of(payload, "requestId")
    pem = text_of(object_of(payload, "firmware"), "signingCertificate")
    try:
        signer = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        signer = None
    roots = station.memory.trust.roots(MANUFACTURER_ROOT)
    if signer is None or not any(issued_by(signer, root) for root in roots):
        reason = "the firmware's signing certificate leads to no manufacturer's root"
        station.memory.note_security_event("InvalidFirmwareSigningCertificate", station.clock(), reason)
        return Verdict("InvalidCertificate", "InvalidCertificate", reason, (TellSecurityEvents(),))
    return Verdict("Accepted", deeds=(UpdateFirmware(request_id),))


def update_statuses(faults: FaultScript) -> list[str]:
    """The statuses an update goes through; a scripted failure takes the place of the step it spoils."""
    stops = faults.find(FirmwareStopsAt)
    statuses: list[str] = []
    for step in _STEPS:
        if stops is not None and step in (_INSTEAD_OF.get(stops.status, stops.status), stops.status):
            return [*statuses, stops.status]
        statuses.append(step)
    return statuses
