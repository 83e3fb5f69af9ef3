"""The decisions about firmware trust: pure, and about nothing else. What of operations must be known is handed in."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, assert_never

import msgspec

from bfactors.certificate_hash import HashData
from bfactors.firmware import command as c
from bfactors.firmware import event as e
from bfactors.firmware import update
from bfactors.firmware.evolve import charger_after, fleet_after
from bfactors.firmware.signer import readable_root, shared_with
from bfactors.firmware.state import FirmwareCharger, FirmwareFleet, FirmwareWork, work_id
from bfactors.firmware.view import anchor_body, work_body
from bfactors.instruction import (
    CompareRootStores,
    DeleteFirmwareRoot,
    InstallFirmwareRoot,
    ListFirmwareRoots,
    UpdateFirmware,
    is_repeatable,
)
from bfactors.ocpp import Answered, CallFailed, Disconnected, Outcome, Silent
from bfactors.refusal import Refusal
from bfactors.x509 import Certificate, HashName, hash_data, pem_of

MOST_DECISIONS = 5
"""How often a silent charger is asked."""
MOST_OPEN = 20
"""Pieces of work that may wait for one charger."""
_ALGORITHMS: tuple[HashName, ...] = ("SHA256", "SHA384", "SHA512")


class FleetDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided about the fleet's anchors; `result` is the body the command is answered with."""

    state: FirmwareFleet
    events: tuple[e.FirmwareFleetEvent, ...] = ()
    refusal: Refusal | None = None
    result: Any = None


class ChargerDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided about one charger's roots."""

    state: FirmwareCharger
    events: tuple[e.FirmwareChargerEvent, ...] = ()
    refusal: Refusal | None = None
    result: Any = None


# ---------------------------------------------------------------- the fleet's anchors


def decide_fleet(
    state: FirmwareFleet,
    command: c.FirmwareFleetCommand,
    *,
    operational: Iterable[Certificate],
    is_key_taken: bool,
    by: str,
    now: datetime,
) -> FleetDecision:
    """What a command about the anchors leads to. `operational` is every CA certificate of operations that is known.

    `is_key_taken`: the anchor's key was seen in a charger's CSR.
    """
    match command:
        case c.RecordFirmwareAnchor():
            return _record(state, command, operational, is_key_taken, by, now)
        case c.WithdrawFirmwareAnchor():
            return _withdraw(state, command, by, now)
        case _:
            assert_never(command)


def _record(
    state: FirmwareFleet,
    command: c.RecordFirmwareAnchor,
    operational: Iterable[Certificate],
    is_key_taken: bool,
    by: str,
    now: datetime,
) -> FleetDecision:
    certificate = readable_root(command.pem)
    if isinstance(certificate, Refusal):
        return FleetDecision(state=state, refusal=certificate)
    for anchor in state.anchors.values():
        if anchor.fingerprint_sha256 == certificate.fingerprint_sha256 and anchor.withdrawn_at is None:
            return FleetDecision(state=state, result=anchor_body(anchor))
    if command.anchor_id in state.anchors:
        message = "an anchor of this id was recorded before; an anchor never changes"
        return FleetDecision(state=state, refusal=Refusal("anchor-exists", message, "anchor_id", 409))
    refusal = shared_with(certificate, operational)
    if refusal is None and is_key_taken:
        message = "a charger has shown this key as its own; a manufacturer's root must be nobody else's"
        refusal = Refusal("firmware-hierarchy", message, "pem")
    if refusal is not None:
        return FleetDecision(state=state, refusal=refusal)
    event = e.FirmwareAnchorRecorded(
        anchor_id=command.anchor_id,
        manufacturer=command.manufacturer,
        fingerprint_sha256=certificate.fingerprint_sha256,
        spki_sha256=certificate.spki_sha256,
        subject=certificate.subject,
        not_after=certificate.not_after,
        pem=pem_of(certificate.der),
        hash_data=tuple(hash_data(certificate, certificate, algorithm) for algorithm in _ALGORITHMS),
        note=command.note,
        by=by,
    )
    after = fleet_after(state, event, now)
    return FleetDecision(state=after, events=(event,), result=anchor_body(after.anchors[command.anchor_id]))


def _withdraw(
    state: FirmwareFleet, command: c.WithdrawFirmwareAnchor, by: str, now: datetime
) -> FleetDecision:
    anchor = state.anchors.get(command.anchor_id)
    if anchor is None:
        message = f"no firmware anchor is called {command.anchor_id}"
        return FleetDecision(state=state, refusal=Refusal("unknown-anchor", message, "anchor_id", 404))
    if anchor.withdrawn_at is not None:
        return FleetDecision(state=state, result=anchor_body(anchor))
    event = e.FirmwareAnchorWithdrawn(anchor_id=command.anchor_id, reason=command.reason, by=by)
    after = fleet_after(state, event, now)
    return FleetDecision(state=after, events=(event,), result=anchor_body(after.anchors[command.anchor_id]))


