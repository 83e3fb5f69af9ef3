"""What a charger's state asks of the rest of the system: orders to its session, effects elsewhere, its admission.

All derived, so that a restart or a lost message changes nothing: whoever holds the state can say it again.
"""

from datetime import datetime

from bfactors.admission import AdmissionRecord, CredentialState, KnownCredential
from bfactors.charger import deletion, departure, foreign, key_rotation, operator_call, part_place
from bfactors.charger.own_policy import policy_of
from bfactors.charger.pause import is_urgent, replaces_compromised
from bfactors.charger.pending_key import PendingKey
from bfactors.charger.prerequisite import CLIENT_CERTIFICATE_PROFILE, TLS_PROFILE
from bfactors.charger.state import (
    Attempt,
    CertificateRecord,
    ChargerState,
    InstructionState,
    JobState,
    open_issue,
    slot_of,
)
from bfactors.effect import (
    Effect,
    IssueCertificate,
    MintKey,
    ReconcileIssuance,
    RevokeCertificate,
    StartRenewal,
    WatchPublication,
)
from bfactors.evidence import evidence_id
from bfactors.fleet.state import Authority, FleetFacts
from bfactors.instruction import (
    CallAction,
    DeleteCertificate,
    InstallLeaf,
    InstructionOrder,
    Reboot,
    WriteAuthorizationKey,
    interrupts,
    is_repeatable,
    is_reset,
)
from bfactors.policy import TRACKED_ONLY, Policy, effective
from bfactors.purpose import purpose, session_purpose
from bfactors.revocation_source import sources_in
from bfactors.x509 import join_chain, split_chain


def orders(state: ChargerState, facts: FleetFacts, now: datetime) -> list[InstructionOrder]:
    """What should now be sent on the live session, in the order it was wanted.

    What is repeatable stays among them until it is answered: whether it has left is not recorded.
    """
    session = state.session
    if session is None:
        return []
    ready = []
    for instruction in state.instructions.values():
        if instruction.not_before > now or instruction.sent_session == session.session_id:
            continue
        if instruction.sent_session is not None and not is_repeatable(instruction.body):
            continue
        if isinstance(instruction.body, CallAction) and instruction.opened_at + operator_call.FRESH <= now:
            continue
        if not _is_held(state, instruction) and not _would_strand(state, facts, instruction):
            ready.append(instruction)
    ready.sort(key=lambda i: i.opened_at)
    ready = _with_one_reset(ready, has_left=state.reset_session == session.session_id)
    return [_order(state, session.session_id, facts, instruction, now) for instruction in ready]


def _with_one_reset(ready: list[InstructionState], *, has_left: bool) -> list[InstructionState]:
    """No job resets a charger that was told to reset on this session: that one has yet to show itself by a reconnect."""
    kept = []
    for instruction in ready:
        if has_left and isinstance(instruction.body, Reboot):
            continue
        has_left = has_left or is_reset(instruction.body)
        kept.append(instruction)
    return kept


def _order(
    state: ChargerState, session_id: str, facts: FleetFacts, instruction: InstructionState, now: datetime
) -> InstructionOrder:
    policy = _policy(state, facts, instruction, now)
    job = state.jobs.get(instruction.job_id) if instruction.job_id is not None else None
    return InstructionOrder(
        instruction_id=instruction.instruction_id,
        charger_id=state.charger_id,
        session_id=session_id,
        decision=instruction.decision,
        answer_wait_s=policy.answer_wait_s,
        body=instruction.body,
        waits_for_cars=policy.not_while_charging and interrupts(instruction.body),
        is_urgent=job is not None and is_urgent(state, job, policy, now),
        admission_revision=_admitted_from(state, instruction),
    )


def _admitted_from(state: ChargerState, instruction: InstructionState) -> int:
    """The admission record that a gateway must know before this may leave: a new key is admitted before it is told."""
    if not isinstance(instruction.body, WriteAuthorizationKey):
        return 0
    key = key_rotation.pending_of(state, instruction.job_id)
    return key.prepared_revision if key is not None else 0


def _is_held(state: ChargerState, instruction: InstructionState) -> bool:
    """A pause or a gate that closed keeps back what has not been sent; a leaf leaves only while it is being installed."""
    job = state.jobs.get(instruction.job_id) if instruction.job_id is not None else None
    if job is None:
        return False
    return job.stage == "held" or (isinstance(instruction.body, InstallLeaf) and job.stage != "installing")


def _would_strand(state: ChargerState, facts: FleetFacts, instruction: InstructionState) -> bool:
    """What may not be deleted any more, since a new bundle perhaps, does not leave; its job ends when it is looked at."""
    body = instruction.body
    if not isinstance(body, DeleteCertificate):
        return False
    return deletion.problem(state, facts, body.hash_data, job_id=instruction.job_id) is not None


def _policy(state: ChargerState, facts: FleetFacts, instruction: InstructionState, now: datetime) -> Policy:
    job = state.jobs.get(instruction.job_id) if instruction.job_id is not None else None
    name = job.purpose if job is not None else session_purpose().name
    return policy_of(state, facts, name, now)


