"""How the charger's answer to an instruction moves its job: accepted, rejected, CALLERROR and silence differ."""

from typing import assert_never

from bfactors import event as e
from bfactors import evidence as v
from bfactors.charger import (
    activation,
    anchor_job,
    deletion,
    inventory,
    key_rotation,
    log_collection,
    migration_step,
    operator_call,
    reconnect,
    setting_fact,
    trust_gate,
)
from bfactors.charger.draft import Draft, back_off, described
from bfactors.charger.state import InstructionState
from bfactors.instruction import (
    RESEND,
    CallAction,
    CollectLog,
    DeleteCertificate,
    InstallAnchor,
    InstallLeaf,
    ListCertificates,
    ReadSettings,
    WriteAuthorizationKey,
    kind_name,
)
from bfactors.inventory.listed import is_leaf_listed
from bfactors.ocpp import Answered, CallFailed, Disconnected, Outcome, Silent
from bfactors.purpose import purpose

_DONE = frozenset({"Accepted", "Scheduled", "RebootRequired", "Closed", "NotFound"})
_CANNOT = frozenset({"NotSupported", "NotImplemented"})
_MOST_DECISIONS = 5


def dispatched(draft: Draft, body: v.InstructionSent) -> None:
    """The frame was about to leave on that session."""
    instruction = draft.state.instructions.get(body.instruction_id)
    if (
        instruction is None
        or instruction.decision != body.decision
        or instruction.sent_session == body.session_id
    ):
        return
    draft.record(
        e.InstructionDispatched(
            charger_id=draft.state.charger_id,
            instruction_id=body.instruction_id,
            job_id=instruction.job_id,
            decision=body.decision,
            session_id=body.session_id,
        )
    )


def answered(draft: Draft, body: v.InstructionAnswered) -> None:
    """The call ended. It settles only what was sent on that session under that decision."""
    instruction = draft.state.instructions.get(body.instruction_id)
    if instruction is None or instruction.decision != body.decision:
        return
    if instruction.sent_session not in (None, body.session_id):
        return
    if isinstance(instruction.body, CallAction):
        operator_call.ended(draft, instruction, instruction.body, body.outcome)
        return
    if isinstance(instruction.body, CollectLog):
        log_collection.answered(draft, instruction, instruction.body, body.outcome)
        return
    if isinstance(instruction.body, WriteAuthorizationKey):
        key_rotation.answered(draft, instruction, instruction.body, body.session_id, body.outcome)
        return
    if migration_step.owns(draft.state, instruction):
        migration_step.answered(draft, instruction, body.outcome)
        return
    match body.outcome:
        case Answered() if body.outcome.status in _DONE:
            _accepted(draft, instruction, body.outcome)
        case Answered() | CallFailed():
            _rejected(draft, instruction, body.outcome)
        case Silent() | Disconnected():
            _unknown(draft, instruction, body.outcome)
        case _:
            assert_never(body.outcome)


def _accepted(draft: Draft, instruction: InstructionState, outcome: Answered) -> None:
    draft.settle(instruction, "accepted", outcome.status)
    match instruction.body:
        case InstallLeaf(certificate_id=certificate_id):
            certificate = draft.state.certificates.get(certificate_id)
            if certificate is not None and certificate.state == "issued":
                draft.record(
                    e.CertificateInstalled(
                        job_id=instruction.job_id or "",
                        certificate_id=certificate_id,
                        evidence_type="certificate-signed-accepted",
                        evidence_ref=draft.context.cause,
                    )
                )
                activation.reached(draft, certificate_id, "installed")
        case InstallAnchor(fingerprint_sha256=fingerprint):
            draft.record(
                e.TrustAnchorAccepted(
                    charger_id=draft.state.charger_id,
                    fingerprint_sha256=fingerprint,
                    evidence_ref=draft.context.cause,
                )
            )
        case ListCertificates():
            _listed(draft, instruction, outcome)
        case ReadSettings():
            setting_fact.learn(draft, outcome)
        case _:
            pass  # that it was accepted is all there is to know


