"""What a session proves and changes: who is live, which certificate was seen, which profile is in use."""

from datetime import datetime, timedelta

from bfactors import event as e
from bfactors import evidence as v
from bfactors.admission import is_spoken_for
from bfactors.charger import (
    activation,
    departure,
    discard,
    expired,
    first_contact,
    inventory,
    key_rotation,
    migration,
    operator_call,
    reconnect,
    report,
    rollback,
)
from bfactors.charger.draft import Draft
from bfactors.charger.evolve import NODE_LOST
from bfactors.charger.pending_key import ROTATE_KEY
from bfactors.charger.prerequisite import CLIENT_CERTIFICATE_PROFILE
from bfactors.charger.state import (
    CertificateRecord,
    JobState,
    SessionFact,
    certificate_by_fingerprint,
)
from bfactors.instruction import RESEND, CloseSession, InstallLeaf, ObtainCsr, Reboot
from bfactors.purpose import purpose
from bfactors.security_event import DUPLICATE_IDENTITY

_DISPLACEMENTS = 3
_DISPLACED_WITHIN = timedelta(minutes=10)
"""More displacements than that within so long are no charger's way of reconnecting."""


def opened(draft: Draft, body: v.SessionOpened) -> SessionFact | None:
    """A session was admitted. Returns the session it displaced, if another one was live.

    A session that opened before the live one (two nodes, evidence out of order) displaces nothing, but what it shows
    of certificates still counts. A session its node states again after we believed the node lost is live again, and
    is no reconnect: what was sent on it is still on its way. One of a unit that has left is to be closed, and that is all.
    """
    if departure.is_of_former_unit(draft.state, body):
        return _fact(body)
    before = draft.state.session
    is_restated = before is None and draft.state.lost_session_id == body.session_id
    fresh = before is None or before.session_id != body.session_id
    stale = fresh and before is not None and body.opened_at < before.connected_at
    displaced: SessionFact | None = None
    if stale:
        displaced = _fact(body)
    elif fresh:
        displaced = before
        draft.record(
            e.ChargerSessionOpened(
                charger_id=draft.state.charger_id,
                session_id=body.session_id,
                session_generation=draft.state.session_generation + 1,
                node=body.node,
                incarnation=body.incarnation,
                ocpp_version=body.ocpp_version,
                security_profile=body.security_profile,
                remote_address=body.remote_address,
                connected_at=body.opened_at,
                fingerprint_sha256=body.fingerprint_sha256,
                flags=body.flags,
                key_generation=body.key_generation,
            )
        )
    if not is_spoken_for(body.flags):
        _credential_seen(draft, body)
    if fresh and not stale:
        if not is_spoken_for(body.flags):
            _profile_seen(draft, body)
            rollback.seen(draft, body)
            migration.reached(draft, body.security_profile)
        if displaced is not None:
            _displacements_counted(draft)
        key_rotation.seen(draft, body, is_reconnect=not is_restated)
        if not is_restated:
            _reconnected(draft, body)
            if not is_spoken_for(body.flags):
                migration.came_back(draft, body)
        expired.session_opened(draft, body)
        first_contact.session_opened(draft, body)
    return displaced


def _displacements_counted(draft: Draft) -> None:
    """Sessions that keep displacing each other: two chargers, or somebody else, under one name."""
    lately = [at for at in draft.state.displaced_at if draft.now - at <= _DISPLACED_WITHIN]
    if len(lately) > _DISPLACEMENTS:
        detail = f"{len(lately)} sessions displaced each other within 10 minutes"
        report.note(draft, kind=DUPLICATE_IDENTITY, detail=detail)


def _fact(body: v.SessionOpened) -> SessionFact:
    return SessionFact(
        session_id=body.session_id,
        generation=0,
        node=body.node,
        incarnation=body.incarnation,
        ocpp_version=body.ocpp_version,
        security_profile=body.security_profile,
        remote_address=body.remote_address,
        connected_at=body.opened_at,
    )


def _credential_seen(draft: Draft, body: v.SessionOpened) -> None:
    seen = certificate_by_fingerprint(draft.state, body.fingerprint_sha256)
    if seen is not None:
        _seen_live(draft, seen, body.opened_at)
    else:
        inventory.adopt(draft, body)


