"""OCPP 1.6J with the messages of its security whitepaper: tables from actions to messages and from instructions to calls.

What belongs to ISO 15118 travels as OCPP 2.0.1 inside DataTransfer (`pnc_envelope`). Source: the official 1.6 schemas;
OCPP-J 1.6 section 4.2.3 for error codes; the OCA security whitepaper for 1.6, use cases A01, A02, A05, M03-M05, N01.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never
from zlib import crc32

import orjson

from bfactors.capability import NO_CAPABILITIES, Capabilities
from bfactors.certificate_hash import ReportedCertificate
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
    kind_name,
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
from bfactors.purpose import purpose
from gateways.ocpp import charge_point, configuration_key, payload_part, pnc_envelope, v201
from gateways.ocpp.dialect import Dialect, NotSendable, Unsupported
from gateways.ocpp.frame import Payload
from gateways.ocpp.phrase import chain_for, hash_data_of, hash_payload, object_of, pem_for, rfc3339

_SIGNING_REALM = "charger-identity"
"""The one realm whose leaves 1.6 itself knows."""

_STORE = {
    "backend-server": "CentralSystemRootCertificate",
    "charger-identity": "CentralSystemRootCertificate",
}
"""OCPP 1.6's certificate store of an anchor, by the realm of the purpose it verifies."""
_FIRMWARE_STORE = "ManufacturerRootCertificate"
"""Of firmware trust alone: no purpose leads to it."""
_MAIN_STORE = "CentralSystemRootCertificate"
"""What is listed when everything is asked for: 1.6 lists one store at a time."""

_RESET = {"on-idle": "Soft", "immediate": "Hard"}
_LOG = {"security": "SecurityLog", "diagnostics": "DiagnosticsLog"}
_TRIGGER = {
    "boot": ("TriggerMessage", "BootNotification"),
    "heartbeat": ("TriggerMessage", "Heartbeat"),
    "status": ("TriggerMessage", "StatusNotification"),
    "log-status": ("ExtendedTriggerMessage", "LogStatusNotification"),
    "firmware-status": ("ExtendedTriggerMessage", "FirmwareStatusNotification"),
}
"""The whitepaper's trigger only where the older one means another message: not every charger has it."""

_CODES = {
    "FormatViolation": "FormationViolation",
    "OccurrenceConstraintViolation": "OccurenceConstraintViolation",
    "RpcFrameworkError": "GenericError",
    "MessageTypeNotSupported": "",
}


_LARGEST_INT = 0x7FFF_FFFF
"""What a charger can keep: its integers have 32 bits."""


_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?")
"""A time of XML Schema, which 1.6 names: it may lack the zone that JSON Schema asks for, and many a charger's does."""


def _schemas() -> pnc_envelope.EnvelopeSchemas:
    return pnc_envelope.EnvelopeSchemas(
        "ocpp.v16",
        v201.DIALECT.schemas,
        request="",
        formats={"date-time": lambda text: _DATE_TIME.fullmatch(text) is not None},
    )


