"""A log of a charger: asked for, uploaded, and here only when the receiver holds it - whatever the charger says of it.

One request at a time: a newer one ends the one before it, as the charger does (OCPP 2.0.1 N01). A log that arrives after
its job has ended is kept all the same.
"""

from datetime import timedelta
from typing import assert_never

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.charger.draft import Draft
from bfactors.charger.pause import holder
from bfactors.charger.state import COLLECT_LOG, ChargerState, InstructionState, JobState, LogRequest
from bfactors.instruction import CollectLog
from bfactors.ocpp import Answered, CallFailed, Disconnected, Outcome, Silent
from bfactors.purpose import session_purpose
from bfactors.refusal import Refusal

_STAGE = "awaiting-external"
_BEGUN = frozenset({"Accepted", "AcceptedCanceled"})
_CANNOT = frozenset({"NotSupported", "NotImplemented"})
_AWAY = "SecretUnavailable"
_FAILED = frozenset(
    {"BadMessage", "NotSupportedOperation", "PermissionDenied", "UploadFailure", "AcceptedCanceled"}
)


def requested(draft: Draft, command: c.RequestLog) -> Refusal | str:
    """Open the job that brings the log; returns its id. The same job id again is the same job."""
    if command.job_id in draft.state.jobs:
        return command.job_id
    if any(ended.job_id == command.job_id for ended in draft.state.ended_jobs):
        return Refusal("job-ended", "a job of this id has ended already", "job_id", 409)
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    if command.expires_at <= draft.now:
        return Refusal("ticket-expired", "the upload ticket has ended already", "expires_at")
    for job in list(draft.state.jobs.values()):
        if job.action == COLLECT_LOG:
            draft.fail(job, "log-superseded", "another log was asked for before this one was here")
    _open(draft, command)
    return command.job_id


def _open(draft: Draft, command: c.RequestLog) -> None:
    state = draft.state
    draft.record(
        e.CertificateRequested(
            job_id=command.job_id,
            managed_identity_id=state.managed_identity_id,
            charger_id=state.charger_id,
            purpose=session_purpose().name,
            variant="default",
            action=COLLECT_LOG,
            reason=command.reason,
            certificate_id=None,
            deadline_at=command.expires_at,
            policy_version=draft.context.facts.policies.version,
        )
    )
    draft.record(
        e.LogRequested(
            charger_id=state.charger_id,
            job_id=command.job_id,
            log_id=command.log_id,
            request_id=state.last_request_id + 1,
            log=command.log,
            oldest=command.oldest,
            latest=command.latest,
            secret_id=command.secret_id,
            ticket_hash=command.ticket_hash,
            credential_hash=command.credential_hash,
            max_bytes=command.max_bytes,
            expires_at=command.expires_at,
        )
    )


def plan(draft: Draft, job: JobState) -> None:
    """Have the charger told, once it is there; then it is waited for."""
    log = next((log for log in draft.state.logs if log.job_id == job.job_id), None)
    if log is None or log.is_accepted:
        return
    reason = (job.reason_code, job.reason_message or "") if job.failures and job.reason_code else None
    if reason is not None and job.failures >= draft.policy(job.purpose).max_attempts:
        draft.fail(job, *reason)
        return
    held = holder(draft, job)
    if held is not None:
        draft.stage(job, "held", held_by=held[0], reason=("paused", held[1]))
        return
    if draft.state.session is None:
        draft.stage(job, "awaiting-connection", waiting_for="connection", reason=reason)
        return
    if draft.outstanding(job.job_id, CollectLog) is None:
        body = CollectLog(
            log="security" if log.log == "security" else "diagnostics",
            request_id=log.request_id,
            secret_id=log.secret_id,
            oldest=log.oldest,
            latest=log.latest,
        )
        draft.open_instruction(job, body)
    draft.stage(job, _STAGE, waiting_for="charger", reason=reason)


