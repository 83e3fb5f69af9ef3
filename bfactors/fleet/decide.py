"""The fleet partition's decisions: authorities, trust anchor bundles, policies, pauses, connect nodes."""

from datetime import datetime
from typing import Any, assert_never

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.approval import Approval, ApprovalState
from bfactors.approval import body as approval_body
from bfactors.fleet import (
    approval,
    authority,
    bundle,
    clock,
    family,
    incident,
    policy,
    reconciliation,
    reconciliation_view,
    retention,
    rollover,
    subscription,
    supervisor,
    waiver,
)
from bfactors.fleet.evolve import evolve
from bfactors.fleet.state import Bundle, FleetState
from bfactors.refusal import Refusal
from bfactors.retention import KINDS as RETENTION_KINDS

DirectCommand = (
    c.RegisterAuthority
    | c.StartRollover
    | c.AdvanceRollover
    | c.AbortRollover
    | c.CreateTrustAnchorBundle
    | c.SetSupervisorState
    | c.SetPolicy
    | c.RequestWaiver
    | c.EndWaiver
    | c.OpenIncident
    | c.ChangeIncident
    | c.SetFamilyFacts
    | c.SetFactoryAnchors
    | c.QualifyFamily
    | c.SetSubscription
    | c.RemoveSubscription
    | c.SetRetention
    | c.RecordSweep
    | c.RequestReconciliation
)
FleetCommand = DirectCommand | c.DecideFleetApproval
_KEPT_HERE = (
    e.SecurityEventRecorded,
    e.EvidenceQuarantined,
    e.RevocationListOverdue,
    e.NotificationSubscriptionSet,
    e.NotificationSubscriptionRemoved,
    e.RetentionSet,
    e.RetentionSwept,
    e.ApprovalRequested,
    e.ApprovalDecided,
    e.WaiverRequested,
    e.WaiverRejected,
    e.WaiverEnding,
    reconciliation.ReconciliationEvent,
)
"""What changes nothing that another partition decides by."""


class FleetDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided; `result` is the body a command is answered with. A refusal may come with events: what it found over.

    `is_held`: nothing was done yet, `result` is the approval that must be given first.
    """

    state: FleetState
    events: tuple[e.FleetEvent, ...] = ()
    refusal: Refusal | None = None
    result: Any = None
    is_held: bool = False


def decide_command(state: FleetState, command: FleetCommand, actor: str, now: datetime) -> FleetDecision:
    """What a fleet-wide command leads to, or that somebody else must agree to it first."""
    if isinstance(command, c.DecideFleetApproval):
        return _decide_approval(state, command, actor, now)
    done = _carry_out(state, command, actor, now)
    if done.refusal is not None or not done.events:
        return done
    kind = approval.kind_of(state.facts, command, actor, now)
    if kind is None:
        return _with_overtaken(done, now)
    asked = approval.ask(state.approvals, state.facts, kind, command, actor, now, state.revision, done.events)
    if isinstance(asked, Refusal):
        return FleetDecision(state=state, refusal=asked)
    opened, events = asked
    held = _decided(state, now, *events, result=approval_body(opened, None))
    return msgspec.structs.replace(held, is_held=True)


def _decide_approval(
    state: FleetState, command: c.DecideFleetApproval, actor: str, now: datetime
) -> FleetDecision:
    found = approval.decided(state.approvals, command, actor, now)
    if isinstance(found, Refusal):
        return FleetDecision(state=state, refusal=found)
    if command.verdict != "approve":
        over: ApprovalState = "rejected" if command.verdict == "reject" else "withdrawn"
        return _ended(state, found, now, *approval.end(found, over, actor, command.reason))
    held = approval.command_of(found, command.afresh)
    done = _carry_out(state, held, found.author, now, approver=actor)
    if done.refusal is not None and approval.stays_open(found, done.refusal):
        return FleetDecision(state=state, refusal=done.refusal)
    if done.refusal is not None:
        reason = f"it cannot be done any more: {done.refusal.message}"
        stale = _ended(state, found, now, *approval.end(found, "stale", actor, reason))
        return msgspec.structs.replace(
            stale, refusal=msgspec.structs.replace(done.refusal, message=reason, status=409)
        )
    given = approval.end(found, "approved", actor, command.reason)
    return _with_overtaken(_ended(state, found, now, *given, *done.events), now)


def _ended(state: FleetState, found: Approval, now: datetime, *events: e.FleetEvent) -> FleetDecision:
    decided = _decided(state, now, *events)
    shown = approval_body(decided.state.approvals[found.approval_id], None)
    return msgspec.structs.replace(decided, result=shown)


def _with_overtaken(decision: FleetDecision, now: datetime) -> FleetDecision:
    """Beside the decision, the end of what was written against the state it changed."""
    if not decision.events:
        return decision
    more = approval.overtaken(decision.state.approvals, decision.state.facts)
    if not more:
        return decision
    further = _decided(decision.state, now, *more)
    return msgspec.structs.replace(decision, state=further.state, events=(*decision.events, *further.events))


def _carry_out(
    state: FleetState,
    command: DirectCommand,
    actor: str,
    now: datetime,
    approver: str | None = None,
) -> FleetDecision:
    """What a command leads to once nobody else need agree. `actor` asked for it; `approver` agreed, if that was needed."""
    match command:
        case c.RegisterAuthority():
            return _register_authority(state, command, now)
        case c.StartRollover():
            return _rolled(state, command.purpose, rollover.started(state, command, actor, now), now)
        case c.AdvanceRollover():
            return _rolled(state, command.purpose, rollover.advanced(state, command, actor, now), now)
        case c.AbortRollover():
            return _rolled(state, command.purpose, rollover.aborted(state, command, actor), now)
        case c.CreateTrustAnchorBundle():
            return _create_bundle(state, command, now)
        case c.SetSupervisorState():
            return _set_supervisor(state, command, actor, now)
        case c.SetPolicy():
            return _set_policy(state, command, now)
        case c.RequestWaiver():
            return _request_waiver(state, command, actor, now, approver)
        case c.EndWaiver():
            over = waiver.ended(state.waivers, command)
            if isinstance(over, Refusal):
                return FleetDecision(state=state, refusal=over)
            return _shown_waiver(_decided(state, now, over), command.waiver_id, now)
        case c.OpenIncident():
            begun = incident.opened(state.facts, command, actor, approver)
            return _of_incident(state, command.incident_id, begun, now)
        case c.ChangeIncident():
            return _of_incident(state, command.incident_id, incident.changed_by(state.facts, command), now)
        case c.SetFamilyFacts():
            said = family.facts_set(state.facts, command, actor, now)
            return _of_family(state, command.family, said, now)
        case c.SetFactoryAnchors():
            named = family.anchors_set(state.facts, command, actor, now)
            return _of_family(state, command.family, named, now)
        case c.QualifyFamily():
            return _of_family(state, command.family, family.qualified(command, actor, now), now)
        case c.SetSubscription():
            return _subscribed(state, command, now)
        case c.RemoveSubscription():
            gone = subscription.removed(state.subscriptions, command)
            if isinstance(gone, Refusal):
                return FleetDecision(state=state, refusal=gone)
            secret_id = state.subscriptions[command.subscription_id].secret_id
            return _decided(state, now, gone, result={"secret_id": secret_id})
        case c.SetRetention():
            kept = retention.decided(state, command, actor)
            return _of_retention(state, command.kind, kept, now)
        case c.RecordSweep():
            return _of_retention(state, command.kind, retention.swept(state, command), now)
        case c.RequestReconciliation():
            return _request_reconciliation(state, command, now)
        case _:
            assert_never(command)


def decide_evidence(state: FleetState, evidence: v.Evidence, now: datetime) -> FleetDecision:
    """What a fact about a node or an address leads to; other facts change nothing here."""
    match evidence.body:
        case v.NodeTrustReported() as body:
            known = state.facts.nodes.get(body.incarnation)
            told = (frozenset(body.fingerprints), frozenset(body.server_anchors))
            if known is not None and (known.fingerprints, known.server_anchors) == told:
                return FleetDecision(state=state)
            return _decided(
                state,
                now,
                e.NodeTrustRecorded(
                    node=body.node,
                    incarnation=body.incarnation,
                    fingerprints=tuple(sorted(body.fingerprints)),
                    server_anchors=tuple(sorted(set(body.server_anchors))),
                ),
            )
        case v.AuthorityObserved() as body:
            return _decided(state, now, *authority.observed(state, body))
        case v.AuthorityCompared() as body:
            return _decided(state, now, *reconciliation.compared(state, body))
        case v.AuthorityNotCompared() as body:
            return _decided(state, now, *reconciliation.not_compared(state, body))
        case v.RevocationAccepted() as body:
            return _decided(state, now, *reconciliation.revoked(state, body))
        case v.RevocationListStale() as body:
            return _decided(state, now, e.RevocationListOverdue(**msgspec.structs.asdict(body)))
        case v.NodeLost() as body:
            if body.incarnation not in state.facts.nodes:
                return FleetDecision(state=state)
            return _decided(state, now, e.NodeForgotten(node=body.node, incarnation=body.incarnation))
        case v.DeadlinePassed():
            return _decided(state, now, *clock.rang(state, now))
        case v.HandshakeFailed() as body:
            return _decided(
                state,
                now,
                e.SecurityEventRecorded(
                    charger_id=None,
                    kind="HandshakeFailed",
                    detail="TLS handshake ended before the upgrade",
                    count=body.count,
                    remote_address=body.remote_address,
                ),
            )
        case v.AccessDenied() as body:
            who = f"{body.who} ({body.role})" if body.who else body.claimed
            return _decided(
                state,
                now,
                e.SecurityEventRecorded(
                    charger_id=None,
                    kind=f"AccessDenied/{body.code}",
                    detail=f"{who} {body.operation}: {body.request}".strip(),
                    count=body.count,
                    remote_address=body.remote_address,
                ),
            )
        case v.ConnectionRefused() as body:
            return _decided(
                state,
                now,
                e.SecurityEventRecorded(
                    charger_id=evidence.charger_id or None,
                    kind=f"ConnectionRefused/{body.reason}",
                    detail="",
                    count=body.count,
                    remote_address=body.remote_address,
                ),
            )
        case _:
            return FleetDecision(state=state)


def _of_incident(
    state: FleetState, incident_id: str, event: incident.Event | Refusal | None, now: datetime
) -> FleetDecision:
    if isinstance(event, Refusal):
        return FleetDecision(state=state, refusal=event)
    decided = FleetDecision(state=state) if event is None else _decided(state, now, event)
    shown = incident.body(decided.state.facts.incidents[incident_id])
    return msgspec.structs.replace(decided, result=shown)


def _of_retention(
    state: FleetState, kind: str, event: e.RetentionSet | e.RetentionSwept | Refusal | None, now: datetime
) -> FleetDecision:
    if isinstance(event, Refusal):
        return FleetDecision(state=state, refusal=event)
    decided = FleetDecision(state=state) if event is None else _decided(state, now, event)
    shown = retention.body(decided.state, kind) if kind in RETENTION_KINDS else None
    return msgspec.structs.replace(decided, result=shown)


def with_sequence(state: FleetState, sequence: int) -> FleetState:
    """The state whose facts name the ledger sequence they were decided under."""
    replace = msgspec.structs.replace
    return replace(state, facts=replace(state.facts, sequence=sequence))


def changes_facts(events: tuple[e.FleetEvent, ...]) -> bool:
    """Whether the other partitions must be told."""
    return any(not isinstance(event, _KEPT_HERE) for event in events)


def _decided(state: FleetState, now: datetime, *events: e.FleetEvent, result: Any = None) -> FleetDecision:
    for event in events:
        state = evolve(state, event, now)
    return FleetDecision(state=state, events=events, result=result)


def _register_authority(state: FleetState, command: c.RegisterAuthority, now: datetime) -> FleetDecision:
    said = authority.register(state, command)
    if isinstance(said, Refusal):
        return FleetDecision(state=state, refusal=said)
    decided = FleetDecision(state=state) if said is None else _decided(state, now, said)
    known = decided.state.facts.authority_of(command.purpose, command.authority_arn)
    gone = next((each for each in state.retired if each.arn == command.authority_arn), None)
    shown = known or gone
    return msgspec.structs.replace(decided, result=None if shown is None else authority.body(shown))


def _rolled(
    state: FleetState,
    purpose: str,
    said: rollover.Said | e.FleetEvent | Refusal | None,
    now: datetime,
) -> FleetDecision:
    """What a rollover's command leads to; a bundle that its step needs is made in the same decision."""
    if isinstance(said, Refusal):
        return FleetDecision(state=state, refusal=said)
    decided = FleetDecision(state=state)
    for each in said if isinstance(said, list) else [] if said is None else [said]:
        further = (
            _create_bundle(decided.state, each, now)
            if isinstance(each, c.CreateTrustAnchorBundle)
            else _decided(decided.state, now, each)
        )
        if further.refusal is not None:
            return FleetDecision(state=state, refusal=further.refusal)
        decided = msgspec.structs.replace(further, events=(*decided.events, *further.events))
    known = decided.state.facts.rollovers.get(purpose)
    return msgspec.structs.replace(decided, result=None if known is None else rollover.body(known))


