"""How each event changes the fleet's state. Total, pure, and the only way it changes."""

from datetime import datetime
from typing import assert_never

import msgspec

from bfactors import event as e
from bfactors.fleet import (
    approval,
    authority,
    bundle,
    family,
    incident,
    policy,
    reconciliation,
    retention,
    rollover,
    subscription,
    supervisor,
    waiver,
)
from bfactors.fleet.state import FleetState, NodeTrust


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
            made = bundle.of_event(event, now)
            history = {**history, made.bundle_id: made}
            bundles = {**facts.bundles, made.purpose: made}
            facts = replace(facts, bundles=bundles, past=bundle.past(bundles, history))
        case e.SupervisorStateSet():
            facts = replace(facts, pauses=supervisor.changed(facts.pauses, event))
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
