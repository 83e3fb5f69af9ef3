"""How a certificate's events change its record and its slot."""

from datetime import datetime
from typing import assert_never

from msgspec.structs import replace

from bfactors import event as e
from bfactors.charger.state import (
    CertificateRecord,
    ChargerState,
    Publication,
    Slot,
    is_of_this_unit,
    slot_of,
)

ChangeEvent = (
    e.CertificateInstalled
    | e.CertificateActivated
    | e.CertificateSuperseded
    | e.CertificateRejected
    | e.CertificateDeactivated
    | e.CertificateRevocationRequested
    | e.CertificateRefusedAtEdge
    | e.CertificateRevoked
    | e.CertificateInIncident
    | e.CertificateDenialLifted
    | e.CertificateRevocationPublished
    | e.CertificateRevocationUnpublished
    | e.RevocationFollowUpOpened
    | e.ForeignRevocationChecked
    | e.RevocationContradicted
    | e.CertificateExpired
    | e.CertificateExpiryEscalated
    | e.CertificateRenewalDue
)
_ENDED = ("superseded", "inactive", "expired", "revoked", "rejected", "deleted")
_ENDED_KEPT = 6
"""How many ended certificates the state keeps. Older ones are rows only, and come back when something is to be done with
them (`bfactors.charger.former`)."""


def issued(state: ChargerState, event: e.CertificateIssued, now: datetime) -> ChargerState:
    """A new certificate is the slot's next, and its job's, if that waited for it."""
    part = _part_of(state, event.managed_identity_id)
    certificate = CertificateRecord(
        certificate_id=event.certificate_id,
        purpose=event.purpose,
        variant=event.variant,
        state="issued",
        fingerprint_sha256=event.fingerprint_sha256,
        serial_number=event.serial_number,
        subject=event.subject,
        issuer=event.issuer,
        issuing_ca_id=event.issuing_ca_id,
        external_ref=event.external_ref,
        spki_sha256=event.spki_sha256,
        not_before=event.not_before,
        not_after=event.not_after,
        chain_pem=event.chain_pem,
        issued_at=now,
        former_identity_id=""
        if event.managed_identity_id in (state.managed_identity_id, part)
        else event.managed_identity_id,
        part=part,
    )
    key = slot_of(certificate)
    slot = state.slots.get(key, Slot())
    jobs = state.jobs
    job = jobs.get(event.job_id)
    if job is not None and job.attempt is not None and job.attempt.external_ref == event.external_ref:
        jobs = {**jobs, job.job_id: replace(job, attempt=None, certificate_id=event.certificate_id)}
    return replace(
        state,
        certificates={**state.certificates, event.certificate_id: certificate},
        slots={**state.slots, key: replace(slot, next=event.certificate_id)},
        jobs=jobs,
    )


def found_at_ca(state: ChargerState, event: e.CertificateFoundAtCa, now: datetime) -> ChargerState:
    """One more of the charger's, in no slot."""
    certificate = CertificateRecord(
        certificate_id=event.certificate_id,
        purpose=event.purpose,
        variant=event.variant,
        state="superseded",
        fingerprint_sha256=event.fingerprint_sha256,
        serial_number=event.serial_number,
        subject=event.subject,
        issuer=event.issuer,
        issuing_ca_id=event.issuing_ca_id,
        external_ref=event.external_ref,
        spki_sha256=event.spki_sha256,
        not_before=event.not_before,
        not_after=event.not_after,
        chain_pem=event.chain_pem,
        issued_at=event.issued_at,
        known_at=now,
        admit_until=event.admit_until,
        part=_part_of(state, event.managed_identity_id),
    )
    return replace(state, certificates={**state.certificates, event.certificate_id: certificate})


def recalled(state: ChargerState, event: e.CertificateRecalled) -> ChargerState:
    """One more of the charger's, in no slot and admitted to nothing."""
    part = _part_of(state, event.managed_identity_id)
    is_present = event.managed_identity_id == state.managed_identity_id or (
        bool(part) and is_of_this_unit(state, event.issued_at)
    )
    certificate = CertificateRecord(
        certificate_id=event.certificate_id,
        purpose=event.purpose,
        variant=event.variant,
        state=event.state,
        fingerprint_sha256=event.fingerprint_sha256,
        serial_number=event.serial_number,
        subject=event.subject,
        issuer=event.issuer,
        issuing_ca_id=event.issuing_ca_id,
        external_ref=event.external_ref,
        spki_sha256=event.spki_sha256,
        not_before=event.not_before,
        not_after=event.not_after,
        chain_pem=event.chain_pem,
        issued_at=event.issued_at,
        installed_at=event.installed_at,
        activated_at=event.activated_at,
        revoked_at=event.revoked_at,
        revocation_requested_at=event.revocation_requested_at,
        mode=event.mode,
        authority=event.authority,
        former_identity_id="" if is_present else event.managed_identity_id,
        part=part,
        is_recalled=True,
    )
    return replace(
        state,
        certificates={**state.certificates, event.certificate_id: certificate},
        recalls_more=event.has_more,
    )


def _part_of(state: ChargerState, identity_id: str) -> str:
    return identity_id if identity_id in state.parts else ""


