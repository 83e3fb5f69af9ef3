"""The charger calls: who is served, what must be stored first, and that a repeated call gets its old answer.

Source: OCPP 2.0.1 B01.FR.10-12, B02.FR.09, A00.FR.807, A04.FR.03.
"""

import hashlib
from functools import lru_cache
from typing import Literal, assert_never

from bfactors.clock_offset import is_wrong, offset_s
from bfactors.evidence import (
    BootReported,
    ClockSeen,
    CsrReceived,
    Evidence,
    FirmwareStatusReported,
    LogStatusReported,
    SecurityEventReported,
)
from bfactors.exchange import flood, record, waiting
from bfactors.exchange.message import Ask, Finished, RelayOut
from bfactors.exchange.state import ExchangeState
from bfactors.exchange.turn import Turn
from bfactors.free_text import without_identifiers
from bfactors.identity_rule import boot_serial_problem
from bfactors.ocpp import (
    BootNotified,
    BootReply,
    CallErrorReply,
    CsrPresented,
    CsrReply,
    DecidedReply,
    DecisionAsked,
    DefaultReply,
    FirmwareStatusNotified,
    HeartbeatReply,
    HeartbeatSent,
    InboundCall,
    InboundProblem,
    InboundSend,
    LogStatusNotified,
    Relayed,
    Reply,
    SecurityEventNotified,
    StationMessage,
)
from bfactors.path import Problem
from bfactors.pem import MalformedX509, normalised_csr
from bfactors.purpose import purposes

Standing = Literal["accepted", "pending", "refused"]
Answerable = CsrReceived | SecurityEventReported | LogStatusReported | FirmwareStatusReported
"""The evidence that a charger's own call waits for before it is answered."""
MOST_TRANSACTIONS = 64


def standing(state: ExchangeState) -> Standing:
    """What the charger may do now: its record's mode, held back while it shows a credential that must be replaced."""
    if state.record.mode == "accepted" and state.rules.pending_flags.intersection(state.info.flags):
        return "pending"
    return state.record.mode


def arrived(turn: Turn, call: InboundCall) -> None:
    """Take up a valid CALL, unless it is one we have already taken up."""
    if not waiting.taken_up(turn, call.message_id, call.action, hash(call.message)):
        return
    if isinstance(call.message, BootNotified):
        _boot(turn, call.message, call.message_id)
    elif _is_served(turn, call.message):
        if turn.state.boot == "awaited":
            turn.change(boot="skipped")
        _serve(turn, call)
    else:
        waiting.ready(turn, CallErrorReply("SecurityError", "not accepted: send BootNotification"))


def malformed(turn: Turn, problem: InboundProblem) -> None:
    """Answer a frame that could not be taken as a call, in its turn."""
    if waiting.taken_up(turn, problem.message_id, "", hash((problem.code, problem.description))):
        waiting.ready(turn, CallErrorReply(problem.code, problem.description))


def sent(turn: Turn, send: InboundSend) -> None:
    """Pass on what is never answered (2.1); what a charger that is not served sends is lost."""
    if _is_served(turn, send.message):
        _pass_on(turn, send.message, send.message_id)


def evidence_stored(turn: Turn, evidence: Evidence) -> None:
    """What these calls were waiting for is safe: they can be answered."""
    body = evidence.body
    reply: Reply = DefaultReply()
    if isinstance(body, SecurityEventReported):
        flood.stored(turn, body)
    elif isinstance(body, LogStatusReported | FirmwareStatusReported):
        status = _status_of(body)
        earlier = tuple(known for known in turn.state.statuses_known if known[0] != status[0])
        turn.change(statuses_known=(*earlier, status))
    elif isinstance(body, CsrReceived):
        reply = CsrReply(accepted=True)
        others = tuple(held for held in turn.state.held_csrs if held[0] != body.purpose)
        turn.change(held_csrs=(*others, (body.purpose, _digest(body.csr), body.request_id)))
    waiting.evidence_settled(turn, evidence.evidence_id, reply)


def relay_stored(turn: Turn, token: int) -> None:
    if token in turn.state.relays:
        turn.change(relays=tuple(t for t in turn.state.relays if t != token))
        return
    waiting.relay_settled(turn, token, DefaultReply())


def relay_failed(turn: Turn, token: int) -> None:
    if token in turn.state.relays:
        turn.change(relays=tuple(t for t in turn.state.relays if t != token))
        turn.emit(Finished("relay", "relay", "dropped", 0.0, ""))
        return
    waiting.relay_failed(turn, token)


def decided(turn: Turn, token: int, payload: bytes | None) -> None:
    """Somebody's answer to the question asked under this token; None: nobody answered."""
    waiting.decision_settled(turn, token, DefaultReply() if payload is None else DecidedReply(payload))


# ---------------------------------------------------------------- who is served


