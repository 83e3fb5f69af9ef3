"""When a certificate counts as active: the rung its purpose names is reached, and what it replaces steps back."""

from datetime import datetime, timedelta

from bfactors import event as e
from bfactors.charger.draft import Draft
from bfactors.charger.state import CertificateRecord, may_be_on_charger, slot_of
from bfactors.purpose import Rung, purpose


def reached(draft: Draft, certificate_id: str, rung: Rung) -> None:
    """A rung was reached; if it is the one that makes this purpose's leaves active, so is this one now."""
    certificate = draft.state.certificates[certificate_id]
    if certificate.is_usable and purpose(certificate.purpose).active_rung == rung:
        activate(draft, certificate_id, draft.now)


def activate(draft: Draft, certificate_id: str, at: datetime) -> None:
    """The certificate is its slot's current one; those made before it are superseded, with the grace policy sets."""
    draft.record(
        e.CertificateActivated(
            certificate_id=certificate_id, activated_at=at, evidence_ref=draft.context.cause
        )
    )
    certificate = draft.state.certificates[certificate_id]
    for other in list(draft.state.certificates.values()):
        if other.certificate_id == certificate_id:
            break  # in the order they were issued: what follows is newer and still on its way
        if slot_of(other) == slot_of(certificate) and other.is_usable:
            supersede(draft, other, by=certificate_id, reason="renewed")


def supersede(draft: Draft, certificate: CertificateRecord, *, by: str | None, reason: str) -> None:
    """Another takes its place. Where the charger may hold it, it opens sessions for the grace policy sets."""
    grace = timedelta(days=draft.policy(certificate.purpose).superseded_grace_days)
    may_return = bool(grace) and may_be_on_charger(draft.state, certificate, draft.now)
    draft.record(
        e.CertificateSuperseded(
            certificate_id=certificate.certificate_id,
            superseded_by=by,
            admit_until=draft.now + grace if may_return else None,
            reason=reason,
        )
    )
