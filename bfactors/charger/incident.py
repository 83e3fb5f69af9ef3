"""What an incident of the fleet does to one charger. Level-triggered: from the facts and the state, after every message."""

from collections.abc import Iterator
from datetime import datetime

from bfactors import event as e
from bfactors.charger import activation, request, revoke
from bfactors.charger.draft import Draft
from bfactors.charger.state import CertificateRecord, ChargerState, open_issue, slot_of
from bfactors.command import RequestJob
from bfactors.evidence import evidence_id
from bfactors.fleet.state import FleetFacts
from bfactors.incident import Incident, Subject, TargetState, came_later, has_turn, selects
from bfactors.urgency import URGENT_REASONS

DUE_REASON = "incident"


def follow(draft: Draft) -> None:
    """Bring every certificate that an incident is about to where it can be now."""
    facts = draft.context.facts
    if not facts.incidents:
        return
    for certificate in list(_lifted(draft.state, facts)):
        _lift(draft, certificate)  # first: another incident may only want it replaced
    for incident, certificate in list(_members(draft.state, facts, draft.now)):
        if not _is_marked(incident, certificate):
            _mark(draft, incident, certificate)
        if incident.state == "running" and has_turn(incident, draft.state.charger_id):
            _carry_out(draft, incident, draft.state.certificates[certificate.certificate_id])


def _lift(draft: Draft, certificate: CertificateRecord) -> None:
    """It is in use again, or, where its slot or its job went on without it, has the grace of one that was replaced."""
    draft.record(
        e.CertificateDenialLifted(
            charger_id=draft.state.charger_id,
            certificate_id=certificate.certificate_id,
            incident_id=certificate.incident_id,
        )
    )
    certificate = draft.state.certificates[certificate.certificate_id]
    if certificate.is_usable and not _holds_its_slot(draft.state, certificate):
        activation.supersede(draft, certificate, by=None, reason="incident-lifted")


def is_concerned(state: ChargerState, facts: FleetFacts, now: datetime) -> bool:
    """Whether an incident has something to do here that is not done."""
    if not facts.incidents:
        return False
    if next(_lifted(state, facts), None) is not None:
        return True
    return any(
        not _is_marked(incident, certificate)
        or (
            incident.state == "running" and has_turn(incident, state.charger_id) and not _is_over(certificate)
        )
        for incident, certificate in _members(state, facts, now)
    )


def has_to_refuse(state: ChargerState, facts: FleetFacts, now: datetime) -> bool:
    """Whether an incident refuses a certificate of this charger that is not refused yet."""
    return state.decommissioned_at is None and any(
        incident.mode == "revoke" and not _is_marked(incident, certificate)
        for incident, certificate in _members(state, facts, now)
    )


def _is_over(certificate: CertificateRecord) -> bool:
    """Whether it is ended as far as we can: what somebody else issued is deactivated, and only they can revoke it."""
    return certificate.mode != "managed" and certificate.state in ("inactive", "rejected", "deleted")


def target_state(certificate: CertificateRecord) -> TargetState | None:
    """How far an incident has come with this certificate; None: it is part of none."""
    if not certificate.incident_id:
        return None
    if certificate.state == "revoked":
        return "revoked"
    if certificate.state == "expired" or _is_over(certificate):
        return "ended"
    if certificate.revocation_requested_at is not None:
        return "revoking"
    if certificate.is_denied:
        return "denied"
    return "replacing" if certificate.is_being_replaced else "waiting"


def _members(
    state: ChargerState, facts: FleetFacts, now: datetime
) -> Iterator[tuple[Incident, CertificateRecord]]:
    """Each certificate with the incident it is about, the oldest one; a refusal goes before a replacement."""
    going_on = sorted(
        (one for one in facts.incidents.values() if one.state != "ended"),
        key=lambda one: (one.mode != "revoke", one.opened_at, one.incident_id),
    )
    for certificate in state.certificates.values():
        if certificate.revocation_requested_at is not None:
            continue
        subject = _subject(state, certificate)
        for incident in going_on:
            if selects(incident, subject, now):
                yield incident, certificate
                break


