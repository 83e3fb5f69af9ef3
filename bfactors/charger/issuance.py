"""From the charger's CSR to the CA's certificate: checks, intent, reference, result - each recorded in order."""

import hashlib
from datetime import timedelta

from bfactors import event as e
from bfactors import evidence as v
from bfactors.charger import request
from bfactors.charger.draft import Draft
from bfactors.charger.state import JobState
from bfactors.check import csr as csr_check
from bfactors.check.finding import Finding
from bfactors.command import RequestJob
from bfactors.fleet.state import Authority
from bfactors.instruction import ObtainCsr
from bfactors.purpose import purposes
from bfactors.x509 import SigningRequest, parse_certificates, pem_of

CALL_WINDOW = timedelta(minutes=4)
"""How long after the decision the CA may be called: inside the CA's 5-minute token window."""
CA_MARGIN = timedelta(hours=1)
"""No leaf is asked for that would outlive its CA; it ends this much earlier."""


def csr_received(draft: Draft, body: v.CsrReceived) -> None:
    """A CSR arrived: for the job that waits for one, or because the charger renews by itself (A03)."""
    spec = purposes().get(body.purpose)
    if spec is None or spec.identity_kind != "charger":
        return
    found = csr_check.read(body.csr)
    job = _job_for(draft, body.purpose)
    if job is None:
        job = _station_initiated(draft, body)
        if job is None:
            return
    if (
        job.attempt is not None
        and isinstance(found, SigningRequest)
        and job.attempt.spki_sha256 == found.spki_sha256
    ):
        return  # the same key again: its certificate is on its way
    trigger = draft.outstanding(job.job_id, ObtainCsr)
    if trigger is not None:
        draft.settle(trigger, "observed", "CSR received")
    refused = found if isinstance(found, Finding) else _first_finding(draft, job, found)
    fingerprint = found.fingerprint_sha256 if isinstance(found, SigningRequest) else _digest(body.csr)
    if refused is not None:
        draft.record(
            e.CSRRefused(
                job_id=job.job_id, csr_fingerprint=fingerprint, reason=refused.reason, message=refused.message
            )
        )
        draft.withdraw_instructions(job.job_id)
        draft.record(
            e.CertificateJobFailed(
                job_id=job.job_id, reason_code=refused.reason, reason_message=refused.message
            )
        )
        return
    assert isinstance(found, SigningRequest)
    draft.record(
        e.CSRValidated(
            job_id=job.job_id,
            csr_fingerprint=fingerprint,
            subject_key_id=found.subject_key_id,
            spki_sha256=found.spki_sha256,
        )
    )
    request_issue(
        draft, draft.state.jobs[job.job_id], pem_of(found.der, "CERTIFICATE REQUEST"), found.spki_sha256
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _job_for(draft: Draft, purpose: str) -> JobState | None:
    for job in draft.state.jobs.values():
        if job.purpose == purpose and job.action in ("issue", "renew") and job.certificate_id is None:
            return job
    return None


def _station_initiated(draft: Draft, body: v.CsrReceived) -> JobState | None:
    """The charger asked for a certificate by itself: a job like any other (A03.FR.02)."""
    for job in draft.state.jobs.values():
        if job.purpose == body.purpose and job.action in ("issue", "renew"):
            return None  # its certificate exists and is being delivered; a repeated CSR changes nothing
    slot = draft.state.slots.get(f"{body.purpose}/default")
    command = RequestJob(
        job_id=draft.derived_id("station-initiated", body.purpose),
        charger_id=draft.state.charger_id,
        purpose=body.purpose,
        action="renew" if slot is not None and slot.current is not None else "issue",
        reason="the charger asked for it",
        due_reason="charger-initiated",
    )
    opened = request.open_job(draft, command)
    return draft.state.jobs.get(opened) if isinstance(opened, str) else None


def _first_finding(draft: Draft, job: JobState, found: SigningRequest) -> Finding | None:
    return csr_check.first_finding(
        csr_check.Candidate(
            request=found,
            purpose=purposes()[job.purpose],
            policy=draft.policy(job.purpose),
            managed_identity_id=draft.state.managed_identity_id,
            expected_common_name=draft.state.expected_common_name,
            organization=draft.state.organization,
            key_owner=draft.context.key_owners.get(found.spki_sha256),
        )
    )


def request_issue(draft: Draft, job: JobState, csr_pem: str, spki_sha256: str) -> None:
    """Record the intent: exactly what the CA will be asked, under a token of its own."""
    authority: Authority | None = draft.context.facts.authorities.get(job.purpose)
    if authority is None:
        draft.stage(
            job,
            "held",
            held_by="trust-gate/no-issuing-authority",
            reason=("no-issuing-authority", f"no issuing CA is configured for {job.purpose}"),
        )
        return
    policy = draft.policy(job.purpose)
    now = draft.now.replace(microsecond=0)
    not_after = min(now + timedelta(days=policy.validity_days), authority.not_after - CA_MARGIN)
    attempt = job.attempts + 1
    token = hashlib.sha256(f"{job.job_id}\x1f{attempt}".encode()).hexdigest()[:32]
    draft.record(
        e.CertificateIssueRequested(
            job_id=job.job_id,
            attempt=attempt,
            token=token,
            authority_arn=authority.arn,
            template=purposes()[job.purpose].template,
            signing_algorithm=authority.signing_algorithm,
            csr_pem=csr_pem,
            spki_sha256=spki_sha256,
            not_before=now - timedelta(seconds=policy.not_before_skew_s),
            not_after=not_after,
            call_before=draft.now + CALL_WINDOW,
        )
    )
    draft.stage(draft.state.jobs[job.job_id], "issuing", waiting_for="ca")


# ---------------------------------------------------------------- what the CA did


def reference(draft: Draft, body: v.IssuanceRequested) -> None:
    """The CA named the certificate it is making."""
    job = draft.state.jobs.get(body.job_id)
    if job is not None and job.attempt is not None and job.attempt.external_ref is None:
        draft.record(
            e.IssuanceReferenceRecorded(
                job_id=body.job_id, attempt=body.attempt, external_ref=body.external_ref
            )
        )


def completed(draft: Draft, body: v.IssuanceCompleted) -> None:
    """The certificate is there: ours in any case; delivered only if it is the one wanted and without findings."""
    leaf = parse_certificates(body.chain_pem)[0]
    certificate_id = leaf.fingerprint_sha256[:32]
    if certificate_id in draft.state.certificates:
        return
    job = draft.state.jobs.get(body.job_id)
    wanted = job is not None and job.attempt is not None and job.attempt.number == body.attempt
    if wanted and job is not None and job.attempt is not None and job.attempt.external_ref is None:
        draft.record(
            e.IssuanceReferenceRecorded(
                job_id=body.job_id, attempt=body.attempt, external_ref=body.external_ref
            )
        )
    draft.record(
        e.CertificateIssued(
            job_id=body.job_id,
            certificate_id=certificate_id,
            managed_identity_id=draft.state.managed_identity_id,
            charger_id=draft.state.charger_id,
            purpose=job.purpose if job is not None else "charging_station",
            variant=job.variant if job is not None else "default",
            issuing_ca_id=body.external_ref.rpartition("/certificate/")[0] or body.external_ref,
            external_ref=body.external_ref,
            not_before=leaf.not_before,
            not_after=leaf.not_after,
            fingerprint_sha256=leaf.fingerprint_sha256,
            serial_number=leaf.serial_number,
            subject=leaf.subject,
            issuer=leaf.issuer,
            spki_sha256=leaf.spki_sha256,
            chain_pem=body.chain_pem,
        )
    )
    if body.findings:
        reason = body.findings[0]
        draft.record(
            e.CertificateRejected(
                certificate_id=certificate_id, job_id=body.job_id, reason="; ".join(body.findings)
            )
        )
        if wanted and body.job_id in draft.state.jobs:
            draft.fail(
                draft.state.jobs[body.job_id],
                "ca-returned-other",
                f"the CA returned another certificate: {reason}",
            )
    elif not wanted:
        draft.record(
            e.CertificateSuperseded(
                certificate_id=certificate_id,
                superseded_by=None,
                admit_until=None,
                reason="attempt-superseded",
            )
        )


def refused(draft: Draft, body: v.IssuanceRefused) -> None:
    """The CA said no for good. A CSR it cannot read is refused like any other."""
    job = draft.state.jobs.get(body.job_id)
    if job is None or job.attempt is None or job.attempt.number != body.attempt:
        return
    if body.code == "MalformedCSRException":
        draft.record(
            e.CSRRefused(
                job_id=job.job_id,
                csr_fingerprint=_digest(job.attempt.csr_pem),
                reason="malformed-at-ca",
                message=body.message,
            )
        )
    draft.fail(job, "ca-refused", f"{body.code}: {body.message}")


def lapsed(draft: Draft, body: v.IssuanceAttemptLapsed) -> None:
    """The attempt's window passed: the next attempt opens, and a doubt about the last is on record."""
    job = draft.state.jobs.get(body.job_id)
    if job is None or job.attempt is None or job.attempt.number != body.attempt:
        return
    attempt = job.attempt
    if body.in_doubt:
        draft.record(e.IssuanceInDoubt(job_id=job.job_id, attempt=body.attempt))
    else:
        draft.record(e.IssuanceLapsed(job_id=job.job_id, attempt=body.attempt))
    request_issue(draft, job, attempt.csr_pem, attempt.spki_sha256)


def delayed(draft: Draft, body: v.IssuanceDelayed) -> None:
    """Show why issuing takes long; it settles nothing."""
    job = draft.state.jobs.get(body.job_id)
    if job is not None and job.attempt is not None and job.attempt.number == body.attempt:
        draft.stage(job, "issuing", waiting_for="ca", reason=(body.code, body.message))
