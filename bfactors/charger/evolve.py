"""How each event changes a charger's state. Total, pure, and the only way the state changes."""

from datetime import datetime
from typing import assert_never

from msgspec.structs import replace

from bfactors import event as e
from bfactors.charger.state import (
    Attempt,
    BootFact,
    BundleConfirmation,
    CertificateRecord,
    ChargerState,
    InstructionState,
    JobState,
    MigrationState,
    SessionFact,
    Slot,
    slot_key,
)
from bfactors.instruction import Reboot, SetNetworkProfile, SetProfilePriority, kind_name

_STEP_DONE: dict[type, tuple[str, ...]] = {
    SetNetworkProfile: ("accepted",),
    SetProfilePriority: ("accepted",),
    # a charger that resets before its answer is out has done what was wanted
    Reboot: ("accepted", "unknown", "observed"),
}
_ENDED = ("superseded", "inactive", "expired", "revoked", "rejected", "deleted")
_ENDED_KEPT = 6
"""How many ended certificates the state keeps; older ones live in the projection."""


def evolve(state: ChargerState | None, event: e.ChargerEvent, now: datetime) -> ChargerState:
    """The state after one event. `now` is the time the event was recorded.

    Raises ValueError if an event other than `ChargerRegistered` meets no state.
    """
    if isinstance(event, e.ChargerRegistered):
        return _registered(event, now)
    if state is None:
        raise ValueError(f"{type(event).__name__} for a charger that is not registered")
    return replace(_changed(state, event, now), revision=state.revision + 1)


def _registered(event: e.ChargerRegistered, now: datetime) -> ChargerState:
    return ChargerState(
        charger_id=event.charger_id,
        managed_identity_id=event.managed_identity_id,
        serial_number=event.serial_number,
        family=event.family,
        site=event.site,
        cohort=event.cohort,
        organization=event.organization,
        expected_common_name=event.expected_common_name,
        security_profile=event.security_profile,
        target_security_profile=event.target_security_profile,
        ocpp_versions=event.ocpp_versions,
        registered_at=now,
        keys=() if event.key is None else (event.key,),
        key_origin=event.key_origin,
        key_since=None if event.key is None else now,
        revision=1,
    )


def _changed(state: ChargerState, event: e.ChargerEvent, now: datetime) -> ChargerState:
    match event:
        case e.ChargerRegistered():
            return state
        case e.ChargerChanged():
            return replace(
                state,
                site=event.site,
                cohort=event.cohort,
                organization=event.organization,
                expected_common_name=event.expected_common_name,
            )
        case e.ChargerSessionOpened():
            return replace(
                state, session=_session(event), session_generation=event.session_generation, last_seen_at=now
            )
        case e.ChargerSessionClosed():
            return replace(state, session=None, last_seen_at=now)
        case e.ChargerBootReported():
            boot = BootFact(
                vendor=event.vendor,
                model=event.model,
                serial_number=event.serial_number,
                firmware_version=event.firmware_version,
            )
            return replace(state, boot=boot, last_seen_at=now)
        case e.SecurityEventRecorded() | e.PolicyDecisionRecorded() | e.CertificateInstallRequested():
            return state
        case e.EvidenceQuarantined():
            return replace(state, paused_reason=f"evidence {event.evidence_id} is quarantined: {event.error}")
        case e.SecurityProfileMigrated():
            return replace(state, security_profile=event.to_profile, migration=None)
        case e.InstalledCertificatesReported():
            return replace(state, reported=event.reported, reported_at=now)
        case e.ChargerFactObserved():
            return replace(state, observed_facts=state.observed_facts | {event.fact})
        case e.TrustAnchorAccepted():
            return replace(state, accepted_anchors=state.accepted_anchors | {event.fingerprint_sha256})
        case e.TrustAnchorBundleConfirmed():
            confirmation = BundleConfirmation(
                bundle_id=event.bundle_id, rung=event.rung, confirmed_at=now, evidence_ref=event.evidence_ref
            )
            return replace(state, bundles={**state.bundles, event.bundle_purpose: confirmation})
        case e.InstructionOpened() | e.InstructionDispatched() | e.InstructionSettled():
            return _instruction_changed(state, event, now)
        case (
            e.CertificateRequested()
            | e.CertificateRenewalStarted()
            | e.CertificateJobStageChanged()
            | e.CertificateJobOverdue()
            | e.CertificateJobFailed()
            | e.CertificateJobSucceeded()
            | e.CertificateJobCancelled()
            | e.CSRValidated()
            | e.CSRRefused()
            | e.CertificateIssueRequested()
            | e.IssuanceReferenceRecorded()
            | e.IssuanceInDoubt()
            | e.IssuanceLapsed()
        ):
            return _job_changed(state, event, now)
        case (
            e.CertificateIssued()
            | e.CertificateInstalled()
            | e.CertificateActivated()
            | e.CertificateSuperseded()
            | e.CertificateRejected()
            | e.CertificateDeactivated()
            | e.CertificateRevocationRequested()
            | e.CertificateRevoked()
            | e.CertificateExpired()
            | e.CertificateExpiryEscalated()
            | e.CertificateRenewalDue()
        ):
            return _certificate_changed(state, event, now)
        case _:
            assert_never(event)