def _is_served(turn: Turn, message: StationMessage) -> bool:
    state = turn.state
    match standing(state):
        case "accepted":
            is_booted = state.boot in ("accepted", "skipped")
            return is_booted or not state.rules.boot_required or _boot_wait_is_over(turn)
        case "pending":
            return isinstance(message, CsrPresented) and message.purpose in state.triggered
        case "refused":
            return False


def is_ready_for_calls(turn: Turn) -> bool:
    """Whether the charger can be expected to answer: it has booted, has spoken, or has had its time to."""
    return turn.state.boot not in ("awaited", "rejected") or (
        turn.state.boot == "awaited" and _boot_wait_is_over(turn)
    )


def _boot_wait_is_over(turn: Turn) -> bool:
    return turn.now_s >= turn.state.started_s + turn.state.rules.boot_wait_s


# ---------------------------------------------------------------- what each call means


def _boot(turn: Turn, boot: BootNotified, message_id: str) -> None:
    state = turn.state
    body = BootReported(
        session_id=state.info.session_id,
        vendor=boot.vendor,
        model=boot.model,
        serial_number=boot.serial_number,
        firmware_version=boot.firmware_version,
        reason=boot.reason,
    )
    record.owe(turn, body, message_id, by_charger=True)
    if (problem := _serial_problem(state, boot.serial_number)) is not None:
        detail = f"boot says {boot.serial_number!r}, certificate says {state.record.expected_common_name!r}"
        suspect(turn, "BootSerialMismatch", detail)
        turn.close(1008, problem.code)
        return
    match standing(state):
        case "accepted":
            turn.change(boot="accepted")
            waiting.ready(turn, BootReply("Accepted", state.rules.heartbeat_interval_s, turn.now.utc))
        case "pending":
            turn.change(boot="pending")
            waiting.ready(turn, BootReply("Pending", state.rules.pending_interval_s, turn.now.utc))
        case "refused":
            turn.change(boot="rejected")
            waiting.ready(turn, BootReply("Rejected", state.rules.heartbeat_interval_s, turn.now.utc))


def _serial_problem(state: ExchangeState, serial_number: str | None) -> Problem | None:
    # 1.6 knows two serial numbers and no such rule. A 2.x charger may leave its serial out, and then contradicts nothing:
    # its certificate has named it already.
    if state.info.ocpp_version == "1.6" or serial_number is None:
        return None
    return boot_serial_problem(state.record, state.info.security_profile, serial_number)


def suspect(turn: Turn, event_type: str, detail: str) -> None:
    """Record a security event that we, not the charger, noticed; once per session and type."""
    body = SecurityEventReported(
        session_id=turn.state.info.session_id,
        event_type=event_type,
        charger_time=turn.now.utc.isoformat(),
        tech_info=detail,
    )
    record.owe(turn, body, f"suspected:{event_type}", by_charger=False)


def _serve(turn: Turn, call: InboundCall) -> None:
    message = call.message
    match message:
        case HeartbeatSent():
            waiting.ready(turn, HeartbeatReply(turn.now.utc))
        case CsrPresented():
            _take_csr(turn, message, call.message_id)
        case SecurityEventNotified():
            body = SecurityEventReported(
                session_id=turn.state.info.session_id,
                event_type=message.event_type,
                charger_time=message.charger_time,
                tech_info=message.tech_info and without_identifiers(message.tech_info),
            )
            _take_security_event(turn, body)
        case LogStatusNotified():
            session_id = turn.state.info.session_id
            status = LogStatusReported(
                session_id=session_id, status=message.status, request_id=message.request_id
            )
            _take_status(turn, status, call.message_id)
        case FirmwareStatusNotified():
            session_id = turn.state.info.session_id
            progress = FirmwareStatusReported(
                session_id=session_id, status=message.status, request_id=message.request_id
            )
            _take_status(turn, progress, call.message_id)
        case Relayed():
            _note_clock(turn, message, call.message_id)
            _note_charging(turn, message)
            _relay(turn, message, call.message_id)
        case DecisionAsked():
            question = Ask(turn.state.next_token, message.action, call.message_id, message.payload)
            turn.change(next_token=turn.state.next_token + 1)
            waiting.wait_for_decision(turn, question, message.wait_s)
        case BootNotified():  # answered before anybody asks who is served
            _boot(turn, message, call.message_id)
        case _:
            assert_never(message)


def _note_clock(turn: Turn, message: Relayed, message_id: str) -> None:
    """Tell when the charger's clock turns out to be wrong, and when it is right again; nothing is told of one that is right."""
    if message.said_at is None:
        return
    offset = offset_s(message.said_at, turn.now.utc)
    if is_wrong(offset) is turn.state.is_clock_wrong:
        return
    turn.change(is_clock_wrong=is_wrong(offset))
    body = ClockSeen(session_id=turn.state.info.session_id, offset_s=offset)
    record.owe(turn, body, message_id, by_charger=True)