def attempt_ids(state: ChargerState) -> set[str]:
    """The issue effects of the attempts under way, whichever CA they were meant for."""
    return {_attempt_id(job, job.attempt) for job in state.jobs.values() if job.attempt is not None}


def _attempt_id(job: JobState, attempt: Attempt) -> str:
    """What is owed for an attempt: to have it signed and fetched, or first to search for what was signed."""
    if attempt.is_reconciling:
        return f"{job.job_id}:{attempt.number}:reconcile"
    return f"{job.job_id}:{attempt.number}"


def _revoke_id(certificate: CertificateRecord) -> str:
    again = f":{certificate.contradicted_by}" if certificate.contradicted_by else ""
    return f"{certificate.certificate_id}:revoke{again}"


def _renew_id(certificate: CertificateRecord) -> str:
    return f"{certificate.certificate_id}:renew:{certificate.renewals + 1}"


def effects(state: ChargerState, facts: FleetFacts) -> list[Effect]:
    """What is owed to CAs and clocks."""
    found: list[Effect] = []
    for job in state.jobs.values():
        attempt = job.attempt
        if attempt is None:
            continue
        authority = facts.authority_of(job.purpose, attempt.authority_arn)
        if authority is None:
            continue
        found.append(
            _reconcile(state, job, attempt)
            if attempt.is_reconciling
            else _issue(state, job, attempt, authority)
        )
    for certificate in state.certificates.values():
        check = foreign.check_of(state, certificate)
        if check is not None:
            found.append(check)
        if certificate.awaits_publication:
            found += _watch(state, certificate, facts)
        if certificate.revocation_requested_at is not None and certificate.state != "revoked":
            found.append(
                RevokeCertificate(
                    effect_id=_revoke_id(certificate),
                    charger_id=state.charger_id,
                    purpose=certificate.purpose,
                    certificate_id=certificate.certificate_id,
                    authority_arn=certificate.issuing_ca_id,
                    serial_number=certificate.serial_number,
                    reason=certificate.revocation_reason or "unspecified",
                    is_incident=bool(certificate.incident_id),
                )
            )
        elif (
            certificate.renewal_due
            and certificate.state == "active"
            and open_issue(state, certificate.purpose, certificate.part) is None
            and _is_managed(state, facts, certificate.purpose)
        ):
            found.append(
                StartRenewal(
                    effect_id=_renew_id(certificate),
                    charger_id=state.charger_id,
                    purpose=certificate.purpose,
                    certificate_id=certificate.certificate_id,
                    job_id=evidence_id(_renew_id(certificate)),
                    due_reason=_due_reason(facts, certificate),
                    replaces_until=certificate.not_after,
                    authority_arn=_next_issuer(state, facts, certificate.purpose),
                )
            )
    found += [
        _mint(state, key)
        for key in state.pending_keys
        if key.job_id in state.jobs and key.prepared_at is None
    ]
    return found


def _watch(state: ChargerState, certificate: CertificateRecord, facts: FleetFacts) -> list[Effect]:
    sources = sources_in(certificate.chain_pem)
    issuer = split_chain(certificate.chain_pem)[1:2]
    authority = facts.authority_of(certificate.purpose, certificate.issuing_ca_id)
    if not issuer and authority is not None:
        issuer = split_chain(authority.certificate_pem)[:1]  # the CA is a root, and chains go without
    if sources.is_none or not issuer:
        return []
    again = f":{certificate.contradicted_by}" if certificate.contradicted_by else ""
    watch = WatchPublication(
        effect_id=f"{certificate.certificate_id}:published{again}",
        charger_id=state.charger_id,
        purpose=certificate.purpose,
        certificate_id=certificate.certificate_id,
        authority_arn=certificate.issuing_ca_id,
        issuer_pem=join_chain(issuer),
        serial_number=certificate.serial_number,
        crl_addresses=sources.crl,
        ocsp_addresses=sources.ocsp,
        not_after=certificate.not_after,
    )
    return [watch]


def _due_reason(facts: FleetFacts, certificate: CertificateRecord) -> str:
    rollover = facts.rollovers.get(certificate.purpose)
    is_left = rollover is not None and rollover.renews(certificate.issuing_ca_id, certificate.not_after)
    return "ca-rollover" if is_left else "renewal-window"


def _next_issuer(state: ChargerState, facts: FleetFacts, name: str) -> str:
    policy = effective(facts.policies, purpose=name, family=state.family, cohort=state.cohort)
    issuer = facts.issuing(name, policy.authority)
    return "" if issuer is None else issuer.arn


def _is_managed(state: ChargerState, facts: FleetFacts, name: str) -> bool:
    """Whether renewals are ours to start. The mode is among what no waiver can set: what is owed hangs on no time."""
    policy = effective(facts.policies, purpose=name, family=state.family, cohort=state.cohort)
    return policy.mode != TRACKED_ONLY


