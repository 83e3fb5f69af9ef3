"""We call the charger: one call at a time, each order once, and its InstructionSent stored before the frame leaves.

    queued ──► announced: InstructionSent is being stored ──acknowledged──► outstanding ──► answered, call-error,
       │          └── the log is away: tried again until it is back             ▲            silent, disconnected
       └── repeatable: it may be sent twice, so nobody is told beforehand ──────┘
                                  (one that names a secret is *opening* first)

Source: OCPP-J section 4 (one outstanding CALL a direction); MECHANISMS, "Sessions and instructions".
"""

from bfactors.disclosed import Disclosed
from bfactors.evidence import Evidence, InstructionAnswered, InstructionSent, evidence_id, kind_name
from bfactors.exchange import record, station_call
from bfactors.exchange.message import Finished, OpenSecret, Send
from bfactors.exchange.state import ExchangeState, OutstandingCall
from bfactors.exchange.turn import Turn
from bfactors.instruction import CloseSession, InstructionOrder, ObtainCsr, Reboot, is_repeatable, secret_of
from bfactors.instruction import kind_name as instruction_name
from bfactors.ocpp import Answered, CallFailed, Disconnected, OutboundCall, Outcome, Silent, without_persons


def ordered(turn: Turn, order: InstructionOrder) -> None:
    """Queue an order, unless it is for another session, known, overtaken or one too many (the ledger sends it again)."""
    state = turn.state
    if (order.session_id, order.charger_id) != (state.info.session_id, state.info.charger_id):
        return
    if order.decision <= _newest_decision(turn, order.instruction_id):
        return
    # A newer decision takes the place of an older one that is still waiting.
    others = tuple(o for o in state.orders if o.instruction_id != order.instruction_id)
    if len(others) >= state.rules.orders_queued:
        turn.emit(_finished(order, "dropped", 0.0))
        return
    turn.change(orders=(*others, order))


def pump(turn: Turn) -> None:
    """Announce the next order, if the charger is free and fit to be called.

    A CloseSession is no call: it goes first, and waits for no pause, no BootNotification and no answer.
    """
    state = turn.state
    if state.phase != "open" or state.announced is not None:
        return
    order = next(
        (o for o in state.orders if isinstance(o.body, CloseSession) and not _waits_for_cars(state, o)), None
    )
    is_free = state.outstanding is None and state.opening is None
    if order is None and is_free and station_call.is_ready_for_calls(turn):
        order = next((o for o in state.orders if _may_leave(state, o)), None)
    if order is None:
        return
    if is_repeatable(order.body):
        # Before the ledger has heard of the session its answer could be lost with it.
        if state.is_introduced and record.has_room(turn):
            turn.change(orders=tuple(o for o in state.orders if o is not order))
            _leave(turn, order)
        return
    if record.attempt(turn, _sent(order), _message_id(order), by_charger=False, wait_s=None) is not None:
        turn.change(orders=tuple(o for o in state.orders if o is not order), announced=order)


def _may_leave(state: ExchangeState, order: InstructionOrder) -> bool:
    """A pause keeps it back; so does a gateway that has not heard yet of what it must admit because of it.

    So does a car that is charging, if it is a reset: where the charger waits by itself, it never says so (`Relayed`).
    """
    if isinstance(order.body, Reboot) and state.charging and not order.is_urgent:
        return False
    if _waits_for_cars(state, order):
        return False
    return (order.is_urgent or not state.is_paused) and order.admission_revision <= state.record.revision


def _waits_for_cars(state: ExchangeState, order: InstructionOrder) -> bool:
    """Whether policy keeps it back for the cars that are charging; a reset on idle waits for them by itself (2.x)."""
    if not order.waits_for_cars or order.is_urgent:
        return False
    if isinstance(order.body, Reboot) and order.body.when == "on-idle":
        return bool(state.charging)
    return bool(state.charging or state.transactions)


def sent_stored(turn: Turn, evidence: Evidence) -> None:
    """InstructionSent is safe: the frame may leave."""
    order = turn.state.announced
    if order is None or evidence.evidence_id != _sent_id(order):
        return
    turn.change(announced=None)
    is_overtaken = any(o.instruction_id == order.instruction_id for o in turn.state.orders)
    if turn.state.phase != "open" or is_overtaken:
        # Announced, yet never sent: for the ledger that is as unknown as a lost answer, and as safe to decide anew.
        _settle(turn, order, Disconnected(), 0.0)
        return
    _leave(turn, order)


def secret_opened(turn: Turn, secret_id: str, secret: Disclosed | None) -> None:
    """What the order names is here, and lives as long as this step; or it is gone, and the order is void."""
    order = _opened(turn, secret_id)
    if order is None:
        return
    if turn.state.phase != "open":
        _settle(turn, order, Disconnected(), 0.0)
    elif secret is None:
        _settle(turn, order, CallFailed("SecretGone", "what was to be sent is not held any more"), 0.0)
    else:
        _send(turn, order, secret)


