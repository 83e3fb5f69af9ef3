"""Deleting a certificate from a charger: what is meant, whether it may go, and the job that has it done and confirmed.

The charger deletes by hash data, so its own are echoed (M04.FR.07). Before, it lists anew, and afterwards once more: the guard
judges by what is there now, and only a list without the certificate proves that it is gone.
"""

from typing import Any

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors.certificate_hash import HashData, Reading, ReportedCertificate
from bfactors.charger import inventory
from bfactors.charger.draft import Draft
from bfactors.charger.pause import holder
from bfactors.charger.state import ChargerState, JobState
from bfactors.charger.trust_gate import kept_reason
from bfactors.fleet.state import FleetFacts
from bfactors.instruction import CallAction, DeleteCertificate, ListCertificates
from bfactors.inventory.deletion import deletion_problem
from bfactors.ocpp import Answered, CallFailed
from bfactors.purpose import purpose, session_purpose
from bfactors.refusal import Refusal
from bfactors.x509 import parse_certificates, signed_by

CANNOT_DELETE = "cannot-delete"
ACTION = "DeleteCertificate"
_CANNOT = frozenset({"NotSupported", "NotImplemented"})
_SMALLEST_TLS_PROFILE = 2


class _Named(msgspec.Struct, frozen=True, rename="camel"):
    hash_algorithm: str
    issuer_name_hash: str
    issuer_key_hash: str
    serial_number: str


def named_in(payload: dict[str, Any]) -> HashData:
    """The hash data of a DeleteCertificate request. Raises msgspec.ValidationError if there are none."""
    named = msgspec.convert(payload.get("certificateHashData"), _Named)
    return HashData(named.hash_algorithm, named.issuer_name_hash, named.issuer_key_hash, named.serial_number)


# ---------------------------------------------------------------- what is meant, and whether it may go


def addressed(state: ChargerState, facts: FleetFacts, command: c.RequestJob) -> ReportedCertificate | Refusal:
    """The entry of the charger's list that a command means, by hash data, certificate id or fingerprint, if it may go."""
    if state.capabilities.cannot_delete:
        return _cannot()
    found = inventory.reconciled(state, facts)
    target: ReportedCertificate | None = None
    if command.reported_ref is not None:
        listed = found.listed(command.reported_ref)
        target = listed[1] if listed is not None else None
    else:
        for row in found.rows:
            one = row.held
            if one is None or not _is_meant(command, one.certificate_id, one.fingerprint_sha256):
                continue
            if one.is_session_credential:
                return Refusal(
                    "station-certificate-stays",
                    "a charger's own certificate cannot be deleted over OCPP (M04.FR.06); revoke or deactivate it",
                    "certificate_id",
                    409,
                )
            target = row.reported[0] if row.reported else None
            break
    if target is None:
        message = "the charger does not list such a certificate: have it list again"
        return Refusal("unknown-hash-data", message, "reported_ref", 404)
    return problem(state, facts, target.hash_data) or target


def _is_meant(command: c.RequestJob, certificate_id: str | None, fingerprint_sha256: str) -> bool:
    if command.certificate_id is not None:
        return certificate_id == command.certificate_id
    return fingerprint_sha256 == command.fingerprint_sha256


def _cannot() -> Refusal:
    message = "the charger answers DeleteCertificate with NotSupported or NotImplemented"
    return Refusal(CANNOT_DELETE, message, "action", 409)


def problem(
    state: ChargerState, facts: FleetFacts, target: HashData, *, job_id: str | None = None
) -> Refusal | None:
    """Why this may not be deleted now. Whatever else is being deleted counts as gone; `job_id` names the job that asks."""
    leaving = set(_leaving(state, job_id)) - set(target.readings())
    staying = tuple(one for one in state.reported if leaving.isdisjoint(one.hash_data.readings()))
    if len(staying) != len(state.reported):
        state = msgspec.structs.replace(state, reported=staying)
    found, live = inventory.reconciled(state, facts), live_anchors(state, facts)
    listed = found.listed(target)
    if listed is not None and live is not None and listed[0].fingerprint_sha256 in live:
        # whatever store the charger says it lies in: hash data name none, and its word on stores may be wrong
        message = (
            "the charger may verify this very session with it, or the next; release a bundle without it first"
        )
        return Refusal("anchor-of-live-session", message, "hash_data", 409)
    refusal = deletion_problem(target, found, live)
    if (
        refusal is None
        and listed is not None
        and listed[0].fingerprint_sha256 in _anchors_in_use(state, facts)
    ):
        message = "a certificate of the charger hangs on it; revoke, deactivate or delete that first"
        return Refusal("anchor-of-live-certificate", message, "hash_data", 409)
    return refusal


def _anchors_in_use(state: ChargerState, facts: FleetFacts) -> frozenset[str]:
    """Roots in the charger's stores without which a leaf it serves itself with is worth nothing."""
    found: set[str] = set()
    for certificate in state.certificates.values():
        name = purpose(certificate.purpose).anchor_bundle
        if name != certificate.purpose or certificate.state not in ("installed", "active"):
            continue
        top = parse_certificates(certificate.chain_pem)[-1]
        bundles = [bundle for bundle in (*facts.bundles.values(), *facts.past) if bundle.purpose == name]
        found |= {
            anchor.fingerprint_sha256
            for bundle in bundles
            for anchor in bundle.anchors
            if signed_by(top, parse_certificates(anchor.pem)[0])
        }
    return frozenset(found)


def _leaving(state: ChargerState, job_id: str | None) -> list[Reading]:
    found: list[Reading] = []
    for instruction in state.instructions.values():
        body = instruction.body
        if isinstance(body, DeleteCertificate) and instruction.job_id != job_id:
            found += body.hash_data.readings()
        elif isinstance(body, CallAction) and body.action == ACTION:
            found += named_in(msgspec.json.decode(body.payload)).readings()
    return found


