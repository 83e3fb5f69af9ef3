"""A charger whose certificate has expired: let in by an operator's word for a while, Pending, and renewed at once.

The permission is one charger's, with a reason and an end; the edge knows the end too and needs nobody to enforce it. It ends
by itself when another leaf opens a session. Source: OCPP 2.0.1 A00.FR.429/430, B02.FR.09; not in 1.6, where we do the same.
"""

from datetime import timedelta

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.admission import EXPIRED_FLAG
from bfactors.charger import request
from bfactors.charger.draft import Draft
from bfactors.charger.state import certificate_by_fingerprint, open_issue, slot_key
from bfactors.purpose import session_purpose
from bfactors.refusal import Refusal

LONGEST = timedelta(days=30)
_CERTIFICATE_PROFILE = 3


def admit(draft: Draft, command: c.AdmitExpired) -> Refusal | None:
    """Take the permission, in place of one before; or take it back."""
    state = draft.state
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    if command.until is None:
        if state.expired_admission is None:
            return Refusal("not-admitted-expired", "its expired certificate is not let in", "until", 409)
        _end(draft, "withdrawn", command.reason)
        return None
    if not draft.now < command.until <= draft.now + LONGEST:
        message = f"the end must lie ahead, by {LONGEST.days} days at most"
        return Refusal("invalid-value", message, "until")
    if state.security_profile < _CERTIFICATE_PROFILE:
        return Refusal(
            "no-certificate-in-use", "the charger connects without a certificate", "charger_id", 409
        )
    draft.record(
        e.ExpiredCertificateAdmitted(
            charger_id=state.charger_id,
            until=command.until,
            reason=command.reason,
            actor=draft.context.actor,
        )
    )
    return None


def session_opened(draft: Draft, body: v.SessionOpened) -> None:
    """One with an expired leaf is for a renewal alone; one with a leaf that is not ends the permission."""
    if EXPIRED_FLAG in body.flags:
        _renew(draft)
        return
    seen = certificate_by_fingerprint(draft.state, body.fingerprint_sha256)
    if draft.state.expired_admission is not None and seen is not None and seen.state == "active":
        _end(draft, "renewed", f"the charger was seen with certificate {seen.certificate_id}")


def rang(draft: Draft) -> None:
    """The end of the permission has come."""
    admission = draft.state.expired_admission
    if admission is not None and admission.until <= draft.now:
        _end(draft, "date-passed", f"it was given until {admission.until:%Y-%m-%d %H:%M} UTC")


def _end(draft: Draft, cause: str, reason: str) -> None:
    draft.record(
        e.ExpiredCertificateAdmissionEnded(charger_id=draft.state.charger_id, cause=cause, reason=reason)
    )


def _renew(draft: Draft) -> None:
    purpose = session_purpose().name
    if open_issue(draft.state, purpose) is not None:
        return
    slot = draft.state.slots.get(slot_key(purpose, "default"))
    request.open_job(
        draft,
        c.RequestJob(
            job_id=draft.derived_id("expired-credential", purpose),
            charger_id=draft.state.charger_id,
            purpose=purpose,
            action="renew" if slot is not None and slot.current is not None else "issue",
            reason="the charger was let in with an expired certificate",
            due_reason="expired-credential",
        ),
    )
