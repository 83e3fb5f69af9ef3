"""Policy's blackout hours, applied: what interrupts a charger waits for their end, unless its certificate cannot."""

from datetime import datetime

from bfactors.blackout import ends_at
from bfactors.charger.draft import Draft
from bfactors.charger.pause import is_urgent
from bfactors.charger.state import ChargerState, JobState
from bfactors.policy import Policy

_HELD_BY = "blackout/"


def until(state: ChargerState, job: JobState, policy: Policy, at: datetime) -> datetime | None:
    """Until when something that interrupts the charger has to wait at that moment; None: it need not."""
    if not policy.blackout_hours or is_urgent(state, job, policy, at):
        return None
    return ends_at(policy.blackout_hours, at)


def hold(draft: Draft, job: JobState) -> bool:
    """Whether the next step, one that interrupts the charger, is held back; the job says by what and until when."""
    ends = until(draft.state, job, draft.policy(job.purpose), draft.now)
    if ends is None:
        return False
    message = (
        f"what interrupts the charger waits for the end of the blackout hours, {ends:%Y-%m-%d %H:%M} UTC"
    )
    draft.stage(job, "held", held_by=f"{_HELD_BY}{ends:%H:%M}", reason=("blackout-hours", message))
    return True


def lifted_at(state: ChargerState, job: JobState, policy: Policy, now: datetime) -> datetime | None:
    """When a job held for this goes on; None: it is not held for this."""
    if job.held_by is None or not job.held_by.startswith(_HELD_BY):
        return None
    return until(state, job, policy, now) or now