def certificate_changed(state: ChargerState, event: ChangeEvent, now: datetime) -> ChargerState:
    """The state after an event of a certificate; one that is not remembered any more stays forgotten."""
    certificate_id = event.certificate_id
    certificate = state.certificates.get(certificate_id)
    if certificate is None:
        return state
    key = slot_of(certificate)
    slot = state.slots.get(key, Slot())
    match event:
        case e.CertificateInstalled():
            certificate = replace(certificate, state="installed", installed_at=now)
        case e.CertificateActivated():
            certificate = replace(
                certificate, state="active", activated_at=event.activated_at, admit_until=None
            )
            slot = Slot(current=certificate_id, next=_unless(slot.next, certificate_id))
        case e.CertificateSuperseded():
            certificate = replace(certificate, state="superseded", admit_until=event.admit_until)
            slot = _without(slot, certificate_id)
        case e.CertificateRejected():
            certificate = replace(certificate, state="rejected")
            slot = _without(slot, certificate_id)
        case e.CertificateDeactivated():
            certificate = replace(certificate, state="inactive", is_recalled=False)
            slot = _without(slot, certificate_id)
        case e.CertificateRevocationRequested():
            certificate = replace(
                certificate,
                revocation_requested_at=now,
                revocation_reason=event.reason,
                revocation_job_id=event.job_id,
                refusal_revision=state.revision + 1,
            )
            slot = _without(slot, certificate_id)
        case e.CertificateInIncident():
            certificate = replace(
                certificate,
                incident_id=event.incident_id,
                came_later=event.came_later,
                is_denied=certificate.is_denied or event.is_denied,
                is_key_lost=certificate.is_key_lost or event.is_key_compromised,
            )
            slot = _without(slot, certificate_id) if certificate.is_denied else slot
        case e.CertificateDenialLifted():
            certificate = replace(certificate, is_denied=False, is_key_lost=False)
            if certificate.state == "active" and slot.current is None:
                slot = replace(slot, current=certificate_id)
        case e.CertificateRevoked():
            certificate = replace(certificate, state="revoked", revoked_at=event.revoked_at)
            slot = _without(slot, certificate_id)
        case e.CertificateRefusedAtEdge():
            certificate = replace(certificate, refused_at_edge_at=event.refused_at)
        case e.CertificateRevocationPublished():
            certificate = replace(certificate, publication=_publication(event), unpublished=None)
        case e.CertificateRevocationUnpublished():
            said = (event.reason_code, event.reason_message)
            certificate = replace(certificate, unpublished=said, is_publication_over=event.is_over)
        case e.ForeignRevocationChecked():
            certificate = replace(
                certificate, foreign_status=event.status, foreign_good_until=event.good_until
            )
        case e.RevocationFollowUpOpened(kind="replacement"):
            certificate = replace(certificate, replacement_job_id=event.follow_up_job_id)
        case e.RevocationFollowUpOpened():
            certificate = replace(certificate, deletion_job_id=event.follow_up_job_id)
        case e.RevocationContradicted():
            # Refused at the edge as before; only the CA is owed the request again, under an id of its own.
            certificate = replace(
                certificate,
                state="inactive",
                revoked_at=None,
                revocation_requested_at=now,
                contradicted_by=event.report_ref,
                publication=None,
                unpublished=None,
                is_publication_over=False,
            )
        case e.CertificateExpired():
            certificate = replace(certificate, state="expired")
            slot = _without(slot, certificate_id)
        case e.CertificateExpiryEscalated():
            due_since = certificate.due_since or (now if certificate.renewal_due else None)
            certificate = replace(certificate, escalated_days=event.days_left, due_since=due_since)
        case e.CertificateRenewalDue():
            certificate = replace(certificate, renewal_due=True, due_since=certificate.due_since or now)
        case _:
            assert_never(event)
    certificates = {**state.certificates, certificate_id: replace(certificate, changed_at=now)}
    return replace(state, certificates=_pruned(state, certificates, now), slots={**state.slots, key: slot})


def _publication(event: e.CertificateRevocationPublished) -> Publication:
    return Publication(
        seen_at=event.published_at,
        source=event.source,
        address=event.address,
        list_number=event.list_number,
        this_update=event.this_update,
        listed_revoked_at=event.listed_revoked_at,
    )


def _without(slot: Slot, certificate_id: str) -> Slot:
    return Slot(current=_unless(slot.current, certificate_id), next=_unless(slot.next, certificate_id))


def _unless(held: str | None, certificate_id: str) -> str | None:
    return None if held == certificate_id else held


def _pruned(
    state: ChargerState, certificates: dict[str, CertificateRecord], now: datetime
) -> dict[str, CertificateRecord]:
    """Without the oldest of those that can open no session and that nobody works on."""
    ended = [c for c in certificates.values() if c.state in _ENDED and not _still_counts(state, c, now)]
    if len(ended) <= _ENDED_KEPT:
        return certificates
    oldest = sorted(ended, key=lambda c: c.issued_at)[: len(ended) - _ENDED_KEPT]
    gone = {c.certificate_id for c in oldest}
    return {key: value for key, value in certificates.items() if key not in gone}


def _still_counts(state: ChargerState, certificate: CertificateRecord, now: datetime) -> bool:
    if certificate.awaits_publication or (
        certificate.revocation_requested_at is not None and certificate.state != "revoked"
    ):
        return True
    if certificate.admit_until is not None and certificate.admit_until > now:
        return True
    if certificate.changed_at is not None and certificate.changed_at >= now:
        return True  # its row is yet to say so
    if certificate.is_recalled and certificate.state != "revoked" and certificate.not_after > now:
        return True  # what it was recalled for is yet to be done
    return state.session is not None and state.session.fingerprint_sha256 == certificate.fingerprint_sha256
