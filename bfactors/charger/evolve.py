"""How each event changes a charger's state. Total, pure, and the only way the state changes."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, assert_never, get_args, get_type_hints

from msgspec.structs import replace

from bfactors import event as e
from bfactors.charger import evolve_departure
from bfactors.charger.evolve_certificate import certificate_changed, found_at_ca, issued, recalled
from bfactors.charger.evolve_inventory import adopted, asked_to_list, carried_out, deleted, listed, strangers
from bfactors.charger.evolve_job import job_changed
from bfactors.charger.evolve_key import displaced, key_changed, rebooted, shown, told
from bfactors.charger.evolve_log import log_changed
from bfactors.charger.evolve_migration import migration_changed, offered, profile_reached, step_settled
from bfactors.charger.evolve_report import reported
from bfactors.charger.evolve_rollback import rollback_changed
from bfactors.charger.part import Part
from bfactors.charger.pending_key import ROTATE_KEY
from bfactors.charger.state import (
    BootFact,
    BundleConfirmation,
    ChargerState,
    ClockFact,
    ExpiredAdmission,
    InstructionState,
    SessionFact,
)
from bfactors.frame_trace import TraceOrder
from bfactors.instruction import DeleteCertificate, InstallLeaf, is_reset

NODE_LOST = "node-lost"
"""Why a session ended that its node may still hold, cut off from us for a while."""
_RETIRED_PARTS_KEPT = 16


def evolve(state: ChargerState | None, event: e.ChargerEvent, now: datetime) -> ChargerState:
    """The state after one event. `now` is the time the event was recorded.

    Raises ValueError if an event other than `ChargerRegistered` meets no state.
    """
    if isinstance(event, e.ChargerRegistered):
        return _registered(event, now)
    if state is None:
        raise ValueError(f"{type(event).__name__} for a charger that is not registered")
    return replace(_CHANGES[type(event)](state, event, now), revision=state.revision + 1)


def _registered(event: e.ChargerRegistered, now: datetime) -> ChargerState:
    return ChargerState(
        charger_id=event.charger_id,
        managed_identity_id=event.managed_identity_id,
        serial_number=event.serial_number,
        family=event.family,
        site=event.site,
        cohort=event.cohort,
        organization=event.organization,
        installer=event.installer,
        expected_common_name=event.expected_common_name,
        security_profile=event.security_profile,
        target_security_profile=event.target_security_profile,
        ocpp_versions=event.ocpp_versions,
        registered_at=now,
        keys=() if event.key is None else (event.key, *event.key_forms),
        key_origin=event.key_origin,
        key_since=None if event.key is None else now,
        key_weakness=event.key_weakness,
        revision=1,
    )


def _with_part(state: ChargerState, event: e.ChargerPartChanged) -> ChargerState:
    part = Part(
        identity_id=event.managed_identity_id,
        kind=event.kind,
        names=event.external_ids,
        evses=event.evses,
        is_retired=event.is_retired,
    )
    parts = {**state.parts, part.identity_id: part}
    retired = [one.identity_id for one in parts.values() if one.is_retired]
    for identity_id in retired[:-_RETIRED_PARTS_KEPT]:
        if not any(each.part == identity_id for each in state.certificates.values()):
            del parts[identity_id]
    return replace(state, parts=parts)


_OtherEvent = (
    e.ChargerChanged
    | e.AdmissionRuleChanged
    | e.ChargerCapabilitiesSet
    | e.CapabilitiesChanged
    | e.ChargerClockObserved
    | e.InventoryReconciled
    | e.SecurityEventEscalated
    | e.PolicyDecisionRecorded
    | e.CertificateInstallRequested
    | e.OperatorCallAnswered
    | e.EvidenceQuarantined
    | e.SpokenForSet
    | e.ExpiredCertificateAdmitted
    | e.ExpiredCertificateAdmissionEnded
    | e.CSRHeldBack
    | e.TraceStarted
    | e.ChargerResumed
    | e.SecurityProfileMigrated
    | e.CertificateDeleted
    | e.CertificateAdopted
    | e.ChargerLockoutForeseen
    | e.ChargerFactObserved
    | e.ChargerPartChanged
    | e.TrustAnchorAccepted
    | e.TrustGateWaived
    | e.TrustAnchorBundleConfirmed
    | e.CertificateFoundAtCa
    | e.CertificateRecalled
    | e.CertificateMissingAtCa
)


def _changed(state: ChargerState, event: _OtherEvent, now: datetime) -> ChargerState:
    match event:
        case e.ChargerChanged():
            has_moved = (event.site, event.cohort) != (state.site, state.cohort)
            return replace(
                state,
                placed_at=now if has_moved else state.placed_at,
                site=event.site,
                cohort=event.cohort,
                organization=event.organization,
                expected_common_name=event.expected_common_name,
                installer=event.installer,
            )
        case e.AdmissionRuleChanged():
            return replace(
                state,
                subject_match=event.subject_match,
                foreign_revocation=event.foreign_revocation,
                factory_anchors=event.factory_anchors,
            )
        case e.ChargerCapabilitiesSet():
            return replace(state, own_capabilities=event.capabilities)
        case e.CapabilitiesChanged():
            return replace(state, capabilities=event.capabilities)
        case e.ChargerClockObserved():
            return replace(state, clock=ClockFact(offset_s=event.offset_s, observed_at=now))
        case e.InventoryReconciled():
            return replace(state, differences_digest=event.digest, differences=event.counts)
        case (
            e.SecurityEventEscalated()
            | e.PolicyDecisionRecorded()
            | e.CertificateInstallRequested()
            | e.OperatorCallAnswered()
        ):
            return state
        case e.EvidenceQuarantined():
            return replace(state, paused_reason=f"evidence {event.evidence_id} is quarantined: {event.error}")
        case e.ChargerPartChanged():
            return _with_part(state, event)
        case e.SpokenForSet():
            return replace(state, spoken_for_by=event.speakers)
        case e.ExpiredCertificateAdmitted():
            admission = ExpiredAdmission(until=event.until, reason=event.reason, by=event.actor, since=now)
            return replace(state, expired_admission=admission)
        case e.ExpiredCertificateAdmissionEnded():
            return replace(state, expired_admission=None)
        case e.CSRHeldBack():
            return replace(state, held_back_at=now)
        case e.TraceStarted():
            order = TraceOrder(trace_id=event.trace_id, until=event.until, frames=event.frames)
            return replace(state, trace=order)
        case e.ChargerResumed():
            return replace(state, paused_reason=None)
        case e.SecurityProfileMigrated():
            return profile_reached(state, event)
        case e.CertificateDeleted():
            return deleted(state, event)
        case e.CertificateAdopted():
            return adopted(state, event, now)
        case e.ChargerLockoutForeseen():
            return replace(state, lockout_told=event.locked_out_at)
        case e.ChargerFactObserved():
            return replace(state, observed_facts=_learned(state.observed_facts, event.fact))
        case e.TrustAnchorAccepted():
            return replace(state, accepted_anchors=state.accepted_anchors | {event.fingerprint_sha256})
        case e.TrustGateWaived():
            return state
        case e.TrustAnchorBundleConfirmed():
            confirmation = BundleConfirmation(
                bundle_id=event.bundle_id, rung=event.rung, confirmed_at=now, evidence_ref=event.evidence_ref
            )
            return replace(state, bundles={**state.bundles, event.bundle_purpose: confirmation})
        case e.CertificateFoundAtCa():
            return found_at_ca(state, event, now)
        case e.CertificateRecalled():
            return recalled(state, event)
        case e.CertificateMissingAtCa():
            return state
        case _:
            assert_never(event)


def _learned(facts: frozenset[str], fact: str) -> frozenset[str]:
    """With one more; a newer value of the same name takes the older one's place."""
    name, has_value, _ = fact.partition("=")
    kept = {one for one in facts if not (has_value and one.startswith(f"{name}="))}
    return frozenset(kept | {fact})


