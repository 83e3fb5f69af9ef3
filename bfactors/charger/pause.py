"""Which pause holds a charger's new steps."""

from datetime import datetime, timedelta

from bfactors.charger.draft import Draft
from bfactors.charger.state import ChargerState, JobState, slot_key
from bfactors.policy import Policy


def holder(draft: Draft, job: JobState) -> tuple[str, str] | None:
    """Which pause holds new steps of this job, as (held_by, reason); none inside the last-safe days."""
    if is_urgent(draft.state, job, draft.policy(job.purpose), draft.now):
        return None
    if draft.state.paused_reason is not None:
        return f"charger/{draft.state.charger_id}", draft.state.paused_reason
    pauses = draft.context.facts.pauses
    for key in (f"family/{draft.state.family}", f"cohort/{draft.state.cohort}", f"purpose/{job.purpose}"):
        pause = pauses.get(key)
        if pause is not None:
            return key, pause.reason
    return None


def is_urgent(state: ChargerState, job: JobState, policy: Policy, now: datetime) -> bool:
    """The certificate in use ends so soon that its replacement must not wait for anybody."""
    slot = state.slots.get(slot_key(job.purpose, job.variant))
    current = state.certificates.get(slot.current) if slot is not None and slot.current else None
    return current is not None and current.not_after - now <= timedelta(days=policy.last_safe_days)
