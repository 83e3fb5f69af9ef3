"""What makes a fleet command one that may need a second person."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from bfactors import event as e
from bfactors.approval import Approval
from bfactors.fleet.state import FleetFacts
from bfactors.policy import Policy


def _nothing(facts: FleetFacts, command: Any) -> str:
    return ""


def _no_events(command: Any, approval: Approval) -> tuple[e.FleetEvent, ...]:
    return ()


class ApprovalKind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind, by the commands it holds back. Everything here is pure and called in the fleet's partition.

    `concerns`: which of these commands. `policy`: whose `approvals_needed` and `approval_valid_hours` count. `subject`: what it
    is about, for people. `basis`: names the state a command was written against; if that changes while it waits, the
    approval ends as stale.
    `ageing`: fields of the command that say how the projections stood, and have defaults. They are no part of what is approved;
    they are read afresh by whoever approves it, and a field that was not read has its default.
    `passing`: codes of refusals that pass by themselves: met when it is approved, they leave the approval open.
    `asked` picks from what doing it at once would have recorded what is recorded beside the approval; `not_given` are events
    beside its end when it is not given.
    """

    name: str
    commands: tuple[type, ...]
    subject: Callable[[Any], str]
    policy: Callable[[FleetFacts, Any], Policy]
    basis: Callable[[FleetFacts, Any], str] = _nothing
    ageing: tuple[str, ...] = ()
    passing: frozenset[str] = frozenset()
    concerns: Callable[[Any], bool] = lambda command: True
    is_always_needed: Callable[[FleetFacts, Any, datetime], bool] = lambda facts, command, now: False
    asked: Callable[[tuple[e.FleetEvent, ...]], tuple[e.FleetEvent, ...]] = lambda would_be: ()
    not_given: Callable[[Any, Approval], tuple[e.FleetEvent, ...]] = _no_events

    def is_needed(self, facts: FleetFacts, command: Any, now: datetime) -> bool:
        """Whether somebody else must agree before it is done."""
        if not self.concerns(command):
            return False
        needed = self.policy(facts, command).approvals_needed
        return self.name in needed or self.is_always_needed(facts, command, now)
