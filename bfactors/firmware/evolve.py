"""The only place where firmware trust changes: the state after an event."""

from datetime import datetime
from typing import assert_never

import msgspec

from bfactors.certificate_hash import HashData
from bfactors.firmware import event as e
from bfactors.firmware.state import (
    FirmwareAnchor,
    FirmwareCharger,
    FirmwareFleet,
    FirmwareUpdate,
    FirmwareWork,
    WorkState,
)
from bfactors.instruction import (
    CompareRootStores,
    DeleteFirmwareRoot,
    FirmwareKind,
    InstallFirmwareRoot,
    ListFirmwareRoots,
    UpdateFirmware,
)

WORK_KEPT = 50
UPDATES_KEPT = 20
STATUSES_KEPT = 20

_replace = msgspec.structs.replace
_Requested = (
    e.FirmwareAnchorInstallRequested
    | e.FirmwareListRequested
    | e.FirmwareListComparisonRequested
    | e.FirmwareAnchorDeletionRequested
    | e.FirmwareUpdateRequested
)


def fleet_after(state: FirmwareFleet, event: e.FirmwareFleetEvent, now: datetime) -> FirmwareFleet:
    """The fleet's anchors after one event."""
    match event:
        case e.FirmwareAnchorRecorded():
            anchor = FirmwareAnchor(
                anchor_id=event.anchor_id,
                manufacturer=event.manufacturer,
                fingerprint_sha256=event.fingerprint_sha256,
                spki_sha256=event.spki_sha256,
                subject=event.subject,
                not_after=event.not_after,
                pem=event.pem,
                hash_data=event.hash_data,
                note=event.note,
                recorded_by=event.by,
                recorded_at=now,
            )
        case e.FirmwareAnchorWithdrawn():
            anchor = _replace(state.anchors[event.anchor_id], withdrawn_at=now, withdrawn_reason=event.reason)
        case _:
            assert_never(event)
    return FirmwareFleet(anchors={**state.anchors, anchor.anchor_id: anchor}, revision=state.revision + 1)


def charger_after(state: FirmwareCharger, event: e.FirmwareChargerEvent, now: datetime) -> FirmwareCharger:
    """One charger's firmware trust after one event."""
    return _replace(_changed(state, event, now), revision=state.revision + 1)


def _changed(state: FirmwareCharger, event: e.FirmwareChargerEvent, now: datetime) -> FirmwareCharger:
    match event:
        case e.FirmwareAnchorInstallRequested():
            root = InstallFirmwareRoot(event.fingerprint_sha256, event.pem)
            return _opened(state, event, root, now, event.anchor_id)
        case e.FirmwareListRequested():
            return _opened(state, event, ListFirmwareRoots(), now)
        case e.FirmwareListComparisonRequested():
            return _opened(state, event, CompareRootStores(), now)
        case e.FirmwareListsCompared():
            state = _replace(state, shared=event.shared, compared_at=now)
            return _ended(state, event.work_id, "succeeded", now)
        case e.FirmwareAnchorDeletionRequested():
            return _opened(state, event, DeleteFirmwareRoot(event.hash_data), now)
        case e.FirmwareAnchorInstalled():
            state = _replace(state, accepted={**state.accepted, event.fingerprint_sha256: event.anchor_id})
            return _ended(state, event.work_id, "succeeded", now)
        case e.FirmwareListReported():
            # the list is the fresher truth: what it lacks is not there, whatever was accepted before
            state = _replace(state, held=event.held, held_at=now, accepted={})
            return _ended(state, event.work_id, "succeeded", now)
        case e.FirmwareAnchorDeleted():
            state = _replace(state, held=_without(state.held, event.hash_data))
            return _ended(state, event.work_id, "succeeded", now)
        case e.FirmwareWorkRepeated():
            again = _replace(state.work[event.work_id], decision=event.decision)
            return _replace(state, work={**state.work, event.work_id: again})
        case e.FirmwareWorkFailed():
            return _ended(state, event.work_id, "failed", now, (event.reason_code, event.reason_message))
        case e.FirmwareWorkCancelled():
            return _ended(state, event.work_id, "cancelled", now, ("cancelled", event.reason))
        case e.FirmwareUpdateRequested():
            state = _replace(state, last_request_id=event.request_id)
            return _opened(state, event, _order(event), now, event.anchor_id)
        case e.FirmwareUpdateAccepted():
            begun = FirmwareUpdate(request_id=event.request_id, statuses=(), work_id=event.work_id)
            state = _replace(state, updates=(*state.updates, begun)[-UPDATES_KEPT:])
            return _ended(state, event.work_id, "succeeded", now)
        case e.FirmwareUpdateObserved():
            return _replace(state, updates=_observed(state.updates, event, now))
        case _:
            assert_never(event)


def _order(event: e.FirmwareUpdateRequested) -> UpdateFirmware:
    return UpdateFirmware(
        request_id=event.request_id,
        location=event.location,
        retrieve_at=event.retrieve_at,
        signing_certificate=event.signing_certificate,
        signature=event.signature,
        install_at=event.install_at,
    )


def _opened(
    state: FirmwareCharger,
    event: _Requested,
    body: FirmwareKind,
    now: datetime,
    anchor_id: str | None = None,
) -> FirmwareCharger:
    work = FirmwareWork(
        work_id=event.work_id,
        body=body,
        reason=event.reason,
        by=event.by,
        opened_at=now,
        anchor_id=anchor_id,
    )
    return _replace(state, work=_bounded({**state.work, work.work_id: work}))


def _bounded(work: dict[str, FirmwareWork]) -> dict[str, FirmwareWork]:
    """The oldest that have ended go first; the events keep them."""
    surplus = len(work) - WORK_KEPT
    ended = [work_id for work_id, each in work.items() if each.state != "open"]
    gone = set(ended[: max(0, surplus)])
    return {work_id: each for work_id, each in work.items() if work_id not in gone}


def _ended(
    state: FirmwareCharger,
    work_id: str,
    how: WorkState,
    now: datetime,
    reason: tuple[str, str] | None = None,
) -> FirmwareCharger:
    code, message = reason if reason is not None else (None, None)
    ended = _replace(state.work[work_id], state=how, ended_at=now, reason_code=code, reason_message=message)
    return _replace(state, work={**state.work, work_id: ended})


def _without(held: tuple[HashData, ...] | None, gone: HashData) -> tuple[HashData, ...] | None:
    return None if held is None else tuple(each for each in held if each != gone)


def _observed(
    updates: tuple[FirmwareUpdate, ...], event: e.FirmwareUpdateObserved, now: datetime
) -> tuple[FirmwareUpdate, ...]:
    """A security event belongs to the newest update; a status to the one of its number, or begins another."""
    newest = updates[-1] if updates else None
    if event.is_security_event:
        if newest is None:
            newest = FirmwareUpdate(request_id=None, statuses=())
        return (*updates[:-1], _replace(newest, security_event=event.status))
    step = (event.status, now)
    for position, update in enumerate(updates):
        if update.request_id == event.request_id and (update.work_id is not None or update is newest):
            told = _replace(update, statuses=(*update.statuses, step)[-STATUSES_KEPT:])
            return (*updates[:position], told, *updates[position + 1 :])
    return (*updates, FirmwareUpdate(request_id=event.request_id, statuses=(step,)))[-UPDATES_KEPT:]
