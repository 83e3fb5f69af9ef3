"""Commands about one charger: registering it, changing it, opening and cancelling jobs."""

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors.charger import anchor_job, deletion, departure, part_place, revoke
from bfactors.charger.draft import Context, Draft
from bfactors.charger.evolve import evolve
from bfactors.charger.job_opening import ask
from bfactors.charger.state import (
    CertificateRecord,
    ChargerState,
    JobState,
    may_be_on_charger,
    open_issue,
    slot_key,
)
from bfactors.identity import charger_id_problem, serial_number_problem
from bfactors.policy import TRACKED_ONLY
from bfactors.purpose import purposes
from bfactors.refusal import Refusal

_ACTIONS = ("issue", "renew", "revoke", "deactivate", "delete", "install-anchor")


def register(
    state: ChargerState | None, command: c.RegisterCharger, context: Context
) -> tuple[ChargerState, list[e.ChargerEvent]] | Refusal:
    """Add a charger, or say why not."""
    if state is not None and state.decommissioned_at is not None:
        return departure.out_of_service(state)
    if state is not None:
        return Refusal(
            "charger-exists", f"charger {command.charger_id} is registered already", "charger_id", 409
        )
    for field, problem in (
        ("charger_id", charger_id_problem(command.charger_id)),
        ("serial_number", serial_number_problem(command.serial_number)),
    ):
        if problem is not None:
            return Refusal("invalid-value", problem, field)
    if context.serial_owner is not None:
        return Refusal(
            "serial-number-in-use",
            f"charger {context.serial_owner} has this serial number",
            "serial_number",
            409,
        )
    if not 0 <= command.security_profile <= command.target_security_profile <= 3:
        return Refusal(
            "invalid-value",
            "profiles lie between 0 and 3, the target not below the present",
            "target_security_profile",
        )
    event = e.ChargerRegistered(
        charger_id=command.charger_id,
        managed_identity_id=command.managed_identity_id,
        serial_number=command.serial_number,
        family=command.family,
        site=command.site,
        cohort=command.cohort,
        security_profile=command.security_profile,
        target_security_profile=command.target_security_profile,
        organization=command.organization,
        installer=command.installer,
        expected_common_name=command.expected_common_name or command.serial_number,
        ocpp_versions=command.ocpp_versions,
        key=command.key,
        key_forms=command.key_forms,
        key_origin=command.key_origin,
        key_weakness=command.key_weakness,
    )
    return evolve(None, event, context.now), [event]


def change(draft: Draft, command: c.ChangeCharger) -> Refusal | None:
    """Move a charger, or change what its certificate is expected to say."""
    state = draft.state
    event = e.ChargerChanged(
        charger_id=state.charger_id,
        site=command.site or state.site,
        cohort=command.cohort or state.cohort,
        organization=command.organization or state.organization,
        installer=command.installer or state.installer,
        expected_common_name=command.expected_common_name or state.expected_common_name,
    )
    after = evolve(state, event, draft.now)
    if msgspec.structs.replace(after, revision=state.revision) != state:
        draft.record(event)
    return None


def set_capabilities(draft: Draft, command: c.SetChargerCapabilities) -> Refusal | None:
    """Say what this one charger can and cannot do."""
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    if command.capabilities != draft.state.own_capabilities:
        draft.record(
            e.ChargerCapabilitiesSet(
                charger_id=draft.state.charger_id, capabilities=command.capabilities, reason=command.reason
            )
        )
    return None


def resume(draft: Draft, command: c.ResumeCharger) -> Refusal | None:
    """Let a charger go on that its quarantined evidence had paused."""
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    if draft.state.paused_reason is None:
        return Refusal("not-paused", "the charger is not paused", "charger_id", 409)
    event = e.ChargerResumed(
        charger_id=draft.state.charger_id, reason=command.reason, actor=draft.context.actor
    )
    draft.record(event)
    return None


