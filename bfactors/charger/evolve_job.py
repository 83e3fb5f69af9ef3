"""How a job's events change the charger they are about."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from bfactors import event as e
from bfactors.charger.evolve_key import told_again
from bfactors.charger.evolve_migration import job_ended
from bfactors.charger.pending_key import ROTATE_KEY
from bfactors.charger.state import (
    COLLECT_LOG,
    Attempt,
    ChargerState,
    EndedJob,
    JobState,
    slot_of,
)

JobEvent = (
    e.CertificateRequested
    | e.CertificateRenewalStarted
    | e.CertificateJobStageChanged
    | e.CertificateJobOverdue
    | e.ReconnectStepTaken
    | e.ReconnectedWithOldCertificate
    | e.CertificateDiscarded
    | e.CertificateJobFailed
    | e.CertificateJobSucceeded
    | e.CertificateJobCancelled
    | e.CSRValidated
    | e.AuthoritySlowerThanCharger
    | e.CSRRefused
    | e.CertificateIssueRequested
    | e.IssuanceReferenceRecorded
    | e.IssuanceReconciliationStarted
    | e.IssuanceAdopted
    | e.IssuanceInDoubt
    | e.IssuanceLapsed
)
CHARGER_INITIATED = "charger-initiated"
"""Why a renewal was due that the charger began by itself."""
A_DAY = timedelta(days=1)
_OWN_RENEWALS_KEPT = 64
_ENDED_KEPT = 16
_FIRST_REST = timedelta(minutes=15)
_LONGEST_REST = timedelta(hours=6)
_KEY_RESTS = timedelta(days=1)
"""After a rotation, well ended or not, before a rule of ours starts the next."""


def job_changed(state: ChargerState, event: JobEvent, now: datetime) -> ChargerState:
    """The state after one of a job's events; an event of a job that is not open changes nothing."""
    if isinstance(event, e.CertificateRequested):
        return replace(state, jobs={**state.jobs, event.job_id: _opened(state, event, now)})
    job = state.jobs.get(event.job_id)
    if job is None:
        return state
    match event:
        case e.CertificateJobStageChanged():
            return _staged(state, job, event)
        case e.CertificateJobOverdue():
            job = replace(
                job,
                overdue=True,
                reason_code=event.reason_code,
                reason_message=event.reason_message,
                due_at=job.due_at if job.due_at is not None and job.due_at > now else None,
            )
        case e.ReconnectStepTaken():
            job = replace(job, ladder=(*job.ladder, event.step), ladder_at=now)
        case e.ReconnectedWithOldCertificate():
            job = replace(job, old_reconnects=job.old_reconnects + 1)
        case e.CertificateDiscarded():
            job = _from_the_beginning(job)
        case e.CertificateJobFailed() | e.CertificateJobCancelled():
            return _renewal_rests(_ended(state, job, now), job, now)
        case e.CertificateJobSucceeded():
            return _ended(state, job, now)
        case e.CertificateRenewalStarted():
            return _renewal_started(_own_renewal_counted(state, event, now), event)
        case e.CertificateIssueRequested():
            job = replace(_from_the_beginning(job), attempt=_attempt(event), attempts=event.attempt)
        case e.IssuanceReferenceRecorded() | e.IssuanceAdopted():
            if job.attempt is not None and job.attempt.number == event.attempt:
                named = replace(job.attempt, external_ref=event.external_ref, is_reconciling=False)
                job = replace(job, attempt=named)
        case e.IssuanceReconciliationStarted():
            if job.attempt is not None and job.attempt.number == event.attempt:
                job = replace(job, attempt=replace(job.attempt, is_reconciling=True))
        case e.CSRValidated():
            job = replace(job, request_id=event.request_id, csr_at=now, is_authority_slow=False)
        case e.AuthoritySlowerThanCharger():
            job = replace(job, is_authority_slow=True)
        case e.CSRRefused() | e.IssuanceInDoubt() | e.IssuanceLapsed():
            return state
    return replace(state, jobs={**state.jobs, job.job_id: job})


def _from_the_beginning(job: JobState) -> JobState:
    """Without the leaf it had, and what was done to have that used."""
    return replace(job, certificate_id=None, ladder=(), ladder_at=None, old_reconnects=0)