def _create_bundle(state: FleetState, command: c.CreateTrustAnchorBundle, now: datetime) -> FleetDecision:
    said = bundle.created(state, command)
    if isinstance(said, Refusal):
        return FleetDecision(state=state, refusal=said)
    if isinstance(said, Bundle):
        return FleetDecision(state=state, result=bundle.body(said))
    decided = _decided(state, now, said)
    return msgspec.structs.replace(decided, result=bundle.body(decided.state.history[said.bundle_id]))


def _set_supervisor(
    state: FleetState, command: c.SetSupervisorState, actor: str, now: datetime
) -> FleetDecision:
    said = supervisor.told(state.facts, command, actor, now)
    if isinstance(said, Refusal):
        return FleetDecision(state=state, refusal=said)
    decided = FleetDecision(state=state) if said is None else _decided(state, now, said)
    return msgspec.structs.replace(decided, result=supervisor.body(command))


def _set_policy(state: FleetState, command: c.SetPolicy, now: datetime) -> FleetDecision:
    outcome = policy.policy_set(state.facts, command, now)
    if isinstance(outcome, Refusal):
        return FleetDecision(state=state, refusal=outcome)
    if outcome is None:
        return FleetDecision(state=state, result={"version": state.facts.policies.version})
    return _decided(state, now, outcome, result={"version": outcome.version})


