"""What time alone brings: retries, overdue jobs, renewals, escalations, expiry - and when to look again."""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta

from bfactors import event as e
from bfactors.charger import (
    approval,
    blackout_hold,
    departure,
    discard,
    expired,
    incident,
    inventory,
    key_rotation,
    key_trigger,
    lockout,
    log_collection,
    migration,
    operator_call,
    own_policy,
    reconnect,
    request,
    revocation,
    rollback,
    slow_authority,
)
from bfactors.charger.draft import Draft
from bfactors.charger.migration import RESTING
from bfactors.charger.own_policy import policy_of
from bfactors.charger.pending_key import ROTATE_KEY
from bfactors.charger.state import COLLECT_LOG, MIGRATE, CertificateRecord, ChargerState, JobState, open_issue
from bfactors.command import RequestJob
from bfactors.fleet.state import FleetFacts
from bfactors.instruction import CallAction
from bfactors.policy import TRACKED_ONLY, Policy
from bfactors.purpose import session_purpose

_WITH_DEADLINE = ("issue", "renew", "delete", "install-anchor", ROTATE_KEY, MIGRATE, *departure.LEAVING)
_RESTING = (RESTING, key_rotation.AWAITS_PROFILE)


def rang(draft: Draft) -> None:
    """Do what is due by now."""
    for each in list(draft.state.jobs.values()):
        slow_authority.rang(draft, each)
        job = draft.state.jobs[each.job_id]
        if job.action == COLLECT_LOG:
            log_collection.rang(draft, job)
        elif job.action != ROTATE_KEY or not key_rotation.nudged(draft, job):
            _job_due(draft, job)
    for certificate in list(draft.state.certificates.values()):
        _certificate_due(draft, certificate)
        revocation.rang(draft, certificate)
    operator_call.rang(draft)
    expired.rang(draft)
    policy = draft.policy(session_purpose().name)
    migration.rang(draft, policy)
    lockout.rang(draft, policy)


def _job_due(draft: Draft, job: JobState) -> None:
    if job.due_at is None or job.due_at > draft.now:
        if job.deadline_at <= draft.now and not job.overdue and _has_deadline(job):
            late = f"not done by {job.deadline_at:%Y-%m-%d %H:%M} UTC"
            _overdue(draft, job, job.reason_code or "deadline-passed", job.reason_message or late)
        return
    if job.stage == "awaiting-csr":
        draft.withdraw_instructions(job.job_id)
        draft.retry(job, "no-csr", "the charger was asked for a CSR and sent none")
    elif job.action == ROTATE_KEY and job.stage == "awaiting-reconnect":
        _overdue(draft, job, *key_rotation.LATE)
    elif job.action == MIGRATE:
        late = "the charger was told to reset and has not come back with its new profile; the old one keeps working"
        _overdue(draft, job, job.reason_code or "not-reconnected", job.reason_message or late)
    elif job.stage == "awaiting-reconnect":
        _overdue(
            draft,
            job,
            job.reason_code or "not-reconnected",
            job.reason_message
            or "the certificate is installed, but the charger has not reconnected with it; its old credential keeps working",
        )
    else:
        _overdue(draft, job, job.reason_code or "overdue", job.reason_message or f"still {job.stage}")


def _has_deadline(job: JobState) -> bool:
    """A job that rests because of the profile its charger is meant to stay on is late for nothing."""
    return job.action in _WITH_DEADLINE and job.waiting_for not in _RESTING


def _overdue(draft: Draft, job: JobState, code: str, message: str) -> None:
    draft.record(e.CertificateJobOverdue(job_id=job.job_id, reason_code=code, reason_message=message))


def _certificate_due(draft: Draft, certificate: CertificateRecord) -> None:
    now = draft.now
    if certificate.may_expire and certificate.not_after <= now:
        draft.record(e.CertificateExpired(certificate_id=certificate.certificate_id))
        return
    if not certificate.is_usable or certificate.state != "active":
        return
    policy = draft.policy(certificate.purpose)
    _escalate(draft, certificate, policy)
    if policy.mode == TRACKED_ONLY:
        return
    if last_safe_at(draft.state, certificate, policy) <= now and not _is_being_replaced(
        draft.state, certificate
    ):
        _renew_now(draft, certificate)
    if certificate.renewal_due:
        return
    left = _left_at(draft.context.facts, certificate)
    if left is not None and left <= now:
        due_reason = "ca-rollover"
    elif renewal_at(draft.state, certificate, policy) <= now:
        due_reason = "renewal-window"
    else:
        return
    draft.record(e.CertificateRenewalDue(certificate_id=certificate.certificate_id, due_reason=due_reason))


def _left_at(facts: FleetFacts, certificate: CertificateRecord) -> datetime | None:
    """From when on it is to be renewed because its CA is left; after one that came to nothing, not before its rest is over."""
    rollover = facts.rollovers.get(certificate.purpose)
    if rollover is None or not rollover.renews(certificate.issuing_ca_id, certificate.not_after):
        return None
    again = certificate.renew_again_at
    return rollover.since if again is None else max(rollover.since, again)


def _escalate(draft: Draft, certificate: CertificateRecord, policy: Policy) -> None:
    """Tell once of each window before the end that is reached, whoever is to renew it."""
    reached = [
        days
        for days in policy.escalate_before_days
        if certificate.not_after - timedelta(days=days) <= draft.now
        and (certificate.escalated_days is None or days < certificate.escalated_days)
    ]
    if reached:
        draft.record(
            e.CertificateExpiryEscalated(certificate_id=certificate.certificate_id, days_left=min(reached))
        )


