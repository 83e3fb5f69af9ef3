"""A session's exchange rules on a bench: a clock moved by hand, and words for what goes in and what came out."""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from bfactors import evidence as v
from bfactors.admission import AdmissionRecord, KnownCredential, SessionInfo
from bfactors.exchange import ExchangeRules, Input, Moment, Output, start, step
from bfactors.exchange.message import (
    Close,
    EvidenceFailed,
    EvidenceStored,
    FrameArrived,
    OrderArrived,
    Record,
    Send,
    SetTimer,
    Tick,
)
from bfactors.instruction import InstructionKind, InstructionOrder, Reboot
from bfactors.ocpp import (
    Answered,
    BootNotified,
    CallErrorReply,
    CallFailed,
    InboundAnswer,
    InboundCall,
    OutboundCall,
    OutboundReply,
    Reply,
    StationMessage,
)

DAWN = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)
FINGERPRINT = "ab" * 32
Out = TypeVar("Out")


def record(**fields: Any) -> AdmissionRecord:
    values: dict[str, Any] = {
        "charger_id": "CH-1",
        "managed_identity_id": "mi-1",
        "serial_number": "SN-1",
        "expected_common_name": "SN-1",
        "organization": None,
        "family": "acme-x",
        "site": "depot",
        "cohort": "pilot",
        "allowed_profiles": (2, 3),
        "credentials": (KnownCredential(FINGERPRINT, "cert-1", "active", DAWN + timedelta(days=90)),),
        **fields,
    }
    return AdmissionRecord(**values)


def session_info(session_id: str = "s-1", **fields: Any) -> SessionInfo:
    held: AdmissionRecord = fields.pop("record", None) or record()
    values: dict[str, Any] = {
        "session_id": session_id,
        "charger_id": held.charger_id,
        "node": "node-1",
        "incarnation": "node-1-a",
        "ocpp_version": "2.0.1",
        "security_profile": 3,
        "remote_address": "192.0.2.7",
        "opened_at": DAWN,
        "record": held,
        "fingerprint_sha256": FINGERPRINT,
        "certificate_id": "cert-1",
        **fields,
    }
    return SessionInfo(**values)


def order(
    number: int = 1, decision: int = 1, body: InstructionKind | None = None, **fields: Any
) -> InstructionOrder:
    values: dict[str, Any] = {
        "instruction_id": f"i-{number}",
        "charger_id": "CH-1",
        "session_id": "s-1",
        "decision": decision,
        "answer_wait_s": 30,
        "body": body or Reboot(),
        **fields,
    }
    return InstructionOrder(**values)


BOOT = BootNotified("Acme", "X", "SN-1", "1.0", "PowerUp")


class Bench:
    """One session. `out` holds the outputs of the last input; methods return those that matter."""

    def __init__(self, info: SessionInfo | None = None, rules: ExchangeRules | None = None) -> None:
        self.now_s = 1000.0
        self.info = info or session_info()
        self.state, self.out = start(self.info, rules or ExchangeRules(), self.moment())
        self.all: list[Output] = list(self.out)

    @classmethod
    def introduced(
        cls, info: SessionInfo | None = None, rules: ExchangeRules | None = None, *, booted: bool = True
    ) -> "Bench":
        """A session whose SessionOpened is stored and, if wanted, whose charger has booted."""
        bench = cls(info, rules)
        bench.store()
        if booted:
            bench.call(BOOT, "boot")
            bench.store()
        return bench

    def moment(self) -> Moment:
        return Moment(self.now_s, DAWN + timedelta(seconds=self.now_s - 1000.0))

    def give(self, message: Input) -> "Bench":
        self.state, self.out = step(self.state, message, self.moment())
        self.all += self.out
        return self

    def call(self, message: StationMessage, message_id: str, action: str | None = None) -> "Bench":
        name = action or type(message).__name__
        return self.give(FrameArrived(InboundCall(message_id, name, message)))

    def answer(self, message_id: str, status: str = "Accepted") -> "Bench":
        return self.give(FrameArrived(InboundAnswer(message_id, Answered(status))))

    def refuse(self, message_id: str) -> "Bench":
        return self.give(FrameArrived(InboundAnswer(message_id, CallFailed("NotSupported"))))

    def order(self, *arguments: Any, **fields: Any) -> "Bench":
        return self.give(OrderArrived(order(*arguments, **fields)))

    def wait(self, seconds: float) -> "Bench":
        """Move the clock and tick, as the timer would have by then."""
        self.now_s += seconds
        return self.give(Tick())

    @property
    def recording(self) -> v.Evidence | None:
        """The evidence in flight."""
        return self.state.evidence[0].evidence if self.state.is_recording else None

    def store(self) -> "Bench":
        """Acknowledge what is in flight."""
        assert self.recording is not None
        return self.give(EvidenceStored(self.recording.evidence_id))

    def fail(self) -> "Bench":
        """Refuse what is in flight: NATS is away."""
        assert self.recording is not None
        return self.give(EvidenceFailed(self.recording.evidence_id))

    def outputs(self, kind: type[Out]) -> list[Out]:
        return [output for output in self.out if isinstance(output, kind)]

    @property
    def calls(self) -> list[OutboundCall]:
        return [o.outbound for o in self.outputs(Send) if isinstance(o.outbound, OutboundCall)]

    @property
    def replies(self) -> list[tuple[str, Reply]]:
        sent = [o.outbound for o in self.outputs(Send)]
        return [(r.message_id, r.reply) for r in sent if isinstance(r, OutboundReply)]

    @property
    def reply(self) -> Reply:
        [(_, reply)] = self.replies
        return reply

    @property
    def error_code(self) -> str:
        assert isinstance(self.reply, CallErrorReply)
        return self.reply.code

    @property
    def recorded(self) -> list[v.EvidenceBody]:
        return [o.evidence.body for o in self.outputs(Record)]

    @property
    def closes(self) -> list[tuple[int, str]]:
        return [(o.code, o.reason) for o in self.outputs(Close)]

    @property
    def timer_s(self) -> float | None:
        """Seconds from now to the timer asked for last."""
        timers = self.outputs(SetTimer)
        return timers[-1].at_s - self.now_s if timers else None