def _session(event: e.ChargerSessionOpened) -> SessionFact:
    return SessionFact(
        session_id=event.session_id,
        generation=event.session_generation,
        node=event.node,
        incarnation=event.incarnation,
        ocpp_version=event.ocpp_version,
        security_profile=event.security_profile,
        remote_address=event.remote_address,
        connected_at=event.connected_at,
        fingerprint_sha256=event.fingerprint_sha256,
        flags=event.flags,
    )


# ---------------------------------------------------------------- instructions


def _instruction_changed(
    state: ChargerState,
    event: e.InstructionOpened | e.InstructionDispatched | e.InstructionSettled,
    now: datetime,
) -> ChargerState:
    instructions = dict(state.instructions)
    match event:
        case e.InstructionOpened():
            before = instructions.get(event.instruction_id)
            instructions[event.instruction_id] = InstructionState(
                instruction_id=event.instruction_id,
                job_id=event.job_id,
                body=event.body,
                decision=event.decision,
                opened_at=before.opened_at if before else now,
                not_before=event.not_before,
                unknown=before is not None and before.sent_session is not None,
            )
        case e.InstructionDispatched():
            before = instructions.get(event.instruction_id)
            if before is not None and before.decision == event.decision:
                instructions[event.instruction_id] = replace(
                    before, sent_session=event.session_id, sent_at=now
                )
        case e.InstructionSettled():
            settled = instructions.pop(event.instruction_id, None)
            if settled is not None and event.outcome in _STEP_DONE.get(type(settled.body), ()):
                state = _migration_step(state, settled)
        case _:
            assert_never(event)
    return replace(state, instructions=instructions)


def _migration_step(state: ChargerState, settled: InstructionState) -> ChargerState:
    if settled.job_id is None or not isinstance(
        settled.body, SetNetworkProfile | SetProfilePriority | Reboot
    ):
        return state
    return replace(state, migration=MigrationState(job_id=settled.job_id, step=kind_name(settled.body)))


# ---------------------------------------------------------------- jobs