def _is_being_replaced(state: ChargerState, certificate: CertificateRecord) -> bool:
    return open_issue(state, certificate.purpose, certificate.part) is not None


def _renew_now(draft: Draft, certificate: CertificateRecord) -> None:
    """Nobody has renewed it, for whatever pause or failure; in the last safe days the ledger does so itself."""
    request.open_job(
        draft,
        RequestJob(
            job_id=draft.derived_id("last-safe-days", certificate.certificate_id),
            charger_id=draft.state.charger_id,
            purpose=certificate.purpose,
            action="renew",
            reason="ends within the last safe days",
            certificate_id=certificate.certificate_id,
            due_reason="last-safe-days",
        ),
    )


def last_safe_at(state: ChargerState, certificate: CertificateRecord, policy: Policy) -> datetime:
    """From when on a renewal waits for no pause; never before the renewal's own window."""
    last_safe = certificate.not_after - timedelta(days=policy.last_safe_days)
    return max(last_safe, renewal_at(state, certificate, policy))


def renewal_at(state: ChargerState, certificate: CertificateRecord, policy: Policy) -> datetime:
    """When a certificate's renewal starts: inside the window, spread over the fleet by a hash of the identity; after
    one that came to nothing, not before its rest is over.
    """
    digest = hashlib.sha256(
        f"{certificate.part or state.managed_identity_id}/{certificate.purpose}".encode()
    ).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32
    lifetime = certificate.not_after - certificate.not_before
    window = min(
        timedelta(days=policy.renew_before_days + policy.renewal_spread_days * share), lifetime * 2 / 3
    )
    begins = certificate.not_after - window
    again = certificate.renew_again_at
    return begins if again is None else max(begins, again)


def next_due(state: ChargerState, facts: FleetFacts, now: datetime) -> datetime | None:
    """The earliest moment at which time alone may change something; one that has passed already is due at once."""
    return min(_moments(state, facts, now), default=None)


def _renewal_moments(
    state: ChargerState, facts: FleetFacts, job: JobState, now: datetime
) -> Iterator[datetime]:
    policy = policy_of(state, facts, job.purpose, now)
    slow_at = slow_authority.slow_at(state, policy, job)
    if slow_at is not None:
        yield slow_at
    rung = reconnect.next_rung(state, facts, policy, job, now)
    if rung is not None:
        yield rung.at
    given_up_at = discard.given_up_at(state, policy, job)
    if given_up_at is not None:
        yield given_up_at


def _moments(state: ChargerState, facts: FleetFacts, now: datetime) -> Iterator[datetime]:
    for job in state.jobs.values():
        if job.due_at is not None:
            yield job.due_at
        yield from _renewal_moments(state, facts, job, now)
        if job.held_by is not None:
            policy = policy_of(state, facts, job.purpose, now)
            lifted = blackout_hold.lifted_at(state, job, policy, now)
            if lifted is not None:
                yield lifted
        if job.action == COLLECT_LOG or (not job.overdue and _has_deadline(job)):
            yield job.deadline_at
    for instruction in state.instructions.values():
        if instruction.sent_session is None and instruction.not_before > now:
            yield instruction.not_before
        if isinstance(instruction.body, CallAction):
            yield instruction.opened_at + operator_call.ENDS
    rotation = key_trigger.due_at(state, facts, now)
    if rotation is not None:
        yield rotation
    for key in state.pending_keys:
        if key.admit_until is not None and key.is_outlived:
            yield key.admit_until
    policy = policy_of(state, facts, session_purpose().name, now)
    if state.expired_admission is not None:
        yield state.expired_admission.until
    told_at = lockout.told_at(state, policy)
    if told_at is not None:
        yield told_at
    listing = inventory.due_at(state, policy)
    if listing is not None and state.decommissioned_at is None:
        yield listing
    yield from migration.moments(state, policy)
    yield from approval.moments(state)
    yield from incident.moments(state, facts, now)
    yield from own_policy.moments(state, facts, now)
    yield from rollback.moments(state)
    for certificate in state.certificates.values():
        overdue_at = revocation.unpublished_at(state, facts, certificate, now)
        if overdue_at is not None:
            yield overdue_at
        if certificate.may_expire:
            yield certificate.not_after
        if not certificate.is_usable or certificate.state != "active":
            continue
        policy = policy_of(state, facts, certificate.purpose, now)
        yield from _own_renewal_moments(state, facts, certificate, policy, now)
        for days in policy.escalate_before_days:
            if certificate.escalated_days is None or days < certificate.escalated_days:
                yield certificate.not_after - timedelta(days=days)


def _own_renewal_moments(
    state: ChargerState, facts: FleetFacts, certificate: CertificateRecord, policy: Policy, now: datetime
) -> Iterator[datetime]:
    if policy.mode == TRACKED_ONLY:
        return
    if not certificate.renewal_due:
        yield renewal_at(state, certificate, policy)
        left = _left_at(facts, certificate)
        if left is not None:
            yield left
    last_safe = last_safe_at(state, certificate, policy)
    if last_safe > now or not _is_being_replaced(state, certificate):
        yield last_safe  # from then on a renewal that a pause holds goes on
