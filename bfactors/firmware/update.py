"""Signed firmware updates: ordered once the signer is known to be the manufacturer's, then followed in the charger's words.

The firmware itself is not fetched here; the charger checks its signature. Source: OCPP 2.0.1 part 2 use cases L01-L02,
the OCPP 1.6 security whitepaper (secure firmware update).
"""

import base64
import binascii
from collections.abc import Iterable
from datetime import datetime
from urllib.parse import urlsplit

from bfactors.firmware import event as e
from bfactors.firmware.command import OrderFirmwareUpdate
from bfactors.firmware.signer import SIGNING_CERTIFICATE_CHARS, signer_problem
from bfactors.firmware.state import FirmwareCharger, FirmwareWork
from bfactors.instruction import UpdateFirmware
from bfactors.refusal import Refusal
from bfactors.x509 import Certificate

BEGUN = frozenset({"Accepted", "AcceptedCanceled"})
LOCATION_CHARS = 512
"""OCPP 1.6 and 2.0.1; 2.1 takes more."""
SIGNATURE_CHARS = 800
SECURITY_EVENTS = frozenset(
    {"FirmwareUpdated", "InvalidFirmwareSignature", "InvalidFirmwareSigningCertificate"}
)
"""What chargers tell of firmware as security events. Source: OCPP 2.0.1 appendix 1, 1.6 security whitepaper."""

_NOTHING_NEW = frozenset({"Idle"})
_SCHEMES = frozenset({"http", "https", "ftp", "ftps", "sftp"})


def requested(
    state: FirmwareCharger,
    command: OrderFirmwareUpdate,
    operational: Iterable[Certificate],
    by: str,
    now: datetime,
) -> e.FirmwareUpdateRequested | Refusal:
    """The order, or why it is none."""
    refusal = (
        _location_problem(command.location)
        or _signature_problem(command.signature)
        or _size_problem(command.signing_certificate)
        or signer_problem(command.signing_certificate, command.anchor_pem, operational, now)
    )
    if refusal is not None:
        return refusal
    return e.FirmwareUpdateRequested(
        charger_id=command.charger_id,
        work_id=command.work_id,
        request_id=state.last_request_id + 1,
        anchor_id=command.anchor_id,
        location=command.location,
        retrieve_at=command.retrieve_at,
        install_at=command.install_at,
        signing_certificate=command.signing_certificate,
        signature=command.signature,
        reason=command.reason,
        by=by,
    )


def _location_problem(location: str) -> Refusal | None:
    try:
        parts = urlsplit(location)
        is_address = parts.scheme in _SCHEMES and bool(parts.hostname)
    except ValueError:
        return Refusal("invalid-value", "is no address", "location")
    if not is_address or len(location) > LOCATION_CHARS or any(char <= " " for char in location):
        message = f"must be an address of {LOCATION_CHARS} characters at most: {', '.join(sorted(_SCHEMES))}"
        return Refusal("invalid-value", message, "location")
    if "@" in parts.netloc:
        message = "a password would stand in the record; let the signature protect the firmware"
        return Refusal("secret-in-call", message, "location")
    return None


def _signature_problem(signature: str) -> Refusal | None:
    try:
        is_base64 = bool(base64.b64decode(signature, validate=True))
    except (binascii.Error, ValueError):
        is_base64 = False
    if is_base64 and len(signature) <= SIGNATURE_CHARS:
        return None
    return Refusal("invalid-value", f"must be base64 of {SIGNATURE_CHARS} characters at most", "signature")


def _size_problem(signing_certificate: str) -> Refusal | None:
    if len(signing_certificate) <= SIGNING_CERTIFICATE_CHARS:
        return None
    message = f"OCPP has room for {SIGNING_CERTIFICATE_CHARS} characters"
    return Refusal("invalid-value", message, "signing_certificate")


def accepted(
    state: FirmwareCharger, work: FirmwareWork, body: UpdateFirmware, status: str, cause: str
) -> e.FirmwareUpdateAccepted:
    """The charger said that it will, or has begun without having been heard to say so."""
    return e.FirmwareUpdateAccepted(
        charger_id=state.charger_id,
        work_id=work.work_id,
        request_id=body.request_id,
        status=status[:64],
        evidence_ref=cause,
    )


# ---------------------------------------------------------------- how it fares


def told(
    state: FirmwareCharger, *, session_id: str, status: str, request_id: int | None, cause: str
) -> tuple[e.FirmwareChargerEvent, ...]:
    """A status of a firmware update. Idle is none, and the same once more is no news."""
    if status in _NOTHING_NEW:
        return ()
    known = next((each for each in reversed(state.updates) if each.request_id == request_id), None)
    if known is not None and known.statuses and known.statuses[-1][0] == status:
        return ()
    observed = e.FirmwareUpdateObserved(
        charger_id=state.charger_id,
        session_id=session_id,
        request_id=request_id,
        status=status[:64],
        is_security_event=False,
        detail=None,
        evidence_ref=cause,
    )
    for work in state.outstanding:
        if isinstance(work.body, UpdateFirmware) and work.body.request_id == request_id:
            return accepted(state, work, work.body, status, cause), observed
    return (observed,)


def security_event_told(
    state: FirmwareCharger, *, session_id: str, kind: str, detail: str | None, cause: str
) -> tuple[e.FirmwareChargerEvent, ...]:
    """A security event about firmware; it stays one for operations, too."""
    if state.updates and state.updates[-1].security_event == kind:
        return ()
    return (
        e.FirmwareUpdateObserved(
            charger_id=state.charger_id,
            session_id=session_id,
            request_id=None,
            status=kind[:64],
            is_security_event=True,
            detail=detail[:255] if detail else None,
            evidence_ref=cause,
        ),
    )
