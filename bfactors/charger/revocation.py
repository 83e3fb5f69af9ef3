"""What the edge, the CA and its lists say to a revocation, and what each of them ends.

Asked for, it is in force here at once. The rest are facts that come in any order, some of them never: that every gateway
has it, that the CA has, that the CA says so to everybody. A list is signed by the CA: what stands on it, the CA has revoked.
"""

from datetime import datetime, timedelta

from bfactors import event as e
from bfactors import evidence as v
from bfactors.charger import departure
from bfactors.charger.draft import Draft
from bfactors.charger.own_policy import policy_of
from bfactors.charger.state import CertificateRecord, ChargerState, JobState
from bfactors.fleet.state import FleetFacts
from bfactors.purpose import purpose
from bfactors.revocation_source import sources_in

NOWHERE = ("no-list-named", "the certificate names no list and no responder, so nobody else can look it up")


def refused_at_edge(draft: Draft, body: v.RefusalConfirmed) -> None:
    """Every gateway has the record: each revocation that it holds is in force everywhere."""
    for certificate in list(draft.state.certificates.values()):
        if awaits_edge(certificate) and certificate.refusal_revision <= body.revision:
            draft.record(
                e.CertificateRefusedAtEdge(
                    job_id=certificate.revocation_job_id,
                    certificate_id=certificate.certificate_id,
                    refused_at=body.at,
                    nodes=body.nodes,
                )
            )


def awaits_edge(certificate: CertificateRecord) -> bool:
    """Whether gateways were told to refuse it and have not all said that they do."""
    return (
        certificate.revocation_requested_at is not None
        and certificate.refused_at_edge_at is None
        and purpose(certificate.purpose).is_session_credential
    )


def edge_revision(state: ChargerState) -> int | None:
    """The revision of the admission record that all gateways are to confirm; None: there is nothing to confirm."""
    waiting = [each.refusal_revision for each in state.certificates.values() if awaits_edge(each)]
    return max(waiting, default=None)


def accepted(draft: Draft, certificate_id: str, revoked_at: datetime) -> None:
    """The CA has revoked it, asked by us or not: whoever wanted that has it."""
    certificate = draft.state.certificates.get(certificate_id)
    if certificate is None or certificate.state == "revoked":
        return
    draft.record(
        e.CertificateRevoked(
            certificate_id=certificate_id, revoked_at=revoked_at, job_id=certificate.revocation_job_id
        )
    )
    certificate = draft.state.certificates[certificate_id]
    if certificate.awaits_publication and sources_in(certificate.chain_pem).is_none:
        _unpublished(draft, certificate, NOWHERE, is_over=True)
    for job in _jobs_of(draft, certificate_id):
        if draft.policy(job.purpose).revocation_done == "ca":
            draft.record(e.CertificateJobSucceeded(job_id=job.job_id, certificate_id=certificate_id))
        else:
            _follow(draft, job)


def _jobs_of(draft: Draft, certificate_id: str) -> list[JobState]:
    jobs = draft.state.jobs.values()
    return [job for job in jobs if job.action == "revoke" and job.certificate_id == certificate_id]


def _follow(draft: Draft, job: JobState) -> None:
    """A job that is done only when everybody can know of it."""
    certificate = draft.state.certificates[job.certificate_id or ""]
    if certificate.publication is not None:
        draft.record(e.CertificateJobSucceeded(job_id=job.job_id, certificate_id=certificate.certificate_id))
    elif certificate.is_publication_over:
        code, message = certificate.unpublished or NOWHERE
        draft.fail(job, code, f"the CA has revoked it, but {message}")
    else:
        draft.stage(job, "revoking", waiting_for="publication")


def refused(draft: Draft, body: v.RevocationRefused) -> None:
    """The CA would not; the edge keeps refusing the certificate all the same, and an operator must look."""
    certificate = draft.state.certificates.get(body.certificate_id)
    if certificate is None or certificate.state == "revoked":
        return
    for job in _jobs_of(draft, body.certificate_id):
        if job.reason_code != body.code:
            draft.stage(job, "revoking", waiting_for="operator", reason=(body.code, body.message))
    if departure.is_left_behind(draft.state, certificate):
        departure.refused_by_ca(draft, body.code, body.message)


# ---------------------------------------------------------------- what everybody can know


def listed(draft: Draft, body: v.RevocationListed) -> None:
    """The CA says so to everybody; if its answer to us is still on its way, or lost, this is as good."""
    certificate = draft.state.certificates.get(body.certificate_id)
    if certificate is None or certificate.revocation_requested_at is None:
        return
    if certificate.publication is not None:
        return
    if certificate.contradicted_by and body.this_update < certificate.revocation_requested_at:
        return  # a list of before the CA took the revocation back
    draft.record(
        e.CertificateRevocationPublished(
            job_id=certificate.revocation_job_id,
            certificate_id=certificate.certificate_id,
            published_at=draft.now,
            source=body.source,
            address=body.address,
            list_number=body.list_number,
            this_update=body.this_update,
            listed_revoked_at=body.revoked_at,
        )
    )
    accepted(draft, certificate.certificate_id, body.revoked_at)
    for job in _jobs_of(draft, certificate.certificate_id):
        _follow(draft, job)


def unlisted(draft: Draft, body: v.RevocationUnlisted) -> None:
    """Nobody looks for it any more."""
    certificate = draft.state.certificates.get(body.certificate_id)
    if certificate is None or not certificate.awaits_publication:
        return
    _unpublished(draft, certificate, (body.code, body.message), is_over=True)
    if certificate.state == "revoked":
        for job in _jobs_of(draft, certificate.certificate_id):
            _follow(draft, job)


def rang(draft: Draft, certificate: CertificateRecord) -> None:
    """The CA's list is late."""
    due_at = unpublished_at(draft.state, draft.context.facts, certificate, draft.now)
    if due_at is None or due_at > draft.now:
        return
    minutes = draft.policy(certificate.purpose).publication_wait_s // 60
    message = (
        f"{minutes} minutes after the CA accepted the revocation, neither its list nor its responder says so"
    )
    _unpublished(draft, certificate, ("not-published-in-time", message), is_over=False)
    for job in _jobs_of(draft, certificate.certificate_id):
        late = e.CertificateJobOverdue(
            job_id=job.job_id, reason_code="not-published-in-time", reason_message=message
        )
        draft.record(late)


def unpublished_at(
    state: ChargerState, facts: FleetFacts, certificate: CertificateRecord, now: datetime
) -> datetime | None:
    """When it is to be said that a revocation is not published; None: it is, it was said, or there is nothing to wait for."""
    if certificate.revoked_at is None or certificate.unpublished or not certificate.awaits_publication:
        return None
    policy = policy_of(state, facts, certificate.purpose, now)
    return certificate.revoked_at + timedelta(seconds=policy.publication_wait_s)


def _unpublished(
    draft: Draft, certificate: CertificateRecord, reason: tuple[str, str], *, is_over: bool
) -> None:
    draft.record(
        e.CertificateRevocationUnpublished(
            job_id=certificate.revocation_job_id,
            certificate_id=certificate.certificate_id,
            reason_code=reason[0],
            reason_message=reason[1],
            is_over=is_over,
        )
    )
