"""From the charger's CSR to the CA's certificate: checks, intent, reference, result - each recorded in order."""

import hashlib
from datetime import timedelta

from bfactors import event as e
from bfactors import evidence as v
from bfactors.certificate_hash import HashData
from bfactors.charger import (
    activation,
    departure,
    own_request,
    part_place,
    reconciliation,
    report,
    request,
    slow_authority,
)
from bfactors.charger.draft import Draft
from bfactors.charger.evolve_job import CHARGER_INITIATED
from bfactors.charger.pause import holder
from bfactors.charger.revoke import compromised_keys
from bfactors.charger.state import Attempt, ChargerState, EndedJob, JobState, open_issue, slot_key, slot_of
from bfactors.charger.trust_gate import CA_MARGIN
from bfactors.check import csr as csr_check
from bfactors.check.finding import Finding
from bfactors.command import RequestJob
from bfactors.fleet.state import Authority, FleetFacts
from bfactors.free_text import without_identifiers
from bfactors.instruction import InstallLeaf, ObtainCsr
from bfactors.policy import TRACKED_ONLY, WITHOUT_USAGE, Policy
from bfactors.purpose import PurposeSpec, purposes
from bfactors.x509 import SigningRequest, parse_certificates, pem_of, signed_by

CALL_WINDOW = timedelta(minutes=4)
"""How long after the decision the CA may be called: inside the CA's 5-minute token window."""
UNASSIGNED_CSR = "UnassignedCsr"
"""A CSR for a part of the charger that is none of its parts."""


def csr_received(draft: Draft, body: v.CsrReceived) -> None:
    """A CSR arrived: for the job that waits for one, or because the charger renews by itself (A03)."""
    spec = purposes().get(body.purpose)
    if spec is None or not spec.is_at_charger or not departure.is_heard(draft.state, body.session_id):
        return
    found = csr_check.read(body.csr)
    part = _part_of(draft, spec, found)
    if part is None:
        return
    job = open_issue(draft.state, body.purpose, part)
    if job is None:
        if isinstance(found, SigningRequest) and own_request.is_held_back(draft, body.purpose, part, found):
            return
        job = _station_initiated(draft, body, part)
    if job is None or (job.attempt is None and draft.policy(job.purpose).mode == TRACKED_ONLY):
        return  # the plan says what holds the job; a later CSR serves as well
    if isinstance(found, SigningRequest) and found.spki_sha256 == _key_under_way(draft, job):
        _asked_again(draft, job, found, body.request_id)
        return
    trigger = draft.outstanding(job.job_id, ObtainCsr)
    if trigger is not None:
        draft.settle(trigger, "observed", "CSR received")
    refused = found if isinstance(found, Finding) else _first_finding(draft, job, found, body.hash_root)
    if refused is not None:
        _refuse(draft, job, found, body.csr, refused)
        return
    assert isinstance(found, SigningRequest)
    _validated(draft, job, found, body.request_id)
    authority = authority_for(draft, job.purpose)
    if authority is None:
        return  # the plan says so, and has the charger asked anew once there is one
    _give_up_older_key(draft, job)
    request_issue(draft, job, authority, pem_of(found.der, "CERTIFICATE REQUEST"), found.spki_sha256)


def _part_of(draft: Draft, spec: PurposeSpec, found: SigningRequest | Finding) -> str | None:
    """The part of the charger that a CSR is for, empty for its own; None, and on record, if nobody can say."""
    if not spec.is_of_part:
        return ""
    names = found.common_names if isinstance(found, SigningRequest) else ()
    part = part_place.bearing(draft.state, spec, names)
    if part is None:
        said = names[0][:64] if names else "nobody"
        detail = f"a CSR for {spec.name} names {said!r}, which is none of this charger's"
        report.note(draft, kind=UNASSIGNED_CSR, detail=without_identifiers(detail))
    return part


