"""Security events of one session: each stored once before it is answered, and a flood of them as one fact with a count.

A charger is answered whatever it sends. Of each kind the first few within a window are facts of their own; what follows is
answered at once, counted here, and recorded when the window or the session ends. So a charger gone wild costs the evidence
log and the ledger a bounded number of messages; what a process that dies had counted in its last window is lost.
"""

import hashlib

import msgspec

from bfactors.evidence import SecurityEventReported
from bfactors.exchange import record
from bfactors.exchange.state import SecurityCount
from bfactors.exchange.turn import Turn
from bfactors.security_event import OTHER

WINDOW_S = 60.0
EACH_PER_WINDOW = 10
KINDS_PER_WINDOW = 8
_KNOWN = 64
_AGAIN_S = 1.0


def is_known(turn: Turn, body: SecurityEventReported) -> bool:
    """Whether the log has this very event of this session already: same kind, charger's time and text."""
    return content_of(body) in turn.state.security_known


def is_counted(turn: Turn, body: SecurityEventReported) -> bool:
    """Take the event into the window. True: it is counted and needs no evidence of its own."""
    if turn.now_s >= turn.state.security_until_s and not _is_folding(turn):
        turn.change(security_counts=(), security_until_s=turn.now_s + WINDOW_S)
    counts = turn.state.security_counts
    count = next((c for c in counts if c.kind == body.event_type), None)
    if count is None and len(counts) >= KINDS_PER_WINDOW:
        body = msgspec.structs.replace(body, event_type=OTHER, tech_info=body.event_type)
        count = next((c for c in counts if c.kind == OTHER), SecurityCount(OTHER, EACH_PER_WINDOW))
    if count is None:
        count = SecurityCount(body.event_type)
    is_folded = count.alone >= EACH_PER_WINDOW
    if is_folded:
        first = count.folded or msgspec.structs.replace(body, count=0)
        folded = msgspec.structs.replace(first, count=first.count + 1)
        count = msgspec.structs.replace(count, folded=folded)
    else:
        count = msgspec.structs.replace(count, alone=count.alone + 1)
    others = tuple(c for c in counts if c.kind != count.kind)
    turn.change(security_counts=(*others, count))
    return is_folded


def stored(turn: Turn, body: SecurityEventReported) -> None:
    """The log has it: told again, it needs no more than an answer."""
    turn.change(security_known=(*turn.state.security_known, content_of(body))[-_KNOWN:])


def time_passed(turn: Turn) -> None:
    """Record what was counted once its window is over; while the log is behind, later."""
    if turn.state.security_until_s > turn.now_s or not _is_folding(turn):
        return
    if record.has_room(turn):
        flush(turn)
    else:
        turn.change(security_until_s=turn.now_s + _AGAIN_S)


def flush(turn: Turn) -> None:
    """Record what was counted, and begin anew."""
    counts = turn.state.security_counts
    turn.change(security_counts=(), security_until_s=turn.now_s)
    for count in counts:
        if count.folded is not None:
            token = turn.state.next_token
            turn.change(next_token=token + 1)
            record.owe(turn, count.folded, f"folded:{count.kind}:{token}", by_charger=True)


def due_s(turn: Turn) -> float | None:
    """When `time_passed` has something to do."""
    return turn.state.security_until_s if _is_folding(turn) else None


def content_of(body: SecurityEventReported) -> str:
    """What makes two notifications of one session the same event."""
    text = "\x1f".join((body.event_type, body.charger_time, body.tech_info or ""))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _is_folding(turn: Turn) -> bool:
    return any(count.folded is not None for count in turn.state.security_counts)