# ---------------------------------------------------------------- one charger


def decide_charger(
    state: FirmwareCharger,
    command: c.FirmwareChargerCommand,
    *,
    operational: Iterable[Certificate],
    operational_names: Iterable[HashData],
    by: str,
    now: datetime,
) -> ChargerDecision:
    """What a command about one charger leads to.

    `operational_names` is the hash data of everything operational that this charger holds or should hold: DeleteCertificate
    names no store, so what is called the same there could go with it.
    """
    if isinstance(command, c.CancelFirmwareWork):
        return _cancel(state, command, by, now)
    known = state.work.get(command.work_id)
    if known is not None:
        return ChargerDecision(state=state, result=work_body(known))
    if len(state.outstanding) >= MOST_OPEN:
        message = f"{MOST_OPEN} pieces of firmware work wait for this charger; cancel some first"
        return ChargerDecision(state=state, refusal=Refusal("too-much-waiting", message, status=409))
    event: e.FirmwareChargerEvent | Refusal
    match command:
        case c.InstallFirmwareAnchor():
            event = _install(command, operational, by)
        case c.ListFirmwareAnchors():
            event = e.FirmwareListRequested(
                charger_id=command.charger_id, work_id=command.work_id, reason=command.reason, by=by
            )
        case c.CompareRootStores():
            event = e.FirmwareListComparisonRequested(
                charger_id=command.charger_id, work_id=command.work_id, reason=command.reason, by=by
            )
        case c.DeleteFirmwareAnchor():
            event = _delete(state, command, operational_names, by)
        case c.OrderFirmwareUpdate():
            event = update.requested(state, command, operational, by, now)
        case _:
            assert_never(command)
    if isinstance(event, Refusal):
        return ChargerDecision(state=state, refusal=event)
    after = charger_after(state, event, now)
    return ChargerDecision(state=after, events=(event,), result=work_body(after.work[command.work_id]))


def _install(
    command: c.InstallFirmwareAnchor, operational: Iterable[Certificate], by: str
) -> e.FirmwareAnchorInstallRequested | Refusal:
    certificate = readable_root(command.pem)
    if isinstance(certificate, Refusal):
        return certificate
    refusal = shared_with(certificate, operational)
    if refusal is not None:
        return refusal
    return e.FirmwareAnchorInstallRequested(
        charger_id=command.charger_id,
        work_id=command.work_id,
        anchor_id=command.anchor_id,
        fingerprint_sha256=certificate.fingerprint_sha256,
        pem=pem_of(certificate.der),
        reason=command.reason,
        by=by,
    )


def _delete(
    state: FirmwareCharger, command: c.DeleteFirmwareAnchor, operational_names: Iterable[HashData], by: str
) -> e.FirmwareAnchorDeletionRequested | Refusal:
    wanted = {reading for name in command.names for reading in name.readings()}
    found = next((name for name in state.held or () if wanted.intersection(name.readings())), None)
    if found is None:
        message = "the charger's last list has no such manufacturer root: have it list them again"
        return Refusal("unknown-hash-data", message, "hash_data", 404)
    meant = set(found.readings())
    if any(meant.intersection(name.readings()) for name in operational_names):
        message = "an operational anchor goes by the same hash data; a charger could delete that one"
        return Refusal("firmware-hierarchy", message, "hash_data", 409)
    return e.FirmwareAnchorDeletionRequested(
        charger_id=command.charger_id,
        work_id=command.work_id,
        hash_data=found,
        reason=command.reason,
        by=by,
    )


def _cancel(state: FirmwareCharger, command: c.CancelFirmwareWork, by: str, now: datetime) -> ChargerDecision:
    work = state.work.get(command.work_id)
    if work is None:
        message = f"this charger has no firmware work {command.work_id}"
        return ChargerDecision(state=state, refusal=Refusal("unknown-work", message, "work_id", 404))
    if work.state == "cancelled":
        return ChargerDecision(state=state, result=work_body(work))
    if work.state != "open":
        message = f"it has {work.state} already"
        return ChargerDecision(state=state, refusal=Refusal("work-ended", message, "work_id", 409))
    event = e.FirmwareWorkCancelled(
        charger_id=state.charger_id, work_id=work.work_id, reason=command.reason, by=by
    )
    after = charger_after(state, event, now)
    return ChargerDecision(state=after, events=(event,), result=work_body(after.work[work.work_id]))


# ---------------------------------------------------------------- what the charger says


