"""Asking for a revocation: what is refused from that moment on, and what is said to whoever asked."""

from bfactors import command as c
from bfactors import event as e
from bfactors.charger.draft import Draft
from bfactors.charger.job_opening import ask
from bfactors.charger.lockout import lockout
from bfactors.charger.state import CertificateRecord, ChargerState
from bfactors.refusal import Refusal

REASONS = (
    "key_compromise",
    "superseded",
    "cessation_of_operation",
    "privilege_withdrawn",
    "affiliation_changed",
    "unspecified",
)
LOCKED_OUT = (
    "locks-out",
    "the charger has no other credential: from now on it cannot connect, and no replacement reaches it over OCPP",
)


def opened(draft: Draft, command: c.RequestJob, certificate: CertificateRecord) -> Refusal | str:
    """The job that has it revoked; the one under way, if there is one."""
    reason = command.revocation_reason or "unspecified"
    if reason not in REASONS:
        return Refusal("invalid-value", f"must be one of {', '.join(REASONS)}", "reason")
    if certificate.mode == "tracked-only":
        message = "somebody else issued it and alone can revoke it; deactivate it to refuse it here"
        return Refusal("not-ours-to-revoke", message, "certificate_id", 409)
    if certificate.revocation_requested_at is not None:
        for job in draft.state.jobs.values():
            if job.action == "revoke" and job.certificate_id == certificate.certificate_id:
                return job.job_id
        return Refusal("already-revoked", "the certificate is revoked already", "certificate_id", 409)
    if certificate.state == "expired":
        return Refusal("certificate-ended", f"the certificate is {certificate.state}", "certificate_id", 409)
    could_connect = not _is_locked_out(draft)
    ask(draft, command, certificate.certificate_id, part=certificate.part)
    _request(draft, command.job_id, certificate, reason, command.reason)
    if reason == "key_compromise":
        _end_key(draft, command, certificate)
    locks_out = LOCKED_OUT if could_connect and _is_locked_out(draft) else None
    draft.stage(draft.state.jobs[command.job_id], "revoking", waiting_for="ca", reason=locks_out)
    return command.job_id


def _is_locked_out(draft: Draft) -> bool:
    end = lockout(draft.state)
    return end is not None and end.at <= draft.now


def _request(draft: Draft, job_id: str, certificate: CertificateRecord, reason: str, comment: str) -> None:
    draft.record(
        e.CertificateRevocationRequested(
            job_id=job_id, certificate_id=certificate.certificate_id, reason=reason, comment=comment
        )
    )


def _end_key(draft: Draft, command: c.RequestJob, compromised: CertificateRecord) -> None:
    """Nothing of a compromised key goes on: not its other certificates, not on a grace, and none is made for it."""
    for other in list(draft.state.certificates.values()):
        if other.spki_sha256 != compromised.spki_sha256:
            continue
        if other.admit_until is not None:
            draft.record(
                e.CertificateSuperseded(
                    certificate_id=other.certificate_id,
                    superseded_by=None,
                    admit_until=None,
                    reason="key-compromised",
                )
            )
        if other.is_usable or _is_good_at_ca(draft, other):
            _request(draft, command.job_id, other, "key_compromise", "it holds the same key")
    end_jobs(draft, compromised.spki_sha256)


def end_jobs(draft: Draft, spki_sha256: str) -> None:
    """No job brings a certificate for a compromised key."""
    for job in list(draft.state.jobs.values()):
        if job.attempt is not None and job.attempt.spki_sha256 == spki_sha256:
            draft.fail(job, "csr-key-compromised", "its CSR holds a key that is compromised")
        elif job.action in ("issue", "renew") and job.certificate_id is not None:
            certificate = draft.state.certificates.get(job.certificate_id)
            if certificate is not None and certificate.spki_sha256 == spki_sha256:
                draft.fail(job, "certificate-ended", "the certificate's key is compromised")


def _is_good_at_ca(draft: Draft, certificate: CertificateRecord) -> bool:
    """Whether it has ended here, and its CA, which is ours, would still vouch for it."""
    is_over = certificate.state in ("revoked", "expired") or certificate.not_after <= draft.now
    return certificate.mode == "managed" and certificate.revocation_requested_at is None and not is_over


def compromised_keys(state: ChargerState) -> frozenset[str]:
    """Keys that somebody else may hold: no certificate is made for them any more."""
    return frozenset(each.spki_sha256 for each in state.certificates.values() if each.is_key_compromised)


def not_followed(draft: Draft, job_id: str, kind: str, refusal: Refusal) -> None:
    """What was asked for with a revocation cannot be had; the revocation goes on."""
    draft.record(
        e.PolicyDecisionRecorded(
            job_id=job_id,
            rule=kind,
            outcome="refuse",
            policy_version=draft.context.facts.policies.version,
            reason=f"{refusal.code}: {refusal.message}",
        )
    )
