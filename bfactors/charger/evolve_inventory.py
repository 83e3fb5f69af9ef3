"""How lists, deletions and adopted leaves change the charger they are about."""

from datetime import datetime

from msgspec.structs import replace

from bfactors import event as e
from bfactors.admission import is_spoken_for
from bfactors.charger.state import (
    CertificateRecord,
    ChargerState,
    Slot,
    certificate_by_fingerprint,
    slot_key,
    slot_of,
)
from bfactors.instruction import ListCertificates

_STRANGERS_KEPT = 8


def listed(state: ChargerState, event: e.InstalledCertificatesReported, now: datetime) -> ChargerState:
    """The list is the fresher truth: what it lacks is installed again, whatever was accepted before."""
    return replace(
        state,
        reported=event.reported,
        reported_at=now,
        list_revision=state.revision + 1,
        listed_uses=state.listed_uses | set(event.uses) if event.uses else frozenset(),
        listed_everything=state.listed_everything or not event.uses,
        accepted_anchors=frozenset(),
    )


def asked_to_list(state: ChargerState, event: e.InstructionOpened, now: datetime) -> ChargerState:
    """Asked for no job: whatever comes of it, it is not asked again at once."""
    if event.job_id is None and isinstance(event.body, ListCertificates):
        return replace(state, list_asked_at=now)
    return state


def carried_out(state: ChargerState, job_id: str | None) -> ChargerState:
    """The charger says that it has deleted it; only a later list proves so."""
    job = state.jobs.get(job_id or "")
    if job is None:
        return state
    job = replace(job, carried_out=True, list_after=state.revision + 1)
    return replace(state, jobs={**state.jobs, job.job_id: job})


def deleted(state: ChargerState, event: e.CertificateDeleted) -> ChargerState:
    """It is off the list, and if it was a leaf of ours, out of its slot."""
    gone = event.reported.hash_data
    state = replace(state, reported=tuple(one for one in state.reported if one.hash_data != gone))
    certificate = state.certificates.get(event.certificate_id or "")
    if certificate is None:
        return state
    key = slot_of(certificate)
    slot = state.slots.get(key, Slot())
    slot = Slot(
        current=None if slot.current == certificate.certificate_id else slot.current,
        next=None if slot.next == certificate.certificate_id else slot.next,
    )
    certificates = {**state.certificates, certificate.certificate_id: replace(certificate, state="deleted")}
    return replace(state, certificates=certificates, slots={**state.slots, key: slot})


def adopted(state: ChargerState, event: e.CertificateAdopted, now: datetime) -> ChargerState:
    """In use, in its slot, and renewed from our own CA like any other when its time comes."""
    certificate = CertificateRecord(
        certificate_id=event.certificate_id,
        purpose=event.purpose,
        variant=event.variant,
        state="active",
        fingerprint_sha256=event.fingerprint_sha256,
        serial_number=event.serial_number,
        subject=event.subject,
        issuer=event.issuer,
        issuing_ca_id="",
        external_ref="",
        spki_sha256=event.spki_sha256,
        not_before=event.not_before,
        not_after=event.not_after,
        chain_pem=event.chain_pem,
        issued_at=event.not_before,
        known_at=now,
        activated_at=event.seen_at,
        mode="tracked-only",
        authority=event.source,
    )
    key = slot_key(event.purpose, event.variant)
    slot = state.slots.get(key, Slot())
    return replace(
        state,
        # before those that are on their way: it is the older one, whatever its dates say
        certificates={event.certificate_id: certificate, **state.certificates},
        slots={**state.slots, key: replace(slot, current=event.certificate_id)},
        strangers={key: at for key, at in state.strangers.items() if key != event.fingerprint_sha256},
    )


def strangers(state: ChargerState, event: e.ChargerSessionOpened) -> dict[str, datetime]:
    """The leaves seen that nobody knows, with the one of this session if it is such."""
    fingerprint = event.fingerprint_sha256
    if (
        is_spoken_for(event.flags)
        or fingerprint is None
        or certificate_by_fingerprint(state, fingerprint) is not None
    ):
        return state.strangers
    others = {key: at for key, at in state.strangers.items() if key != fingerprint}
    latest = sorted(others.items(), key=lambda one: one[1])[1 - _STRANGERS_KEPT :]
    return {**dict(latest), fingerprint: event.connected_at}