def answered(
    state: FirmwareCharger,
    instruction_id: str,
    decision: int,
    outcome: Outcome,
    *,
    shared: tuple[HashData, ...] = (),
    cause: str,
    now: datetime,
) -> ChargerDecision:
    """The call of one piece of work ended. Each decision is settled once; a later answer to it changes nothing.

    `shared` are the roots that the answer lists for operations as well.
    """
    work = state.work.get(instruction_id)
    if work is None or work.state != "open" or work.decision != decision:
        return ChargerDecision(state=state)
    match outcome:
        case Disconnected():
            return ChargerDecision(state=state)  # outstanding; the next session is sent it again
        case Silent() if decision < MOST_DECISIONS and is_repeatable(work.body):
            again = e.FirmwareWorkRepeated(
                charger_id=state.charger_id,
                work_id=work.work_id,
                decision=decision + 1,
                evidence_ref=cause,
            )
            return _recorded(state, now, again)
        case Silent():
            return _recorded(state, now, _failed(state, work, "firmware-unanswered", "no answer", cause))
        case CallFailed():
            detail = f"{outcome.code} {outcome.description}".strip()[:200]
            return _recorded(state, now, _failed(state, work, "firmware-call-error", detail, cause))
        case Answered():
            return _recorded(state, now, *_settled(state, work, outcome, shared, cause))
        case _:
            assert_never(outcome)


def _settled(
    state: FirmwareCharger, work: FirmwareWork, outcome: Answered, shared: tuple[HashData, ...], cause: str
) -> tuple[e.FirmwareChargerEvent, ...]:
    charger_id, status = state.charger_id, outcome.status
    match work.body:
        case InstallFirmwareRoot(fingerprint_sha256=fingerprint) if status == "Accepted":
            installed = e.FirmwareAnchorInstalled(
                charger_id=charger_id,
                work_id=work.work_id,
                anchor_id=work.anchor_id or "",
                fingerprint_sha256=fingerprint,
                evidence_ref=cause,
            )
            return installed, _list_again(state, work)
        case ListFirmwareRoots() if status in ("Accepted", "NotFound"):
            held = tuple(entry.hash_data for entry in outcome.listed)
            return (
                e.FirmwareListReported(
                    charger_id=charger_id, work_id=work.work_id, held=held, evidence_ref=cause
                ),
            )
        case CompareRootStores() if status in ("Accepted", "NotFound"):
            compared = e.FirmwareListsCompared(
                charger_id=charger_id, work_id=work.work_id, shared=shared, evidence_ref=cause
            )
            return (compared,)
        case UpdateFirmware() if status in update.BEGUN:
            return (update.accepted(state, work, work.body, status, cause),)
        case DeleteFirmwareRoot(hash_data=name) if status in ("Accepted", "NotFound"):
            return (
                e.FirmwareAnchorDeleted(
                    charger_id=charger_id,
                    work_id=work.work_id,
                    hash_data=name,
                    status=status,
                    evidence_ref=cause,
                ),
            )
        case _:
            parts = (status, outcome.reason_code or "", outcome.detail or "")
            detail = " ".join(part for part in parts if part)[:200]
            return (_failed(state, work, "firmware-refused-by-charger", detail, cause),)


def _list_again(state: FirmwareCharger, work: FirmwareWork) -> e.FirmwareListRequested:
    """Accepted is not installed: the charger's own list is the proof."""
    return e.FirmwareListRequested(
        charger_id=state.charger_id,
        work_id=work_id(f"list-after-{work.work_id}"),
        reason=f"to see what became of {work.work_id}",
        by="ledger",
    )


def _failed(
    state: FirmwareCharger, work: FirmwareWork, code: str, detail: str, cause: str
) -> e.FirmwareWorkFailed:
    return e.FirmwareWorkFailed(
        charger_id=state.charger_id,
        work_id=work.work_id,
        reason_code=code,
        reason_message=f"the charger did not {work.action}: {detail}",
        evidence_ref=cause,
    )


def update_told(
    state: FirmwareCharger,
    *,
    session_id: str,
    status: str,
    request_id: int | None,
    cause: str,
    now: datetime,
) -> ChargerDecision:
    """A status of a firmware update, ordered here or elsewhere."""
    events = update.told(state, session_id=session_id, status=status, request_id=request_id, cause=cause)
    return _recorded(state, now, *events)


def security_event_told(
    state: FirmwareCharger, *, session_id: str, kind: str, detail: str | None, cause: str, now: datetime
) -> ChargerDecision:
    """A security event about firmware."""
    events = update.security_event_told(state, session_id=session_id, kind=kind, detail=detail, cause=cause)
    return _recorded(state, now, *events)


def _recorded(state: FirmwareCharger, now: datetime, *events: e.FirmwareChargerEvent) -> ChargerDecision:
    for event in events:
        state = charger_after(state, event, now)
    return ChargerDecision(state=state, events=events)
