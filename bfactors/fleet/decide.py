"""The fleet partition's decisions: authorities, trust anchor bundles, policies, pauses, connect nodes."""

import hashlib
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
    clock,
    family,
    incident,
    policy,
    reconciliation,
    reconciliation_view,
    retention,
    rollover,
    subscription,
    waiver,
)
from bfactors.fleet.state import Bundle, FleetState, NodeTrust, SupervisorPause
from bfactors.purpose import purposes
from bfactors.refusal import Refusal
from bfactors.retention import KINDS as RETENTION_KINDS
from bfactors.x509 import Certificate, HashName, MalformedX509, hash_data, is_root, parse_certificate, pem_of

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
_PAST_KEPT = 16
_ALGORITHMS: tuple[HashName, ...] = ("SHA256", "SHA384", "SHA512")
_STATES = {"pause": "paused", "resume": "running", "drain": "draining"}
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
_KINDS = ("family", "cohort", "purpose", "scheme", "ledger")


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
    done = _carry_out(state, approval.held_command(found), found.author, now, approver=actor)
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


def evolve(state: FleetState, event: e.FleetEvent, now: datetime) -> FleetState:
    """The state after one event."""
    replace = msgspec.structs.replace
    facts = state.facts
    history = state.history
    subscriptions = state.subscriptions
    reconciliations = state.reconciliations
    approvals = state.approvals
    waivers = state.waivers
    match event:
        case e.AuthorityRegistered():
            facts = authority.put(facts, authority.of_event(event))
        case e.AuthorityStatusChanged() | e.AuthorityExpiryEscalated():
            facts = authority.noted(facts, event)
        case e.TrustAnchorBundleCreated():
            bundle = Bundle(
                bundle_id=event.bundle_id,
                purpose=event.purpose,
                version=event.version,
                anchors=event.anchors,
                note=event.note,
                created_at=now,
            )
            history = {**history, event.bundle_id: bundle}
            bundles = {**facts.bundles, event.purpose: bundle}
            facts = replace(facts, bundles=bundles, past=_past(bundles, history))
        case e.SupervisorStateSet():
            pauses = {
                key: value for key, value in facts.pauses.items() if key != f"{event.kind}/{event.name}"
            }
            if event.state != "running":
                pauses[f"{event.kind}/{event.name}"] = SupervisorPause(
                    kind=event.kind,
                    name=event.name,
                    state=event.state,
                    reason=event.reason,
                    by=event.by,
                    at=event.at,
                )
            facts = replace(facts, pauses=pauses)
        case e.PolicySetChanged():
            facts = replace(facts, policies=policy.changed(facts.policies, event.override, event.version))
        case e.NodeTrustRecorded():
            trust = NodeTrust(
                node=event.node,
                incarnation=event.incarnation,
                fingerprints=frozenset(event.fingerprints),
                server_anchors=frozenset(event.server_anchors),
            )
            facts = replace(facts, nodes={**facts.nodes, event.incarnation: trust})
        case e.IncidentOpened() | e.IncidentChanged() | e.IncidentEnded():
            facts = replace(facts, incidents=incident.changed(facts.incidents, event, now))
        case e.FamilyFactsSet() | e.FamilyQualified() | e.FamilyFactoryAnchorsSet():
            facts = replace(facts, families={**facts.families, event.family: family.known(facts, event)})
        case e.NotificationSubscriptionSet() | e.NotificationSubscriptionRemoved():
            subscriptions = subscription.changed(state.subscriptions, event, now)
        case e.NodeForgotten():
            nodes = {key: node for key, node in facts.nodes.items() if key != event.incarnation}
            facts = replace(facts, nodes=nodes)
        case (
            e.ReconciliationRequested()
            | e.AuthorityReconciled()
            | e.ReconciliationFailed()
            | e.UnexplainedCertificateFound()
            | e.UnexplainedCertificateRevoked()
        ):
            reconciliations = reconciliation.evolve(reconciliations, event, now)
        case e.ApprovalRequested() | e.ApprovalDecided():
            approvals = approval.changed(approvals, event, now)
        case (
            e.WaiverRequested() | e.WaiverGranted() | e.WaiverRejected() | e.WaiverEnding() | e.WaiverEnded()
        ):
            waivers = waiver.changed(waivers, event, now)
            facts = replace(facts, waivers=waiver.in_force(waivers))
        case (
            e.CaRolloverStarted()
            | e.CaRolloverAdvanced()
            | e.CaRolloverCompleted()
            | e.CaRolloverAborted()
            | e.CaRolloverStalled()
        ):
            state = rollover.evolve(state, event, now)
            facts, reconciliations = state.facts, state.reconciliations
        case e.RetentionSet() | e.RetentionSwept():
            state = retention.evolve(state, event, now)
        case e.SecurityEventRecorded() | e.EvidenceQuarantined() | e.RevocationListOverdue():
            pass
        case _:
            assert_never(event)
    return replace(
        state,
        facts=facts,
        history=history,
        subscriptions=subscriptions,
        reconciliations=reconciliations,
        approvals=approvals,
        waivers=waivers,
        revision=state.revision + 1,
    )


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


