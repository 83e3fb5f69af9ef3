"""OCPP 2.0.1: tables from actions to messages and from instructions to calls; `v21` builds on them.

Source: the official 2.0.1 schemas; OCPP 2.0.1 part 2, use cases A01, A02, A05, B01, B05, B06, B09, B11, F06, M01-M06, N01.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

import orjson

from bfactors.authorization_key import AuthorizationKey, Version
from bfactors.capability import NO_CAPABILITIES, Capabilities
from bfactors.disclosed import Disclosed
from bfactors.instruction import (
    AskFor,
    CallAction,
    CloseSession,
    CollectLog,
    CompareRootStores,
    DeleteCertificate,
    DeleteFirmwareRoot,
    InstallAnchor,
    InstallFirmwareRoot,
    InstallLeaf,
    InstructionKind,
    ListCertificates,
    ListFirmwareRoots,
    ObtainCsr,
    RaiseSecurityProfile,
    ReadSettings,
    Reboot,
    SetNetworkProfile,
    SetProfilePriority,
    UpdateFirmware,
    WriteAuthorizationKey,
    WriteSetting,
)
from bfactors.ocpp import (
    Answered,
    BootReply,
    CallErrorReply,
    CsrReply,
    DecidedReply,
    DecisionAsked,
    DefaultReply,
    HeartbeatReply,
    Relayed,
    Reply,
    StationMessage,
)
from gateways.ocpp import device_model, payload_part, phrase
from gateways.ocpp.certificate_name import CertificateNames
from gateways.ocpp.dialect import NotSendable, Unsupported
from gateways.ocpp.frame import Payload
from gateways.ocpp.schema import SchemaSet

CAR_WAIT_S = 4.0
"""How long a decision may take that a car waits for: it gives up after 5 s (ISO 15118-2), the way there and back included."""

_MESSAGE_TIMEOUT_S = 30
_RESET = {"on-idle": "OnIdle", "immediate": "Immediate"}
_LOG = {"security": "SecurityLog", "diagnostics": "DiagnosticsLog"}
_TRIGGER: Mapping[str, Payload] = {
    "boot": {"requestedMessage": "BootNotification"},
    "heartbeat": {"requestedMessage": "Heartbeat"},
    # Without a connector the charger must refuse (F06): the first one is what every charger has.
    "status": {"requestedMessage": "StatusNotification", "evse": {"id": 1, "connectorId": 1}},
    "log-status": {"requestedMessage": "LogStatusNotification"},
    "firmware-status": {"requestedMessage": "FirmwareStatusNotification"},
}
_FIRMWARE_STORE = "ManufacturerRootCertificate"
"""Of firmware trust alone: no purpose leads to it."""
_OPERATIONAL_STORE = "CSMSRootCertificate"
_BOTH_WAYS = frozenset({"DataTransfer"})


NAMES = CertificateNames(
    use_of_realm={"charger-identity": "ChargingStationCertificate", "iso15118": "V2GCertificate"},
    use_of_purpose={"secc_iso15118_20": None},
    store_of_realm={
        "backend-server": _OPERATIONAL_STORE,
        "charger-identity": _OPERATIONAL_STORE,
        "iso15118": "V2GRootCertificate",
    },
    store_of_purpose={"contract": "MORootCertificate", "oem_provisioning": None},
    chain_of_realm={"iso15118": "V2GCertificateChain"},
)

MESSAGES: Mapping[str, Callable[[Payload], StationMessage]] = {
    "BootNotification": payload_part.boot,
    "Heartbeat": payload_part.heartbeat,
    "SecurityEventNotification": payload_part.security_event,
    "LogStatusNotification": payload_part.log_status,
    "FirmwareStatusNotification": payload_part.firmware_status,
}

RELAYED = frozenset(
    {
        "ClearedChargingLimit", "DataTransfer", "MeterValues", "NotifyChargingLimit", "NotifyCustomerInformation",
        "NotifyDisplayMessages", "NotifyEVChargingNeeds", "NotifyEVChargingSchedule", "NotifyEvent",
        "NotifyMonitoringReport", "NotifyReport", "PublishFirmwareStatusNotification", "ReportChargingProfiles",
        "ReservationStatusUpdate", "StatusNotification", "TransactionEvent",
    }
)  # fmt: skip
CONFIRMED = frozenset({"TransactionEvent"})
"""Relayed calls answered only once the relay has stored them."""
DECIDED: Mapping[str, float | None] = {
    "Authorize": None,
    "Get15118EVCertificate": CAR_WAIT_S,
    "GetCertificateStatus": CAR_WAIT_S,
}
"""Calls somebody else in BetterFleet decides, and within how many seconds (None: as configured); then the default holds."""
DEFAULT_REPLIES: Mapping[str, Payload] = {
    "Authorize": {"idTokenInfo": {"status": "Unknown"}},
    "DataTransfer": {"status": "UnknownVendorId"},
    "Get15118EVCertificate": {"status": "Failed", "exiResponse": ""},
    "GetCertificateStatus": {"status": "Failed"},
    "NotifyEVChargingNeeds": {"status": "Rejected"},
    "NotifyEVChargingSchedule": {"status": "Rejected"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ocpp201:
    """The dialect. `default_replies` is what unserved actions are answered; any action not named gets `{}`."""

    version: Version = "2.0.1"
    schemas: SchemaSet = field(default_factory=lambda: SchemaSet("ocpp.v201"))
    names: CertificateNames = NAMES
    relayed: frozenset[str] = RELAYED
    confirmed: frozenset[str] = CONFIRMED
    decided: Mapping[str, float | None] = field(default_factory=lambda: DECIDED)
    default_replies: Mapping[str, Payload] = field(default_factory=lambda: DEFAULT_REPLIES)
    additional_info_max_chars: int = 512
    codes: Mapping[str, str] = field(default_factory=dict)

    def authorizing(self, status: str) -> "Ocpp201":
        """This dialect, with Authorize answered `status` when nobody decides."""
        return replace(
            self, default_replies={**self.default_replies, "Authorize": {"idTokenInfo": {"status": status}}}
        )

    def message_of(self, action: str, payload: Payload) -> StationMessage:
        """A charger's valid call. Raises Unsupported."""
        if action == "SignCertificate":
            return payload_part.certificate_request(payload, self.names.use)
        decode = MESSAGES.get(action)
        if decode is not None:
            return decode(payload)
        if action in self.relayed:
            return Relayed(
                action=action,
                payload=orjson.dumps(payload),
                confirm=action in self.confirmed,
                said_at=payload_part.said_at(action, payload),
                transaction=payload_part.transaction(action, payload),
            )
        if action in self.decided:
            return DecisionAsked(
                action=action,
                payload=orjson.dumps(payload),
                wait_s=self.decided[action],
                undecided=self.undecided(action, payload),
            )
        raise Unsupported(f"{action} is not served here")

    def effective_action(self, action: str, payload: Payload) -> str:
        """The action: nothing is wrapped."""
        return action

    def undecided(self, action: str, payload: Payload) -> bytes:
        """The answer of its own that a call gets when nobody decides, as JSON text; empty: the default of its action."""
        return b""

    def call_of(
        self,
        instruction: InstructionKind,
        capabilities: Capabilities = NO_CAPABILITIES,
        secret: Disclosed | None = None,
    ) -> tuple[str, Payload]:
        """The action and payload that carry out an instruction, as this charger takes it. Raises NotSendable."""
        match instruction:
            case ObtainCsr():
                trigger: Payload = {"requestedMessage": f"Sign{self.names.use(instruction.purpose)}"}
                which = {} if instruction.evse is None else {"evse": {"id": instruction.evse}}
                return "TriggerMessage", trigger | which
            case InstallLeaf():
                return "CertificateSigned", self.certificate_signed(instruction, capabilities)
            case InstallAnchor():
                pem = phrase.pem_for(instruction.pem, capabilities)
                store = self.names.store(instruction.purpose)
                return "InstallCertificate", {"certificateType": store, "certificate": pem}
            case ListCertificates():
                if capabilities.cannot_list:
                    raise NotSendable("this charger cannot list its certificates")
                # Everything is asked for by leaving the type out; an empty list would break the schema (TC_M_18).
                if not instruction.purpose:
                    return "GetInstalledCertificateIds", {}
                wanted = self.names.listed(instruction.purpose, with_leaves=instruction.with_leaves)
                return "GetInstalledCertificateIds", {"certificateType": wanted}
            case DeleteCertificate() | DeleteFirmwareRoot():
                if capabilities.cannot_delete:
                    raise NotSendable("this charger cannot delete certificates")
                named = phrase.hash_payload(instruction.hash_data)
                return "DeleteCertificate", {"certificateHashData": named}
            case InstallFirmwareRoot():
                pem = phrase.pem_for(instruction.pem, capabilities)
                return "InstallCertificate", {"certificateType": _FIRMWARE_STORE, "certificate": pem}
            case ListFirmwareRoots():
                if capabilities.cannot_list:
                    raise NotSendable("this charger cannot list its certificates")
                return "GetInstalledCertificateIds", {"certificateType": [_FIRMWARE_STORE]}
            case CompareRootStores():
                if capabilities.cannot_list:
                    raise NotSendable("this charger cannot list its certificates")
                both = [_OPERATIONAL_STORE, _FIRMWARE_STORE]
                return "GetInstalledCertificateIds", {"certificateType": both}
            case UpdateFirmware():
                return "UpdateFirmware", payload_part.firmware_update(instruction)
            case SetNetworkProfile():
                return "SetNetworkProfile", self.network_profile(instruction)
            case SetProfilePriority():
                order = ",".join(str(slot) for slot in instruction.slots)
                return "SetVariables", device_model.writing(device_model.VARIABLES["network-priority"], order)
            case WriteSetting():
                variable = device_model.VARIABLES[instruction.name]
                if variable.is_fixed:
                    raise NotSendable(f"{variable.component}.{variable.name} is for the charger alone to set")
                return "SetVariables", device_model.writing(variable, instruction.value)
            case ReadSettings():
                return "GetVariables", device_model.reading(instruction.names)
            case WriteAuthorizationKey():
                key = _key_text(payload_part.opened(secret), self.version)
                return "SetVariables", device_model.writing(device_model.PASSWORD, key)
            case CollectLog():
                return "GetLog", _log_request(instruction, payload_part.opened(secret))
            case AskFor():
                return "TriggerMessage", {**_TRIGGER[instruction.message]}
            case Reboot():
                return "Reset", {"type": _RESET[instruction.when]}
            case CallAction():
                return instruction.action, self._written_out(instruction)
            case RaiseSecurityProfile():
                raise NotSendable("a 2.x charger changes its security profile by its network profiles")
            case CloseSession():
                raise NotSendable("close-session is no message")
            case _:
                assert_never(instruction)

    def certificate_signed(self, leaf: InstallLeaf, capabilities: Capabilities) -> Payload:
        """The leaf's use is always said: left out, OCPP lets a charger take the leaf for two realms."""
        chain = phrase.chain_for(leaf, capabilities)
        return {"certificateChain": chain, "certificateType": self.names.use(leaf.purpose)}

    def network_profile(self, profile: SetNetworkProfile) -> Payload:
        return {
            "configurationSlot": profile.slot,
            "connectionData": {
                "ocppVersion": "OCPP20",
                "ocppTransport": "JSON",
                "ocppCsmsUrl": profile.url,
                "messageTimeout": _MESSAGE_TIMEOUT_S,
                "securityProfile": profile.security_profile,
                "ocppInterface": "Wired0",
            },
        }

    def _written_out(self, call: CallAction) -> Payload:
        action = call.action
        if not self.schemas.knows(action) or (
            self._is_called_by_chargers(action) and action not in _BOTH_WAYS
        ):
            raise NotSendable(f"OCPP {self.version} has no call {action[:64]} to a charger")
        try:
            payload = orjson.loads(call.payload)
        except orjson.JSONDecodeError:
            payload = None
        if not isinstance(payload, dict):
            raise NotSendable(f"the payload of {action} is not a JSON object")
        return payload

    def _is_called_by_chargers(self, action: str) -> bool:
        theirs = (("SignCertificate",), MESSAGES, self.relayed, self.decided)
        return any(action in table for table in theirs)

    def answer_of(self, instruction: InstructionKind, payload: Payload) -> Answered:
        """A charger's valid answer. SetVariables: its attribute's status (RebootRequired means accepted, kept verbatim)."""
        match instruction:
            case SetProfilePriority() | WriteSetting() | WriteAuthorizationKey():
                return device_model.written(payload)
            case ReadSettings():
                return device_model.read(payload)
            case CallAction():
                entries = payload.get("certificateHashDataChain", ())
                listed = tuple(payload_part.reported(entry) for entry in entries)
                return payload_part.verbatim(payload, listed)
            case ListCertificates() | ListFirmwareRoots() | CompareRootStores():
                entries = payload.get("certificateHashDataChain", ())
                listed = tuple(payload_part.reported(entry) for entry in entries)
                return payload_part.answered(payload, listed=listed)
            case CollectLog():
                return payload_part.answered(payload, file_name=payload.get("filename"))
            case _:
                return payload_part.answered(payload)

    def reply_of(self, action: str, reply: Reply) -> Payload:
        """The payload of our CALLRESULT."""
        match reply:
            case BootReply():
                now = phrase.rfc3339(reply.now)
                return {"currentTime": now, "interval": reply.interval_s, "status": reply.status}
            case HeartbeatReply():
                return {"currentTime": phrase.rfc3339(reply.now)}
            case CsrReply():
                return payload_part.csr_reply(reply, self.additional_info_max_chars)
            case DefaultReply():
                return self.default_replies.get(action, {})
            case DecidedReply():
                return phrase.object_of(reply.payload)
            case CallErrorReply():
                raise ValueError("a CALLERROR has no payload")
            case _:
                assert_never(reply)


def _log_request(log: CollectLog, address: Disclosed) -> Payload:
    where = {"remoteLocation": address.value.decode()}
    if log.oldest is not None:
        where["oldestTimestamp"] = log.oldest
    if log.latest is not None:
        where["latestTimestamp"] = log.latest
    return {"logType": _LOG[log.log], "requestId": log.request_id, "log": where}


def _key_text(secret: Disclosed, version: Version) -> str:
    try:
        return AuthorizationKey.from_disclosed(secret, version).wire_text(version)
    except UnicodeDecodeError:
        raise NotSendable("the AuthorizationKey is no text") from None
    except ValueError as problem:
        raise NotSendable(f"the AuthorizationKey {problem}") from None


DIALECT = Ocpp201()
