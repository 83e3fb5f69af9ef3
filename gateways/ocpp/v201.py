"""OCPP 2.0.1: tables from actions to messages and from instructions to calls.

Source: the official 2.0.1 schemas; OCPP 2.0.1 part 2, use cases A02, A05, B01, B09, B11, M03, M05.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import assert_never

import orjson

from bfactors.capability import NO_CAPABILITIES, Capabilities
from bfactors.certificate_hash import HashData, ReportedCertificate
from bfactors.disclosed import Disclosed
from bfactors.instruction import (
    CloseSession,
    InstallAnchor,
    InstallLeaf,
    InstructionKind,
    ListCertificates,
    ObtainCsr,
    Reboot,
    SetNetworkProfile,
    SetProfilePriority,
    kind_name,
)
from bfactors.ocpp import (
    Answered,
    BootNotified,
    BootReply,
    CallErrorReply,
    CsrPresented,
    CsrReply,
    DecidedReply,
    DecisionAsked,
    DefaultReply,
    HeartbeatReply,
    HeartbeatSent,
    Relayed,
    Reply,
    SecurityEventNotified,
    StationMessage,
)
from bfactors.purpose import purpose, purposes
from gateways.ocpp.dialect import NotSendable, Unsupported
from gateways.ocpp.frame import Payload
from gateways.ocpp.schema import SchemaSet

_SIGNING_USE = {"charger-identity": "ChargingStationCertificate", "iso15118": "V2GCertificate"}
"""OCPP's certificateType of a leaf, by the realm of its purpose."""

_STORE = {
    "backend-server": "CSMSRootCertificate",
    "charger-identity": "CSMSRootCertificate",
    "iso15118": "V2GRootCertificate",
    "firmware-signing": "ManufacturerRootCertificate",
}
"""OCPP's certificate store of an anchor, by the realm of the purpose it verifies."""

_RESET = {"on-idle": "OnIdle", "immediate": "Immediate"}
_MESSAGE_TIMEOUT_S = 30
_ADDITIONAL_INFO_MAX_CHARS = 512

_RELAYED = frozenset(
    {
        "ClearedChargingLimit", "DataTransfer", "FirmwareStatusNotification", "LogStatusNotification",
        "MeterValues", "NotifyChargingLimit", "NotifyCustomerInformation", "NotifyDisplayMessages",
        "NotifyEVChargingNeeds", "NotifyEVChargingSchedule", "NotifyEvent", "NotifyMonitoringReport", "NotifyReport",
        "PublishFirmwareStatusNotification", "ReportChargingProfiles", "ReservationStatusUpdate",
        "StatusNotification", "TransactionEvent",
    }
)  # fmt: skip
_CONFIRMED = frozenset({"TransactionEvent"})
"""Relayed calls answered only once the relay has stored them."""
_DECIDED = frozenset({"Authorize"})
"""Calls somebody else in BetterFleet decides; without an answer in time they get the default."""


def _boot(payload: Payload) -> StationMessage:
    station = payload["chargingStation"]
    return BootNotified(
        vendor=station["vendorName"],
        model=station["model"],
        serial_number=station.get("serialNumber"),
        firmware_version=station.get("firmwareVersion"),
        reason=payload["reason"],
    )


def _heartbeat(_: Payload) -> StationMessage:
    return HeartbeatSent()


def _sign_certificate(payload: Payload) -> StationMessage:
    use = payload.get("certificateType", _SIGNING_USE["charger-identity"])
    for spec in purposes().values():
        if _SIGNING_USE.get(spec.realm) == use and spec.identity_kind in ("charger", "evse"):
            return CsrPresented(purpose=spec.name, csr=payload["csr"])
    raise Unsupported(f"no certificate purpose uses {use}")


def _security_event(payload: Payload) -> StationMessage:
    return SecurityEventNotified(
        event_type=payload["type"], charger_time=payload["timestamp"], tech_info=payload.get("techInfo")
    )


_MESSAGES: Mapping[str, Callable[[Payload], StationMessage]] = {
    "BootNotification": _boot,
    "Heartbeat": _heartbeat,
    "SignCertificate": _sign_certificate,
    "SecurityEventNotification": _security_event,
}


def _defaults() -> dict[str, Payload]:
    return {
        "Authorize": {"idTokenInfo": {"status": "Unknown"}},
        "DataTransfer": {"status": "UnknownVendorId"},
        "NotifyEVChargingNeeds": {"status": "Rejected"},
        "NotifyEVChargingSchedule": {"status": "Rejected"},
    }