def _subject(state: ChargerState, certificate: CertificateRecord) -> Subject:
    return Subject(
        certificate_id=certificate.certificate_id,
        purpose=certificate.purpose,
        issuing_ca_id=certificate.issuing_ca_id,
        spki_sha256=certificate.spki_sha256,
        state=certificate.state,
        issued_at=certificate.issued_at,
        not_after=certificate.not_after,
        family=state.family,
        site=state.site,
        cohort=state.cohort,
    )


def _is_marked(incident: Incident, certificate: CertificateRecord) -> bool:
    return certificate.incident_id == incident.incident_id and (
        incident.mode == "replace" or certificate.is_denied
    )


def _mark(draft: Draft, incident: Incident, certificate: CertificateRecord) -> None:
    is_lost = incident.revocation_reason in URGENT_REASONS
    draft.record(
        e.CertificateInIncident(
            charger_id=draft.state.charger_id,
            certificate_id=certificate.certificate_id,
            incident_id=incident.incident_id,
            is_denied=incident.mode == "revoke",
            began_at=incident.opened_at,
            is_key_compromised=is_lost,
            came_later=came_later(incident, draft.state.placed_at, certificate.known_at),
        )
    )
    if is_lost:
        # its stage may be long in coming, and what is issued after the incident began is no part of it
        revoke.end_jobs(draft, certificate.spki_sha256)


def _lifted(state: ChargerState, facts: FleetFacts) -> Iterator[CertificateRecord]:
    for certificate in list(state.certificates.values()):
        incident = facts.incidents.get(certificate.incident_id)
        is_going = certificate.revocation_requested_at is not None
        if incident is not None and incident.is_lifted and certificate.is_denied and not is_going:
            yield certificate


def moments(state: ChargerState, facts: FleetFacts, now: datetime) -> Iterator[datetime]:
    """When a replacement that failed may be tried again."""
    if facts.incidents:
        for certificate in state.certificates.values():
            again = certificate.renew_again_at
            if certificate.incident_id and certificate.is_usable and again is not None and again > now:
                yield again


def _carry_out(draft: Draft, incident: Incident, certificate: CertificateRecord) -> None:
    if incident.mode == "replace" and _holds_its_slot(draft.state, certificate):
        _replace(draft, incident, certificate)
    elif certificate.mode != "managed":
        if not _is_over(certificate):
            _ask(draft, incident, certificate, "deactivate")
    else:
        _ask(draft, incident, certificate, "revoke")


def _holds_its_slot(state: ChargerState, certificate: CertificateRecord) -> bool:
    slot = state.slots.get(slot_of(certificate))
    return slot is not None and certificate.certificate_id in (slot.current, slot.next)


def _replace(draft: Draft, incident: Incident, certificate: CertificateRecord) -> None:
    """Another one, by a job that waits for the charger as long as it takes; a job that failed is opened anew after its rest."""
    rests_until = certificate.renew_again_at
    is_resting = rests_until is not None and rests_until > draft.now
    if (
        certificate.is_usable
        and not is_resting
        and open_issue(draft.state, certificate.purpose, certificate.part) is None
    ):
        _ask(draft, incident, certificate, "renew")


def _ask(draft: Draft, incident: Incident, certificate: CertificateRecord, action: str) -> None:
    name = f"{incident.incident_id}:{certificate.certificate_id}:{action}:{certificate.renewals}"
    request.open_job(
        draft,
        RequestJob(
            job_id=evidence_id(name),
            charger_id=draft.state.charger_id,
            purpose=certificate.purpose,
            action=action,
            reason=f"incident {incident.name}: {incident.reason}"[:500],
            certificate_id=certificate.certificate_id,
            revocation_reason=incident.revocation_reason if action == "revoke" else None,
            due_reason=DUE_REASON if action == "renew" else None,
        ),
    )
