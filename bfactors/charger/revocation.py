"""What the CA says to a revocation, and what that ends."""

from datetime import datetime

from bfactors import event as e
from bfactors import evidence as v
from bfactors.charger.draft import Draft


def accepted(draft: Draft, certificate_id: str, revoked_at: datetime) -> None:
    """The CA has revoked it, asked by us or not: whoever wanted that has it."""
    certificate = draft.state.certificates.get(certificate_id)
    if certificate is None or certificate.state == "revoked":
        return
    draft.record(e.CertificateRevoked(certificate_id=certificate_id, revoked_at=revoked_at))
    for job in list(draft.state.jobs.values()):
        if job.action == "revoke" and job.certificate_id == certificate_id:
            draft.record(e.CertificateJobSucceeded(job_id=job.job_id, certificate_id=certificate_id))


def refused(draft: Draft, body: v.RevocationRefused) -> None:
    """The CA would not; the edge keeps refusing the certificate all the same, and an operator must look."""
    for job in list(draft.state.jobs.values()):
        if (
            job.action == "revoke"
            and job.certificate_id == body.certificate_id
            and job.reason_code != body.code
        ):
            draft.stage(job, "revoking", waiting_for="operator", reason=(body.code, body.message))
