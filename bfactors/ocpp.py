"""What a charger and we say to each other, independent of the OCPP version: the types between a dialect and an actor.

A dialect (`gateways/ocpp/<version>.py`) turns schema-valid payloads into these and back. Text sizes are bounded by the
dialect's schema before anything here is built.
"""

from datetime import datetime

import msgspec

from bfactors.certificate_hash import HashData, ReportedCertificate
from bfactors.disclosed import Disclosed
from bfactors.free_text import without_identifiers
from bfactors.instruction import InstructionKind, SettingName

# ---------------------------------------------------------------- what the charger calls


class BootNotified(msgspec.Struct, frozen=True, tag=True):
    """BootNotification. `serial_number` is the charging station's, None if it sent none."""

    vendor: str
    model: str
    serial_number: str | None
    firmware_version: str | None
    reason: str


class HeartbeatSent(msgspec.Struct, frozen=True, tag=True):
    """Heartbeat."""


class CsrPresented(msgspec.Struct, frozen=True, tag=True):
    """SignCertificate: `csr` is the text as sent; `purpose` is what its type means (none given: charging_station; empty: no
    purpose here is for certificates of that type).

    `request_id` is to be echoed by CertificateSigned, and `hash_root` names the root the charger wants (both 2.1).
    """

    purpose: str
    csr: str
    request_id: int | None = None
    hash_root: HashData | None = None


class SecurityEventNotified(msgspec.Struct, frozen=True, tag=True):
    """SecurityEventNotification. `charger_time` is the charger's own clock and decides nothing."""

    event_type: str
    charger_time: str
    tech_info: str | None


class LogStatusNotified(msgspec.Struct, frozen=True, tag=True):
    """LogStatusNotification, `status` verbatim (1.6's DiagnosticsStatusNotification has no request id)."""

    status: str
    request_id: int | None = None


class FirmwareStatusNotified(msgspec.Struct, frozen=True, tag=True):
    """FirmwareStatusNotification, or 1.6's SignedFirmwareStatusNotification: `status` verbatim."""

    status: str
    request_id: int | None = None


class Relayed(msgspec.Struct, frozen=True, tag=True):
    """Traffic for the rest of BetterFleet. `confirm` means: answer only after the relay has stored it.

    `said_at` is the charger's own time of something that has just happened: it tells how its clock goes. `charging` says of
    one connector whether a car is charging there, where the version has no reset that waits for its end by itself (1.6);
    `transaction` of one transaction, by its id, whether it runs, where that is told (2.x).
    """

    action: str
    payload: bytes
    confirm: bool = False
    said_at: datetime | None = None
    charging: tuple[int, bool] | None = None
    transaction: tuple[str, bool] | None = None


class DecisionAsked(msgspec.Struct, frozen=True, tag=True):
    """A call the rest of BetterFleet answers, e.g. Authorize; its word becomes our reply.

    `wait_s` is how long the charger can wait for it (None: as configured). When nobody decides it gets `undecided`, JSON
    text, or if that is empty the dialect's default.
    """

    action: str
    payload: bytes
    wait_s: float | None = None
    undecided: bytes = b""


StationMessage = (
    BootNotified
    | HeartbeatSent
    | CsrPresented
    | SecurityEventNotified
    | LogStatusNotified
    | FirmwareStatusNotified
    | Relayed
    | DecisionAsked
)

# ---------------------------------------------------------------- what we answer


class BootReply(msgspec.Struct, frozen=True, tag=True):
    """`status` is Accepted, Pending or Rejected; `interval_s` is the heartbeat or retry interval."""

    status: str
    interval_s: int
    now: datetime


class HeartbeatReply(msgspec.Struct, frozen=True, tag=True):
    """The time of the central system."""

    now: datetime


class CsrReply(msgspec.Struct, frozen=True, tag=True):
    """Whether the CSR could be taken for processing (not whether it will be signed)."""

    accepted: bool
    reason: str | None = None


class DefaultReply(msgspec.Struct, frozen=True, tag=True):
    """The dialect's ordinary answer to that action: empty where the specification allows, its defaults elsewhere."""


