"""Which pause holds a charger's new steps."""

from datetime import datetime, timedelta

from bfactors.admission import EXPIRED_FLAG
from bfactors.charger.draft import Draft
from bfactors.charger.state import ChargerState, JobState, slot_of
from bfactors.fleet.state import FleetFacts
from bfactors.policy import Policy
from bfactors.purpose import purpose


def holder(draft: Draft, job: JobState) -> tuple[str, str] | None:
    """Which pause holds new steps of this job, as (held_by, reason); none inside the last-safe days."""
    return holder_of(draft.state, draft.context.facts, draft.policy(job.purpose), job, draft.now)


def holder_of(
    state: ChargerState, facts: FleetFacts, policy: Policy, job: JobState, now: datetime
) -> tuple[str, str] | None:
    """As `holder`, where no decision is being made."""
    if is_urgent(state, job, policy, now):
        return None
    if state.paused_reason is not None:
        return f"charger/{state.charger_id}", state.paused_reason
    for key in (f"family/{state.family}", f"cohort/{state.cohort}", f"purpose/{job.purpose}"):
        pause = facts.pauses.get(key)
        if pause is not None:
            return key, pause.reason
    return None


def is_urgent(state: ChargerState, job: JobState, policy: Policy, now: datetime) -> bool:
    """Its replacement must not wait for anybody: the certificate in use ends so soon, has ended, or its key is compromised."""
    return replaces_compromised(state, job) or is_close_to_its_end(
        state, slot_of(job), policy, now, opens_sessions=purpose(job.purpose).is_session_credential
    )


def is_close_to_its_end(
    state: ChargerState, slot_name: str, policy: Policy, now: datetime, *, opens_sessions: bool
) -> bool:
    """Whether the certificate in use is in its last safe days, or past its end."""
    if opens_sessions and state.session is not None and EXPIRED_FLAG in state.session.flags:
        return True
    slot = state.slots.get(slot_name)
    current = state.certificates.get(slot.current) if slot is not None and slot.current else None
    return current is not None and current.not_after - now <= timedelta(days=policy.last_safe_days)


def replaces_compromised(state: ChargerState, job: JobState) -> bool:
    """Whether nothing stands in the slot because the key that stood there is compromised."""
    if job.action not in ("issue", "renew"):
        return False
    wanted = slot_of(job)
    slot = state.slots.get(wanted)
    return (slot is None or slot.current is None) and any(
        certificate.is_key_compromised and slot_of(certificate) == wanted
        for certificate in state.certificates.values()
    )
