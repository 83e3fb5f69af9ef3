"""What happens to one session's exchanges (inputs), and what its actor has to do about it (outputs)."""

from datetime import datetime

import msgspec

from bfactors.admission import AdmissionRecord
from bfactors.disclosed import Disclosed
from bfactors.evidence import Evidence
from bfactors.instruction import InstructionOrder
from bfactors.ocpp import Inbound, Outbound


class Moment(msgspec.Struct, frozen=True):
    """One reading of both clocks: `monotonic_s` decides deadlines, `utc` is what chargers and evidence are told."""

    monotonic_s: float
    utc: datetime


# ---------------------------------------------------------------- inputs


class FrameArrived(msgspec.Struct, frozen=True):
    """The charger said something."""

    inbound: Inbound


class OrderArrived(msgspec.Struct, frozen=True):
    """The ledger wants something done; possibly said before, possibly meant for another session."""

    order: InstructionOrder


class EvidenceStored(msgspec.Struct, frozen=True):
    """JetStream acknowledged this evidence."""

    evidence_id: str


class EvidenceFailed(msgspec.Struct, frozen=True):
    """No acknowledgement: it may or may not have been stored, and may be sent again."""

    evidence_id: str


class RelayStored(msgspec.Struct, frozen=True):
    """The relay acknowledged the traffic sent under this token."""

    token: int


class RelayFailed(msgspec.Struct, frozen=True):
    """The relay did not acknowledge the traffic sent under this token."""

    token: int


class Decided(msgspec.Struct, frozen=True):
    """The rest of BetterFleet answered the question asked under this token."""

    token: int
    payload: bytes


class Undecided(msgspec.Struct, frozen=True):
    """Nobody answered the question asked under this token in time, or nobody could be asked."""

    token: int


class SecretOpened(msgspec.Struct, frozen=True):
    """The secret asked for is here; None: it is gone, and so is what it was for."""

    secret_id: str
    secret: Disclosed | None


class SecretUnavailable(msgspec.Struct, frozen=True):
    """Nobody could be asked for the secret just now."""

    secret_id: str


class RecordChanged(msgspec.Struct, frozen=True):
    """The admission record of the session's charger has a newer revision."""

    record: AdmissionRecord


class Tick(msgspec.Struct, frozen=True):
    """The time asked for by SetTimer has come."""


class SessionEnded(msgspec.Struct, frozen=True):
    """The socket is gone, whoever closed it."""

    reason: str


class NewerSession(msgspec.Struct, frozen=True):
    """The same charger has authenticated again: this session is not its live one any more."""


class Leave(msgspec.Struct, frozen=True):
    """This node lets the session go (it drains, or its actor was restarted): the charger may connect again."""

    code: int
    reason: str


class Restate(msgspec.Struct, frozen=True):
    """The evidence log is reachable again: say once more that this session is open."""


class PauseChanged(msgspec.Struct, frozen=True):
    """The charger's family was paused or resumed: paused, it is answered and recorded, but nothing new is begun."""

    is_paused: bool


class Suspected(msgspec.Struct, frozen=True):
    """The node noticed something about this session that belongs among its security events."""

    event_type: str
    detail: str


Input = (
    FrameArrived
    | OrderArrived
    | EvidenceStored
    | EvidenceFailed
    | RelayStored
    | RelayFailed
    | Decided
    | Undecided
    | SecretOpened
    | SecretUnavailable
    | RecordChanged
    | Tick
    | SessionEnded
    | NewerSession
    | Leave
    | Restate
    | PauseChanged
    | Suspected
)

# ---------------------------------------------------------------- outputs


class Send(msgspec.Struct, frozen=True):
    """Put a frame on the socket."""

    outbound: Outbound


class Record(msgspec.Struct, frozen=True):
    """Append to the evidence log; its outcome comes back as EvidenceStored or EvidenceFailed with the evidence's id."""

    evidence: Evidence


class RelayOut(msgspec.Struct, frozen=True):
    """Publish the charger's other traffic; its outcome comes back as RelayStored or RelayFailed with the token."""

    token: int
    action: str
    message_id: str
    payload: bytes


class OpenSecret(msgspec.Struct, frozen=True):
    """Fetch the secret an order names; it comes back as SecretOpened, or as SecretUnavailable."""

    secret_id: str


class Ask(msgspec.Struct, frozen=True):
    """Have the rest of BetterFleet decide; its word comes back as Decided, its silence as Undecided, with the token."""

    token: int
    action: str
    message_id: str
    payload: bytes


class Close(msgspec.Struct, frozen=True):
    """Close the socket with a WebSocket status code; SessionEnded follows."""

    code: int
    reason: str


class SetTimer(msgspec.Struct, frozen=True):
    """Send Tick at this monotonic time, instead of at any time asked for before."""

    at_s: float


class Finished(msgspec.Struct, frozen=True):
    """One exchange is over: the material of its canonical log line and its metrics.

    `direction` is `in` (the charger called), `out` (we called) or `relay` (unconfirmed traffic that was lost).
    `outcome` is `answered`, an OCPP error code, `repeated`, `silent`, `disconnected`, `call-error` or `dropped`.
    """

    direction: str
    action: str
    outcome: str
    latency_s: float
    message_id: str


class Retire(msgspec.Struct, frozen=True):
    """Nothing is left to do: the session is over and everything it owed the evidence log is stored (or given up)."""


Output = Send | Record | RelayOut | OpenSecret | Ask | Close | SetTimer | Finished | Retire
