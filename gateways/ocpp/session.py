"""One admitted charger: frames become typed messages for its actor, and its actor's messages become frames.

Holds only what one connection needs to read answers: the calls being answered, and the one call of ours that is out.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol, assert_never

import msgspec
import orjson

from bfactors.admission import AdmissionRecord, SessionInfo
from bfactors.confidential import without
from bfactors.disclosed import Disclosed
from bfactors.instruction import CloseSession, InstructionKind
from bfactors.ocpp import (
    Answered,
    CallErrorReply,
    CallFailed,
    DecidedReply,
    DecisionAsked,
    DefaultReply,
    Inbound,
    InboundAnswer,
    InboundCall,
    InboundComplaint,
    InboundProblem,
    InboundSend,
    Outbound,
    OutboundCall,
    OutboundReply,
    Relayed,
)
from bfactors.ports import ChargerDoor, Metrics, Session
from gateways.ocpp import frame
from gateways.ocpp.dialect import Dialect, NotSendable, Unsupported, wire_action
from gateways.ocpp.session_trace import SessionTrace, TraceDesk

_LOG = logging.getLogger(__name__)

MAX_CALLS_IN_FLIGHT = 64
"""Calls of a charger not answered yet. OCPP allows one; a charger with more than this is not speaking OCPP."""

NOT_SENDABLE = "NotSendable"
"""The code of a CallFailed we make ourselves: the dialect has no such call, or it would break the charger's schema."""

INVALID_ANSWER = "InvalidAnswer"
"""The code of a CallFailed for an answer that its schema refuses."""

_FREE_TEXTS = ("status", "reason_code", "detail", "file_name", "code", "description")
"""What a charger may fill with words of its own in Answered and CallFailed."""

POLICY_VIOLATION = 1008
INVALID_DATA = 1007


class Wire(Protocol):
    """What a session needs of its connection; I/O lane only."""

    def write_text(self, data: bytes) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def fail(self, code: int, reason: str) -> None: ...
    def hold(self) -> None: ...
    def release(self) -> None: ...


class _OwnCall(NamedTuple):
    """Our call that is out. `secret` is what it carried beside its instruction: its answer may repeat it."""

    message_id: str
    action: str
    instruction: InstructionKind
    secret: Disclosed | None