def _mint(state: ChargerState, key: PendingKey) -> MintKey:
    return MintKey(
        effect_id=f"{key.job_id}:key",
        charger_id=state.charger_id,
        purpose=session_purpose().name,
        job_id=key.job_id,
        generation=key.generation,
        is_given=key.origin == "given",
        identities=(state.charger_id, state.serial_number),
    )


def _issue(state: ChargerState, job: JobState, attempt: Attempt, authority: Authority) -> IssueCertificate:
    return IssueCertificate(
        effect_id=_attempt_id(job, attempt),
        charger_id=state.charger_id,
        purpose=job.purpose,
        job_id=job.job_id,
        attempt=attempt.number,
        token=attempt.token,
        authority_arn=attempt.authority_arn,
        authority_pem=authority.certificate_pem,
        authority_chain_pem=authority.chain_pem,
        template=attempt.template,
        signing_algorithm=attempt.signing_algorithm,
        csr_pem=attempt.csr_pem,
        not_before=attempt.not_before,
        not_after=attempt.not_after,
        call_before=attempt.call_before,
        external_ref=attempt.external_ref,
        replaces_until=_replaces_until(state, job),
        is_incident=replaces_compromised(state, job) or _is_wanted_by_incident(state, job),
    )


def _replaces_until(state: ChargerState, job: JobState) -> datetime | None:
    slot = state.slots.get(slot_of(job))
    current = state.certificates.get(slot.current) if slot is not None and slot.current else None
    return current.not_after if current is not None else None


def _is_wanted_by_incident(state: ChargerState, job: JobState) -> bool:
    """The certificate in use is part of one, or nothing is in use because the one that was is."""
    slot = state.slots.get(slot_of(job))
    if slot is not None and slot.current is not None:
        return bool(state.certificates[slot.current].incident_id)
    return any(
        certificate.incident_id and (certificate.is_denied or certificate.revocation_requested_at is not None)
        for certificate in state.certificates.values()
        if slot_of(certificate) == slot_of(job)
    )


def _reconcile(state: ChargerState, job: JobState, attempt: Attempt) -> ReconcileIssuance:
    return ReconcileIssuance(
        effect_id=_attempt_id(job, attempt),
        charger_id=state.charger_id,
        purpose=job.purpose,
        job_id=job.job_id,
        attempt=attempt.number,
        authority_arn=attempt.authority_arn,
        template=attempt.template,
        spki_sha256=attempt.spki_sha256,
        not_before=attempt.not_before,
        not_after=attempt.not_after,
        call_before=attempt.call_before,
    )


def admission(state: ChargerState) -> AdmissionRecord:
    """Who may connect as this charger now."""
    return AdmissionRecord(
        charger_id=state.charger_id,
        managed_identity_id=state.managed_identity_id,
        serial_number=state.serial_number,
        expected_common_name=state.expected_common_name,
        subject_match="contains" if state.subject_match == "contains" else "exact",
        organization=state.organization,
        family=state.family,
        site=state.site,
        cohort=state.cohort,
        allowed_profiles=allowed_profiles(state),
        keys=state.keys,
        credentials=tuple(
            _known(state, certificate)
            for certificate in state.certificates.values()
            if purpose(certificate.purpose).is_session_credential
        ),
        factory_anchors=state.factory_anchors,
        expired_admitted_until=None if state.expired_admission is None else state.expired_admission.until,
        way_back_until=None if state.way_back is None else state.way_back.ends_at,
        mode="accepted" if state.decommissioned_at is None else "refused",
        refusal_reason=None if state.decommissioned_at is None else departure.REFUSAL_REASON,
        capabilities=state.capabilities,
        spoken_for_by=state.spoken_for_by,
        trace=state.trace,
        part_purposes=part_place.asking(state),
        revision=state.revision,
    )


def allowed_profiles(state: ChargerState) -> tuple[int, ...]:
    """The profile it uses now, and those it is, or ever was told to be, on its way to; a lower one never again (A05.FR.07)."""
    if state.security_profile >= CLIENT_CERTIFICATE_PROFILE:
        back = () if state.way_back is None else (TLS_PROFILE,)
        return (*back, CLIENT_CERTIFICATE_PROFILE)
    highest = max(state.target_security_profile, state.offered_profile)
    return tuple(range(state.security_profile, highest + 1))


_ADMISSION_STATE: dict[str, CredentialState] = {
    "issued": "issued",
    "installed": "installed",
    "active": "active",
    "superseded": "superseded",
    "inactive": "inactive",
    "expired": "expired",
    "revoked": "revoked",
    "rejected": "rejected",
    "deleted": "inactive",
}


def _known(state: ChargerState, certificate: CertificateRecord) -> KnownCredential:
    revoked = certificate.revocation_requested_at is not None
    return KnownCredential(
        fingerprint_sha256=certificate.fingerprint_sha256,
        certificate_id=certificate.certificate_id,
        state="revoked"
        if revoked
        else "inactive"
        if certificate.is_denied
        else _ADMISSION_STATE[certificate.state],
        not_after=certificate.not_after,
        admit_until=certificate.admit_until,
        unproven=foreign.unproven(state, certificate),
    )