def _seen_live(draft: Draft, certificate: CertificateRecord, at: datetime) -> None:
    """A session opened with this leaf: install evidence if the charger's answer was lost, and activation."""
    if certificate.is_denied or certificate.revocation_requested_at is not None:
        return
    if purpose(certificate.purpose).active_rung != "seen-live":
        return
    if certificate.state == "superseded":
        discard.seen_after_all(draft, certificate, at)
    if certificate.state not in ("issued", "installed"):
        return
    job = _job_of(draft, certificate)
    if certificate.state == "issued":
        draft.record(
            e.CertificateInstalled(
                job_id=job.job_id if job else "",
                certificate_id=certificate.certificate_id,
                evidence_type="session",
                evidence_ref=draft.context.cause,
            )
        )
        for instruction in list(draft.state.instructions.values()):
            body = instruction.body
            if isinstance(body, InstallLeaf) and body.certificate_id == certificate.certificate_id:
                draft.settle(instruction, "observed", "seen live")
    activation.activate(draft, certificate.certificate_id, at)


def _job_of(draft: Draft, certificate: CertificateRecord) -> JobState | None:
    for job in draft.state.jobs.values():
        if job.certificate_id == certificate.certificate_id and job.action in ("issue", "renew"):
            return job
    return None


def _profile_seen(draft: Draft, body: v.SessionOpened) -> None:
    """The first session with a higher profile ends the lower one for good."""
    present = draft.state.security_profile
    if body.security_profile > present:
        draft.record(
            e.SecurityProfileMigrated(
                charger_id=draft.state.charger_id,
                from_profile=present,
                to_profile=body.security_profile,
                evidence_ref=draft.context.cause,
            )
        )


def _reconnected(draft: Draft, body: v.SessionOpened) -> None:
    """What was sent on an older session is looked at again, by the rule of its kind."""
    operator_call.end_all(draft, "disconnected")
    for instruction in list(draft.state.instructions.values()):
        if reconnect.reconnected(draft, instruction) or instruction.sent_session is None:
            continue
        if isinstance(instruction.body, Reboot | CloseSession):
            draft.settle(instruction, "observed", "reconnected")
        elif RESEND[type(instruction.body)] in ("look-first", "once-per-decision"):
            draft.repeat_instruction(instruction)
    for job in list(draft.state.jobs.values()):
        if job.stage == "awaiting-csr" and draft.outstanding(job.job_id, ObtainCsr) is None:
            draft.stage(
                job, "requested", reason=("reconnected", "the charger reconnected before it sent its CSR")
            )
        elif job.stage == "awaiting-reconnect" and job.action != ROTATE_KEY and not is_spoken_for(body.flags):
            _came_back_unchanged(draft, job, body)


def _came_back_unchanged(draft: Draft, job: JobState, body: v.SessionOpened) -> None:
    certificate = draft.state.certificates.get(job.certificate_id) if job.certificate_id else None
    if certificate is None or certificate.state != "installed":
        return
    if body.security_profile < CLIENT_CERTIFICATE_PROFILE:
        return  # its migration's affair
    discard.came_back_unchanged(draft, job, body)


def closed(draft: Draft, session_id: str, reason: str) -> None:
    """The session named ended; if it was the live one, the charger is offline."""
    session = draft.state.session
    if session is not None and session.session_id == session_id:
        if reason != NODE_LOST:  # its node may still state it again, and tell how the call ended
            operator_call.end_all(draft, "disconnected")
        draft.record(
            e.ChargerSessionClosed(charger_id=draft.state.charger_id, session_id=session_id, reason=reason)
        )


def node_lost(draft: Draft, body: v.NodeLost) -> None:
    """The node that held the live session is gone, and the session with it."""
    session = draft.state.session
    if session is not None and session.incarnation == body.incarnation:
        closed(draft, session.session_id, NODE_LOST)


def booted(draft: Draft, body: v.BootReported) -> None:
    """Remember what the charger says of itself, when it is news."""
    boot = draft.state.boot
    said = (body.vendor, body.model, body.serial_number, body.firmware_version)
    if boot is None or said != (boot.vendor, boot.model, boot.serial_number, boot.firmware_version):
        draft.record(
            e.ChargerBootReported(
                charger_id=draft.state.charger_id,
                vendor=body.vendor,
                model=body.model,
                serial_number=body.serial_number,
                firmware_version=body.firmware_version,
            )
        )
