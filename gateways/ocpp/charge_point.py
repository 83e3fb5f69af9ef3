"""What OCPP 1.6's charge points call, and what they are answered when nobody has anything to say about it."""

from collections.abc import Callable, Mapping

from bfactors.ocpp import BootNotified, CsrPresented, StationMessage
from bfactors.purpose import session_purpose
from gateways.ocpp import payload_part
from gateways.ocpp.frame import Payload

_UNKNOWN_REASON = "Unknown"
"""Why it booted, a 1.6 charger does not say; what OCPP 2.0.1 calls that."""
_UNDECIDED_TRANSACTION = 0
"""What its schema needs; the dialect puts a number of that transaction's own in its place."""
_TOKEN_STATUS = frozenset({"Accepted", "Blocked", "Expired", "ConcurrentTx"})
"""Of OCPP 2.0.1's words for a token, those that 1.6 has too; it calls everything else Invalid."""


def _boot(payload: Payload) -> StationMessage:
    return BootNotified(
        vendor=payload["chargePointVendor"],
        model=payload["chargePointModel"],
        serial_number=payload.get("chargePointSerialNumber") or payload.get("chargeBoxSerialNumber"),
        firmware_version=payload.get("firmwareVersion"),
        reason=_UNKNOWN_REASON,
    )


def _sign_certificate(payload: Payload) -> StationMessage:
    return CsrPresented(purpose=session_purpose().name, csr=payload["csr"])


MESSAGES: Mapping[str, Callable[[Payload], StationMessage]] = {
    "BootNotification": _boot,
    "Heartbeat": payload_part.heartbeat,
    "SignCertificate": _sign_certificate,
    "SecurityEventNotification": payload_part.security_event,
    "LogStatusNotification": payload_part.log_status,
    "DiagnosticsStatusNotification": payload_part.log_status,
    "FirmwareStatusNotification": payload_part.firmware_status,
    "SignedFirmwareStatusNotification": payload_part.firmware_status,
}
RELAYED = frozenset({"DataTransfer", "MeterValues", "StatusNotification", "StopTransaction"})
CONFIRMED = frozenset({"StopTransaction"})
"""Relayed calls answered only once the relay has stored them."""
DECIDED = frozenset({"Authorize", "StartTransaction"})
"""Calls somebody else in BetterFleet decides; without an answer in time they get the default."""
ONLY_FROM_CHARGERS = (MESSAGES.keys() | RELAYED | DECIDED) - {"DataTransfer"}


_CHARGING = frozenset({"Charging", "SuspendedEV", "SuspendedEVSE"})
"""A transaction runs; a reset, soft or hard, would end it (1.6 has none that waits)."""


def charging(action: str, payload: Payload) -> tuple[int, bool] | None:
    """What a StatusNotification says of one connector: whether a car is charging there. Connector 0 is the whole charger."""
    if action != "StatusNotification" or payload["connectorId"] == 0:
        return None
    return payload["connectorId"], payload["status"] in _CHARGING


def defaults(token_status: str = "Unknown") -> dict[str, Payload]:  # noqa: S107 - a charging card, no secret
    """Default answers by action. `token_status` is in OCPP 2.0.1's words."""
    token = {"idTagInfo": {"status": token_status if token_status in _TOKEN_STATUS else "Invalid"}}
    return {
        "Authorize": token,
        "StartTransaction": {"transactionId": _UNDECIDED_TRANSACTION, **token},
        "DataTransfer": {"status": "UnknownVendorId"},
    }
