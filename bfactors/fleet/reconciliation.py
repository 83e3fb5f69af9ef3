"""Comparing CAs with the ledger: when it is wanted, what was found, and what becomes of what nothing accounts for."""

from datetime import datetime

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
) -> list[e.ReconciliationRequested] | Refusal:
    """Every CA that is not retired, each in its turn; none, if that run is known or one is under way that answers as well."""
    authorities = state.facts.authorities_of(command.purpose)
    if not authorities:
        message = f"no issuing CA is known for {command.purpose!r}"
        return Refusal("no-issuing-authority", message, "purpose", 404)
    known = _of_purpose(state, command.purpose)
    if any(each.wanted is not None or each.last_asked == command.run_id for each in known):
        return []
    return [
        e.ReconciliationRequested(
            purpose=command.purpose, run_id=command.run_id, authority_arn=each.arn, reason=command.reason
        )
        for each in authorities
    ]


def _of_purpose(state: FleetState, purpose: str) -> list[Reconciliation]:
    return [each for each in state.reconciliations.values() if each.purpose == purpose]


def _of(reconciliations: dict[str, Reconciliation], purpose: str, arn: str) -> Reconciliation | None:
    """Told by what it is about, not by its key: that was the purpose before a purpose had several CAs."""
    about = (purpose, arn)
    return next(
        (each for each in reconciliations.values() if (each.purpose, each.authority_arn) == about), None
    )


def _put(reconciliations: dict[str, Reconciliation], known: Reconciliation) -> dict[str, Reconciliation]:
    """In its place, if it has one under its id."""
    if known.authority_id not in reconciliations:
        reconciliations = _without(reconciliations, known)
    return {**reconciliations, known.authority_id: known}


def _without(reconciliations: dict[str, Reconciliation], known: Reconciliation) -> dict[str, Reconciliation]:
    about = (known.purpose, known.authority_arn)
    return {key: each for key, each in reconciliations.items() if (each.purpose, each.authority_arn) != about}


def compared(state: FleetState, body: v.AuthorityCompared) -> list[e.FleetEvent]:
    """What a finished comparison leads to; one that nobody waits for any more, or of a CA that is gone, to nothing."""
    known = _of(state.reconciliations, body.purpose, body.authority_arn)
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
    known = _of(state.reconciliations, body.purpose, body.authority_arn)
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
    """The CA took back one that nothing accounted for; here these are known by the CA's own name for them."""
    return [
        e.UnexplainedCertificateRevoked(
            purpose=known.purpose, authority_arn=known.authority_arn, serial_number=serial
        )
        for known in state.reconciliations.values()
        for serial, found in known.unexplained.items()
        # The serial number alone: an order of before a purpose had several CAs.
        if body.certificate_id in (found.external_ref, serial) and found.revoked_at is None
    ]


def evolve(
    reconciliations: dict[str, Reconciliation], event: ReconciliationEvent, now: datetime
) -> dict[str, Reconciliation]:
    """Where each CA's comparison stands after the event."""
    known = _meant(reconciliations, event)
    match event:
        case e.ReconciliationRequested():
            base = known or Reconciliation(purpose=event.purpose, authority_arn=event.authority_arn)
            known = _replace(
                base,
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
            if known.is_retired:
                return _retired(reconciliations, known)
    return _put(reconciliations, known)


def _meant(reconciliations: dict[str, Reconciliation], event: ReconciliationEvent) -> Reconciliation | None:
    if isinstance(event, e.UnexplainedCertificateRevoked) and not event.authority_arn:
        of_purpose = (each for each in reconciliations.values() if each.purpose == event.purpose)
        return next((each for each in of_purpose if event.serial_number in each.unexplained), None)
    return _of(reconciliations, event.purpose, event.authority_arn)


def retired(reconciliations: dict[str, Reconciliation], purpose: str, arn: str) -> dict[str, Reconciliation]:
    """Without that CA: no gateway trusts what it signed. What it was to revoke it is still to revoke."""
    known = _of(reconciliations, purpose, arn)
    return reconciliations if known is None else _retired(reconciliations, known)


def _retired(reconciliations: dict[str, Reconciliation], known: Reconciliation) -> dict[str, Reconciliation]:
    owed = {serial: found for serial, found in known.unexplained.items() if _is_being_revoked(found)}
    if not owed:
        return _without(reconciliations, known)
    items = tuple(item for item in known.items if item.serial_number in owed)
    return _put(
        reconciliations,
        _replace(
            known,
            wanted=None,
            failure=None,
            items=items,
            counts={UNEXPLAINED: len(owed)},
            unexplained=owed,
            is_retired=True,
        ),
    )


def _is_being_revoked(found: UnexplainedCertificate) -> bool:
    return found.revocation_requested_at is not None and found.revoked_at is None


def effects(state: FleetState) -> list[Effect]:
    """Comparisons that are wanted, one of a purpose at a time, and revocations of what nothing accounts for."""
    owed: list[Effect] = []
    begun: set[str] = set()
    for key, known in state.reconciliations.items():
        authority = state.facts.authority_of(known.purpose, known.authority_arn)
        wanted, since = known.wanted, known.requested_at
        if wanted is not None and since is not None and authority is not None and known.purpose not in begun:
            begun.add(known.purpose)
            owed.append(
                ReconcileAuthority(
                    effect_id=f"{key}:compare:{wanted}",
                    charger_id="",
                    purpose=known.purpose,
                    run_id=wanted,
                    requested_at=since,
                    authority_arn=authority.arn,
                    authority_pem=authority.certificate_pem,
                )
            )
        owed += [
            RevokeCertificate(
                effect_id=f"{found.external_ref}:revoke",
                charger_id="",
                purpose=known.purpose,
                certificate_id=found.external_ref,
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
