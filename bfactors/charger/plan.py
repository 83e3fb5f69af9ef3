"""What each open job needs next. Level-triggered: computed from the state after every message, never from history."""

from datetime import datetime, timedelta

from bfactors import event as e
from bfactors.capability import Capabilities, learned, merged
from bfactors.charger import (
    anchor_job,
    approval,
    deletion,
    departure,
    discard,
    first_contact,
    incident,
    inventory,
    issuance,
    key_rotation,
    key_trigger,
    log_collection,
    migration,
    migration_step,
    part_place,
    reconnect,
    rollback,
    trust_gate,
)
from bfactors.charger.draft import Draft, back_off
from bfactors.charger.own_policy import policy_of
from bfactors.charger.pause import holder
from bfactors.charger.prerequisite import CLIENT_CERTIFICATE_PROFILE
from bfactors.charger.state import CertificateRecord, ChargerState, JobState
from bfactors.fleet.state import FleetFacts
from bfactors.instruction import InstallLeaf, ObtainCsr
from bfactors.policy import TRACKED_ONLY, Policy
from bfactors.purpose import purpose, session_purpose

_TRACKED = (
    TRACKED_ONLY,
    "policy has certificates of this purpose tracked only since: cancel the job, or let policy manage them",
)


def plan(draft: Draft) -> None:
    """Bring every open job of the charger to where it can be now."""
    departure.follow(draft)
    if draft.state.decommissioned_at is not None:
        approval.follow(draft)
        return
    _follow_admission_rule(draft)
    _follow_capabilities(draft)
    inventory.ask_if_due(draft)
    approval.follow(draft)
    incident.follow(draft)
    rollback.follow(draft)
    key_trigger.follow(draft)
    _plan_jobs(draft)
    migration_step.pursue(draft)
    rollback.follow(draft)
    if migration_step.want_certificate(draft) or draft.state.way_back is not None:
        _plan_jobs(draft)
    if draft.state.pending_keys:
        key_rotation.follow(draft)
    inventory.follow(draft)


def _plan_jobs(draft: Draft) -> None:
    for job_id in list(draft.state.jobs):
        job = draft.state.jobs.get(job_id)
        if job is None:
            continue
        match job.action:
            case "issue" | "renew":
                _plan_issue(draft, job)
            case "delete":
                deletion.pursue(draft, job)
            case "install-anchor":
                anchor_job.pursue(draft, job)
            case "rotate-key":
                key_rotation.pursue(draft, job)
            case "collect-log":
                log_collection.plan(draft, job)
            case _:
                pass  # with somebody else, whose evidence moves it on


def is_behind(state: ChargerState, facts: FleetFacts, now: datetime) -> bool:
    """Whether the admission record of this charger was made under a policy, or family facts, that say otherwise by now."""
    if state.decommissioned_at is not None:
        return False
    policy = policy_of(state, facts, session_purpose().name, now)
    if incident.is_concerned(state, facts, now):
        return True
    if _rule(state, facts, policy) != _recorded_rule(state):
        return True
    return _capabilities(state, facts) != state.capabilities


def _rule(state: ChargerState, facts: FleetFacts, policy: Policy) -> tuple[str, str, tuple[str, ...]]:
    """What policy and family say of admitting this charger."""
    anchors = first_contact.anchors_of(state, facts, policy)
    return policy.subject_match, policy.foreign_revocation, anchors


def _recorded_rule(state: ChargerState) -> tuple[str, str, tuple[str, ...]]:
    return state.subject_match, state.foreign_revocation, state.factory_anchors


def _capabilities(state: ChargerState, facts: FleetFacts) -> Capabilities:
    return merged(facts.capabilities(state.family), state.own_capabilities, learned(state.observed_facts))


def _follow_capabilities(draft: Draft) -> None:
    found = _capabilities(draft.state, draft.context.facts)
    if found != draft.state.capabilities:
        draft.record(e.CapabilitiesChanged(charger_id=draft.state.charger_id, capabilities=found))