def _session_opened(state: ChargerState, event: e.ChargerSessionOpened, now: datetime) -> ChargerState:
    return replace(
        shown(state, event),
        session=_session(event),
        session_generation=event.session_generation,
        lost_session_id=None,
        last_seen_at=now,
        clock=None,
        strangers=strangers(state, event),
        displaced_at=displaced(state, now),
    )


def _session_closed(state: ChargerState, event: e.ChargerSessionClosed, now: datetime) -> ChargerState:
    lost = event.session_id if event.reason == NODE_LOST else None
    return replace(state, session=None, lost_session_id=lost, last_seen_at=now)


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
        key_generation=event.key_generation,
    )


def _booted(state: ChargerState, event: e.ChargerBootReported, now: datetime) -> ChargerState:
    boot = BootFact(
        vendor=event.vendor,
        model=event.model,
        serial_number=event.serial_number,
        firmware_version=event.firmware_version,
    )
    is_same_firmware = state.boot is None or state.boot.firmware_version == event.firmware_version
    # what an older firmware could not do is no fact about this one
    observed = state.observed_facts if is_same_firmware else frozenset[str]()
    return replace(state, boot=boot, observed_facts=observed, last_seen_at=now)


# ---------------------------------------------------------------- instructions


def _instruction_opened(state: ChargerState, event: e.InstructionOpened, now: datetime) -> ChargerState:
    before = state.instructions.get(event.instruction_id)
    instruction = InstructionState(
        instruction_id=event.instruction_id,
        job_id=event.job_id,
        body=event.body,
        decision=event.decision,
        opened_at=before.opened_at if before else now,
        not_before=event.not_before,
        unknown=before is not None and (before.unknown or before.sent_session is not None),
    )
    state = told(asked_to_list(state, event, now), instruction, now)
    state = offered(state, event.body)
    return replace(state, instructions={**state.instructions, event.instruction_id: instruction})


