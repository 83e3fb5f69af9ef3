"""Supervisors paused, resumed and drained in the fleet's partition: a pause is an event, with its author and reason."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bfactors import command as c
from bfactors import event as e
from bfactors.fleet.state import FleetFacts, SupervisorPause
from bfactors.refusal import Refusal

_STATES = {"pause": "paused", "resume": "running", "drain": "draining"}
_KINDS = ("family", "cohort", "purpose", "scheme", "ledger")
_RUNNING = "running"


def told(
    facts: FleetFacts, command: c.SetSupervisorState, actor: str, now: datetime
) -> e.SupervisorStateSet | Refusal | None:
    """What telling one leads to; None if it stands so already."""
    if command.kind not in _KINDS:
        return Refusal("unknown-supervisor", f"no supervisor is a {command.kind!r}", "kind", 404)
    if command.action not in _STATES:
        return Refusal("invalid-value", "pause, resume or drain", "action")
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    known = facts.pauses.get(f"{command.kind}/{command.name}")
    wanted = _STATES[command.action]
    if (known.state if known is not None else _RUNNING) == wanted:
        return None
    return e.SupervisorStateSet(
        kind=command.kind, name=command.name, state=wanted, reason=command.reason, by=actor, at=now
    )


def body(command: c.SetSupervisorState) -> dict[str, Any]:
    """What the command is answered with."""
    state = _STATES[command.action]
    return {"kind": command.kind, "name": command.name, "state": state, "reason": command.reason}


def changed(pauses: Mapping[str, SupervisorPause], event: e.SupervisorStateSet) -> dict[str, SupervisorPause]:
    """What is not to run, after the event."""
    name = f"{event.kind}/{event.name}"
    after = {key: pause for key, pause in pauses.items() if key != name}
    if event.state != _RUNNING:
        after[name] = SupervisorPause(
            kind=event.kind,
            name=event.name,
            state=event.state,
            reason=event.reason,
            by=event.by,
            at=event.at,
        )
    return after
