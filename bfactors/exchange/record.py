"""The evidence a session owes: recorded first in, first out, one at a time, kept until acknowledged.

One at a time costs a charger nothing (it makes one call at a time) and gives order for free: SessionOpened before all
else, InstructionSent before InstructionAnswered, SessionClosed last.
"""

import zlib

import msgspec

from bfactors.evidence import (
    BootReported,
    Evidence,
    EvidenceBody,
    SessionClosed,
    SessionOpened,
    evidence_id,
    kind_name,
)
from bfactors.exchange.message import Record
from bfactors.exchange.state import Pending
from bfactors.exchange.turn import Turn

_RESERVED = 4  # places in the buffer that calls which can be refused may not take


def owe(turn: Turn, body: EvidenceBody, message_id: str, *, by_charger: bool) -> str:
    """Record a fact that must not be lost, however long the log is away; closes the session when the buffer is full.

    Returns the evidence's id.
    """
    evidence = _evidence(turn, body, message_id, by_charger)
    queue = turn.state.evidence
    if any(p.evidence.evidence_id == evidence.evidence_id for p in queue):
        return evidence.evidence_id
    if isinstance(body, BootReported):
        queue = tuple(p for p in queue if p.attempted or not isinstance(p.evidence.body, BootReported))
    if len(queue) >= turn.state.rules.evidence_buffered:
        turn.close(1013, "evidence-buffer-full")
    turn.change(evidence=(*queue, Pending(evidence, None)))
    return evidence.evidence_id


def attempt(
    turn: Turn, body: EvidenceBody, message_id: str, *, by_charger: bool, wait_s: float | None
) -> str | None:
    """Record a fact that somebody waits for, `wait_s` at most. None: there is no room, nothing is recorded."""
    evidence = _evidence(turn, body, message_id, by_charger)
    queue = turn.state.evidence
    if any(p.evidence.evidence_id == evidence.evidence_id for p in queue):
        renew(turn, evidence.evidence_id)
        return evidence.evidence_id
    if not has_room(turn):
        return None
    expires_s = None if wait_s is None else turn.now_s + wait_s
    turn.change(evidence=(*queue, Pending(evidence, expires_s)))
    return evidence.evidence_id


def has_room(turn: Turn) -> bool:
    """Whether something that can wait may be begun: what it leads to would still fit."""
    return len(turn.state.evidence) < max(1, turn.state.rules.evidence_buffered - _RESERVED)


def renew(turn: Turn, wanted_id: str) -> None:
    """Somebody waits for evidence that is already on its way: it gets the full time again."""
    expires_s = turn.now_s + turn.state.rules.evidence_wait_s
    turn.change(
        evidence=tuple(
            msgspec.structs.replace(p, expires_s=expires_s, given_up=False)
            if p.evidence.evidence_id == wanted_id and p.expires_s is not None
            else p
            for p in turn.state.evidence
        )
    )


def time_passed(turn: Turn) -> None:
    """Give up what has waited too long. In flight it stays, for its outcome is still news."""
    queue = turn.state.evidence
    if all(p.expires_s is None or p.given_up or p.expires_s > turn.now_s for p in queue):
        return
    kept: list[Pending] = []
    for position, pending in enumerate(queue):
        if pending.expires_s is None or pending.given_up or pending.expires_s > turn.now_s:
            kept.append(pending)
        elif position == 0 and turn.state.is_recording:
            kept.append(msgspec.structs.replace(pending, given_up=True))
    turn.change(evidence=tuple(kept))


def withdrawn(turn: Turn, unwanted_id: str) -> bool:
    """Take back evidence that never left; False if it did, so that it may be in the log."""
    queue = turn.state.evidence
    if any(p.attempted for p in queue if p.evidence.evidence_id == unwanted_id):
        return False
    turn.change(evidence=tuple(p for p in queue if p.evidence.evidence_id != unwanted_id))
    return True


def stored(turn: Turn, stored_id: str) -> Pending | None:
    """Take an acknowledged piece off the queue. None: nobody asked."""
    state = turn.state
    if not state.is_recording or state.evidence[0].evidence.evidence_id != stored_id:
        return None
    head = state.evidence[0]
    turn.change(evidence=state.evidence[1:], is_recording=False, failures=0, retry_at_s=turn.now_s)
    if isinstance(head.evidence.body, SessionOpened):
        turn.change(is_introduced=True)
    return head


def failed(turn: Turn, failed_id: str) -> None:
    """Put an unacknowledged piece back, with a pause that doubles and differs from session to session."""
    state = turn.state
    if not state.is_recording or state.evidence[0].evidence.evidence_id != failed_id:
        return
    rules = state.rules
    pause_s = min(rules.retry_longest_s, rules.retry_first_s * 2 ** min(state.failures, 16))
    spread = 0.75 + 0.5 * (zlib.crc32(state.info.session_id.encode()) / 2**32)
    turn.change(
        evidence=state.evidence[1:] if state.evidence[0].given_up else state.evidence,
        is_recording=False,
        failures=state.failures + 1,
        retry_at_s=turn.now_s + pause_s * spread,
    )


def pump(turn: Turn) -> None:
    """Let the first piece leave, if none is under way and no pause is."""
    state = turn.state
    if state.is_recording or not state.evidence or turn.now_s < state.retry_at_s:
        return
    head = msgspec.structs.replace(state.evidence[0], attempted=True)
    turn.change(evidence=(head, *state.evidence[1:]), is_recording=True)
    turn.emit(Record(head.evidence))


def introduce(turn: Turn) -> None:
    """State that the session is open: at its start, and again whenever the log was away.

    Said again it is another fact, under another id: between the two our node may have been believed lost.
    """
    info = turn.state.info
    said = [p.attempted for p in turn.state.evidence if isinstance(p.evidence.body, SessionOpened)]
    if not all(said):
        return  # one is still to leave
    occasion = f"restated at {turn.now.utc.isoformat()}" if said or turn.state.is_introduced else ""
    body = SessionOpened(
        session_id=info.session_id,
        node=info.node,
        incarnation=info.incarnation,
        ocpp_version=info.ocpp_version,
        security_profile=info.security_profile,
        remote_address=info.remote_address,
        opened_at=info.opened_at,
        fingerprint_sha256=info.fingerprint_sha256,
        key_generation=info.key_generation,
        flags=info.flags,
        managed_identity_id=info.record.managed_identity_id,
        leaf_pem=info.chain_pem,
    )
    owe(turn, body, occasion, by_charger=False)


def conclude(turn: Turn, reason: str) -> None:
    """State that the session is over; the last thing it says."""
    body = SessionClosed(session_id=turn.state.info.session_id, reason=reason)
    owe(turn, body, "", by_charger=False)


def _evidence(turn: Turn, body: EvidenceBody, message_id: str, by_charger: bool) -> Evidence:
    info = turn.state.info
    return Evidence(
        evidence_id=evidence_id(info.session_id, message_id, kind_name(body)),
        charger_id=info.charger_id,
        source="charger" if by_charger else f"node:{info.node}",
        observed_at=turn.now.utc,
        body=body,
    )
