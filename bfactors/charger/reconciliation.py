"""What the CA's own records say of a charger's certificates, against what the ledger says of them."""

from bfactors import event as e
from bfactors.charger.draft import Draft
from bfactors.charger.state import Attempt, JobState

WAITING_FOR = "reconciliation"
AWAITING = "awaiting-reconciliation"


def begin(draft: Draft, job: JobState, attempt: Attempt) -> None:
    """The attempt's call may have gone through: look before asking again, or the CA may sign the same key twice."""
    draft.record(e.IssuanceReconciliationStarted(job_id=job.job_id, attempt=attempt.number))
    message = (
        f"attempt {attempt.number} may have been signed before its answer was lost; "
        "the CA's next audit report tells, and one is made in 30 minutes at most"
    )
    draft.stage(draft.state.jobs[job.job_id], "issuing", waiting_for=WAITING_FOR, reason=(AWAITING, message))


def adopt(draft: Draft, job: JobState, attempt: int, external_ref: str, report_ref: str) -> None:
    """The certificate is there and only its answer was lost: go on as if that had come."""
    adopted = e.IssuanceAdopted(
        job_id=job.job_id, attempt=attempt, external_ref=external_ref, report_ref=report_ref
    )
    draft.record(adopted)
    draft.stage(draft.state.jobs[job.job_id], "issuing", waiting_for="ca")
