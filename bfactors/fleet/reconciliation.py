"""Comparing CAs with the ledger: when it is wanted, what was found, and what becomes of what nothing accounts for."""

from datetime import datetime
from typing import Any

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.authority_comparison import UNEXPLAINED
from bfactors.effect import Effect, ReconcileAuthority, RevokeCertificate
from bfactors.fleet.state import FleetState, Reconciliation, UnexplainedCertificate
from bfactors.ledger_row import EffectRow
from bfactors.policy import effective
from bfactors.refusal import Refusal

ReconciliationEvent = (
    e.ReconciliationRequested
    | e.AuthorityReconciled
    | e.ReconciliationFailed
    | e.UnexplainedCertificateFound
    | e.UnexplainedCertificateRevoked
)
REVOKE = "revoke"
_encode = msgspec.json.Encoder().encode
_replace = msgspec.structs.replace


def requested(
    state: FleetState, command: c.RequestReconciliation
) -> e.ReconciliationRequested | Refusal | None:
    """None: that run is known, or one is under way that answers as well."""
    authority = state.facts.authorities.get(command.purpose)
    if authority is None:
        message = f"no issuing CA is known for {command.purpose!r}"
        return Refusal("no-issuing-authority", message, "purpose", 404)
    known = state.reconciliations.get(command.purpose)
    if known is not None and (known.wanted is not None or known.last_asked == command.run_id):
        return None
    return e.ReconciliationRequested(
        purpose=command.purpose, run_id=command.run_id, authority_arn=authority.arn, reason=command.reason
    )


def compared(state: FleetState, body: v.AuthorityCompared) -> list[e.FleetEvent]:
    """What a finished comparison leads to; one that nobody waits for any more, to nothing."""
    known = state.reconciliations.get(body.purpose)
    if known is None or known.wanted != body.run_id:
        return []
    policy = effective(state.facts.policies, purpose=body.purpose, family="", cohort="")
    events: list[e.FleetEvent] = [
        e.AuthorityReconciled(
            purpose=body.purpose,
            run_id=body.run_id,
            authority_arn=body.authority_arn,
            report_ref=body.report_ref,
            report_at=body.report_at,
            certificates=body.certificates,
            counts=body.counts,
            items=body.items,
        )
    ]
    for item in body.items:
        if item.kind != UNEXPLAINED or item.external_ref is None:
            continue
        before = known.unexplained.get(item.serial_number)
        revoke = policy.unexplained_certificates == REVOKE
        if before is not None and (before.revocation_requested_at is not None or not revoke):
            continue
        events.append(
            e.UnexplainedCertificateFound(
                purpose=body.purpose,
                authority_arn=body.authority_arn,
                external_ref=item.external_ref,
                serial_number=item.serial_number,
                subject=item.subject,
                not_after=item.not_after,
                issued_at=item.issued_at,
                spki_sha256=item.spki_sha256,
                revoke=revoke,
            )
        )
    return events


def not_compared(state: FleetState, body: v.AuthorityNotCompared) -> list[e.FleetEvent]:
    """The reason is shown until a run succeeds."""
    known = state.reconciliations.get(body.purpose)
    if known is None or known.wanted != body.run_id:
        return []
    return [
        e.ReconciliationFailed(
            purpose=body.purpose,
            run_id=body.run_id,
            authority_arn=body.authority_arn,
            reason_code=body.code,
            reason_message=body.message,
        )
    ]


def revoked(state: FleetState, body: v.RevocationAccepted) -> list[e.FleetEvent]:
    """The CA took back one that nothing accounted for; here these are known by serial number."""
    return [
        e.UnexplainedCertificateRevoked(purpose=known.purpose, serial_number=body.certificate_id)
        for known in state.reconciliations.values()
        if (found := known.unexplained.get(body.certificate_id)) is not None and found.revoked_at is None
    ]