def open_job(draft: Draft, command: c.RequestJob) -> Refusal | str:
    """Open a job and return its id; an open job of the same kind for the same slot is returned instead."""
    if command.action not in _ACTIONS:
        return Refusal("invalid-value", f"action must be one of {', '.join(_ACTIONS)}", "action")
    spec = purposes().get(command.purpose)
    if spec is None:
        return Refusal("unknown-purpose", f"no purpose is called {command.purpose!r}", "purpose")
    is_about_charger = command.action in ("delete", "install-anchor")
    if not spec.is_at_charger and not is_about_charger:
        return Refusal(
            "wrong-identity", f"{spec.name} belongs to a {spec.identity_kind}, not to a charger", "purpose"
        )
    if command.job_id in draft.state.jobs:
        return command.job_id
    if any(ended.job_id == command.job_id for ended in draft.state.ended_jobs):
        return Refusal("job-ended", "a job of this id has ended already", "job_id", 409)
    if command.action == "delete":
        return _open_delete(draft, command)
    if command.action == "install-anchor":
        return _open_install(draft, command)
    certificate = _named(draft.state, command)
    if isinstance(certificate, Refusal):
        return certificate
    part = (
        part_place.addressed(draft.state, spec, command.managed_identity_id)
        if certificate is None
        else certificate.part
    )
    if isinstance(part, Refusal):
        return part
    certificate = certificate or _in_slot(draft.state, command.purpose, part)
    if command.action in ("issue", "renew"):
        return _open_issue(draft, command, certificate, part)
    if certificate is None:
        return Refusal("no-certificate", "the slot holds no certificate to act on", "certificate_id", 409)
    if command.action == "revoke":
        opened = revoke.opened(draft, command, certificate)
        return opened if isinstance(opened, Refusal) else _and_then(draft, command, opened)
    return _deactivate(draft, command, certificate)


def _and_then(draft: Draft, command: c.RequestJob, job_id: str) -> str:
    """What was asked for with a revocation. It never waits for that: what cannot be done is said on its job."""
    certificate_id = draft.state.jobs[job_id].certificate_id or ""
    known = draft.state.certificates[certificate_id]
    wanted = (
        ("replacement", "issue", command.replace and known.replacement_job_id is None),
        ("deletion", "delete", command.delete and known.deletion_job_id is None),
    )
    for kind, action, is_wanted in wanted:
        if not is_wanted:
            continue
        follow_up = c.RequestJob(
            job_id=draft.derived_id(kind, job_id),
            charger_id=command.charger_id,
            purpose=command.purpose,
            action=action,
            reason=f"{kind} of a revoked certificate: {command.reason}",
            certificate_id=certificate_id if action == "delete" else None,
            managed_identity_id=draft.state.certificates[certificate_id].part or None,
        )
        outcome = open_job(draft, follow_up)
        if isinstance(outcome, Refusal):
            revoke.not_followed(draft, job_id, kind, outcome)
        else:
            draft.record(
                e.RevocationFollowUpOpened(
                    job_id=job_id, certificate_id=certificate_id, kind=kind, follow_up_job_id=outcome
                )
            )
    return job_id


def _named(state: ChargerState, command: c.RequestJob) -> CertificateRecord | Refusal | None:
    """The certificate a command names, if it names one."""
    if command.certificate_id is None:
        return None
    certificate = state.certificates.get(command.certificate_id)
    is_other = certificate is not None and (
        certificate.purpose != command.purpose
        or command.managed_identity_id
        not in (None, state.managed_identity_id, certificate.part or state.managed_identity_id)
    )
    if certificate is None or is_other:
        return Refusal("unknown-certificate", "this charger has no such certificate", "certificate_id", 404)
    return certificate


def _in_slot(state: ChargerState, purpose: str, part: str) -> CertificateRecord | None:
    slot = state.slots.get(slot_key(purpose, "default", part))
    current = slot.current or slot.next if slot else None
    return state.certificates.get(current) if current else None