def secret_unavailable(turn: Turn, secret_id: str) -> None:
    """Nobody to ask just now: a repeatable order comes again by itself, any other has failed."""
    order = _opened(turn, secret_id)
    if order is None:
        return
    if is_repeatable(order.body):
        others = tuple(known for known in turn.state.carried_out if known[0] != order.instruction_id)
        turn.change(carried_out=others)
        turn.emit(_finished(order, "dropped", 0.0))
    else:
        _settle(turn, order, CallFailed("SecretUnavailable", "what was to be sent cannot be read now"), 0.0)


def _opened(turn: Turn, secret_id: str) -> InstructionOrder | None:
    order = turn.state.opening
    if order is None or secret_of(order.body) != secret_id:
        return None
    turn.change(opening=None)
    return order


def _leave(turn: Turn, order: InstructionOrder) -> None:
    _note_carried_out(turn, order)
    if isinstance(order.body, CloseSession):
        _settle(turn, order, Answered("Closed"), 0.0)
        turn.close(1000, order.body.reason)
        return
    if isinstance(order.body, ObtainCsr):
        purpose = order.body.purpose
        # Asked anew, the charger may present the CSR it presented before: that is an answer the ledger waits for.
        held = tuple(h for h in turn.state.held_csrs if h[0] != purpose)
        turn.change(held_csrs=held, triggered=turn.state.triggered | {purpose})
    secret_id = secret_of(order.body)
    if secret_id is None:
        _send(turn, order, None)
    else:
        turn.change(opening=order)
        turn.emit(OpenSecret(secret_id))


def _send(turn: Turn, order: InstructionOrder, secret: Disclosed | None) -> None:
    message_id = _message_id(order)
    deadline_s = turn.now_s + order.answer_wait_s
    turn.change(outstanding=OutstandingCall(order, message_id, turn.now_s, deadline_s))
    turn.emit(Send(OutboundCall(message_id, order.body, secret)))


def answered(turn: Turn, message_id: str, outcome: Answered | CallFailed) -> None:
    """Settle the outstanding call; an answer to any other is late and changes nothing."""
    call = turn.state.outstanding
    if call is not None and call.message_id == message_id:
        turn.change(outstanding=None)
        _settle(turn, call.order, outcome, turn.now_s - call.sent_s)


def time_passed(turn: Turn) -> None:
    """Record silence once the time allowed is over."""
    call = turn.state.outstanding
    if call is not None and turn.state.phase == "open" and call.deadline_s <= turn.now_s:
        turn.change(outstanding=None)
        _settle(turn, call.order, Silent(), turn.now_s - call.sent_s)


def disconnected(turn: Turn) -> None:
    """The session is over: the outstanding call ends unknown, and so does an announced one that may be in the log."""
    call = turn.state.outstanding
    turn.change(outstanding=None, orders=())
    if call is not None:
        _settle(turn, call.order, Disconnected(), turn.now_s - call.sent_s)
    order = turn.state.opening
    if order is not None:
        turn.change(opening=None)
        _settle(turn, order, Disconnected(), 0.0)
    order = turn.state.announced
    if order is not None and record.withdrawn(turn, _sent_id(order)):
        turn.change(announced=None)
    # Else it left at least once: it stays until it is stored, and then sent_stored settles it.


def _settle(turn: Turn, order: InstructionOrder, outcome: Outcome, latency_s: float) -> None:
    outcome = without_persons(outcome)
    body = InstructionAnswered(
        instruction_id=order.instruction_id,
        decision=order.decision,
        session_id=order.session_id,
        outcome=outcome,
    )
    by_charger = isinstance(outcome, Answered | CallFailed) and not isinstance(order.body, CloseSession)
    record.owe(turn, body, _message_id(order), by_charger=by_charger)
    turn.emit(_finished(order, str(outcome.__struct_config__.tag), latency_s))


def _newest_decision(turn: Turn, instruction_id: str) -> int:
    state = turn.state
    known = [decision for known_id, decision in state.carried_out if known_id == instruction_id]
    known += [order.decision for order in state.orders if order.instruction_id == instruction_id]
    if state.announced is not None and state.announced.instruction_id == instruction_id:
        known.append(state.announced.decision)
    return max(known, default=-1)


def _note_carried_out(turn: Turn, order: InstructionOrder) -> None:
    others = tuple(known for known in turn.state.carried_out if known[0] != order.instruction_id)
    remembered = turn.state.rules.decisions_remembered
    turn.change(carried_out=(*others, (order.instruction_id, order.decision))[-remembered:])


def _message_id(order: InstructionOrder) -> str:
    return evidence_id(order.session_id, order.instruction_id, str(order.decision))


def _sent(order: InstructionOrder) -> InstructionSent:
    return InstructionSent(
        instruction_id=order.instruction_id, decision=order.decision, session_id=order.session_id
    )


def _sent_id(order: InstructionOrder) -> str:
    return evidence_id(order.session_id, _message_id(order), kind_name(_sent(order)))


def _finished(order: InstructionOrder, outcome: str, latency_s: float) -> Finished:
    return Finished("out", instruction_name(order.body), outcome, latency_s, _message_id(order))