def _listed(draft: Draft, instruction: InstructionState, outcome: Answered) -> None:
    assert isinstance(instruction.body, ListCertificates)
    inventory.note_list(draft, outcome.listed, inventory.uses_of(draft.state, instruction.body))
    trust_gate.confirm_from_list(draft)
    activation.by_list(draft)
    job = draft.state.jobs.get(instruction.job_id or "")
    if job is None or job.action == "delete":
        return
    if job.action == "install-anchor":
        anchor_job.listed(draft, job)
        return
    certificate = draft.state.certificates.get(job.certificate_id or "")
    if certificate is not None and certificate.state == "installed":
        must_be_listed = purpose(job.purpose).active_rung == "listed"
        if must_be_listed and not is_leaf_listed(outcome.listed, certificate):
            draft.retry(job, "certificate-not-listed", "the charger accepted the leaf but does not list it")
        return
    if (closed := trust_gate.gate(draft, job)) is not None and closed.side == "charger":
        draft.retry(
            job, "trust-anchor-not-listed", "the charger accepted the trust anchor but does not list it"
        )


def _rejected(draft: Draft, instruction: InstructionState, outcome: Answered | CallFailed) -> None:
    detail = described(outcome)
    is_call_error = isinstance(outcome, CallFailed)
    draft.settle(instruction, "call-error" if is_call_error else "rejected", detail)
    job = draft.state.jobs.get(instruction.job_id or "")
    if (
        isinstance(outcome, CallFailed)
        and isinstance(instruction.body, ListCertificates)
        and outcome.code in _CANNOT
    ):
        draft.record(
            e.ChargerFactObserved(
                charger_id=draft.state.charger_id,
                fact=trust_gate.CANNOT_LIST,
                evidence_ref=draft.context.cause,
            )
        )
        return
    if isinstance(instruction.body, DeleteCertificate):
        deletion.refused(draft, job, outcome, detail)
        return
    if job is None or reconnect.refused(draft, job, instruction, detail):
        return
    if isinstance(instruction.body, InstallLeaf) and _is_conclusive(draft, instruction.body, outcome):
        draft.record(
            e.CertificateRejected(
                certificate_id=instruction.body.certificate_id, job_id=job.job_id, reason=detail
            )
        )
        if job.is_authority_slow:
            late = (
                f"the CA took longer than the charger keeps its key, and it refused the certificate: {detail}"
            )
            draft.fail(job, "authority-slower-than-charger", late)
            return
        draft.fail(job, "certificate-rejected-by-charger", f"the charger refused its certificate: {detail}")
        return
    if isinstance(instruction.body, InstallLeaf) and isinstance(outcome, Answered):
        # one that took the leaf and one that never can both say this: it is asked for another key
        message = f"the charger refused a certificate that it may have taken before: {detail}"
        draft.retry(job, "install-inconclusive", message)
        return
    kind = kind_name(instruction.body)
    draft.retry(job, f"{kind}-refused", f"the charger did not carry out {kind}: {detail}")


def _is_conclusive(draft: Draft, body: InstallLeaf, outcome: Answered | CallFailed) -> bool:
    """Whether this answer proves that the charger does not hold the leaf: not after an outcome nobody knows."""
    certificate = draft.state.certificates.get(body.certificate_id)
    return (
        isinstance(outcome, Answered)
        and certificate is not None
        and certificate.state == "issued"
        and not certificate.delivery_in_doubt
    )


def _unknown(draft: Draft, instruction: InstructionState, outcome: Outcome) -> None:
    """Nobody knows whether the charger acted; the kind's re-send rule says what follows."""
    disconnected = isinstance(outcome, Disconnected)
    if RESEND[type(instruction.body)] == "once-per-decision":
        # a trigger is repeated when the CSR is overdue, a reset shows itself by the reconnect
        draft.settle(instruction, "unknown", "disconnected" if disconnected else "no answer")
        return
    if disconnected:
        return  # outstanding; the next session decides
    if instruction.decision >= _MOST_DECISIONS:
        draft.settle(instruction, "silent", "no answer")
        job = draft.state.jobs.get(instruction.job_id or "")
        if job is not None:
            kind = kind_name(instruction.body)
            draft.fail(job, f"{kind}-unanswered", f"the charger never answered {kind}")
        return
    draft.repeat_instruction(instruction, delay=back_off(instruction.decision))