def answered(draft: Draft, instruction: InstructionState, body: CollectLog, outcome: Outcome) -> None:
    """What the charger said to GetLog: that it will upload, that it will not, or nothing."""
    job = draft.state.jobs.get(instruction.job_id or "")
    match outcome:
        case Answered() if outcome.status in _BEGUN:
            draft.settle(instruction, "accepted", outcome.status)
            if job is not None:
                draft.record(
                    e.LogRequestAccepted(
                        charger_id=draft.state.charger_id,
                        job_id=job.job_id,
                        request_id=body.request_id,
                        file_name=outcome.file_name,
                        evidence_ref=draft.context.cause,
                    )
                )
                _await_upload(draft, job)
        case Answered():
            draft.settle(instruction, "rejected", outcome.status)
            _refused(draft, job, "log-refused-by-charger", outcome.status)
        case CallFailed(code=code, description=description):
            said = f"{code} {description}".strip()[:200]
            draft.settle(instruction, "call-error", said)
            if code == _AWAY and job is not None:
                draft.retry(job, "log-address-unavailable", "the upload address could not be opened")
            else:
                refused = "log-not-supported" if code in _CANNOT else "log-refused-by-charger"
                _refused(draft, job, refused, said)
        case Silent():
            draft.settle(instruction, "unknown", "no answer")
            if job is not None:
                draft.retry(job, "log-request-unanswered", "the charger did not answer the request for a log")
        case Disconnected():
            draft.settle(instruction, "unknown", "disconnected")  # asked again when it is back
        case _:
            assert_never(outcome)


def progressed(draft: Draft, body: v.LogStatusReported) -> None:
    """The charger says how far it is. `Uploaded` begins the grace in which the log must be here."""
    log = _meant(draft.state, body)
    if log is not None and log.status == body.status:
        return
    if log is None and body.status == "Idle":
        return  # what a charger says when it is asked and has nothing to do
    draft.record(
        e.LogStatusChanged(
            charger_id=draft.state.charger_id,
            job_id=log.job_id if log is not None else None,
            request_id=log.request_id if log is not None else body.request_id,
            status=body.status,
            evidence_ref=draft.context.cause,
        )
    )
    job = draft.state.jobs.get(log.job_id) if log is not None else None
    if job is None:
        return
    for instruction in list(draft.state.instructions.values()):
        if instruction.job_id == job.job_id:
            draft.settle(instruction, "observed", body.status)  # its answer was lost, or is still to come
    if body.status in _FAILED:
        draft.fail(job, "log-upload-failed", f"the charger reported {body.status}")
    elif body.status == "Uploaded":
        grace = timedelta(seconds=draft.policy(job.purpose).log_claim_grace_s)
        draft.stage(job, _STAGE, waiting_for="receiver", due_at=draft.now + grace)
    else:
        _await_upload(draft, job)


def uploaded(draft: Draft, body: v.LogUploaded) -> None:
    """The log is here, and that ends its job, whatever the charger says or does not say."""
    log = next((known for known in draft.state.logs if known.request_id == body.request_id), None)
    if log is None or log.state == "stored":
        return
    draft.record(
        e.LogStored(
            charger_id=draft.state.charger_id,
            job_id=log.job_id,
            log_id=log.log_id,
            request_id=log.request_id,
            sha256=body.sha256,
            size_bytes=body.size_bytes,
            stored_name=body.stored_name,
            file_name=body.file_name or log.file_name,
            remote_address=body.remote_address,
            evidence_ref=draft.context.cause,
        )
    )
    if log.job_id in draft.state.jobs:
        draft.withdraw_instructions(log.job_id)
        draft.record(e.CertificateJobSucceeded(job_id=log.job_id, certificate_id=None))


def rang(draft: Draft, job: JobState) -> None:
    """Time alone: a ticket that has ended, a claim that nothing came of, an upload that shows no progress."""
    log = next((log for log in draft.state.logs if log.job_id == job.job_id), None)
    if job.deadline_at <= draft.now:
        message = f"no log by {job.deadline_at:%Y-%m-%d %H:%M} UTC, when its ticket ended"
        draft.fail(job, "log-never-came", message)
    elif job.due_at is None or job.due_at > draft.now:
        return
    elif log is not None and log.claimed_at is not None:
        message = "the charger reported Uploaded, and nothing was uploaded to the address it was given"
        draft.fail(job, "uploaded-without-upload", message)
    else:
        message = "the charger accepted the request for a log and shows no progress"
        draft.record(
            e.CertificateJobOverdue(job_id=job.job_id, reason_code="log-overdue", reason_message=message)
        )


def _await_upload(draft: Draft, job: JobState) -> None:
    silence = timedelta(seconds=draft.policy(job.purpose).log_silence_s)
    draft.stage(job, _STAGE, waiting_for="upload", due_at=draft.now + silence)


def _refused(draft: Draft, job: JobState | None, code: str, said: str) -> None:
    if job is not None:
        draft.fail(job, code, f"the charger will not upload the log: {said}")


def _meant(state: ChargerState, body: v.LogStatusReported) -> LogRequest | None:
    """The request a status is about: by its number, or, from a charger that gives none, the open one."""
    if body.request_id is not None:
        return next((log for log in state.logs if log.request_id == body.request_id), None)
    if body.status == "Idle":
        return None
    return next((log for log in state.logs if log.job_id in state.jobs), None)
