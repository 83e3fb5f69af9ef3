"""ISO 15118 over OCPP 1.6: messages of OCPP 2.0.1 as JSON text inside DataTransfer, each way, and their answers.

The status of DataTransfer speaks of the envelope; what became of the message is in its data. Source: the OCA's application
note on ISO 15118 Plug and Charge with OCPP 1.6, v1.0; messages as in OCPP 2.0.1 part 2, use cases A02, C07, M01-M06.
"""

from collections.abc import Callable, Mapping

import orjson

from bfactors.capability import Capabilities
from bfactors.instruction import (
    DeleteCertificate,
    InstallAnchor,
    InstallLeaf,
    InstructionKind,
    ListCertificates,
    ObtainCsr,
)
from bfactors.ocpp import Answered, Relayed, Reply, StationMessage
from bfactors.purpose import purposes
from gateways.ocpp.dialect import Dialect, Unsupported
from gateways.ocpp.frame import Payload
from gateways.ocpp.phrase import object_of
from gateways.ocpp.schema import SchemaSet

VENDOR_ID = "org.openchargealliance.iso15118pnc"
CARRIER = "DataTransfer"

_REALM = "iso15118"
_STORES = frozenset({"V2GRootCertificate", "MORootCertificate", "V2GCertificateChain", "V2GCertificate"})
"""Where a charger of this envelope keeps what it lists and deletes through it."""
_FROM_CHARGER = frozenset({"Authorize", "Get15118EVCertificate", "GetCertificateStatus", "SignCertificate"})
_REJECTED, _UNKNOWN_MESSAGE = "Rejected", "UnknownMessageId"
"""Envelopes that could not be opened; as effective actions they stand where the message's would."""


class EnvelopeSchemas(SchemaSet):
    """A version's own schemas, and of what travels inside DataTransfer those of `inner` too."""

    def __init__(
        self, package: str, inner: SchemaSet, *, request: str, formats: Mapping[str, Callable[[str], bool]]
    ) -> None:
        super().__init__(package, request=request, formats=formats)
        self._inner = inner

    def request_violation(self, action: str, payload: Payload) -> tuple[str, str] | None:
        """Also of an effective action `DataTransfer:...`."""
        outer, _, inside = action.partition(":")
        violation = super().request_violation(outer, payload)
        if violation is not None or not inside:
            return violation
        return self._inner.request_violation(inside, object_of(payload.get("data", "")))

    def response_violation(self, action: str, payload: Payload) -> tuple[str, str] | None:
        """Also of an effective action: what an accepted envelope holds must be an answer to what was inside."""
        outer, _, inside = action.partition(":")
        violation = super().response_violation(outer, payload)
        if violation is not None or not inside or payload["status"] != "Accepted":
            return violation
        return self._inner.response_violation(inside, object_of(payload.get("data", "")))


# ---------------------------------------------------------------- what the charger calls


def is_addressed(action: str, payload: Payload) -> bool:
    """Whether a valid call is an envelope of this kind; a vendor's name is compared without case."""
    return action == CARRIER and payload["vendorId"].casefold() == VENDOR_ID


def opened(payload: Payload, inner: Dialect) -> tuple[str, StationMessage]:
    """The effective action of an envelope and its message; one that cannot be opened is passed on, and refused."""
    action = payload.get("messageId", "")
    if action not in _FROM_CHARGER:
        return f"{CARRIER}:{_UNKNOWN_MESSAGE}", _passed_on(payload)
    content = object_of(payload.get("data", ""))
    if inner.schemas.request_violation(action, content) is not None:
        return f"{CARRIER}:{_REJECTED}", _passed_on(payload)
    effective = f"{CARRIER}:{action}"
    try:
        return effective, inner.message_of(action, content)
    except Unsupported:
        return f"{CARRIER}:{_REJECTED}", _passed_on(payload)


def _passed_on(payload: Payload) -> StationMessage:
    return Relayed(action=CARRIER, payload=orjson.dumps(payload))


def reply_of(inside: str, reply: Reply, inner: Dialect) -> Payload:
    """Our answer to the envelope whose effective action ends in `inside`."""
    if inside not in _FROM_CHARGER:
        return {"status": inside}
    content = inner.reply_of(inside, reply)
    return {"status": "Accepted", "data": orjson.dumps(content).decode()}


# ---------------------------------------------------------------- what we call


def belongs_inside(instruction: InstructionKind) -> bool:
    """Whether OCPP 1.6 has this only in an envelope: everything of the realm of ISO 15118."""
    match instruction:
        case ObtainCsr() | InstallLeaf() | InstallAnchor() | ListCertificates():
            spec = purposes().get(instruction.purpose)
            return spec is not None and spec.realm == _REALM
        case DeleteCertificate():
            return instruction.use in _STORES
        case _:
            return False


def call_of(instruction: InstructionKind, capabilities: Capabilities, inner: Dialect) -> tuple[str, Payload]:
    """The effective action and the envelope. Raises NotSendable."""
    action, content = inner.call_of(instruction, capabilities)
    envelope = {"vendorId": VENDOR_ID, "messageId": action, "data": orjson.dumps(content).decode()}
    return f"{CARRIER}:{action}", envelope


def answer_of(instruction: InstructionKind, payload: Payload, inner: Dialect) -> Answered:
    """A valid answer. One whose envelope was not accepted has the envelope's status, e.g. `UnknownVendorId`."""
    if payload["status"] != "Accepted":
        return Answered(payload["status"], detail="the status of DataTransfer")
    return inner.answer_of(instruction, object_of(payload["data"]))
