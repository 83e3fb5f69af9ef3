"""Firmware trust as its API shows it."""

from collections.abc import Iterable
from typing import Any

from bfactors.certificate_hash import HashData
from bfactors.firmware.state import FirmwareAnchor, FirmwareCharger, FirmwareFleet, FirmwareWork


def anchor_body(anchor: FirmwareAnchor) -> dict[str, Any]:
    """A manufacturer's root."""
    return {
        "anchor_id": anchor.anchor_id,
        "manufacturer": anchor.manufacturer,
        "state": "recorded" if anchor.withdrawn_at is None else "withdrawn",
        "fingerprint_sha256": anchor.fingerprint_sha256,
        "subject": anchor.subject,
        "not_after": anchor.not_after,
        "pem": anchor.pem,
        "note": anchor.note,
        "recorded_by": anchor.recorded_by,
        "recorded_at": anchor.recorded_at,
        "withdrawn_at": anchor.withdrawn_at,
        "withdrawn_reason": anchor.withdrawn_reason,
    }


def work_body(work: FirmwareWork) -> dict[str, Any]:
    """What is wanted of a charger, and how far it got."""
    reason = None
    if work.reason_code is not None:
        reason = {"code": work.reason_code, "message": work.reason_message or ""}
    return {
        "work_id": work.work_id,
        "action": work.action,
        "anchor_id": work.anchor_id,
        "state": work.state,
        "tries": work.decision,
        "why": work.reason,
        "by": work.by,
        "opened_at": work.opened_at,
        "ended_at": work.ended_at,
        "reason": reason,
    }


def charger_body(state: FirmwareCharger, fleet: FirmwareFleet) -> dict[str, Any]:
    """A charger's manufacturer roots, what is under way, and its firmware updates."""
    return {
        "charger_id": state.charger_id,
        "roots": _roots(state, fleet),
        "listed_at": state.held_at,
        "shared_roots": _listed(state.shared or (), fleet),
        "compared_at": state.compared_at,
        "work": [work_body(work) for work in reversed(state.work.values())],
        "updates": [
            {
                "request_id": update.request_id,
                "statuses": [{"status": status, "at": at} for status, at in update.statuses],
                "security_event": update.security_event,
                "work_id": update.work_id,
            }
            for update in reversed(state.updates)
        ],
    }


def _roots(state: FirmwareCharger, fleet: FirmwareFleet) -> list[dict[str, Any]]:
    """What it lists, with the anchor that it is; then what it accepted and has not listed yet."""
    rows = _listed(state.held or (), fleet)
    for anchor_id in state.accepted.values():
        rows.append(_root("accepted", fleet.anchors.get(anchor_id), None))
    return rows


def _listed(names: Iterable[HashData], fleet: FirmwareFleet) -> list[dict[str, Any]]:
    by_reading = {
        reading: anchor
        for anchor in fleet.anchors.values()
        for name in anchor.hash_data
        for reading in name.readings()
    }
    return [
        _root("listed", next((by_reading[r] for r in name.readings() if r in by_reading), None), name)
        for name in names
    ]


def _root(seen: str, anchor: FirmwareAnchor | None, name: HashData | None) -> dict[str, Any]:
    return {
        "seen": seen,
        "anchor_id": None if anchor is None else anchor.anchor_id,
        "manufacturer": None if anchor is None else anchor.manufacturer,
        "withdrawn": anchor is not None and anchor.withdrawn_at is not None,
        "hash_data": name,
    }