def _open_issue(
    draft: Draft, command: c.RequestJob, certificate: CertificateRecord | None, part: str
) -> Refusal | str:
    present = open_issue(draft.state, command.purpose, part)
    if present is not None:
        return present.job_id
    if draft.policy(command.purpose).mode == TRACKED_ONLY:
        message = (
            f"policy has certificates of {command.purpose} tracked only: nothing is issued for this charger"
        )
        return Refusal(TRACKED_ONLY, message, "purpose", 409)
    if command.action == "renew" and certificate is None:
        return Refusal(
            "no-certificate", "the slot holds no certificate to renew; request issue", "action", 409
        )
    if command.action == "renew" and certificate is not None and not certificate.is_usable:
        state = certificate.state if certificate.revocation_requested_at is None else "being revoked"
        return Refusal("certificate-ended", f"the certificate is {state}", "certificate_id", 409)
    ask(draft, command, None, part=part)
    if command.action == "renew" and certificate is not None:
        draft.record(
            e.CertificateRenewalStarted(
                job_id=command.job_id,
                certificate_id=certificate.certificate_id,
                replaces_certificate_id=certificate.certificate_id,
                due_reason=command.due_reason or "requested",
            )
        )
    return command.job_id


def _open_delete(draft: Draft, command: c.RequestJob) -> Refusal | str:
    target = deletion.addressed(draft.state, draft.context.facts, command)
    if isinstance(target, Refusal):
        return target
    for job in draft.state.jobs.values():
        if job.target is not None and job.target.hash_data == target.hash_data:
            return job.job_id
    certificate = draft.state.certificates.get(command.certificate_id or "")
    part = certificate.part if certificate is not None else ""
    ask(draft, command, command.certificate_id, target, part=part)
    return command.job_id


def _open_install(draft: Draft, command: c.RequestJob) -> Refusal | str:
    refusal = anchor_job.problem(draft.context.facts, command.purpose, command.fingerprint_sha256)
    if refusal is not None:
        return refusal
    for job in draft.state.jobs.values():
        same = (job.action, job.purpose, job.fingerprint_sha256)
        if same == (command.action, command.purpose, command.fingerprint_sha256):
            return job.job_id
    ask(draft, command, None)
    return command.job_id


def _deactivate(draft: Draft, command: c.RequestJob, certificate: CertificateRecord) -> Refusal | str:
    is_going = certificate.revocation_requested_at is not None
    if is_going or certificate.state not in ("issued", "installed", "active", "superseded"):
        state = "being revoked" if is_going else certificate.state
        return Refusal("certificate-ended", f"the certificate is {state}", "certificate_id", 409)
    ask(draft, command, certificate.certificate_id, part=certificate.part)
    draft.record(
        e.CertificateDeactivated(
            certificate_id=certificate.certificate_id,
            deactivated_at=draft.now,
            reason=command.reason,
            actor=draft.context.actor,
        )
    )
    draft.record(e.CertificateJobSucceeded(job_id=command.job_id, certificate_id=certificate.certificate_id))
    return command.job_id


def cancel(draft: Draft, command: c.CancelJob) -> Refusal | None:
    """Give a job up. What is with the CA is completed there and superseded when it arrives.

    A leaf that may have reached the charger stays usable: refused at the edge, it would lock the charger out. To end
    that too, it is deactivated or revoked.
    """
    job: JobState | None = draft.state.jobs.get(command.job_id)
    if job is None:
        return Refusal("job-ended", "the job is not open", "job_id", 409)
    if job.action in ("revoke", *departure.LEAVING):
        return Refusal("cannot-cancel", "a revocation cannot be taken back", "job_id", 409)
    brings_one = job.action in ("issue", "renew") and job.certificate_id is not None
    certificate = draft.state.certificates.get(job.certificate_id or "") if brings_one else None
    is_ours_alone = certificate is not None and not may_be_on_charger(draft.state, certificate, draft.now)
    draft.withdraw_instructions(job.job_id)
    draft.record(e.CertificateJobCancelled(job_id=job.job_id, reason=command.reason))
    if certificate is not None and is_ours_alone and certificate.is_usable:
        draft.record(
            e.CertificateSuperseded(
                certificate_id=certificate.certificate_id,
                superseded_by=None,
                admit_until=None,
                reason="job-cancelled",
            )
        )
    return None