def _note_charging(turn: Turn, message: Relayed) -> None:
    if message.transaction is not None:
        _note_transaction(turn, *message.transaction)
    if message.charging is None:
        return
    connector, is_charging = message.charging
    others = turn.state.charging - {connector}
    turn.change(charging=others | {connector} if is_charging else others)


def _note_transaction(turn: Turn, transaction_id: str, runs: bool) -> None:
    known = turn.state.transactions
    if not runs:
        turn.change(transactions=known - {transaction_id})
    elif len(known) < MOST_TRANSACTIONS:  # with so many, one that is not counted changes nothing
        turn.change(transactions=known | {transaction_id})


def _take_security_event(turn: Turn, body: SecurityEventReported) -> None:
    if flood.is_known(turn, body) or flood.is_counted(turn, body):
        waiting.ready(turn, DefaultReply())
    else:
        # Under an id made from its content, what is sent again before it is stored is no second fact either.
        _record_first(turn, body, f"security:{flood.content_of(body)}")


def _take_status(turn: Turn, body: LogStatusReported | FirmwareStatusReported, message_id: str) -> None:
    if _status_of(body) in turn.state.statuses_known:
        waiting.ready(turn, DefaultReply())
    else:
        _record_first(turn, body, message_id)


def _status_of(body: LogStatusReported | FirmwareStatusReported) -> tuple[str, str, int | None]:
    return type(body).__name__, body.status, body.request_id


def _take_csr(turn: Turn, csr: CsrPresented, message_id: str) -> None:
    if not _is_signed_here(turn, csr.purpose):
        # For good, not for now: the charger may as well stop asking (A02.FR.12, A02.FR.21).
        waiting.ready(turn, CsrReply(accepted=False, reason="no-such-purpose"))
        return
    if len(csr.csr) > turn.state.rules.csr_chars:
        waiting.ready(turn, CsrReply(accepted=False, reason="too-large"))
        return
    text = _undressed(csr.csr)
    digest = _digest(text)
    # Under a new request id the same CSR is another request: its certificate must carry the newest (A02.FR.25-26).
    wanted = (csr.purpose, digest, csr.request_id)
    if wanted in turn.state.held_csrs:
        waiting.ready(turn, CsrReply(accepted=True))
        return
    for pending in turn.state.evidence:
        body = pending.evidence.body
        if isinstance(body, CsrReceived) and (body.purpose, _digest(body.csr), body.request_id) == wanted:
            record.renew(turn, pending.evidence.evidence_id)
            waiting.wait_for_evidence(turn, pending.evidence.evidence_id)
            return
    received = CsrReceived(
        session_id=turn.state.info.session_id,
        message_id=message_id,
        purpose=csr.purpose,
        csr=text,
        request_id=csr.request_id,
        hash_root=csr.hash_root,
    )
    _record_first(turn, received, message_id)


def _is_signed_here(turn: Turn, name: str) -> bool:
    spec = purposes().get(name)
    if spec is None:
        return False
    return not spec.is_of_part or name in turn.state.record.part_purposes


def _undressed(csr: str) -> str:
    try:
        return normalised_csr(csr)
    except MalformedX509:
        return csr  # to be refused by the ledger, with its reason, not by us


@lru_cache(maxsize=128)  # asked again once it is stored; a node has few CSRs on their way at a time
def _digest(csr: str) -> str:
    return hashlib.sha256(csr.encode()).hexdigest()


def _relay(turn: Turn, message: Relayed, message_id: str) -> None:
    """Pass on a call, and answer it: at once, or when it is stored."""
    if message.confirm:
        waiting.wait_for_relay(turn, _relay_out(turn, message, message_id))
        return
    _pass_on(turn, message, message_id)
    waiting.ready(turn, DefaultReply())


def _pass_on(turn: Turn, message: Relayed, message_id: str) -> None:
    """Traffic nobody waits for: what is too much at once is lost."""
    if len(turn.state.relays) < turn.state.rules.relays_in_flight:
        relay = _relay_out(turn, message, message_id)
        turn.change(relays=(*turn.state.relays, relay.token))
        turn.emit(relay)
    else:
        turn.emit(Finished("relay", message.action, "dropped", 0.0, message_id))


def _relay_out(turn: Turn, message: Relayed, message_id: str) -> RelayOut:
    token = turn.state.next_token
    turn.change(next_token=token + 1)
    return RelayOut(token, message.action, message_id, message.payload)


def _record_first(turn: Turn, body: Answerable, message_id: str) -> None:
    wait_s = turn.state.rules.evidence_wait_s
    evidence_id = record.attempt(turn, body, message_id, by_charger=True, wait_s=wait_s)
    if evidence_id is None:
        waiting.ready(turn, CallErrorReply("InternalError", "too much is waiting to be stored, try again"))
    else:
        waiting.wait_for_evidence(turn, evidence_id)