def evolve(
    reconciliations: dict[str, Reconciliation], event: ReconciliationEvent, now: datetime
) -> dict[str, Reconciliation]:
    """Where each purpose's comparison stands after the event."""
    known = reconciliations.get(event.purpose)
    match event:
        case e.ReconciliationRequested():
            base = known or Reconciliation(purpose=event.purpose, authority_arn=event.authority_arn)
            known = _replace(
                base,
                authority_arn=event.authority_arn,
                wanted=event.run_id,
                last_asked=event.run_id,
                requested_at=now,
                reason=event.reason,
            )
        case _ if known is None:
            return reconciliations
        case e.AuthorityReconciled():
            still = {item.serial_number for item in event.items if item.kind == UNEXPLAINED}
            known = _replace(
                known,
                wanted=None,
                run_id=event.run_id,
                report_ref=event.report_ref,
                report_at=event.report_at,
                ended_at=now,
                failure=None,
                certificates=event.certificates,
                counts=event.counts,
                items=event.items,
                unexplained={
                    serial: found
                    for serial, found in known.unexplained.items()
                    if serial in still or _is_being_revoked(found)
                },
            )
        case e.ReconciliationFailed():
            failure = (event.reason_code, event.reason_message)
            known = _replace(known, wanted=None, ended_at=now, failure=failure)
        case e.UnexplainedCertificateFound():
            before = known.unexplained.get(event.serial_number)
            found = UnexplainedCertificate(
                authority_arn=event.authority_arn,
                external_ref=event.external_ref,
                serial_number=event.serial_number,
                subject=event.subject,
                not_after=event.not_after,
                issued_at=event.issued_at,
                spki_sha256=event.spki_sha256,
                found_at=now if before is None else before.found_at,
                revocation_requested_at=now if event.revoke else None,
            )
            known = _replace(known, unexplained={**known.unexplained, event.serial_number: found})
        case e.UnexplainedCertificateRevoked():
            found = _replace(known.unexplained[event.serial_number], revoked_at=now)
            known = _replace(known, unexplained={**known.unexplained, event.serial_number: found})
    return {**reconciliations, event.purpose: known}


def _is_being_revoked(found: UnexplainedCertificate) -> bool:
    return found.revocation_requested_at is not None and found.revoked_at is None


def effects(state: FleetState) -> list[Effect]:
    """Comparisons that are wanted, and revocations of what nothing accounts for."""
    owed: list[Effect] = []
    for known in state.reconciliations.values():
        authority = state.facts.authorities.get(known.purpose)
        if known.wanted is not None and known.requested_at is not None and authority is not None:
            owed.append(
                ReconcileAuthority(
                    effect_id=f"{known.purpose}:compare:{known.wanted}",
                    charger_id="",
                    purpose=known.purpose,
                    run_id=known.wanted,
                    requested_at=known.requested_at,
                    authority_arn=authority.arn,
                    authority_pem=authority.certificate_pem,
                )
            )
        owed += [
            RevokeCertificate(
                effect_id=f"{found.external_ref}:revoke",
                charger_id="",
                purpose=known.purpose,
                certificate_id=found.serial_number,
                authority_arn=found.authority_arn,
                serial_number=found.serial_number,
                reason="superseded",
            )
            for found in known.unexplained.values()
            if _is_being_revoked(found)
        ]
    return owed


def effect_rows(before: FleetState | None, after: FleetState) -> list[EffectRow]:
    """The rows that tell the two states' effects apart."""
    old = {effect.effect_id: effect for effect in effects(before)} if before is not None else {}
    new = {effect.effect_id: effect for effect in effects(after)}
    rows = [
        EffectRow(effect_id=key, purpose=effect.purpose, outstanding=True, doc=_encode(effect))
        for key, effect in new.items()
        if old.get(key) != effect
    ]
    return rows + [
        EffectRow(effect_id=key, purpose="", outstanding=False, doc=b"null") for key in old if key not in new
    ]


def body(known: Reconciliation) -> dict[str, Any]:
    """A purpose's comparison as the API lists it."""
    return {
        "purpose": known.purpose,
        "authority_arn": known.authority_arn,
        "state": "running" if known.wanted is not None else "failed" if known.failure else "done",
        "run_id": known.wanted or known.run_id,
        "requested_at": known.requested_at,
        "reason": None if known.failure is None else {"code": known.failure[0], "message": known.failure[1]},
        "report_at": known.report_at,
        "ended_at": known.ended_at,
        "certificates": known.certificates,
        "counts": known.counts,
    }


def item_bodies(known: Reconciliation) -> list[dict[str, Any]]:
    """The differences the last successful run found, and those revoked since, as the API lists them."""
    return [_item_body(known, item) for item in known.items]


def _item_body(known: Reconciliation, item: e.ReconciliationItem) -> dict[str, Any]:
    found = known.unexplained.get(item.serial_number) if item.kind == UNEXPLAINED else None
    return {
        "kind": item.kind,
        "serial_number": item.serial_number,
        "external_ref": item.external_ref,
        "certificate_id": item.certificate_id,
        "charger_id": item.charger_id,
        "subject": item.subject,
        "not_after": item.not_after,
        "issued_at": item.issued_at,
        "spki_sha256": item.spki_sha256,
        "found_at": found.found_at if found is not None else known.ended_at,
        "revocation_requested_at": found.revocation_requested_at if found is not None else None,
        "revoked_at": found.revoked_at if found is not None else None,
    }
