"""When a certificate counts as active: the rung its purpose names is reached, and what it replaces steps back."""

from datetime import datetime, timedelta

from bfactors import event as e
from bfactors.charger.draft import Draft
from bfactors.charger.state import CertificateRecord, may_be_on_charger, open_issue, slot_of
from bfactors.instruction import InstallLeaf
from bfactors.inventory.listed import is_leaf_listed
from bfactors.purpose import Rung, purpose


def reached(draft: Draft, certificate_id: str, rung: Rung) -> None:
    """A rung was reached; if it is the one that makes this purpose's leaves active, so is this one now."""
    certificate = draft.state.certificates[certificate_id]
    if certificate.is_usable and purpose(certificate.purpose).active_rung == rung:
        activate(draft, certificate_id, draft.now)


def by_list(draft: Draft) -> None:
    """The charger's newest list: a leaf on it that counts by being listed is active, whatever became of its job."""
    for certificate in list(draft.state.certificates.values()):
        if certificate.state not in ("issued", "installed") or not certificate.is_usable:
            continue
        if purpose(certificate.purpose).active_rung != "listed" or certificate.former_identity_id:
            continue
        if not is_leaf_listed(draft.state.reported, certificate):
            continue
        if certificate.state == "issued":
            _taken_after_all(draft, certificate)
        activate(draft, certificate.certificate_id, draft.now)


def _taken_after_all(draft: Draft, certificate: CertificateRecord) -> None:
    """Its list is install evidence where the charger's answer was lost."""
    job = open_issue(draft.state, certificate.purpose, certificate.part)
    draft.record(
        e.CertificateInstalled(
            job_id=job.job_id if job is not None and job.certificate_id == certificate.certificate_id else "",
            certificate_id=certificate.certificate_id,
            evidence_type="list",
            evidence_ref=draft.context.cause,
        )
    )
    for instruction in list(draft.state.instructions.values()):
        body = instruction.body
        if isinstance(body, InstallLeaf) and body.certificate_id == certificate.certificate_id:
            draft.settle(instruction, "observed", "listed")


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
