"""Comparisons of CAs with the ledger as the API shows them: a purpose in one row, with each of its CAs; and what was found."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from bfactors import event as e
from bfactors.authority_comparison import UNEXPLAINED
from bfactors.fleet.state import FleetState, Reconciliation


def known_of(state: FleetState, purpose: str) -> list[Reconciliation]:
    """Those of a purpose, its current CA's first."""
    current = state.facts.authorities.get(purpose)
    found = [each for each in state.reconciliations.values() if each.purpose == purpose]
    return sorted(found, key=lambda each: current is None or each.authority_arn != current.arn)


def body(known: Sequence[Reconciliation]) -> dict[str, Any]:
    """A purpose's comparisons in one row: what one of them is, they are; the least fresh report, and all differences."""
    wanted = next((each.wanted for each in known if each.wanted is not None), None)
    failure = next((each.failure for each in known if each.failure is not None), None)
    counts: Counter[str] = Counter()
    for each in known:
        counts.update(each.counts)
    return {
        "purpose": known[0].purpose,
        "authority_arn": known[0].authority_arn,
        "state": _state(wanted, failure),
        "run_id": wanted or known[0].run_id,
        "requested_at": max(_said(each.requested_at for each in known), default=None),
        "reason": _reason(failure),
        "report_at": min(_said(each.report_at for each in known), default=None),
        "ended_at": max(_said(each.ended_at for each in known), default=None),
        "certificates": sum(each.certificates for each in known),
        "counts": dict(counts),
        "authorities": [_of_one(each) for each in known],
    }


def _of_one(known: Reconciliation) -> dict[str, Any]:
    return {
        "authority_id": known.authority_id,
        "authority_arn": known.authority_arn,
        "is_retired": known.is_retired,
        "state": _state(known.wanted, known.failure),
        "run_id": known.wanted or known.run_id,
        "reason": _reason(known.failure),
        "report_at": known.report_at,
        "ended_at": known.ended_at,
        "certificates": known.certificates,
        "counts": known.counts,
    }


def _state(wanted: str | None, failure: tuple[str, str] | None) -> str:
    return "running" if wanted is not None else "failed" if failure else "done"


def _reason(failure: tuple[str, str] | None) -> dict[str, str] | None:
    return None if failure is None else {"code": failure[0], "message": failure[1]}


def _said(moments: Iterable[datetime | None]) -> list[datetime]:
    return [moment for moment in moments if moment is not None]


def item_bodies(known: Reconciliation) -> list[dict[str, Any]]:
    """The differences the last successful run found at that CA, and those revoked since."""
    return [_item_body(known, item) for item in known.items]


def _item_body(known: Reconciliation, item: e.ReconciliationItem) -> dict[str, Any]:
    found = known.unexplained.get(item.serial_number) if item.kind == UNEXPLAINED else None
    return {
        "kind": item.kind,
        "authority_id": known.authority_id,
        "authority_arn": known.authority_arn,
        "run_id": known.run_id,
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