@dataclass(frozen=True, slots=True)
class Ocpp16:
    """The dialect. `default_replies` is what unserved actions are answered; any action not named gets `{}`."""

    default_replies: Mapping[str, Payload] = field(default_factory=charge_point.defaults)
    schemas: pnc_envelope.EnvelopeSchemas = field(default_factory=_schemas)
    inner: Dialect = v201.DIALECT
    """Speaks inside the envelopes."""
    version: str = "1.6"
    codes: Mapping[str, str] = field(default_factory=lambda: dict(_CODES))

    def authorizing(self, status: str) -> "Ocpp16":
        """This dialect, with tokens answered `status`, or as 1.6 says it, when nobody decides."""
        defaults = charge_point.defaults(status)
        return replace(
            self, default_replies={**self.default_replies, **defaults}, inner=self.inner.authorizing(status)
        )

    # ------------------------------------------------------------ the charger calls

    def message_of(self, action: str, payload: Payload) -> StationMessage:
        """A charger's valid call. Raises Unsupported."""
        decode = charge_point.MESSAGES.get(action)
        if decode is not None:
            return decode(payload)
        if pnc_envelope.is_addressed(action, payload):
            return pnc_envelope.opened(payload, self.inner)[1]
        if action in charge_point.RELAYED:
            return Relayed(
                action=action,
                payload=orjson.dumps(payload),
                confirm=action in charge_point.CONFIRMED,
                said_at=payload_part.said_at(action, payload),
                charging=charge_point.charging(action, payload),
            )
        if action in charge_point.DECIDED:
            text = orjson.dumps(payload)
            return DecisionAsked(action=action, payload=text, undecided=self._undecided(action, text))
        raise Unsupported(f"{action} is not served here")

    def _undecided(self, action: str, text: bytes) -> bytes:
        """A transaction nobody has numbered gets a number all the same: the same one when its charger asks again."""
        if action != "StartTransaction":
            return b""
        return orjson.dumps({**self.default_replies[action], "transactionId": crc32(text) & _LARGEST_INT})

    def effective_action(self, action: str, payload: Payload) -> str:
        """The action, or `DataTransfer:` and the action inside the envelope of ISO 15118."""
        if pnc_envelope.is_addressed(action, payload):
            return pnc_envelope.opened(payload, self.inner)[0]
        return action

    def reply_of(self, action: str, reply: Reply) -> Payload:
        """The payload of our CALLRESULT."""
        _, is_wrapped, inside = action.partition(":")
        if is_wrapped:
            return pnc_envelope.reply_of(inside, reply, self.inner)
        match reply:
            case BootReply():
                return {
                    "currentTime": rfc3339(reply.now),
                    "interval": reply.interval_s,
                    "status": reply.status,
                }
            case HeartbeatReply():
                return {"currentTime": rfc3339(reply.now)}
            case CsrReply():
                return {"status": "Accepted" if reply.accepted else "Rejected"}
            case DefaultReply():
                return self.default_replies.get(action, {})
            case DecidedReply():
                return object_of(reply.payload)
            case CallErrorReply():
                raise ValueError("a CALLERROR has no payload")
            case _:
                assert_never(reply)

    # ------------------------------------------------------------ we call

    def call_of(
        self,
        instruction: InstructionKind,
        capabilities: Capabilities = NO_CAPABILITIES,
        secret: Disclosed | None = None,
    ) -> tuple[str, Payload]:
        """The effective action and payload that carry out an instruction. Raises NotSendable."""
        if pnc_envelope.belongs_inside(instruction):
            return pnc_envelope.call_of(instruction, capabilities, self.inner)
        match instruction:
            case ObtainCsr():
                _check_signed_here(instruction.purpose)
                return "ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}
            case InstallLeaf():
                _check_signed_here(instruction.purpose)
                return "CertificateSigned", {"certificateChain": chain_for(instruction, capabilities)}
            case InstallAnchor():
                certificate = pem_for(instruction.pem, capabilities)
                store = _store(instruction.purpose)
                return "InstallCertificate", {"certificateType": store, "certificate": certificate}
            case ListCertificates():
                if capabilities.cannot_list:
                    raise NotSendable("this charger cannot list its certificates")
                return "GetInstalledCertificateIds", {"certificateType": _store(instruction.purpose)}
            case DeleteCertificate() | DeleteFirmwareRoot():
                if capabilities.cannot_delete:
                    raise NotSendable("this charger cannot delete certificates")
                return "DeleteCertificate", {"certificateHashData": hash_payload(instruction.hash_data)}
            case InstallFirmwareRoot():
                certificate = pem_for(instruction.pem, capabilities)
                return "InstallCertificate", {"certificateType": _FIRMWARE_STORE, "certificate": certificate}
            case ListFirmwareRoots():
                if capabilities.cannot_list:
                    raise NotSendable("this charger cannot list its certificates")
                return "GetInstalledCertificateIds", {"certificateType": _FIRMWARE_STORE}
            case CompareRootStores():
                raise NotSendable("OCPP 1.6 asks for one store at a time")
            case UpdateFirmware():
                return "SignedUpdateFirmware", payload_part.firmware_update(instruction)
            case Reboot():
                return "Reset", {"type": _RESET[instruction.when]}
            case RaiseSecurityProfile():
                profile = str(instruction.security_profile)
                return configuration_key.writing(configuration_key.SECURITY_PROFILE, profile)
            case WriteSetting():
                return configuration_key.writing_setting(instruction.name, instruction.value)
            case ReadSettings():
                return configuration_key.reading(instruction.names)
            case WriteAuthorizationKey():
                digits = configuration_key.key_digits(payload_part.opened(secret))
                return configuration_key.writing(configuration_key.AUTHORIZATION_KEY, digits)
            case CollectLog():
                return "GetLog", _get_log(instruction, payload_part.opened(secret))
            case AskFor():
                action, message = _TRIGGER[instruction.message]
                return action, {"requestedMessage": message}
            case CallAction():
                return self._written_out(instruction)
            case SetNetworkProfile() | SetProfilePriority() | CloseSession():
                raise NotSendable(f"OCPP 1.6 has no call for {kind_name(instruction)}")
            case _:
                assert_never(instruction)

    def _written_out(self, instruction: CallAction) -> tuple[str, Payload]:
        action = instruction.action
        if not self.schemas.knows(action) or action in charge_point.ONLY_FROM_CHARGERS:
            raise NotSendable(f"OCPP 1.6 has no call {action[:64]} to a charger")
        try:
            payload = orjson.loads(instruction.payload)
        except orjson.JSONDecodeError:
            payload = None
        if not isinstance(payload, dict):
            raise NotSendable(f"the payload of {action} is not a JSON object")
        return action, payload

    def answer_of(self, instruction: InstructionKind, payload: Payload) -> Answered:
        """A charger's valid answer, its status word for word."""
        if pnc_envelope.belongs_inside(instruction):
            return pnc_envelope.answer_of(instruction, payload, self.inner)
        status = payload.get("status", "Accepted")
        match instruction:
            case ListCertificates() | ListFirmwareRoots():
                store = (
                    _store(instruction.purpose)
                    if isinstance(instruction, ListCertificates)
                    else _FIRMWARE_STORE
                )
                entries = payload.get("certificateHashData", ())
                listed = tuple(ReportedCertificate(store, hash_data_of(entry)) for entry in entries)
                return Answered(status, listed=listed)
            case ReadSettings():
                return Answered(status, settings=configuration_key.read(payload))
            case CollectLog():
                return Answered(status, file_name=payload.get("filename"))
            case CallAction():
                use = orjson.loads(instruction.payload).get("certificateType", "")
                entries = payload.get("certificateHashData", ())
                listed = tuple(ReportedCertificate(str(use), hash_data_of(entry)) for entry in entries)
                return payload_part.verbatim(payload, listed)
            case _:
                return Answered(status)


def _check_signed_here(purpose_name: str) -> None:
    if _realm(purpose_name) != _SIGNING_REALM:
        raise NotSendable(f"OCPP 1.6 has no name for {purpose_name}")


def _store(purpose_name: str) -> str:
    if not purpose_name:
        return _MAIN_STORE
    store = _STORE.get(_realm(purpose_name))
    if store is None:
        raise NotSendable(f"OCPP 1.6 has no name for {purpose_name}")
    return store


def _realm(purpose_name: str) -> str:
    try:
        return purpose(purpose_name).realm
    except KeyError:
        raise NotSendable(f"OCPP 1.6 has no name for {purpose_name}") from None


def _get_log(instruction: CollectLog, address: Disclosed) -> Payload:
    log = {
        "remoteLocation": address.value.decode(),
        "oldestTimestamp": instruction.oldest,
        "latestTimestamp": instruction.latest,
    }
    return {
        "logType": _LOG[instruction.log],
        "requestId": instruction.request_id,
        "log": {name: value for name, value in log.items() if value is not None},
    }


DIALECT = Ocpp16()
