"""A CA slower than the charger has patience: said as soon as it is so; what comes late is delivered all the same.

A charger keeps the key of a CSR for a while only (EVerest for an hour), and need not say that it has thrown it away; one whose
CertSigningWaitMinimum is known sends another CSR after that long (A02.FR.17), perhaps of another key.
"""

from datetime import datetime, timedelta

from bfactors import event as e
from bfactors.charger.draft import Draft
from bfactors.charger.state import ChargerState, JobState
from bfactors.policy import Policy

CODE = "authority-slower-than-charger"
_MESSAGE = "the CA has had the CSR for longer than the charger waits for its certificate"


def reason(job: JobState, news: str = "") -> tuple[str, str] | None:
    """What such a job says of itself, with what the CA last said; None: its CA is not that slow."""
    if not job.is_authority_slow:
        return None
    return CODE, f"{_MESSAGE}; {news}" if news else _MESSAGE


def slow_at(state: ChargerState, policy: Policy, job: JobState) -> datetime | None:
    """When its CA counts as that slow; None: it has nothing in hand, or counts so already.

    What the charger says of its own patience goes before what policy supposes.
    """
    if job.attempt is None or job.csr_at is None or job.is_authority_slow:
        return None
    patience_s = state.capabilities.csr_wait_s or policy.charger_patience_s
    return job.csr_at + timedelta(seconds=patience_s)


def rang(draft: Draft, job: JobState) -> None:
    """The charger's patience may be over."""
    at = slow_at(draft.state, draft.policy(job.purpose), job)
    if at is None or at > draft.now or job.csr_at is None:
        return
    waited_s = int((draft.now - job.csr_at).total_seconds())
    draft.record(e.AuthoritySlowerThanCharger(job_id=job.job_id, waited_s=waited_s))
    job = draft.state.jobs[job.job_id]
    draft.stage(job, job.stage, waiting_for=job.waiting_for, reason=reason(job), due_at=job.due_at)
