"""The charger's calls that wait for an answer, and the answers given lately: each call is answered once, in its turn."""

from collections.abc import Callable
from typing import Any

import msgspec

from bfactors.exchange.message import Ask, Finished, RelayOut, Send
from bfactors.exchange.state import RememberedAnswer, WaitingCall
from bfactors.exchange.turn import Turn
from bfactors.ocpp import CallErrorReply, DefaultReply, OutboundReply, Reply

_UNREADABLE_ID = "-1"  # what the gateway puts where no message id could be read: no call's identity


def taken_up(turn: Turn, message_id: str, action: str, content: int) -> bool:
    """Put a call last in line. False if it is a repetition, or one too many: then it has been dealt with."""
    if message_id != _UNREADABLE_ID and _is_repeated(turn, message_id, action, content):
        return False
    state = turn.state
    rules = state.rules
    call = WaitingCall(
        message_id=message_id,
        action=action,
        content=content,
        arrived_s=turn.now_s,
        deadline_s=turn.now_s + rules.evidence_wait_s,
    )
    if len(state.waiting) >= rules.calls_in_flight:
        _answer(turn, call, CallErrorReply("InternalError", "too many calls at once"))
        return False
    turn.change(waiting=(*state.waiting, call))
    return True


def ready(turn: Turn, reply: Reply) -> None:
    """The call just taken up has its answer."""
    _change_last(turn, reply=reply)


def wait_for_evidence(turn: Turn, evidence_id: str) -> None:
    """The call just taken up is answered once this evidence is stored."""
    _change_last(turn, evidence_id=evidence_id)


def wait_for_relay(turn: Turn, relay: RelayOut) -> None:
    """The call just taken up is answered once this relay is stored."""
    _change_last(turn, relay=relay, deadline_s=turn.now_s + turn.state.rules.relay_wait_s)
    turn.emit(relay)


def wait_for_decision(turn: Turn, question: Ask, wait_s: float | None = None) -> None:
    """The call just taken up is answered as somebody else decides, or by default; `wait_s` if the charger says so."""
    deadline_s = turn.now_s + (turn.state.rules.decision_wait_s if wait_s is None else wait_s)
    _change_last(turn, decision=question.token, deadline_s=deadline_s)
    turn.emit(question)


def evidence_settled(turn: Turn, evidence_id: str, reply: Reply) -> None:
    _change(turn, lambda call: call.evidence_id == evidence_id, reply=reply)


def relay_settled(turn: Turn, token: int, reply: Reply) -> None:
    _change(turn, lambda call: call.relay is not None and call.relay.token == token, reply=reply)


def decision_settled(turn: Turn, token: int, reply: Reply) -> None:
    _change(turn, lambda call: call.decision == token, reply=reply)


def relay_failed(turn: Turn, token: int) -> None:
    """Try again in a while; the call's deadline stands."""
    again_s = turn.now_s + turn.state.rules.relay_retry_s
    _change(turn, lambda call: call.relay is not None and call.relay.token == token, relay_again_s=again_s)


def time_passed(turn: Turn) -> None:
    """Give up what has waited too long - never Accepted, then - and try relays again that are due."""
    for call in turn.state.waiting:
        if call.reply is None and (call.deadline_s <= turn.now_s or _is_due(turn, call)):
            break
    else:
        return
    _change(
        turn, lambda call: call.decision is not None and call.deadline_s <= turn.now_s, reply=DefaultReply()
    )
    late = CallErrorReply("InternalError", "cannot be stored now, try again")
    _change(turn, lambda call: call.deadline_s <= turn.now_s, reply=late)
    for call in turn.state.waiting:
        if _is_due(turn, call) and call.relay is not None:
            turn.emit(call.relay)
    _change(turn, lambda call: _is_due(turn, call), relay_again_s=None)


def flush(turn: Turn) -> None:
    """Send the answers that are ready, in the order of their calls."""
    if turn.state.phase != "open":
        return
    for call in turn.state.waiting:
        if call.reply is None:
            return
        turn.change(waiting=turn.state.waiting[1:])
        _answer(turn, call, call.reply)


def _is_due(turn: Turn, call: WaitingCall) -> bool:
    return call.reply is None and call.relay_again_s is not None and call.relay_again_s <= turn.now_s


def _is_repeated(turn: Turn, message_id: str, action: str, content: int) -> bool:
    for call in turn.state.waiting:
        if call.message_id == message_id and (call.action, call.content) == (action, content):
            return True  # its one answer is still to come
    for answer in turn.state.remembered:
        if answer.message_id != message_id or (answer.action, answer.content) != (action, content):
            continue
        if answer.until_s > turn.now_s:
            turn.emit(Send(OutboundReply(message_id, action, answer.reply)))
            turn.emit(Finished("in", action or "unknown", "repeated", 0.0, message_id))
            return True
    return False


def _answer(turn: Turn, call: WaitingCall, reply: Reply) -> None:
    rules = turn.state.rules
    if call.message_id != _UNREADABLE_ID:
        until_s = turn.now_s + rules.answer_memory_s
        answer = RememberedAnswer(call.message_id, call.action, call.content, reply, until_s)
        turn.change(remembered=(*turn.state.remembered, answer)[-rules.answers_remembered :])
    outcome = reply.code if isinstance(reply, CallErrorReply) else "answered"
    latency_s = turn.now_s - call.arrived_s
    turn.emit(Send(OutboundReply(call.message_id, call.action, reply)))
    turn.emit(Finished("in", call.action or "unknown", outcome, latency_s, call.message_id))


def _change_last(turn: Turn, **fields: Any) -> None:
    *others, last = turn.state.waiting
    turn.change(waiting=(*others, msgspec.structs.replace(last, **fields)))


def _change(turn: Turn, is_meant: Callable[[WaitingCall], bool], **fields: Any) -> None:
    """Replace fields of the calls meant; one that has its answer keeps it."""
    calls = turn.state.waiting
    if calls:
        turn.change(
            waiting=tuple(
                msgspec.structs.replace(call, **fields) if call.reply is None and is_meant(call) else call
                for call in calls
            )
        )
