"""What the ledger decided about firmware trust: a stream of its own, about anchors, lists, work and updates.

`bfactors.subject` publishes them apart by how their names begin; no operational event may begin so.
"""

from datetime import datetime

import msgspec

from bfactors.certificate_hash import HashData


class _Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class FirmwareAnchorRecorded(_Event, frozen=True, kw_only=True):
    """A manufacturer's root may be installed on chargers from now on (fleet)."""

    anchor_id: str
    manufacturer: str
    fingerprint_sha256: str
    spki_sha256: str
    subject: str
    not_after: datetime
    pem: str
    hash_data: tuple[HashData, ...]
    note: str
    by: str


class FirmwareAnchorWithdrawn(_Event, frozen=True, kw_only=True):
    """A manufacturer's root is installed no more (fleet); what chargers hold stays until it is deleted there."""

    anchor_id: str
    reason: str
    by: str


class FirmwareAnchorInstallRequested(_Event, frozen=True, kw_only=True):
    """A charger is to be given a manufacturer's root."""

    charger_id: str
    work_id: str
    anchor_id: str
    fingerprint_sha256: str
    pem: str
    reason: str
    by: str


class FirmwareAnchorInstalled(_Event, frozen=True, kw_only=True):
    """The charger accepted it. Whether it keeps it is for its list to say."""

    charger_id: str
    work_id: str
    anchor_id: str
    fingerprint_sha256: str
    evidence_ref: str


class FirmwareListRequested(_Event, frozen=True, kw_only=True):
    """A charger is to be asked which manufacturer roots it holds."""

    charger_id: str
    work_id: str
    reason: str
    by: str


class FirmwareListReported(_Event, frozen=True, kw_only=True):
    """The manufacturer roots the charger says it holds, named as it names them."""

    charger_id: str
    work_id: str
    held: tuple[HashData, ...]
    evidence_ref: str


class FirmwareListComparisonRequested(_Event, frozen=True, kw_only=True):
    """A charger is to be asked whether a root sits in both its stores, the manufacturers' and the central system's."""

    charger_id: str
    work_id: str
    reason: str
    by: str


class FirmwareListsCompared(_Event, frozen=True, kw_only=True):
    """The roots that the charger lists in both stores, as its manufacturers' store names them; none is as it should be.

    What else it listed is not kept: firmware trust has no business with the central system's roots.
    """

    charger_id: str
    work_id: str
    shared: tuple[HashData, ...]
    evidence_ref: str


class FirmwareAnchorDeletionRequested(_Event, frozen=True, kw_only=True):
    """A charger is to delete a manufacturer's root, named by the charger's own hash data."""

    charger_id: str
    work_id: str
    hash_data: HashData
    reason: str
    by: str


class FirmwareAnchorDeleted(_Event, frozen=True, kw_only=True):
    """The charger deleted it, or no longer had it (`NotFound`)."""

    charger_id: str
    work_id: str
    hash_data: HashData
    status: str
    evidence_ref: str


class FirmwareWorkRepeated(_Event, frozen=True, kw_only=True):
    """The charger was silent; it is asked once more."""

    charger_id: str
    work_id: str
    decision: int
    evidence_ref: str


class FirmwareWorkFailed(_Event, frozen=True, kw_only=True):
    """The charger would not, could not or never answered."""

    charger_id: str
    work_id: str
    reason_code: str
    reason_message: str
    evidence_ref: str


class FirmwareWorkCancelled(_Event, frozen=True, kw_only=True):
    """Somebody thought better of it before the charger answered."""

    charger_id: str
    work_id: str
    reason: str
    by: str


class FirmwareUpdateRequested(_Event, frozen=True, kw_only=True):
    """A charger is to fetch and install firmware that a recorded root vouches for."""

    charger_id: str
    work_id: str
    request_id: int
    anchor_id: str
    location: str
    retrieve_at: str
    install_at: str | None
    signing_certificate: str
    signature: str
    reason: str
    by: str


class FirmwareUpdateAccepted(_Event, frozen=True, kw_only=True):
    """The charger will do it (`AcceptedCanceled`: and gives up the update before). How it fares it tells itself."""

    charger_id: str
    work_id: str
    request_id: int
    status: str
    evidence_ref: str


class FirmwareUpdateObserved(_Event, frozen=True, kw_only=True):
    """How far a firmware update got, in the charger's own words: a status, or one of its security events."""

    charger_id: str
    session_id: str
    request_id: int | None
    status: str
    is_security_event: bool
    detail: str | None
    evidence_ref: str


FirmwareFleetEvent = FirmwareAnchorRecorded | FirmwareAnchorWithdrawn

FirmwareChargerEvent = (
    FirmwareAnchorInstallRequested
    | FirmwareAnchorInstalled
    | FirmwareListRequested
    | FirmwareListReported
    | FirmwareListComparisonRequested
    | FirmwareListsCompared
    | FirmwareAnchorDeletionRequested
    | FirmwareAnchorDeleted
    | FirmwareWorkRepeated
    | FirmwareWorkFailed
    | FirmwareWorkCancelled
    | FirmwareUpdateRequested
    | FirmwareUpdateAccepted
    | FirmwareUpdateObserved
)

FirmwareEvent = FirmwareFleetEvent | FirmwareChargerEvent