def _follow_admission_rule(draft: Draft) -> None:
    policy = draft.policy(session_purpose().name)
    rule = _rule(draft.state, draft.context.facts, policy)
    if rule != _recorded_rule(draft.state):
        draft.record(
            e.AdmissionRuleChanged(
                charger_id=draft.state.charger_id,
                subject_match=policy.subject_match,
                foreign_revocation=policy.foreign_revocation,
                factory_anchors=rule[2],
                policy_version=draft.context.facts.policies.version,
            )
        )


def _plan_issue(draft: Draft, job: JobState) -> None:
    certificate = draft.state.certificates.get(job.certificate_id) if job.certificate_id else None
    if certificate is None:
        _plan_without_certificate(draft, job)
        return
    if certificate.revocation_requested_at is not None:
        # whatever the CA says to it, nobody is to be given a leaf that no gateway lets in
        draft.fail(job, "certificate-ended", "the certificate is being revoked")
        return
    if certificate.is_denied:
        draft.fail(job, "certificate-ended", "the certificate is part of an incident and refused")
        return
    match certificate.state:
        case "issued":
            _plan_install(draft, job, certificate)
        case "installed" if discard.judge(draft, job):
            _plan_without_certificate(draft, draft.state.jobs[job.job_id])
        case "installed":
            _plan_activation(draft, job)
        case "active":
            draft.withdraw_instructions(job.job_id)
            draft.record(
                e.CertificateJobSucceeded(job_id=job.job_id, certificate_id=certificate.certificate_id)
            )
        case _:
            draft.fail(job, "certificate-ended", f"the certificate became {certificate.state}")


def _plan_without_certificate(draft: Draft, job: JobState) -> None:
    if job.attempt is not None:
        issuance.follow_authority(draft, job)
        return  # with the CA; its evidence moves the job on
    policy = draft.policy(job.purpose)
    if policy.mode == TRACKED_ONLY:
        draft.stage(job, "held", held_by=f"policy/{TRACKED_ONLY}", reason=_TRACKED)
        return
    if job.failures >= policy.max_attempts:
        draft.fail(
            job,
            job.reason_code or "too-many-failures",
            job.reason_message or "the charger did not do its part",
        )
        return
    held = holder(draft, job)
    if held is not None:
        # what is outstanding stays so, and is not sent while the job is held: its answer may be on its way
        draft.stage(job, "held", held_by=held[0], reason=("paused", held[1]))
        return
    if not _passes_gate(draft, job):
        return
    _obtain_csr(draft, job)


def _obtain_csr(draft: Draft, job: JobState) -> None:
    if draft.state.session is None:
        draft.stage(job, "awaiting-connection", waiting_for="connection", reason=trust_gate.kept_reason(job))
        return
    if job.stage != "awaiting-csr":
        evse = part_place.evse_of(draft.state, job.part)
        draft.open_instruction(job, ObtainCsr(purpose=job.purpose, evse=evse))
        wait = timedelta(seconds=draft.policy(job.purpose).csr_wait_s)
        due = draft.now + back_off(job.failures) + wait
        draft.stage(
            job, "awaiting-csr", waiting_for="charger", due_at=due, reason=trust_gate.kept_reason(job)
        )


def _passes_gate(draft: Draft, job: JobState) -> bool:
    """Whether the trust gate is open now; if not, what the charger lacks is under way, or the job is held."""
    closed = trust_gate.gate(draft, job)
    if closed is not None and closed.side == "charger":
        trust_gate.pursue(draft, job)
        if job.job_id not in draft.state.jobs:
            return False
        closed = trust_gate.gate(draft, job)
        if closed is not None and closed.side == "charger":
            return False
    if closed is not None:
        held_by = f"trust-gate/{closed.code}"
        draft.stage(
            draft.state.jobs[job.job_id], "held", held_by=held_by, reason=(closed.code, closed.message)
        )
    return closed is None


