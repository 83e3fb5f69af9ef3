"""How far a token reaches that is limited to cohorts: chargers of these, and nothing that is about the whole fleet.

Checked in the partition that decides, in the same transaction: a charger that has just been moved is out of reach at once. The
edge checks what it reads; what it does not know it leaves to this.
"""

from collections.abc import Collection

from bfactors import command as c
from bfactors.charger.state import ChargerState
from bfactors.refusal import Refusal
from bfactors.waiver import CHARGER, parse_subject

COHORT_SUPERVISOR = "cohort"


def out_of_reach(envelope: c.CommandEnvelope, state: ChargerState | None) -> Refusal | None:
    """Why whoever sent the command may not send it about this. `state` is that of the charger it names, if it is known."""
    if envelope.cohorts is None:
        return None
    body = envelope.body
    if getattr(body, "charger_id", None) is None:
        return _of_fleet(body, envelope.cohorts)
    touched = [] if state is None else [state.cohort]
    wanted = getattr(body, "cohort", None)  # of a registration, or where a charger is to be moved
    touched += [] if wanted is None else [wanted]
    for cohort in touched:
        if cohort not in envelope.cohorts:
            return other_cohort(envelope.cohorts)
    return None


def _of_fleet(body: c.Command, cohorts: Collection[str]) -> Refusal | None:
    """The two things of the fleet's partition that can be about one cohort alone: its pause, and a waiver."""
    if isinstance(body, c.DecideFleetApproval) and body.verdict == "withdraw":
        return None  # its author's alone
    match body:
        case c.SetSupervisorState(kind=kind, name=name):
            cohort = name if kind == COHORT_SUPERVISOR else None
        case c.RequestWaiver():
            kind, name = parse_subject(body.subject) or ("", "")
            cohort = body.cohort if kind == CHARGER else name
        case _:
            cohort = None
    if cohort is None:
        return fleet_wide(cohorts)
    return None if cohort in cohorts else other_cohort(cohorts)


def other_cohort(cohorts: Collection[str]) -> Refusal:
    """It is about a charger, or a cohort, beyond the token's."""
    message = f"this is about another cohort; the token is limited to {_listed(cohorts)}"
    return Refusal("other-cohort", message, status=403)


def fleet_wide(cohorts: Collection[str]) -> Refusal:
    """It is about everybody."""
    message = f"this reaches the whole fleet; the token is limited to {_listed(cohorts)}"
    return Refusal("fleet-wide", message, status=403)


def _listed(cohorts: Collection[str]) -> str:
    shown = sorted(cohorts)[:5]
    more = f" and {len(cohorts) - len(shown)} more" if len(cohorts) > len(shown) else ""
    return f"the cohort{'s' if len(cohorts) > 1 else ''} {', '.join(shown)}{more}" if cohorts else "no cohort"