def _job_changed(state: ChargerState, event: e.ChargerEvent, now: datetime) -> ChargerState:
    jobs = dict(state.jobs)
    if isinstance(event, e.CertificateRequested):
        jobs[event.job_id] = JobState(
            job_id=event.job_id,
            purpose=event.purpose,
            variant=event.variant,
            action=event.action,
            reason=event.reason,
            created_at=now,
            deadline_at=event.deadline_at,
            policy_version=event.policy_version,
            certificate_id=event.certificate_id,
        )
        return replace(state, jobs=jobs)
    job = jobs.get(event.job_id or "")  # type: ignore[union-attr]  # only job events come here
    if job is None:
        return state
    match event:
        case e.CertificateJobStageChanged():
            jobs[job.job_id] = replace(
                job,
                stage=event.stage,
                waiting_for=event.waiting_for,
                held_by=event.held_by,
                reason_code=event.reason_code,
                reason_message=event.reason_message,
                due_at=event.due_at,
                failures=job.failures + 1 if event.failed else job.failures,
                overdue=job.overdue and event.stage == job.stage and not event.failed,
            )
            if event.failed and state.migration is not None and state.migration.job_id == job.job_id:
                state = replace(state, migration=None)  # a migration starts again from its first step
        case e.CertificateJobOverdue():
            jobs[job.job_id] = replace(
                job,
                overdue=True,
                reason_code=event.reason_code,
                reason_message=event.reason_message,
                due_at=None,
            )
        case e.CertificateJobFailed() | e.CertificateJobSucceeded() | e.CertificateJobCancelled():
            del jobs[job.job_id]
            if state.migration is not None and state.migration.job_id == job.job_id:
                state = replace(state, migration=None)
        case e.CSRValidated() | e.CSRRefused() | e.CertificateRenewalStarted():
            pass
        case e.CertificateIssueRequested():
            attempt = Attempt(
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
            jobs[job.job_id] = replace(job, attempt=attempt, attempts=event.attempt)
        case e.IssuanceReferenceRecorded():
            if job.attempt is not None and job.attempt.number == event.attempt:
                jobs[job.job_id] = replace(job, attempt=replace(job.attempt, external_ref=event.external_ref))
        case e.IssuanceInDoubt() | e.IssuanceLapsed():
            pass
        case _:
            pass
    return replace(state, jobs=jobs)


# ---------------------------------------------------------------- certificates


def _certificate_changed(state: ChargerState, event: e.ChargerEvent, now: datetime) -> ChargerState:
    if isinstance(event, e.CertificateIssued):
        return _issued(state, event, now)
    certificate_id: str = event.certificate_id  # type: ignore[union-attr, assignment]  # only certificate events
    certificate = state.certificates.get(certificate_id)
    if certificate is None:
        return state
    key = slot_key(certificate.purpose, certificate.variant)
    slot = state.slots.get(key, Slot())
    match event:
        case e.CertificateInstalled():
            certificate = replace(certificate, state="installed", installed_at=now)
        case e.CertificateActivated():
            certificate = replace(certificate, state="active", activated_at=event.activated_at)
            slot = Slot(current=certificate_id, next=None)
        case e.CertificateSuperseded():
            certificate = replace(certificate, state="superseded", admit_until=event.admit_until)
            slot = _without(slot, certificate_id)
        case e.CertificateRejected():
            certificate = replace(certificate, state="rejected")
            slot = _without(slot, certificate_id)
        case e.CertificateDeactivated():
            certificate = replace(certificate, state="inactive")
            slot = _without(slot, certificate_id)
        case e.CertificateRevocationRequested():
            certificate = replace(certificate, revocation_requested_at=now, revocation_reason=event.reason)
            slot = _without(slot, certificate_id)
        case e.CertificateRevoked():
            certificate = replace(certificate, state="revoked", revoked_at=event.revoked_at)
        case e.CertificateExpired():
            certificate = replace(certificate, state="expired")
            slot = _without(slot, certificate_id)
        case e.CertificateExpiryEscalated():
            certificate = replace(certificate, escalated_days=event.days_left)
        case e.CertificateRenewalDue():
            certificate = replace(certificate, renewal_due=True)
        case _:
            pass
    certificates = _pruned({**state.certificates, certificate_id: certificate})
    return replace(state, certificates=certificates, slots={**state.slots, key: slot})


def _issued(state: ChargerState, event: e.CertificateIssued, now: datetime) -> ChargerState:
    certificate = CertificateRecord(
        certificate_id=event.certificate_id,
        purpose=event.purpose,
        variant=event.variant,
        state="issued",
        fingerprint_sha256=event.fingerprint_sha256,
        serial_number=event.serial_number,
        subject=event.subject,
        issuer=event.issuer,
        issuing_ca_id=event.issuing_ca_id,
        external_ref=event.external_ref,
        spki_sha256=event.spki_sha256,
        not_before=event.not_before,
        not_after=event.not_after,
        chain_pem=event.chain_pem,
        issued_at=now,
    )
    key = slot_key(event.purpose, event.variant)
    slot = state.slots.get(key, Slot())
    jobs = state.jobs
    job = jobs.get(event.job_id)
    if job is not None and job.attempt is not None and job.attempt.external_ref == event.external_ref:
        jobs = {**jobs, job.job_id: replace(job, attempt=None, certificate_id=event.certificate_id)}
    return replace(
        state,
        certificates={**state.certificates, event.certificate_id: certificate},
        slots={**state.slots, key: replace(slot, next=event.certificate_id)},
        jobs=jobs,
    )


def _without(slot: Slot, certificate_id: str) -> Slot:
    return Slot(
        current=None if slot.current == certificate_id else slot.current,
        next=None if slot.next == certificate_id else slot.next,
    )


def _pruned(certificates: dict[str, CertificateRecord]) -> dict[str, CertificateRecord]:
    ended = [c for c in certificates.values() if c.state in _ENDED and not _revoking(c)]
    if len(ended) <= _ENDED_KEPT:
        return certificates
    oldest = sorted(ended, key=lambda c: c.issued_at)[: len(ended) - _ENDED_KEPT]
    gone = {c.certificate_id for c in oldest}
    return {key: value for key, value in certificates.items() if key not in gone}


def _revoking(certificate: CertificateRecord) -> bool:
    return certificate.revocation_requested_at is not None and certificate.state != "revoked"