class DecidedReply(msgspec.Struct, frozen=True, tag=True):
    """What the rest of BetterFleet answered: the payload as it came, not validated yet."""

    payload: bytes


class CallErrorReply(msgspec.Struct, frozen=True, tag=True):
    """A CALLERROR. `code` is a name of OCPP-J section 4.3."""

    code: str
    description: str = ""


Reply = BootReply | HeartbeatReply | CsrReply | DefaultReply | DecidedReply | CallErrorReply

# ---------------------------------------------------------------- how our own calls end: four different facts


class ReadSetting(msgspec.Struct, frozen=True):
    """One setting as the charger answered it; `value` is None if it would not say."""

    name: SettingName
    value: str | None
    is_read_only: bool = False


class Answered(msgspec.Struct, frozen=True, tag="answered", omit_defaults=True):
    """A valid CALLRESULT. `status` is the payload's status verbatim (`Accepted` where the answer has none).

    `listed` is set by a list of certificates, `settings` by ReadSettings, `file_name` by CollectLog, and `payload` (JSON
    text) by CallAction.
    """

    status: str
    reason_code: str | None = None
    detail: str | None = None
    listed: tuple[ReportedCertificate, ...] = ()
    settings: tuple[ReadSetting, ...] = ()
    file_name: str | None = None
    payload: str | None = None


class CallFailed(msgspec.Struct, frozen=True, tag="call-error"):
    """The charger answered CALLERROR, or with a payload its schema refuses (code `InvalidAnswer`)."""

    code: str
    description: str = ""


class Silent(msgspec.Struct, frozen=True, tag="silent"):
    """No answer within the time allowed, on a session that was open all the while."""


class Disconnected(msgspec.Struct, frozen=True, tag="disconnected"):
    """The session ended before an answer: it is unknown whether the charger acted."""


Outcome = Answered | CallFailed | Silent | Disconnected


def without_persons(outcome: Outcome) -> Outcome:
    """The outcome with what a charger wrote freely cleaned of VINs and EMAIDs: it goes on record."""
    match outcome:
        case CallFailed(description=text) if text:
            return msgspec.structs.replace(outcome, description=without_identifiers(text))
        case Answered(detail=detail, payload=payload) if detail or payload:
            return msgspec.structs.replace(
                outcome,
                detail=detail and without_identifiers(detail),
                payload=payload and without_identifiers(payload),
            )
        case _:
            return outcome


# ---------------------------------------------------------------- frames, as the gateway hands them to the actor


class InboundCall(msgspec.Struct, frozen=True):
    """A CALL that is well formed and valid; `size` is the frame's length in bytes."""

    message_id: str
    action: str
    message: StationMessage
    size: int = 0


class InboundProblem(msgspec.Struct, frozen=True):
    """A frame that must be answered with a CALLERROR (`message_id` is "-1" if none could be read)."""

    message_id: str
    code: str
    description: str


class InboundAnswer(msgspec.Struct, frozen=True):
    """A CALLRESULT or CALLERROR for a call of ours, already decoded; a stray one never gets here."""

    message_id: str
    outcome: Answered | CallFailed


class InboundSend(msgspec.Struct, frozen=True):
    """A SEND (2.1): traffic for the rest of BetterFleet that gets no answer of any kind."""

    message_id: str
    message: Relayed


class InboundComplaint(msgspec.Struct, frozen=True):
    """A CALLRESULTERROR (2.1): the charger could not use an answer of ours. There is nothing to say to it."""

    message_id: str
    code: str
    description: str


Inbound = InboundCall | InboundProblem | InboundAnswer | InboundSend | InboundComplaint


class OutboundCall(msgspec.Struct, frozen=True):
    """A CALL we make; the dialect of the session turns the instruction into an action and payload.

    `secret` is what the instruction names by id only, opened for this one send.
    """

    message_id: str
    instruction: InstructionKind
    secret: Disclosed | None = None


class OutboundReply(msgspec.Struct, frozen=True):
    """Our answer to an InboundCall or InboundProblem. `action` names what is answered ("" for a problem)."""

    message_id: str
    action: str
    reply: Reply


Outbound = OutboundCall | OutboundReply