def _instruction_dispatched(
    state: ChargerState, event: e.InstructionDispatched, now: datetime
) -> ChargerState:
    before = state.instructions.get(event.instruction_id)
    if before is None or before.decision != event.decision:
        return state
    instruction = replace(before, sent_session=event.session_id, sent_at=now)
    if is_reset(before.body):
        state = replace(state, reset_session=event.session_id)
    return replace(state, instructions={**state.instructions, event.instruction_id: instruction})


def _instruction_settled(state: ChargerState, event: e.InstructionSettled, now: datetime) -> ChargerState:
    settled = state.instructions.get(event.instruction_id)
    if settled is None:
        return state
    instructions = {key: value for key, value in state.instructions.items() if key != event.instruction_id}
    state = replace(state, instructions=instructions)
    if is_reset(settled.body) and event.outcome in ("rejected", "call-error"):
        state = replace(state, reset_session=None)
    if isinstance(settled.body, InstallLeaf):
        return _delivery_settled(state, settled, settled.body, event.outcome)
    if isinstance(settled.body, DeleteCertificate) and event.outcome == "accepted":
        return carried_out(state, settled.job_id)
    job = state.jobs.get(settled.job_id or "")
    if job is not None and job.action == ROTATE_KEY:
        return rebooted(state, settled, event.outcome)
    return step_settled(state, settled, event.outcome, now)


def _delivery_settled(
    state: ChargerState, settled: InstructionState, body: InstallLeaf, outcome: str
) -> ChargerState:
    """Anything but a clear answer leaves open whether the charger took the leaf."""
    was_sent = settled.unknown or settled.sent_session is not None
    certificate = state.certificates.get(body.certificate_id)
    if certificate is None or not was_sent or outcome in ("accepted", "observed"):
        return state
    refused = outcome == "rejected"
    if refused and not settled.unknown and not certificate.delivery_in_doubt:
        return state
    certificate = replace(
        certificate, delivery_in_doubt=True, refused_in_doubt=refused or certificate.refused_in_doubt
    )
    return replace(state, certificates={**state.certificates, certificate.certificate_id: certificate})


# ---------------------------------------------------------------- which event is whose

_Change = Callable[[ChargerState, Any, datetime], ChargerState]


def _by_event(*changes: _Change) -> dict[type, _Change]:
    """By what each of them folds, as its signature says. Raises ValueError unless every event has exactly one."""
    found: dict[type, _Change] = {}
    for change in changes:
        taken = get_type_hints(change)["event"]
        for kind in get_args(taken) or (taken,):
            if kind in found:
                raise ValueError(f"{kind.__name__} would change a charger in two ways")
            found[kind] = change
    if missing := set(get_args(e.ChargerEvent)) - {e.ChargerRegistered, *found}:
        raise ValueError(f"nothing says what {sorted(kind.__name__ for kind in missing)} change")
    return found


_CHANGES = _by_event(
    _changed,
    _session_opened,
    _session_closed,
    _booted,
    _instruction_opened,
    _instruction_dispatched,
    _instruction_settled,
    certificate_changed,
    issued,
    job_changed,
    key_changed,
    migration_changed,
    rollback_changed,
    log_changed,
    reported,
    listed,
    evolve_departure.decommissioned,
    evolve_departure.replaced,
)
"""By type: one `match` over all of them asked half a hundred questions of a frequent event, at a seventh of a fold's time."""