def _validated(draft: Draft, job: JobState, found: SigningRequest, request_id: int | None) -> None:
    draft.record(
        e.CSRValidated(
            job_id=job.job_id,
            csr_fingerprint=found.fingerprint_sha256,
            subject_key_id=found.subject_key_id,
            spki_sha256=found.spki_sha256,
            request_id=request_id,
        )
    )


def _asked_again(draft: Draft, job: JobState, found: SigningRequest, request_id: int | None) -> None:
    """The same key again: its certificate is on its way. It goes out under the newest request's id (A02.FR.25).

    One that left under an older id may be refused for that alone, so nobody waits for the answer to it.
    """
    if request_id == job.request_id:
        return
    _validated(draft, job, found, request_id)
    delivery = draft.outstanding(job.job_id, InstallLeaf)
    if delivery is not None:
        draft.settle(delivery, "withdrawn", "asked for again under another request")


def _key_under_way(draft: Draft, job: JobState) -> str | None:
    if job.attempt is not None:
        return job.attempt.spki_sha256
    certificate = draft.state.certificates.get(job.certificate_id) if job.certificate_id else None
    return certificate.spki_sha256 if certificate is not None else None


def _refuse(
    draft: Draft, job: JobState, found: SigningRequest | Finding, text: str, refused: Finding
) -> None:
    """A refused CSR ends its job, unless an earlier one of the charger is well on its way."""
    fingerprint = found.fingerprint_sha256 if isinstance(found, SigningRequest) else _digest(text)
    draft.record(
        e.CSRRefused(
            job_id=job.job_id, csr_fingerprint=fingerprint, reason=refused.reason, message=refused.message
        )
    )
    if job.attempt is None and job.certificate_id is None:
        draft.fail(job, refused.reason, refused.message)


def _give_up_older_key(draft: Draft, job: JobState) -> None:
    """A newer key supersedes the older: a leaf already made for that is delivered no further.

    The charger may have taken it all the same and come back with it, so it keeps the grace of a replaced one.
    """
    certificate = draft.state.certificates.get(job.certificate_id) if job.certificate_id else None
    if certificate is not None and certificate.is_usable:
        activation.supersede(draft, certificate, by=None, reason="newer-key")
    draft.withdraw_instructions(job.job_id)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _station_initiated(draft: Draft, body: v.CsrReceived, part: str) -> JobState | None:
    """The charger asked for a certificate by itself: a job like any other (A03.FR.02).

    While a pause holds new jobs, this CSR goes no further; the charger is asked for another when the pause ends.
    """
    slot = draft.state.slots.get(slot_key(body.purpose, "default", part))
    command = RequestJob(
        job_id=draft.derived_id("station-initiated", body.purpose),
        charger_id=draft.state.charger_id,
        purpose=body.purpose,
        action="renew" if slot is not None and slot.current is not None else "issue",
        reason="the charger asked for it",
        due_reason=CHARGER_INITIATED,
        managed_identity_id=part or None,
    )
    opened = request.open_job(draft, command)
    job = draft.state.jobs.get(opened) if isinstance(opened, str) else None
    return None if job is None or holder(draft, job) is not None else job


def _first_finding(
    draft: Draft, job: JobState, found: SigningRequest, wanted_root: HashData | None
) -> Finding | None:
    roots = (
        issuer_roots(draft.context.facts, authority_for(draft, job.purpose))
        if wanted_root is not None
        else ()
    )
    return csr_check.first_finding(
        csr_check.Candidate(
            request=found,
            purpose=purposes()[job.purpose],
            policy=draft.policy(job.purpose),
            managed_identity_id=job.part or draft.state.managed_identity_id,
            expected_common_name=part_place.expected_name(draft.state, purposes()[job.purpose], job.part),
            organization=draft.state.organization,
            key_owner=draft.context.key_owners.get(found.spki_sha256),
            compromised_keys=compromised_keys(draft.state),
            keys_elsewhere=_keys_elsewhere(draft.state, job),
            wanted_root=wanted_root,
            issuer_roots=tuple(named for root in roots for named in root.hash_data),
        )
    )


