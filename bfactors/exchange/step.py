"""The exchange rules of one session as a fold: what happened and when, in; what to do about it, out."""

from typing import assert_never

from bfactors.admission import AdmissionRecord, SessionInfo
from bfactors.evidence import (
    CsrReceived,
    FirmwareStatusReported,
    InstructionSent,
    LogStatusReported,
    SecurityEventReported,
)
from bfactors.exchange import flood, own_call, record, station_call, waiting
from bfactors.exchange.message import (
    Decided,
    EvidenceFailed,
    EvidenceStored,
    FrameArrived,
    Input,
    Leave,
    Moment,
    NewerSession,
    OrderArrived,
    Output,
    PauseChanged,
    RecordChanged,
    RelayFailed,
    RelayStored,
    Restate,
    Retire,
    SecretOpened,
    SecretUnavailable,
    SessionEnded,
    SetTimer,
    Suspected,
    Tick,
    Undecided,
)
from bfactors.exchange.state import ExchangeRules, ExchangeState
from bfactors.exchange.turn import Turn
from bfactors.identity_rule import cut_problem
from bfactors.ocpp import Inbound, InboundAnswer, InboundCall, InboundComplaint, InboundProblem, InboundSend

Stepped = tuple[ExchangeState, tuple[Output, ...]]


def start(info: SessionInfo, rules: ExchangeRules, now: Moment) -> Stepped:
    """The session was admitted; nothing of it leaves for the evidence log before its SessionOpened is stored."""
    state = ExchangeState(info=info, record=info.record, rules=rules, started_s=now.monotonic_s)
    turn = Turn(state, now)
    record.introduce(turn)
    return _finish(turn)


def step(state: ExchangeState, message: Input, now: Moment) -> Stepped:
    """Fold one input. Total: late, repeated and unexpected inputs are legal and change nothing."""
    turn = Turn(state, now)
    match message:
        case FrameArrived(inbound):
            _frame(turn, inbound)
        case OrderArrived(order):
            if state.phase == "open":
                own_call.ordered(turn, order)
        case EvidenceStored(evidence_id):
            _evidence_stored(turn, evidence_id)
        case EvidenceFailed(evidence_id):
            record.failed(turn, evidence_id)
        case RelayStored(token):
            station_call.relay_stored(turn, token)
        case RelayFailed(token):
            station_call.relay_failed(turn, token)
        case Decided(token, payload):
            station_call.decided(turn, token, payload)
        case Undecided(token):
            station_call.decided(turn, token, None)
        case SecretOpened(secret_id, secret):
            own_call.secret_opened(turn, secret_id, secret)
        case SecretUnavailable(secret_id):
            own_call.secret_unavailable(turn, secret_id)
        case RecordChanged(changed):
            _record_changed(turn, changed)
        case Tick():
            turn.change(timer_s=None)
        case SessionEnded(reason):
            _ended(turn, reason)
        case NewerSession():
            turn.close(1000, "replaced")
        case Leave(code, reason):
            turn.close(code, reason)
        case Restate():
            turn.change(retry_at_s=now.monotonic_s, failures=0)
            if state.phase in ("open", "closing"):
                record.introduce(turn)
        case PauseChanged(is_paused):
            turn.change(is_paused=is_paused)
        case Suspected(event_type, detail):
            if state.phase in ("open", "closing"):
                station_call.suspect(turn, event_type, detail)
        case _:
            assert_never(message)
    return _finish(turn)


def _frame(turn: Turn, inbound: Inbound) -> None:
    match inbound:
        case InboundAnswer(message_id, outcome):
            own_call.answered(turn, message_id, outcome)  # while closing too: it is a fact
        case InboundCall():
            if turn.state.phase == "open":
                station_call.arrived(turn, inbound)
        case InboundProblem():
            if turn.state.phase == "open":
                station_call.malformed(turn, inbound)
        case InboundSend():
            if turn.state.phase == "open":
                station_call.sent(turn, inbound)
        case InboundComplaint(code=code, description=description):
            if turn.state.phase == "open":
                station_call.suspect(turn, "AnswerRefused", f"{code} {description}".strip())
        case _:
            assert_never(inbound)