def _subscribed(state: FleetState, command: c.SetSubscription, now: datetime) -> FleetDecision:
    outcome = subscription.subscribed(state.subscriptions, command)
    if isinstance(outcome, Refusal):
        return FleetDecision(state=state, refusal=outcome)
    decided = _decided(state, now, *([] if outcome is None else [outcome]))
    since = decided.state.subscriptions[command.subscription_id].since
    return msgspec.structs.replace(decided, result={"since": since})


def _request_reconciliation(
    state: FleetState, command: c.RequestReconciliation, now: datetime
) -> FleetDecision:
    said = reconciliation.requested(state, command)
    if isinstance(said, Refusal):
        return FleetDecision(state=state, refusal=said)
    decided = _decided(state, now, *said)
    shown = reconciliation_view.body(reconciliation_view.known_of(decided.state, command.purpose))
    return msgspec.structs.replace(decided, result=shown)


def _request_waiver(
    state: FleetState, command: c.RequestWaiver, actor: str, now: datetime, approver: str | None
) -> FleetDecision:
    """Asked for, and granted; for the second part alone it was asked for before, and agreed to since."""
    if approver is not None:
        refusal = waiver.refusal_of(state.waivers, state.facts, command, now)
        if refusal is not None:
            return FleetDecision(state=state, refusal=refusal)
        given = waiver.granted(command, actor, approver)
        return _shown_waiver(_decided(state, now, given), command.waiver_id, now)
    asked = waiver.requested(state.waivers, state.facts, command, actor, now)
    if isinstance(asked, Refusal):
        return FleetDecision(state=state, refusal=asked)
    events = () if asked is None else (asked, waiver.granted(command, actor, None))
    return _shown_waiver(_decided(state, now, *events), command.waiver_id, now)


def _shown_waiver(decision: FleetDecision, waiver_id: str, now: datetime) -> FleetDecision:
    shown = waiver.body(decision.state.waivers[waiver_id], now)
    return msgspec.structs.replace(decision, result=shown)


def _of_family(
    state: FleetState,
    name: str,
    said: family.FamilyEvent | Refusal | None,
    now: datetime,
) -> FleetDecision:
    if isinstance(said, Refusal):
        return FleetDecision(state=state, refusal=said)
    decided = FleetDecision(state=state) if said is None else _decided(state, now, said)
    return msgspec.structs.replace(decided, result=family.body(decided.state.facts.families[name]))
