"""What payloads of OCPP 2.0.1 and 2.1 have in common, each part turned into a value or made from one."""

from collections.abc import Callable
from datetime import datetime

import orjson

from bfactors.certificate_hash import ReportedCertificate
from bfactors.disclosed import Disclosed
from bfactors.instruction import UpdateFirmware
from bfactors.ocpp import (
    Answered,
    BootNotified,
    CsrPresented,
    CsrReply,
    FirmwareStatusNotified,
    HeartbeatSent,
    LogStatusNotified,
    SecurityEventNotified,
)
from bfactors.purpose import purposes, session_purpose
from gateways.ocpp import phrase
from gateways.ocpp.dialect import NotSendable
from gateways.ocpp.frame import Payload

# ---------------------------------------------------------------- what chargers call


def boot(payload: Payload) -> BootNotified:
    station = payload["chargingStation"]
    return BootNotified(
        vendor=station["vendorName"],
        model=station["model"],
        serial_number=station.get("serialNumber"),
        firmware_version=station.get("firmwareVersion"),
        reason=payload["reason"],
    )


def heartbeat(_: Payload) -> HeartbeatSent:
    return HeartbeatSent()


def certificate_request(payload: Payload, use_of: Callable[[str], str]) -> CsrPresented:
    """SignCertificate. Without a type it is for the charger's own identity, and never for two realms at once."""
    root = payload.get("hashRootCertificate")
    return CsrPresented(
        purpose=_purpose_for(payload.get("certificateType"), use_of),
        csr=payload["csr"],
        request_id=payload.get("requestId"),
        hash_root=phrase.hash_data_of(root) if root is not None else None,
    )


def _purpose_for(use: str | None, use_of: Callable[[str], str]) -> str:
    if use is None:
        return session_purpose().name
    for spec in purposes().values():
        if not spec.is_at_charger:
            continue
        try:
            if use_of(spec.name) == use:
                return spec.name
        except NotSendable:
            continue
    return ""


def said_at(action: str, payload: Payload) -> datetime | None:
    """The charger's time of what it tells as it happens; None for everything else, and for what cannot be read."""
    text = payload.get("timestamp") if action == "StatusNotification" else None
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def transaction(action: str, payload: Payload) -> tuple[str, bool] | None:
    """What a TransactionEvent says of its transaction: whether it runs."""
    named = payload.get("transactionInfo", {}).get("transactionId")
    if action != "TransactionEvent" or named is None:
        return None
    return named, payload.get("eventType") != "Ended"


def security_event(payload: Payload) -> SecurityEventNotified:
    return SecurityEventNotified(
        event_type=payload["type"], charger_time=payload["timestamp"], tech_info=payload.get("techInfo")
    )


def log_status(payload: Payload) -> LogStatusNotified:
    return LogStatusNotified(payload["status"], payload.get("requestId"))


def firmware_status(payload: Payload) -> FirmwareStatusNotified:
    return FirmwareStatusNotified(payload["status"], payload.get("requestId"))


# ---------------------------------------------------------------- what we call


def opened(secret: Disclosed | None) -> Disclosed:
    """Raises NotSendable if the secret that an instruction names was not to be had."""
    if secret is None:
        raise NotSendable("the secret it carries is not at hand")
    return secret


def firmware_update(order: UpdateFirmware) -> Payload:
    """What UpdateFirmware says, and SignedUpdateFirmware in 1.6."""
    firmware = {
        "location": order.location,
        "retrieveDateTime": order.retrieve_at,
        "signingCertificate": order.signing_certificate,
        "signature": order.signature,
    }
    if order.install_at is not None:
        firmware["installDateTime"] = order.install_at
    return {"requestId": order.request_id, "firmware": firmware}


# ---------------------------------------------------------------- what we are answered


def answered(
    payload: Payload, *, listed: tuple[ReportedCertificate, ...] = (), file_name: str | None = None
) -> Answered:
    """A payload with a status."""
    info = payload.get("statusInfo") or {}
    return Answered(
        payload["status"], info.get("reasonCode"), info.get("additionalInfo"), listed, file_name=file_name
    )


def verbatim(payload: Payload, listed: tuple[ReportedCertificate, ...] = ()) -> Answered:
    """The answer to a call an operator wrote out, whole, and what it lists; `Accepted` where it has no status."""
    status = payload.get("status")
    status = status if isinstance(status, str) else "Accepted"
    return Answered(status, payload=orjson.dumps(payload).decode(), listed=listed)


def reported(entry: Payload) -> ReportedCertificate:
    return ReportedCertificate(
        use=entry["certificateType"],
        hash_data=phrase.hash_data_of(entry["certificateHashData"]),
        child_hash_data=tuple(
            phrase.hash_data_of(child) for child in entry.get("childCertificateHashData", ())
        ),
    )


# ---------------------------------------------------------------- what we answer


def csr_reply(reply: CsrReply, additional_info_max_chars: int) -> Payload:
    if reply.accepted:
        return {"status": "Accepted"}
    info = {"reasonCode": "InvalidCSR"}
    if reply.reason:
        info["additionalInfo"] = reply.reason[:additional_info_max_chars]
    return {"status": "Rejected", "statusInfo": info}
