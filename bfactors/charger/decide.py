"""The decision about one charger: given its state and a message, the events that follow.

Pure: the same state, message and context always give the same events. Orders, effects and the admission record are
derived from the new state (`outgoing`), rows from it too (`project`).
"""

from typing import assert_never

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.charger import (
    break_glass,
    clock,
    clock_fact,
    delivery,
    departure,
    foreign,
    former,
    issuance,
    key_rotation,
    log_collection,
    migration,
    operator_call,
    part_place,
    plan,
    reconciliation,
    report,
    request,
    revocation,
    session,
    spokesman,
    tracing,
)
from bfactors.charger.draft import Context, Draft
from bfactors.charger.part import Part
from bfactors.charger.state import ChargerState, JobState, SessionFact
from bfactors.refusal import Refusal

ChargerCommand = (
    c.RegisterCharger
    | c.DecommissionCharger
    | c.ReplaceUnit
    | c.ChangeCharger
    | c.SetChargerCapabilities
    | c.ResumeCharger
    | c.CallCharger
    | c.StartTrace
    | c.SetSpokenFor
    | c.AdmitExpired
    | c.RequestJob
    | c.OpenMigration
    | c.DecideApproval
    | c.ReleaseMigration
    | c.RequestLog
    | c.RotateKey
    | c.CancelJob
)


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided. `jobs` holds the last form of every job touched; `job_id` answers a job command. A refusal may
    come with events: what it found over.
    """

    state: ChargerState | None
    events: tuple[e.ChargerEvent, ...] = ()
    jobs: dict[str, JobState] = {}
    refusal: Refusal | None = None
    job_id: str | None = None
    displaced: SessionFact | None = None
    held_by: str | None = None
    """The approval that must be given before the command is carried out."""


def decide_command(state: ChargerState | None, command: ChargerCommand, context: Context) -> Decision:
    """What a command about one charger leads to."""
    if isinstance(command, c.RegisterCharger):
        registered = request.register(state, command, context)
        if isinstance(registered, Refusal):
            return Decision(state=state, refusal=registered)
        new, events = registered
        draft = Draft(new, context, events)
        plan.plan(draft)
        return _finished(draft)
    if state is None:
        refusal = Refusal("unknown-charger", f"no charger is called {command.charger_id}", "charger_id", 404)
        return Decision(state=None, refusal=refusal)
    if state.decommissioned_at is not None and not isinstance(
        command, c.DecommissionCharger | c.ReplaceUnit | c.CancelJob
    ):
        return Decision(state=state, refusal=departure.out_of_service(state))
    draft = Draft(state, context)
    former.take_back(draft)
    job_id: str | None = None
    outcome: Refusal | str | None
    held: Refusal | str | None = None
    match command:
        case c.DecommissionCharger():
            outcome = departure.decommissioned(draft, command)
        case c.ReplaceUnit():
            outcome = departure.replaced(draft, command)
        case c.ChangeCharger():
            outcome = request.change(draft, command)
        case c.SetChargerCapabilities():
            outcome = request.set_capabilities(draft, command)
        case c.ResumeCharger():
            outcome = request.resume(draft, command)
        case c.CallCharger():
            outcome = operator_call.make(draft, command)
        case c.StartTrace():
            outcome = tracing.start(draft, command)
        case c.SetSpokenFor():
            outcome = spokesman.named(draft, command)
        case c.AdmitExpired():
            outcome = held = break_glass.done_or_held(draft, command)
        case c.RequestJob():
            outcome = request.open_job(draft, command)
        case c.OpenMigration():
            outcome = migration.opened(draft, command)
        case c.DecideApproval():
            outcome = break_glass.decided(draft, command)
            if isinstance(outcome, Refusal) and draft.events:
                return Decision(state=draft.state, events=tuple(draft.events), refusal=outcome)
        case c.ReleaseMigration():
            outcome = held = break_glass.done_or_held(draft, command)
        case c.RequestLog():
            outcome = log_collection.requested(draft, command)
        case c.RotateKey():
            outcome = key_rotation.asked_for(draft, command)
        case c.CancelJob():
            outcome = request.cancel(draft, command)
        case _:
            assert_never(command)
    if isinstance(outcome, Refusal):
        return Decision(state=state, refusal=outcome)
    if isinstance(held, str):
        plan.plan(draft)
        return msgspec.structs.replace(_finished(draft), held_by=held)
    if isinstance(outcome, str):
        job_id = outcome
    plan.plan(draft)
    return _finished(draft, job_id=job_id)


def decide_evidence(state: ChargerState | None, evidence: v.Evidence, context: Context) -> Decision:
    """What a fact leads to. Facts about a charger nobody registered change nothing but the record of the edge."""
    if state is None:
        return Decision(state=None)
    draft = Draft(state, context)
    former.take_back(draft)
    displaced = _apply(draft, evidence.body)
    plan.plan(draft)
    return _finished(draft, displaced=displaced)


def decide_part(state: ChargerState, part: Part, context: Context) -> Decision:
    """What follows from a part of the charger being so: who decided it has looked at `part_place.problem`."""
    draft = Draft(state, context)
    part_place.placed(draft, part)
    plan.plan(draft)
    return _finished(draft)


def _finished(draft: Draft, *, job_id: str | None = None, displaced: SessionFact | None = None) -> Decision:
    return Decision(
        state=draft.state,
        events=tuple(draft.events),
        jobs=draft.jobs_touched,
        job_id=job_id,
        displaced=displaced,
    )


def _apply(draft: Draft, body: v.EvidenceBody) -> SessionFact | None:
    match body:
        case v.SessionOpened():
            return session.opened(draft, body)
        case v.SessionClosed():
            session.closed(draft, body.session_id, body.reason)
        case v.NodeLost():
            session.node_lost(draft, body)
        case v.BootReported():
            session.booted(draft, body)
        case v.ClockSeen():
            clock_fact.seen(draft, body)
        case v.CsrReceived():
            issuance.csr_received(draft, body)
        case v.InstructionSent():
            delivery.dispatched(draft, body)
        case v.InstructionAnswered():
            delivery.answered(draft, body)
        case v.SecurityEventReported():
            report.security_event(draft, body)
        case v.ConnectionRefused():
            report.refused_at_the_edge(draft, body)
        case v.IssuanceRequested():
            issuance.reference(draft, body)
        case v.IssuanceCompleted():
            issuance.completed(draft, body)
        case v.IssuanceRefused():
            issuance.refused(draft, body)
        case v.IssuanceAttemptLapsed():
            issuance.lapsed(draft, body)
        case v.IssuanceDelayed():
            issuance.delayed(draft, body)
        case v.IssuanceReconciled():
            issuance.reconciled(draft, body)
        case v.IssuanceUnreconciled():
            issuance.unreconciled(draft, body)
        case v.CertificateSeenAtCa():
            reconciliation.seen_at_ca(draft, body)
        case v.CertificateNotAtCa():
            reconciliation.not_at_ca(draft, body)
        case v.RevocationAccepted():
            revocation.accepted(draft, body.certificate_id, draft.now)
        case v.RevocationRefused():
            revocation.refused(draft, body)
        case v.RefusalConfirmed():
            revocation.refused_at_edge(draft, body)
        case v.RevocationListed():
            revocation.listed(draft, body)
        case v.ForeignRevocationSeen():
            foreign.seen(draft, body)
        case v.RevocationUnlisted():
            revocation.unlisted(draft, body)
        case v.KeyMinted():
            key_rotation.minted(draft, body)
        case v.KeyNotMinted():
            key_rotation.not_minted(draft, body)
        case v.DeadlinePassed():
            clock.rang(draft)
        case v.LogStatusReported():
            log_collection.progressed(draft, body)
        case v.LogUploaded():
            log_collection.uploaded(draft, body)
        case (
            v.FleetFactsChanged()
            | v.AccessDenied()
            | v.HandshakeFailed()
            | v.NodeTrustReported()
            | v.FirmwareStatusReported()
        ):
            pass  # not about this charger's credentials; firmware trust follows the last of them
        case (
            v.AuthorityCompared() | v.AuthorityNotCompared() | v.RevocationListStale() | v.AuthorityObserved()
        ):
            pass  # the fleet's
        case _:
            assert_never(body)
    return None