def _opened(state: ChargerState, event: e.CertificateRequested, now: datetime) -> JobState:
    return JobState(
        job_id=event.job_id,
        purpose=event.purpose,
        variant=event.variant,
        action=event.action,
        reason=event.reason,
        created_at=now,
        deadline_at=event.deadline_at,
        policy_version=event.policy_version,
        certificate_id=event.certificate_id,
        target=event.target,
        fingerprint_sha256=event.fingerprint_sha256,
        list_after=state.revision + 1,
        part=event.managed_identity_id if event.managed_identity_id in state.parts else "",
    )


def _staged(state: ChargerState, job: JobState, event: e.CertificateJobStageChanged) -> ChargerState:
    staged = replace(
        job,
        stage=event.stage,
        waiting_for=event.waiting_for,
        held_by=event.held_by,
        reason_code=event.reason_code,
        reason_message=event.reason_message,
        due_at=event.due_at,
        failures=job.failures + 1 if event.failed else job.failures,
        overdue=job.overdue and event.stage == job.stage and not event.failed,
        carried_out=job.carried_out and not event.failed,
    )
    if event.failed:
        state = told_again(state, job.job_id)  # it starts again from its first step
    return replace(state, jobs={**state.jobs, job.job_id: staged})


def _without_log(state: ChargerState, job: JobState) -> ChargerState:
    """Nobody waits for this job's log any more: its ticket ends with it."""
    if job.action != COLLECT_LOG:
        return state
    return replace(
        state,
        logs=tuple(
            replace(log, state="failed") if log.job_id == job.job_id and log.state == "requested" else log
            for log in state.logs
        ),
    )


def _ended(state: ChargerState, job: JobState, now: datetime) -> ChargerState:
    state = job_ended(_without_log(state, job), job.job_id, now)
    if job.action == ROTATE_KEY:
        state = replace(state, key_rests_until=now + _KEY_RESTS)
    jobs = {job_id: other for job_id, other in state.jobs.items() if job_id != job.job_id}
    ended = (
        *state.ended_jobs,
        EndedJob(job.job_id, job.purpose, job.variant, job.action, now, part=job.part),
    )
    return replace(state, jobs=jobs, ended_jobs=ended[-_ENDED_KEPT:])


def _own_renewal_counted(
    state: ChargerState, event: e.CertificateRenewalStarted, now: datetime
) -> ChargerState:
    if event.due_reason != CHARGER_INITIATED:
        return state
    job = state.jobs.get(event.job_id)
    if job is not None and job.part:
        slot = slot_of(job)
        counted = (*_within_a_day(state.part_renewals.get(slot, ()), now), now)[-_OWN_RENEWALS_KEPT:]
        return replace(state, part_renewals={**state.part_renewals, slot: counted})
    return replace(state, own_renewals=(*_within_a_day(state.own_renewals, now), now)[-_OWN_RENEWALS_KEPT:])


def _within_a_day(moments: tuple[datetime, ...], now: datetime) -> tuple[datetime, ...]:
    return tuple(at for at in moments if now - at < A_DAY)


def _renewal_started(state: ChargerState, event: e.CertificateRenewalStarted) -> ChargerState:
    certificate = state.certificates.get(event.replaces_certificate_id)
    if certificate is None:
        return state
    certificate = replace(
        certificate,
        renewals=certificate.renewals + 1,
        is_being_replaced=bool(certificate.incident_id),
    )
    return replace(state, certificates={**state.certificates, certificate.certificate_id: certificate})


def _renewal_rests(state: ChargerState, job: JobState, now: datetime) -> ChargerState:
    """A job that came to nothing leaves its certificate as due as before; the next try comes after a rest."""
    if job.action not in ("issue", "renew"):
        return state
    slot = state.slots.get(slot_of(job))
    certificate = state.certificates.get(slot.current) if slot is not None and slot.current else None
    if certificate is None:
        return state
    rest = min(_FIRST_REST * 2 ** min(certificate.renewals, 8), _LONGEST_REST)
    certificate = replace(certificate, renewal_due=False, renew_again_at=now + rest)
    return replace(state, certificates={**state.certificates, certificate.certificate_id: certificate})


def _attempt(event: e.CertificateIssueRequested) -> Attempt:
    return Attempt(
        number=event.attempt,
        token=event.token,
        authority_arn=event.authority_arn,
        template=event.template,
        signing_algorithm=event.signing_algorithm,
        csr_pem=event.csr_pem,
        spki_sha256=event.spki_sha256,
        not_before=event.not_before,
        not_after=event.not_after,
        call_before=event.call_before,
    )