def _keys_elsewhere(state: ChargerState, job: JobState) -> frozenset[str]:
    """Keys of this charger's other slots: one key has one purpose."""
    held = {each.spki_sha256 for each in state.certificates.values() if slot_of(each) != slot_of(job)}
    under_way = {
        each.attempt.spki_sha256
        for each in state.jobs.values()
        if each.attempt is not None and slot_of(each) != slot_of(job)
    }
    return frozenset(held | under_way)


def authority_for(draft: Draft, purpose_name: str) -> Authority | None:
    """The CA that this charger's next certificate of the purpose is to come from."""
    return draft.context.facts.issuing(purpose_name, draft.policy(purpose_name).authority)


def issuer_roots(facts: FleetFacts, authority: Authority | None) -> tuple[e.Anchor, ...]:
    """The anchors that a CA leads to; none if it has none among our bundles."""
    if authority is None:
        return ()
    top = parse_certificates(authority.certificate_pem + authority.chain_pem)[-1]
    anchors = {
        anchor.fingerprint_sha256: anchor for bundle in facts.bundles.values() for anchor in bundle.anchors
    }
    return tuple(anchor for anchor in anchors.values() if signed_by(top, parse_certificates(anchor.pem)[0]))


def request_issue(draft: Draft, job: JobState, authority: Authority, csr_pem: str, spki_sha256: str) -> None:
    """Record the intent: exactly what the CA will be asked, under a token of its own."""
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
            template=_template(purposes()[job.purpose], policy),
            signing_algorithm=authority.signing_algorithm,
            csr_pem=csr_pem,
            spki_sha256=spki_sha256,
            not_before=now - timedelta(seconds=policy.not_before_skew_s),
            not_after=not_after,
            call_before=draft.now + CALL_WINDOW,
        )
    )
    draft.stage(draft.state.jobs[job.job_id], "issuing", waiting_for="ca")


def _template(spec: PurposeSpec, policy: Policy) -> str:
    """The CA's template for a leaf of this purpose; without an extended key usage where policy wants none and it can be."""
    if policy.extended_key_usage == WITHOUT_USAGE and spec.template_without_usage is not None:
        return spec.template_without_usage
    return spec.template


def follow_authority(draft: Draft, job: JobState) -> None:
    """The CA that was asked is none of the purpose's any more: ask another. Whether the old one signed is in doubt."""
    attempt = job.attempt
    if attempt is None or draft.context.facts.authority_of(job.purpose, attempt.authority_arn) is not None:
        return
    authority = authority_for(draft, job.purpose)
    if authority is None:
        return
    draft.record(e.IssuanceInDoubt(job_id=job.job_id, attempt=attempt.number))
    request_issue(draft, job, authority, attempt.csr_pem, attempt.spki_sha256)


# ---------------------------------------------------------------- what the CA did


def reference(draft: Draft, body: v.IssuanceRequested) -> None:
    """The CA named the certificate it is making; a search for it is over with that."""
    job = _with_attempt(draft, body.job_id, body.attempt)
    if job is None or job.attempt is None or job.attempt.external_ref is not None:
        return
    draft.record(
        e.IssuanceReferenceRecorded(job_id=body.job_id, attempt=body.attempt, external_ref=body.external_ref)
    )
    if job.attempt.is_reconciling:
        draft.stage(draft.state.jobs[job.job_id], "issuing", waiting_for="ca")