def _evidence_stored(turn: Turn, evidence_id: str) -> None:
    pending = record.stored(turn, evidence_id)
    if pending is None:
        return
    match pending.evidence.body:
        case CsrReceived() | SecurityEventReported() | LogStatusReported() | FirmwareStatusReported():
            station_call.evidence_stored(turn, pending.evidence)
        case InstructionSent():
            own_call.sent_stored(turn, pending.evidence)
        case _:
            pass  # nobody waits for the others


def _record_changed(turn: Turn, changed: AdmissionRecord) -> None:
    state = turn.state
    if state.phase != "open" or changed.revision <= state.record.revision:
        return
    turn.change(record=changed)
    info = state.info
    problem = cut_problem(
        changed, info.fingerprint_sha256, info.key_generation, info.flags, info.record.managed_identity_id
    )
    if problem is not None:
        turn.close(1008, problem.code)


def _ended(turn: Turn, reason: str) -> None:
    state = turn.state
    if state.phase in ("ended", "retired"):
        return
    turn.change(phase="ended", ended_s=turn.now_s, waiting=(), relays=(), remembered=())
    flood.flush(turn)
    own_call.disconnected(turn)
    turn.change(close_reason=state.close_reason or reason)


def _finish(turn: Turn) -> Stepped:
    """What follows from the new state and time, whatever the input was; each rule is asked only about what is there."""
    state = turn.state
    if state.evidence:
        record.time_passed(turn)
    if state.outstanding is not None:
        own_call.time_passed(turn)
    if state.security_counts:
        flood.time_passed(turn)
    if state.waiting:
        waiting.time_passed(turn)
        waiting.flush(turn)
    if state.orders:
        own_call.pump(turn)
    if turn.state.phase == "ended":
        _take_leave(turn)
    if turn.state.evidence:
        record.pump(turn)
    _set_timer(turn)
    return turn.state, tuple(turn.outputs)


def _take_leave(turn: Turn) -> None:
    """An ended session says so last of all, and is done with once that is stored.

    One the ledger never heard of tries for `linger_s` only: a charger that flaps while the log is away must not leave
    ever more of them behind, and nothing was ever sent on it that would need settling.
    """
    state = turn.state
    if not state.is_introduced and turn.now_s >= state.ended_s + state.rules.linger_s:
        turn.change(evidence=(), is_recording=False, is_concluded=True)
    elif not state.is_concluded and state.announced is None:
        record.conclude(turn, state.close_reason or "closed")
        turn.change(is_concluded=True)
    if turn.state.is_concluded and not turn.state.evidence:
        turn.change(phase="retired")
        turn.emit(Retire())


def _set_timer(turn: Turn) -> None:
    """Ask for a Tick at the earliest deadline, unless an earlier one is already coming: a Tick too many is harmless."""
    state = turn.state
    if state.phase == "retired":
        return
    due: list[float] = []
    for pending in state.evidence:
        if pending.expires_s is not None and not pending.given_up:
            due.append(pending.expires_s)
    if state.evidence and not state.is_recording:
        due.append(state.retry_at_s)
    if (counted_s := flood.due_s(turn)) is not None:
        due.append(counted_s)
    for call in state.waiting:
        if call.reply is None:
            due.append(call.deadline_s)
            if call.relay_again_s is not None:
                due.append(call.relay_again_s)
    if state.phase == "open":
        if state.outstanding is not None:
            due.append(state.outstanding.deadline_s)
        if state.orders and state.boot == "awaited" and not station_call.is_ready_for_calls(turn):
            due.append(state.started_s + state.rules.boot_wait_s)
    elif state.phase == "ended" and not state.is_introduced:
        due.append(state.ended_s + state.rules.linger_s)
    if due:
        earliest_s = min(due)
        if state.timer_s is None or earliest_s < state.timer_s:
            turn.change(timer_s=earliest_s)
            turn.emit(SetTimer(earliest_s))
