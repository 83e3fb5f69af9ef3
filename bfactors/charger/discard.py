"""When a charger has discarded the leaf it took, and what follows: back-off, another key, nothing locked out.

It may come back on its old certificate once and still change: OCPP 1.6 and 2.0.1 let it wait for notBefore. So policy says
how often, or for how long, it may; only its own word for it (DiscardedRenewedClientCertificate) counts at once. What was
discarded stays admitted for the grace of a replaced one, for the charger may change late after all.

Source: OCPP 2.0.1 A02.FR.08-10, errata 2025-09 A02.FR.28/29 and its security event; OCPP 1.6 whitepaper A02.
"""

from datetime import datetime, timedelta

from bfactors import event as e
from bfactors import evidence as v
from bfactors.charger import activation
from bfactors.charger.draft import Draft
from bfactors.charger.reconnect import taken_leaf
from bfactors.charger.state import CertificateRecord, ChargerState, JobState, Slot, open_issue, slot_of
from bfactors.instruction import InstallLeaf
from bfactors.policy import Policy

EVENT = "DiscardedRenewedClientCertificate"
CODE = "renewed-certificate-discarded"


def came_back_unchanged(draft: Draft, job: JobState, body: v.SessionOpened) -> None:
    """It reconnected with what it had before: once is nothing yet."""
    certificate = taken_leaf(draft.state, job)
    if certificate is None:
        return
    draft.record(
        e.ReconnectedWithOldCertificate(
            job_id=job.job_id, certificate_id=certificate.certificate_id, session_id=body.session_id
        )
    )
    job = draft.state.jobs[job.job_id]
    draft.stage(
        job,
        "awaiting-reconnect",
        waiting_for="reconnect",
        reason=("reconnected-with-old-certificate", "the charger came back with its old certificate"),
        due_at=job.due_at,
    )


def given_up_at(state: ChargerState, policy: Policy, job: JobState) -> datetime | None:
    """When a charger that came back on its old certificate counts as having discarded the new one; None: not by time."""
    certificate = taken_leaf(state, job)
    if certificate is None or certificate.installed_at is None or not job.old_reconnects:
        return None
    if not policy.discarded_after_s:
        return None
    return max(certificate.installed_at, certificate.not_before) + timedelta(seconds=policy.discarded_after_s)


def judge(draft: Draft, job: JobState) -> bool:
    """Whether the leaf counts as discarded by now; then its job is at its beginning again."""
    certificate = taken_leaf(draft.state, job)
    if certificate is None or draft.now < certificate.not_before:
        return False
    policy = draft.policy(job.purpose)
    times = job.old_reconnects
    until = given_up_at(draft.state, policy, job)
    if 0 < policy.discarded_reconnects <= times:
        why = f"the charger came back {times} times with its old certificate"
    elif until is not None and until <= draft.now:
        why = f"the charger came back with its old certificate and has not changed by {until:%Y-%m-%d %H:%M} UTC"
    else:
        return False
    _discard(draft, job, certificate, "reconnects", why)
    return True


def reported(draft: Draft, body: v.SecurityEventReported) -> None:
    """The charger says itself that it has discarded a leaf: the one it took (or may have) and came back without.

    An event kept from an earlier time may be about an earlier leaf; then it costs a key, and locks nobody out.
    """
    session = draft.state.session
    if body.event_type != EVENT or session is None or session.session_id != body.session_id:
        return
    for job in list(draft.state.jobs.values()):
        certificate = draft.state.certificates.get(job.certificate_id or "")
        if certificate is None or job.action not in ("issue", "renew"):
            continue
        if certificate.fingerprint_sha256 == session.fingerprint_sha256 or session.fingerprint_sha256 is None:
            continue
        if job.old_reconnects or _was_sent_before(draft.state, certificate):
            detail = body.tech_info or ""
            why = "the charger could not connect with its new certificate and has gone back to the one before"
            _discard(draft, job, certificate, "security-event", f"{why}: {detail}" if detail else why)


def seen_after_all(draft: Draft, certificate: CertificateRecord, at: datetime) -> None:
    """A leaf given up before it was ever seen opened a session within its grace: the charger uses it, so it counts.

    Were it left superseded, nobody would renew it and its grace would end under a charger that has nothing else.
    """
    state = draft.state
    until = certificate.admit_until
    if certificate.activated_at is not None or until is None or until <= draft.now:
        return
    slot = state.slots.get(slot_of(certificate), Slot())
    order = list(state.certificates)  # as they were issued
    if slot.current is not None and order.index(slot.current) > order.index(certificate.certificate_id):
        return
    activation.activate(draft, certificate.certificate_id, at)
    job = open_issue(draft.state, certificate.purpose, certificate.part)
    if job is None or job.certificate_id is not None or job.attempt is not None:
        return
    if job.created_at <= certificate.issued_at:
        draft.withdraw_instructions(job.job_id)
        draft.record(e.CertificateJobSucceeded(job_id=job.job_id, certificate_id=certificate.certificate_id))


def _was_sent_before(state: ChargerState, certificate: CertificateRecord) -> bool:
    """Whether its delivery on an earlier session ended without an answer."""
    return certificate.delivery_in_doubt or any(
        isinstance(instruction.body, InstallLeaf)
        and instruction.body.certificate_id == certificate.certificate_id
        and instruction.unknown
        for instruction in state.instructions.values()
    )


def _discard(draft: Draft, job: JobState, certificate: CertificateRecord, source: str, why: str) -> None:
    draft.withdraw_instructions(job.job_id)
    certificate = draft.state.certificates[certificate.certificate_id]
    activation.supersede(draft, certificate, by=None, reason="discarded-by-charger")
    draft.record(
        e.CertificateDiscarded(
            job_id=job.job_id,
            certificate_id=certificate.certificate_id,
            source=source,
            reason=why,
            evidence_ref=draft.context.cause,
        )
    )
    draft.retry(draft.state.jobs[job.job_id], CODE, why)