def _plan_install(draft: Draft, job: JobState, certificate: CertificateRecord) -> None:
    held = holder(draft, job)
    if held is not None:
        draft.stage(job, "held", held_by=held[0], reason=("paused", held[1]))
        return
    if not _passes_gate(draft, job):
        return
    if job.failures >= draft.policy(job.purpose).max_attempts:
        draft.fail(
            job, job.reason_code or "install-failed", job.reason_message or "the charger did not install it"
        )
        return
    if certificate.refused_in_doubt:
        _obtain_csr(draft, job)  # with another key the charger's answer means something again
        return
    if draft.outstanding(job.job_id, InstallLeaf) is None:
        body = InstallLeaf(
            purpose=job.purpose,
            certificate_id=certificate.certificate_id,
            fingerprint_sha256=certificate.fingerprint_sha256,
            chain_pem=certificate.chain_pem,
            root_pem=_root_pem(draft, certificate),
            request_id=job.request_id,
        )
        draft.open_instruction(job, body)
        opened = draft.outstanding(job.job_id, InstallLeaf)
        if opened is not None and not job.failures:
            draft.record(
                e.CertificateInstallRequested(
                    job_id=job.job_id,
                    certificate_id=certificate.certificate_id,
                    instruction_id=opened.instruction_id,
                )
            )
    waiting_for = "charger" if draft.state.session is not None else "connection"
    draft.stage(job, "installing", waiting_for=waiting_for, reason=trust_gate.kept_reason(job))


def _root_pem(draft: Draft, certificate: CertificateRecord) -> str:
    """The root for a charger that verifies a chain only with it; there is one, unless our CA is cross-signed."""
    if not draft.state.capabilities.include_root_in_chain:
        return ""
    facts = draft.context.facts
    issuer = facts.authority_of(certificate.purpose, certificate.issuing_ca_id)
    roots = issuance.issuer_roots(facts, issuer)
    return roots[0].pem if roots else ""


def _plan_activation(draft: Draft, job: JobState) -> None:
    """Installed: what brings the charger to use it, and what would prove that."""
    state = draft.state
    spec = purpose(job.purpose)
    if spec.active_rung == "listed":
        _plan_listing(draft, job)
        return
    if not spec.is_session_credential:
        draft.stage(job, "awaiting-activation", waiting_for="evidence")
        return
    if state.security_profile < CLIENT_CERTIFICATE_PROFILE:
        if state.target_security_profile < CLIENT_CERTIFICATE_PROFILE:
            draft.stage(job, "awaiting-activation", waiting_for=migration.RESTING)
        else:
            migration.follow(draft, job)
        return
    due = job.due_at
    if due is None or job.stage != "awaiting-reconnect":
        due = draft.now + timedelta(seconds=draft.policy(job.purpose).reconnect_wait_s)
    reason = (
        (job.reason_code, job.reason_message or "")
        if job.stage == "awaiting-reconnect" and job.reason_code
        else None
    )
    draft.stage(job, "awaiting-reconnect", waiting_for="reconnect", reason=reason, due_at=due)
    reconnect.climb(draft, draft.state.jobs[job.job_id])


def _plan_listing(draft: Draft, job: JobState) -> None:
    """Installed, and active once the charger's own list names it (`activation.by_list`)."""
    if job.failures >= draft.policy(job.purpose).max_attempts:
        draft.fail(
            job, job.reason_code or "not-listed", job.reason_message or "the charger does not list the leaf"
        )
        return
    if draft.state.capabilities.cannot_list:
        reason = ("cannot-confirm-certificate", "the charger cannot list its certificates")
        draft.stage(job, "awaiting-activation", waiting_for="operator", reason=reason)
        return
    draft.open_instruction(job, inventory.list_of_leaves(job.purpose))
    draft.stage(job, "awaiting-activation", waiting_for="charger", reason=trust_gate.kept_reason(job))
