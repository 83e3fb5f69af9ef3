"""A migration case as the API shows it: with its charger, and in the list of all of them."""

from datetime import datetime
from typing import Any

import msgspec

from bfactors.charger.own_policy import policy_of
from bfactors.charger.prerequisite import Question, check, next_profile
from bfactors.charger.state import ChargerState, MigrationState
from bfactors.fleet.state import FleetFacts
from bfactors.instruction import kind_name
from bfactors.ledger_row import MigrationRow
from bfactors.purpose import session_purpose

_encode = msgspec.json.Encoder().encode


def body(state: ChargerState) -> dict[str, Any] | None:
    """The charger's case, the last one if it has ended; None if it never had one."""
    case = state.migration
    if case is None:
        return None
    return {
        "job_id": case.job_id,
        "state": case.state,
        "step": _step(state, case),
        "reason": case.reason_message,
        "reason_code": case.reason_code,
        "from_profile": case.from_profile,
        "to_profile": case.to_profile,
        "target_profile": case.target_profile,
        "missing": list(case.missing),
        "failures": case.failures,
        "opened_at": case.opened_at,
        "ended_at": case.ended_at,
        "next_try_at": case.not_before,
        "approval_id": case.approval_id,
        "ends_at": case.ends_at,
    }


def row(state: ChargerState) -> MigrationRow | None:
    """The case's row in the list of all of them."""
    case = state.migration
    if case is None:
        return None
    about = {
        "charger_id": state.charger_id,
        "family": state.family,
        "cohort": state.cohort,
        "last_seen_at": state.last_seen_at,
    }
    return MigrationRow(
        charger_id=state.charger_id,
        family=state.family,
        cohort=state.cohort,
        state=case.state,
        opened_at=case.opened_at or state.registered_at,
        doc=_encode(about | (body(state) or {})),
    )


def _step(state: ChargerState, case: MigrationState) -> str:
    """What is being done now."""
    if not case.is_under_way:
        return "done" if case.state == "completed" else "given-up"
    if case.state == "pending":
        return "prerequisites" if case.missing else "waiting"
    if case.state == "rollback":
        way = state.way_back
        return "approval" if way is None else "open" if way.used_at is None else "used"
    if case.state == "quarantine":
        return "operator"
    if case.awaits_reconnect:
        return "reconnect"
    for instruction in state.instructions.values():
        if instruction.job_id == case.job_id:
            return kind_name(instruction.body)
    return case.step or "waiting"


def prerequisites(state: ChargerState, facts: FleetFacts, now: datetime) -> list[dict[str, Any]]:
    """Every check of the stage that the charger is at, or would be at if it were told to migrate now."""
    case = state.migration
    under_way = case is not None and case.is_under_way
    target = case.target_profile if case is not None and under_way else state.target_security_profile
    policy = policy_of(state, facts, session_purpose().name, now)
    question = Question(state, facts, policy, next_profile(state, target), now)
    return [{"code": one.code, "met": one.is_met, "message": one.message} for one in check(question)]
