"""Retention in the fleet's partition: what was decided for each kind of record, and what last went."""

from datetime import datetime
from typing import Any

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors.fleet.state import FleetState
from bfactors.refusal import Refusal
from bfactors.retention import KINDS, LastSweep, RetentionRule, days_of, problem


def decided(state: FleetState, command: c.SetRetention, actor: str) -> e.RetentionSet | Refusal | None:
    """What setting a kind's days leads to; None if they are as they were."""
    refusal = problem(command.kind, command.days)
    if refusal is not None:
        return refusal
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    rule = state.retention.get(command.kind)
    if rule is not None and rule.days == command.days:
        return None
    return e.RetentionSet(kind=command.kind, days=command.days, reason=command.reason, by=actor)


def swept(state: FleetState, command: c.RecordSweep) -> e.RetentionSwept | None:
    """What a run that deleted something leaves on record; the same run is recorded once."""
    last = state.swept.get(command.kind)
    if command.count < 1 or (last is not None and last.before >= command.before):
        return None
    return e.RetentionSwept(kind=command.kind, count=command.count, before=command.before)


def evolve(state: FleetState, event: e.RetentionSet | e.RetentionSwept, now: datetime) -> FleetState:
    """The fleet's state after one event."""
    if isinstance(event, e.RetentionSet):
        rule = RetentionRule(days=event.days, reason=event.reason, by=event.by, at=now)
        return msgspec.structs.replace(state, retention={**state.retention, event.kind: rule})
    last = LastSweep(at=now, count=event.count, before=event.before)
    return msgspec.structs.replace(state, swept={**state.swept, event.kind: last})


def body(state: FleetState, kind: str) -> dict[str, Any]:
    """A kind as the API shows it."""
    known, rule, last = KINDS[kind], state.retention.get(kind), state.swept.get(kind)
    return {
        "kind": kind,
        "what": known.what,
        "days": days_of(state.retention, kind),
        "default_days": known.default_days,
        "least_days": known.least_days,
        "most_days": known.most_days,
        "set": None if rule is None else {"reason": rule.reason, "by": rule.by, "at": rule.at},
        "last_swept": None if last is None else msgspec.structs.asdict(last),
    }
