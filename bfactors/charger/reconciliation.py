"""What the CA's own records say of a charger's certificates, against what the ledger says of them."""

from datetime import timedelta

from bfactors import event as e
from bfactors import evidence as v
from bfactors.authority_comparison import ON_ITS_WAY
from bfactors.charger import part_place, revocation
from bfactors.charger.draft import Draft
from bfactors.charger.state import Attempt, CertificateRecord, JobState
from bfactors.purpose import purpose
from bfactors.x509 import Certificate, parse_certificates

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


# ---------------------------------------------------------------- the nightly comparison


def seen_at_ca(draft: Draft, body: v.CertificateSeenAtCa) -> None:
    """What the CA says of a certificate stands: it exists, and it is revoked or not."""
    leaf = parse_certificates(body.chain_pem)[0]
    certificate = draft.state.certificates.get(leaf.fingerprint_sha256[:32])
    if certificate is None:
        if _is_attempts(draft, body, leaf):
            return
        certificate = _attach(draft, body, leaf)
        if body.revoked_at is None and body.ledger_state == "revoked":
            _request_revocation(draft, certificate, "superseded", "revoked before, as the ledger's rows say")
            _contradicted(draft, certificate, body)
            return
        if body.revoked_at is None and _is_to_go(draft, body):
            _request_revocation(draft, certificate, "superseded", "nothing in the ledger accounts for it")
            return
    if body.revoked_at is not None and certificate.state != "revoked":
        if certificate.revocation_requested_at is None:
            reason = body.revocation_reason or "unspecified"
            _request_revocation(draft, certificate, reason, "revoked at the CA by somebody else")
        revocation.accepted(draft, certificate.certificate_id, body.revoked_at)
    elif (
        body.revoked_at is None
        and certificate.revoked_at is not None
        and certificate.revoked_at < body.report_at - ON_ITS_WAY
    ):
        _contradicted(draft, certificate, body)


def _contradicted(draft: Draft, certificate: CertificateRecord, body: v.CertificateSeenAtCa) -> None:
    draft.record(
        e.RevocationContradicted(certificate_id=certificate.certificate_id, report_ref=body.report_ref)
    )


def not_at_ca(draft: Draft, body: v.CertificateNotAtCa) -> None:
    """On record for an operator: a certificate that its CA does not know cannot be revoked there."""
    if body.certificate_id in draft.state.certificates:
        draft.record(e.CertificateMissingAtCa(certificate_id=body.certificate_id, report_ref=body.report_ref))


def _is_attempts(draft: Draft, body: v.CertificateSeenAtCa, leaf: Certificate) -> bool:
    """Whether an attempt under way accounts for it: named, and being fetched; or searched for, and adopted hereby."""
    for job in list(draft.state.jobs.values()):
        attempt = job.attempt
        if attempt is None or attempt.spki_sha256 != leaf.spki_sha256:
            continue
        if attempt.external_ref == body.external_ref:
            return True
        dates = (attempt.not_before, attempt.not_after)
        if attempt.is_reconciling and dates == (leaf.not_before, leaf.not_after):
            adopt(draft, job, attempt.number, body.external_ref, body.report_ref)
            return True
    return False


def _attach(draft: Draft, body: v.CertificateSeenAtCa, leaf: Certificate) -> CertificateRecord:
    certificate_id = leaf.fingerprint_sha256[:32]
    grace = timedelta(days=draft.policy(body.purpose).superseded_grace_days)
    may_be_in_use = body.ledger_state is None and body.revoked_at is None
    draft.record(
        e.CertificateFoundAtCa(
            certificate_id=certificate_id,
            managed_identity_id=_identity_of(draft, body.purpose, leaf),
            charger_id=draft.state.charger_id,
            purpose=body.purpose,
            variant="default",
            issuing_ca_id=body.authority_arn,
            external_ref=body.external_ref,
            not_before=leaf.not_before,
            not_after=leaf.not_after,
            fingerprint_sha256=leaf.fingerprint_sha256,
            serial_number=leaf.serial_number,
            subject=leaf.subject,
            issuer=leaf.issuer,
            spki_sha256=leaf.spki_sha256,
            chain_pem=body.chain_pem,
            issued_at=body.issued_at,
            admit_until=draft.now + grace if may_be_in_use and grace else None,
            report_ref=body.report_ref,
        )
    )
    return draft.state.certificates[certificate_id]


def _identity_of(draft: Draft, name: str, leaf: Certificate) -> str:
    spec = purpose(name)
    names = () if leaf.common_name is None else (leaf.common_name,)
    part = part_place.bearing(draft.state, spec, names) if spec.is_of_part else None
    return part or draft.state.managed_identity_id


def _is_to_go(draft: Draft, body: v.CertificateSeenAtCa) -> bool:
    return body.ledger_state is None and draft.policy(body.purpose).unexplained_certificates == "revoke"


def _request_revocation(draft: Draft, certificate: CertificateRecord, reason: str, comment: str) -> None:
    draft.record(
        e.CertificateRevocationRequested(
            job_id="", certificate_id=certificate.certificate_id, reason=reason, comment=comment
        )
    )