class OcppSession:
    """One admitted socket, as the actor sees it (`bfactors.ports.Session`)."""

    __slots__ = (
        "_answering",
        "_dialect",
        "_door",
        "_has_sends",
        "_info",
        "_last_trace_id",
        "_metrics",
        "_out",
        "_run",
        "_wire",
        "capabilities",
        "ended",
        "trace",
    )

    def __init__(
        self,
        info: SessionInfo,
        dialect: Dialect,
        wire: Wire,
        door: ChargerDoor,
        metrics: Metrics,
        run: Callable[[Callable[[], None]], None],
    ) -> None:
        """`run` carries out a step on the I/O lane, from whichever lane it is called."""
        self._info = info
        self._dialect = dialect
        self._wire = wire
        self._door = door
        self._metrics = metrics
        self._run = run
        self._answering: dict[str, bytes] = {}
        """Of each call being answered: what it gets if nobody decides it, where its action's default will not do."""
        self._has_sends = dialect.schemas.has_sends
        self._out: _OwnCall | None = None
        self.capabilities = info.record.capabilities
        """What the charger's admission record says of it now; the gateway keeps it current."""
        self.ended = False
        self.trace: SessionTrace | None = None
        """Set while an operator has this charger's frames written down."""
        self._last_trace_id: str | None = None

    # ------------------------------------------------------------ any lane

    @property
    def info(self) -> SessionInfo:
        return self._info

    def send(self, outbound: Outbound) -> None:
        self._run(lambda: self._send(outbound))

    def close(self, code: int, reason: str) -> None:
        self._run(lambda: self._wire.close(code, reason))

    def resume_reading(self) -> None:
        self._run(self._wire.release)

    # ------------------------------------------------------------ inwards, I/O lane

    def traced(self, record: AdmissionRecord, desk: TraceDesk) -> None:
        """Have the frames written down that are still to come, if the record asks for it."""
        begun = desk.begun(record, self._info, self._last_trace_id)
        if begun is not None and record.trace is not None:
            self.trace, self._last_trace_id = begun, record.trace.trace_id

    def received(self, data: bytes) -> None:
        """Take one complete text message."""
        if self.trace is not None and not self.trace.saw("from-charger", data):
            self.trace = None
        inbound = self._inbound(data)
        if inbound is not None:
            self._hand_over(inbound)

    def end(self, reason: str) -> None:
        """The session is over; told once. Whatever is sent or received from now on is dropped."""
        if not self.ended:
            self.ended = True
            self._door.closed(self, reason)

    def _hand_over(self, inbound: Inbound) -> None:
        if not self.ended and not self._door.received(self, inbound):
            self._wire.hold()

    def _inbound(self, data: bytes) -> Inbound | None:
        read = frame.parse(data, has_sends=self._has_sends)
        match read:
            case frame.Call():
                return self._call(read, len(data))
            case frame.Result() | frame.Error():
                return self._answer(read)
            case frame.Broken():
                if read.description is frame.NOT_JSON and not _is_utf8(data):
                    self._wire.fail(INVALID_DATA, "not UTF-8")
                    return None
                return self._problem(read.message_id, read.code, read.description)
            case frame.BrokenAnswer():
                return self._broken_answer(read)
            case frame.Send():
                return self._unanswered(read)
            case frame.BrokenSend():
                self._metrics.count("ocpp_frames_refused", reason=read.code)
                return None
            case frame.ResultError():
                self._metrics.count("ocpp_answers_refused")
                return InboundComplaint(read.message_id or frame.UNREADABLE, read.code, read.description)
            case _:
                assert_never(read)

    def _call(self, call: frame.Call, size: int) -> Inbound | None:
        if call.message_id in self._answering:
            # Under its own id the CALLERROR would be taken for the answer to the first call.
            return self._problem(
                frame.UNREADABLE, "RpcFrameworkError", "this message id is already being answered"
            )
        if len(self._answering) >= MAX_CALLS_IN_FLIGHT:
            self._wire.close(POLICY_VIOLATION, "too-many-calls")
            return None
        schemas = self._dialect.schemas
        if not schemas.knows(call.action):
            return self._problem(call.message_id, "NotImplemented", "unknown action")
        violation = schemas.request_violation(call.action, call.payload)
        if violation is not None:
            return self._problem(call.message_id, *violation)
        try:
            message = self._dialect.message_of(call.action, call.payload)
        except Unsupported as unsupported:
            return self._problem(call.message_id, "NotSupported", str(unsupported))
        self._answering[call.message_id] = message.undecided if isinstance(message, DecisionAsked) else b""
        action = self._dialect.effective_action(call.action, call.payload)
        return InboundCall(call.message_id, action, message, size)

    def _unanswered(self, send: frame.Send) -> InboundSend | None:
        """A SEND; nobody is told that it is of no use."""
        violation = self._dialect.schemas.send_violation(send.action, send.payload)
        if violation is not None:
            self._metrics.count("ocpp_frames_refused", reason=violation[0])
            return None
        return InboundSend(send.message_id, Relayed(send.action, orjson.dumps(send.payload)))

    def _problem(self, message_id: str, code: str, description: str) -> InboundProblem | None:
        self._metrics.count("ocpp_frames_refused", reason=code)
        if self._dialect.codes.get(code) == "":
            return None
        return InboundProblem(message_id, code, description)

    def _answer(self, answer: frame.Result | frame.Error) -> Inbound | None:
        out = self._out
        if out is None or out.message_id != answer.message_id:
            self._metrics.count("ocpp_answers_dropped", reason="stray")
            return None
        self._out = None
        outcome: Answered | CallFailed
        if isinstance(answer, frame.Error):
            outcome = CallFailed(answer.code, answer.description)
        elif violation := self._dialect.schemas.response_violation(out.action, answer.payload):
            outcome = CallFailed(INVALID_ANSWER, f"{violation[0]}: {violation[1]}")
        else:
            outcome = self._dialect.answer_of(out.instruction, answer.payload)
        return InboundAnswer(answer.message_id, _discreet(outcome, out.secret))

    def _broken_answer(self, broken: frame.BrokenAnswer) -> Inbound | None:
        if self._out is None or self._out.message_id != broken.message_id:
            self._metrics.count("ocpp_answers_dropped", reason="broken")
            return None
        self._out = None
        return InboundAnswer(broken.message_id, CallFailed(INVALID_ANSWER, broken.description))

    # ------------------------------------------------------------ outwards, I/O lane

    def _write(self, data: bytes) -> None:
        if self.trace is not None and not self.trace.saw("to-charger", data):
            self.trace = None
        self._wire.write_text(data)

    def _send(self, outbound: Outbound) -> None:
        if self.ended:
            return
        match outbound:
            case OutboundCall():
                self._send_call(outbound)
            case OutboundReply():
                self._send_reply(outbound)
            case _:
                assert_never(outbound)

    def _send_call(self, outbound: OutboundCall) -> None:
        instruction = outbound.instruction
        if isinstance(instruction, CloseSession):
            self._wire.close(1000, instruction.reason)
            return
        try:
            action, payload = self._dialect.call_of(instruction, self.capabilities, outbound.secret)
            violation = self._dialect.schemas.request_violation(action, payload)
            if violation is not None:
                raise NotSendable(f"{action}: {violation[1]}")
        except NotSendable as problem:
            failed = InboundAnswer(outbound.message_id, CallFailed(NOT_SENDABLE, str(problem)))
            # Not from within the actor's own `send`: it would be called back before it knows that it has sent.
            asyncio.get_running_loop().call_soon(self._hand_over, failed)
            return
        # OCPP has one call of ours out at a time: an earlier one has timed out, and its late answer becomes a stray one.
        self._out = _OwnCall(outbound.message_id, action, instruction, outbound.secret)
        self._write(frame.call(outbound.message_id, wire_action(action), payload))

    def _send_reply(self, outbound: OutboundReply) -> None:
        undecided = self._answering.pop(outbound.message_id, b"")
        reply = outbound.reply
        if isinstance(reply, CallErrorReply):
            code = self._dialect.codes.get(reply.code, reply.code)
            self._write(frame.error(outbound.message_id, code, reply.description))
            return
        if undecided and isinstance(reply, DefaultReply):
            payload = orjson.loads(undecided)
        else:
            payload = self._dialect.reply_of(outbound.action, reply)
        violation = self._dialect.schemas.response_violation(outbound.action, payload)
        if violation is not None and isinstance(reply, DecidedReply):
            self._metrics.count("ocpp_decisions_unusable", action=outbound.action)
            _LOG.warning(
                "a decision breaks its schema", extra={"action": outbound.action, "violation": violation[1]}
            )
            self._answering[outbound.message_id] = undecided
            self._send_reply(OutboundReply(outbound.message_id, outbound.action, DefaultReply()))
            return
        if violation is not None:
            _LOG.error(
                "our answer breaks its schema", extra={"action": outbound.action, "violation": violation[1]}
            )
            self._write(frame.error(outbound.message_id, "InternalError"))
            return
        self._write(frame.result(outbound.message_id, payload))


def _discreet(outcome: Answered | CallFailed, secret: Disclosed | None) -> Answered | CallFailed:
    """The outcome without what a charger repeats of the secret it was sent: all of it goes on record."""
    if secret is None:
        return outcome
    texts = {name: getattr(outcome, name) for name in _FREE_TEXTS if getattr(outcome, name, None)}
    return msgspec.structs.replace(outcome, **{name: without(text, secret) for name, text in texts.items()})


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _claims(session: OcppSession) -> Session:
    """Lets the type checker prove that the class keeps the port's contract."""
    return session