def live_anchors(state: ChargerState, facts: FleetFacts) -> frozenset[str] | None:
    """Every anchor that may verify us on this charger, as none says which does; None on a charger without TLS.

    Those of older bundles count until the charger has confirmed the newest.
    """
    profile = state.security_profile if state.session is None else state.session.security_profile
    if profile < _SMALLEST_TLS_PROFILE:
        return None
    name = session_purpose().anchor_bundle or ""
    current, confirmed = facts.bundles.get(name), state.bundles.get(name)
    bundles = [] if current is None else [current]
    if current is None or confirmed is None or confirmed.bundle_id != current.bundle_id:
        bundles += [bundle for bundle in facts.past if bundle.purpose == name]
    return frozenset(anchor.fingerprint_sha256 for bundle in bundles for anchor in bundle.anchors)


# ---------------------------------------------------------------- the job


def pursue(draft: Draft, job: JobState) -> None:
    """List, judge, delete, list again: whichever of these comes next."""
    target = job.target
    if target is None:
        draft.fail(job, "unknown-hash-data", "the job names no certificate of the charger's list")
        return
    if draft.state.capabilities.cannot_delete:
        draft.fail(job, CANNOT_DELETE, _cannot().message)
        return
    policy = draft.policy(session_purpose().name)
    if job.failures >= policy.max_attempts:
        draft.fail(job, job.reason_code or "still-listed", job.reason_message or "the charger still lists it")
        return
    held = holder(draft, job)
    if held is not None and not job.carried_out:
        draft.stage(job, "held", held_by=held[0], reason=("paused", held[1]))
        return
    if job.carried_out and (policy.confirm_rung == "accepted" or draft.state.capabilities.cannot_list):
        _done(draft, job, target, "accepted")
        return
    if draft.state.list_revision > job.list_after:
        _judge(draft, job, target)
        return
    if draft.state.capabilities.cannot_list:
        _order(draft, job, target)
        return
    if draft.state.session is not None:
        draft.open_instruction(job, ListCertificates())
    _wait(draft, job)


def _judge(draft: Draft, job: JobState, target: ReportedCertificate) -> None:
    """The list is fresh."""
    listed = inventory.reconciled(draft.state, draft.context.facts).listed(target.hash_data)
    if listed is None:
        _done(draft, job, target, "listed")
    elif job.carried_out:
        draft.retry(job, "still-listed", "the charger accepted the deletion, but still lists the certificate")
        again = draft.state.jobs[job.job_id]
        pursue(draft, again)
    else:
        _order(draft, job, listed[1])


def _order(draft: Draft, job: JobState, entry: ReportedCertificate) -> None:
    """Have it deleted, if it may still go: what would strand the charger may have changed since it was asked for."""
    refusal = problem(draft.state, draft.context.facts, entry.hash_data, job_id=job.job_id)
    if refusal is not None:
        draft.fail(job, refusal.code, refusal.message)
        return
    if draft.state.session is None:
        # judged anew on the next session
        draft.withdraw_instructions(job.job_id)
    else:
        draft.open_instruction(job, DeleteCertificate(use=entry.use, hash_data=entry.hash_data))
    _wait(draft, job)


def _wait(draft: Draft, job: JobState) -> None:
    waiting_for = "connection" if draft.state.session is None else "charger"
    draft.stage(job, "deleting", waiting_for=waiting_for, reason=kept_reason(job))


def _done(draft: Draft, job: JobState, target: ReportedCertificate, rung: str) -> None:
    draft.withdraw_instructions(job.job_id)
    _deleted(draft, target, rung, job)
    draft.record(e.CertificateJobSucceeded(job_id=job.job_id, certificate_id=job.certificate_id))


def _deleted(draft: Draft, target: ReportedCertificate, rung: str, job: JobState | None) -> None:
    draft.record(
        e.CertificateDeleted(
            job_id=job.job_id if job is not None else "",
            charger_id=draft.state.charger_id,
            certificate_id=job.certificate_id if job is not None else None,
            reported=target,
            rung=rung,
            evidence_ref=draft.context.cause,
        )
    )


def refused(
    draft: Draft, instruction_job: JobState | None, outcome: Answered | CallFailed, detail: str
) -> None:
    """The charger did not delete it. That it cannot is remembered; `Failed` is its last word; an error may pass."""
    if isinstance(outcome, CallFailed) and outcome.code in _CANNOT:
        draft.record(
            e.ChargerFactObserved(
                charger_id=draft.state.charger_id, fact=CANNOT_DELETE, evidence_ref=draft.context.cause
            )
        )
        if instruction_job is not None:
            draft.fail(instruction_job, CANNOT_DELETE, _cannot().message)
        return
    if instruction_job is None:
        return
    message = f"the charger did not delete it: {detail}"
    if isinstance(outcome, Answered):
        draft.fail(instruction_job, "delete-certificate-refused", message)
    else:
        draft.retry(instruction_job, "delete-certificate-refused", message)


def by_hand(draft: Draft, body: CallAction, outcome: Answered | CallFailed) -> None:
    """An operator's own DeleteCertificate was answered: what is gone is not counted as a root that is left."""
    if isinstance(outcome, CallFailed):
        refused(draft, None, outcome, outcome.code)
        return
    target = named_in(msgspec.json.decode(body.payload))
    listed = inventory.reconciled(draft.state, draft.context.facts).listed(target)
    if listed is not None and outcome.status in ("Accepted", "NotFound"):
        _deleted(draft, listed[1], "accepted", None)