def _past(current: dict[str, Bundle], history: dict[str, Bundle]) -> tuple[Bundle, ...]:
    """Every anchor that once was in a bundle and is in none now, under the newest of its bundles."""
    known = {anchor.fingerprint_sha256 for bundle in current.values() for anchor in bundle.anchors}
    found: list[Bundle] = []
    for bundle in reversed(history.values()):
        anchors = tuple(anchor for anchor in bundle.anchors if anchor.fingerprint_sha256 not in known)
        known |= {anchor.fingerprint_sha256 for anchor in anchors}
        if anchors:
            found.append(msgspec.structs.replace(bundle, anchors=anchors))
    return tuple(found[:_PAST_KEPT])


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
    spec = purposes().get(command.purpose)
    if spec is None:
        return FleetDecision(
            state=state,
            refusal=Refusal("unknown-purpose", f"no purpose is called {command.purpose!r}", "purpose"),
        )
    if not command.anchors_pem:
        return FleetDecision(
            state=state, refusal=Refusal("empty-bundle", "a bundle needs an anchor", "anchors")
        )
    anchors: dict[str, e.Anchor] = {}
    for pem in command.anchors_pem:
        try:
            certificate = parse_certificate(pem)
        except MalformedX509 as problem:
            return FleetDecision(
                state=state, refusal=Refusal("malformed-certificate", str(problem), "anchors")
            )
        if not certificate.is_ca or not is_root(certificate):
            message = (
                f"{certificate.subject!r} is not a self-signed CA certificate; a charger could never list it"
            )
            return FleetDecision(state=state, refusal=Refusal("not-a-root", message, "anchors"))
        anchors[certificate.fingerprint_sha256] = _anchor(certificate)
    current = state.facts.bundles.get(command.purpose)
    if current is not None and {a.fingerprint_sha256 for a in current.anchors} == set(anchors):
        return FleetDecision(state=state, result=bundle_body(current))
    earlier = state.history.get(command.bundle_id)
    if earlier is not None:
        if (earlier.purpose, {a.fingerprint_sha256 for a in earlier.anchors}) == (
            command.purpose,
            set(anchors),
        ):
            return FleetDecision(state=state, result=bundle_body(earlier))  # the same command, said late
        message = "a bundle of this id exists with other anchors; a bundle never changes"
        return FleetDecision(state=state, refusal=Refusal("bundle-exists", message, "bundle_id", 409))
    version = 1 + max((b.version for b in state.history.values() if b.purpose == command.purpose), default=0)
    ordered = tuple(anchors[key] for key in sorted(anchors))
    event = e.TrustAnchorBundleCreated(
        bundle_id=command.bundle_id,
        purpose=command.purpose,
        version=version,
        anchors=ordered,
        note=command.note,
    )
    decided = _decided(state, now, event)
    return msgspec.structs.replace(decided, result=bundle_body(decided.state.history[command.bundle_id]))


def _anchor(certificate: Certificate) -> e.Anchor:
    return e.Anchor(
        fingerprint_sha256=certificate.fingerprint_sha256,
        subject=certificate.subject,
        not_after=certificate.not_after,
        pem=pem_of(certificate.der),
        hash_data=tuple(hash_data(certificate, certificate, algorithm) for algorithm in _ALGORITHMS),
    )


def bundle_body(bundle: Bundle) -> dict[str, Any]:
    """A bundle as the API shows it; its cohorts come with the campaigns."""
    return {
        "bundle_id": bundle.bundle_id,
        "purpose": bundle.purpose,
        "realm": purposes()[bundle.purpose].realm,
        "version": bundle.version,
        "note": bundle.note,
        "anchors": [
            {"fingerprint_sha256": a.fingerprint_sha256, "subject": a.subject, "not_after": a.not_after}
            for a in bundle.anchors
        ],
        "cohorts": [],
    }


def _set_supervisor(
    state: FleetState, command: c.SetSupervisorState, actor: str, now: datetime
) -> FleetDecision:
    if command.kind not in _KINDS:
        return FleetDecision(
            state=state,
            refusal=Refusal("unknown-supervisor", f"no supervisor is a {command.kind!r}", "kind", 404),
        )
    if command.action not in _STATES:
        return FleetDecision(
            state=state, refusal=Refusal("invalid-value", "pause, resume or drain", "action")
        )
    if not command.reason.strip():
        return FleetDecision(state=state, refusal=Refusal("reason-missing", "say why", "reason"))
    wanted = _STATES[command.action]
    known = state.facts.pauses.get(f"{command.kind}/{command.name}")
    body = {"kind": command.kind, "name": command.name, "state": wanted, "reason": command.reason}
    if (known.state if known is not None else "running") == wanted:
        return FleetDecision(state=state, result=body)
    event = e.SupervisorStateSet(
        kind=command.kind, name=command.name, state=wanted, reason=command.reason, by=actor, at=now
    )
    return _decided(state, now, event, result=body)


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


def default_bundle_id(purpose: str, anchors_pem: tuple[str, ...]) -> str:
    """The id a bundle made by the system itself has: the same anchors, the same id."""
    digest = hashlib.sha256("\x1f".join((purpose, *sorted(anchors_pem))).encode()).hexdigest()
    return f"{purpose}-{digest[:12]}"