@dataclass(frozen=True, slots=True)
class Ocpp201:
    """The dialect. `default_replies` is what unserved actions are answered; any action not named gets `{}`."""

    default_replies: Mapping[str, Payload] = field(default_factory=_defaults)
    schemas: SchemaSet = field(default_factory=lambda: SchemaSet("ocpp.v201"))
    version: str = "2.0.1"
    codes: Mapping[str, str] = field(default_factory=dict)

    def authorizing(self, status: str) -> "Ocpp201":
        """This dialect, with Authorize answered `status` when nobody decides."""
        return replace(
            self, default_replies={**self.default_replies, "Authorize": {"idTokenInfo": {"status": status}}}
        )

    def message_of(self, action: str, payload: Payload) -> StationMessage:
        """A charger's valid call. Raises Unsupported."""
        decode = _MESSAGES.get(action)
        if decode is not None:
            return decode(payload)
        if action in _RELAYED:
            return Relayed(action=action, payload=orjson.dumps(payload), confirm=action in _CONFIRMED)
        if action in _DECIDED:
            return DecisionAsked(action=action, payload=orjson.dumps(payload))
        raise Unsupported(f"{action} is not served here")

    def effective_action(self, action: str, payload: Payload) -> str:
        """The action: nothing is wrapped."""
        return action

    def call_of(
        self,
        instruction: InstructionKind,
        capabilities: Capabilities = NO_CAPABILITIES,
        secret: Disclosed | None = None,
    ) -> tuple[str, Payload]:
        """The action and payload that carry out an instruction. Raises NotSendable."""
        match instruction:
            case ObtainCsr():
                use = _named(_SIGNING_USE, instruction.purpose)
                return "TriggerMessage", {"requestedMessage": f"Sign{use}"}
            case InstallLeaf():
                use = _named(_SIGNING_USE, instruction.purpose)
                return "CertificateSigned", {
                    "certificateChain": instruction.chain_pem,
                    "certificateType": use,
                }
            case InstallAnchor():
                store = _named(_STORE, instruction.purpose)
                return "InstallCertificate", {"certificateType": store, "certificate": instruction.pem}
            case ListCertificates():
                # Everything is asked for by leaving the type out; an empty list would break the schema (TC_M_18).
                types = (
                    {"certificateType": [_named(_STORE, instruction.purpose)]} if instruction.purpose else {}
                )
                return "GetInstalledCertificateIds", types
            case SetNetworkProfile():
                return "SetNetworkProfile", _network_profile(instruction)
            case SetProfilePriority():
                order = ",".join(str(slot) for slot in instruction.slots)
                return "SetVariables", _variable("OCPPCommCtrlr", "NetworkConfigurationPriority", order)
            case Reboot():
                return "Reset", {"type": _RESET[instruction.when]}
            case CloseSession():
                raise NotSendable("close-session is no message")
            case _:
                raise NotSendable(f"OCPP 2.0.1 has no call for {kind_name(instruction)}")

    def answer_of(self, instruction: InstructionKind, payload: Payload) -> Answered:
        """A charger's valid answer. SetVariables: its attribute's status (RebootRequired means accepted, kept verbatim)."""
        if isinstance(instruction, SetProfilePriority):
            outcome = payload["setVariableResult"][0]
            return _answered(outcome["attributeStatus"], outcome.get("attributeStatusInfo"))
        listed: tuple[ReportedCertificate, ...] = ()
        if isinstance(instruction, ListCertificates):
            listed = tuple(_reported(entry) for entry in payload.get("certificateHashDataChain", ()))
        return _answered(payload["status"], payload.get("statusInfo"), listed)

    def reply_of(self, action: str, reply: Reply) -> Payload:
        """The payload of our CALLRESULT."""
        match reply:
            case BootReply():
                return {
                    "currentTime": _rfc3339(reply.now),
                    "interval": reply.interval_s,
                    "status": reply.status,
                }
            case HeartbeatReply():
                return {"currentTime": _rfc3339(reply.now)}
            case CsrReply():
                return _csr_reply(reply)
            case DefaultReply():
                return self.default_replies.get(action, {})
            case DecidedReply():
                return _object_of(reply.payload)
            case CallErrorReply():
                raise ValueError("a CALLERROR has no payload")
            case _:
                assert_never(reply)


def _object_of(text: bytes) -> Payload:
    """What is no JSON object is an empty one: its schema says whether that will do."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _named(table: Mapping[str, str], purpose_name: str) -> str:
    try:
        return table[purpose(purpose_name).realm]
    except KeyError:
        raise NotSendable(f"OCPP 2.0.1 has no name for {purpose_name}") from None


def _network_profile(instruction: SetNetworkProfile) -> Payload:
    return {
        "configurationSlot": instruction.slot,
        "connectionData": {
            "ocppVersion": "OCPP20",
            "ocppTransport": "JSON",
            "ocppCsmsUrl": instruction.url,
            "messageTimeout": _MESSAGE_TIMEOUT_S,
            "securityProfile": instruction.security_profile,
            "ocppInterface": "Wired0",
        },
    }


def _variable(component: str, variable: str, value: str) -> Payload:
    named = {"component": {"name": component}, "variable": {"name": variable}}
    return {"setVariableData": [{"attributeValue": value, **named}]}


def _answered(status: str, info: Payload | None, listed: tuple[ReportedCertificate, ...] = ()) -> Answered:
    info = info or {}
    return Answered(status, info.get("reasonCode"), info.get("additionalInfo"), listed)


def _reported(entry: Payload) -> ReportedCertificate:
    return ReportedCertificate(
        use=entry["certificateType"],
        hash_data=_hash_data(entry["certificateHashData"]),
        child_hash_data=tuple(_hash_data(child) for child in entry.get("childCertificateHashData", ())),
    )


def _hash_data(entry: Payload) -> HashData:
    return HashData(
        algorithm=entry["hashAlgorithm"],
        issuer_name_hash=entry["issuerNameHash"],
        issuer_key_hash=entry["issuerKeyHash"],
        serial_number=entry["serialNumber"],
    )


def _csr_reply(reply: CsrReply) -> Payload:
    if reply.accepted:
        return {"status": "Accepted"}
    info = {"reasonCode": "InvalidCSR"}
    if reply.reason:
        info["additionalInfo"] = reply.reason[:_ADDITIONAL_INFO_MAX_CHARS]
    return {"status": "Rejected", "statusInfo": info}


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


DIALECT = Ocpp201()