def completed(draft: Draft, body: v.IssuanceCompleted) -> None:
    """The certificate is there: ours in any case; delivered only if it is the one wanted and without findings."""
    leaf = parse_certificates(body.chain_pem)[0]
    certificate_id = leaf.fingerprint_sha256[:32]
    if certificate_id in draft.state.certificates:
        return
    about = _job_or_its_end(draft, body.job_id)
    if about is None:
        draft.record(
            e.SecurityEventRecorded(
                charger_id=draft.state.charger_id,
                kind="UnknownIssuance",
                detail=f"job {body.job_id}: {body.external_ref}",
                count=1,
                remote_address=None,
            )
        )
        return
    attempt = about.attempt if isinstance(about, JobState) else None
    wanted = attempt is not None and attempt.number == body.attempt
    if wanted and attempt is not None and attempt.external_ref != body.external_ref:
        draft.record(
            e.IssuanceReferenceRecorded(
                job_id=body.job_id, attempt=body.attempt, external_ref=body.external_ref
            )
        )
    draft.record(
        e.CertificateIssued(
            job_id=body.job_id,
            certificate_id=certificate_id,
            managed_identity_id=_identity_of(draft.state, about),
            charger_id=draft.state.charger_id,
            purpose=about.purpose,
            variant=about.variant,
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
    else:
        activation.reached(draft, certificate_id, "issued")


def _identity_of(state: ChargerState, about: JobState | EndedJob) -> str:
    """Whom the certificate is for: the unit whose job it was, even if that has left."""
    former = about.former_identity_id if isinstance(about, EndedJob) else ""
    return former or about.part or state.managed_identity_id


def _job_or_its_end(draft: Draft, job_id: str) -> JobState | EndedJob | None:
    """The job, or what is remembered of it: its certificate may come when it has ended."""
    job = draft.state.jobs.get(job_id)
    if job is not None:
        return job
    return next((ended for ended in draft.state.ended_jobs if ended.job_id == job_id), None)


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
    """The attempt's window passed. The next one opens at once only if no call of this one can have gone through."""
    job = _with_attempt(draft, body.job_id, body.attempt)
    if job is None or job.attempt is None or job.attempt.is_reconciling:
        return
    if job.attempt.external_ref is not None:
        return  # said by someone who had not heard that the CA has named it
    if body.in_doubt:
        reconciliation.begin(draft, job, job.attempt)
        return
    draft.record(e.IssuanceLapsed(job_id=job.job_id, attempt=body.attempt))
    _ask_anew(draft, job, job.attempt)


def reconciled(draft: Draft, body: v.IssuanceReconciled) -> None:
    """The CA's records were searched for the attempt's certificate: it is adopted, or there is none."""
    job = _with_attempt(draft, body.job_id, body.attempt)
    if job is None or job.attempt is None or not job.attempt.is_reconciling:
        return
    if body.external_ref is not None:
        reconciliation.adopt(draft, job, body.attempt, body.external_ref, body.report_ref)
        return
    lapsed = e.IssuanceLapsed(job_id=job.job_id, attempt=body.attempt, report_ref=body.report_ref)
    draft.record(lapsed)
    _ask_anew(draft, job, job.attempt)


def unreconciled(draft: Draft, body: v.IssuanceUnreconciled) -> None:
    """Nobody can say what became of the attempt: the doubt is on record with its reason, and another one opens."""
    job = _with_attempt(draft, body.job_id, body.attempt)
    if job is None or job.attempt is None or not job.attempt.is_reconciling:
        return
    doubt = e.IssuanceInDoubt(
        job_id=job.job_id, attempt=body.attempt, reason_code=body.code, reason_message=body.message
    )
    draft.record(doubt)
    _ask_anew(draft, job, job.attempt)


def _with_attempt(draft: Draft, job_id: str, attempt: int) -> JobState | None:
    job = draft.state.jobs.get(job_id)
    return job if job is not None and job.attempt is not None and job.attempt.number == attempt else None


def _ask_anew(draft: Draft, job: JobState, attempt: Attempt) -> None:
    authority = authority_for(draft, job.purpose)
    if authority is not None:
        request_issue(draft, job, authority, attempt.csr_pem, attempt.spki_sha256)


def delayed(draft: Draft, body: v.IssuanceDelayed) -> None:
    """Show why issuing takes long; it settles nothing."""
    job = _with_attempt(draft, body.job_id, body.attempt)
    if job is not None and job.attempt is not None:
        waiting_for = reconciliation.WAITING_FOR if job.attempt.is_reconciling else "ca"
        reason = slow_authority.reason(job, body.message) or (body.code, body.message)
        draft.stage(job, "issuing", waiting_for=waiting_for, reason=reason)
