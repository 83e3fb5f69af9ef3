"""What the ledger remembers of firmware trust: two aggregates, the fleet's anchors and one charger's roots and updates."""

from datetime import datetime
from typing import Literal

import msgspec

from bfactors.certificate_hash import HashData
from bfactors.instruction import (
    CompareRootStores,
    DeleteFirmwareRoot,
    FirmwareKind,
    InstallFirmwareRoot,
    ListFirmwareRoots,
    UpdateFirmware,
)

FLEET_KEY = "firmware-fleet"
_CHARGER_PREFIX = "firmware:"
_WORK_PREFIX = "firmware-"

WorkState = Literal["open", "succeeded", "failed", "cancelled"]


def charger_key(charger_id: str) -> str:
    """The key of a charger's firmware aggregate, in the charger's partition."""
    return _CHARGER_PREFIX + charger_id


def charger_of_key(key: str) -> str | None:
    """The charger a firmware aggregate belongs to; None for another kind of aggregate."""
    return key.removeprefix(_CHARGER_PREFIX) if key.startswith(_CHARGER_PREFIX) else None


def work_id(name: str) -> str:
    """The id of a piece of work, which is its instruction's too; told from operational ones by how it begins."""
    return _WORK_PREFIX + name


def is_work(instruction_id: str) -> bool:
    """Whether an instruction belongs to firmware trust."""
    return instruction_id.startswith(_WORK_PREFIX)


class FirmwareAnchor(msgspec.Struct, frozen=True, kw_only=True):
    """One manufacturer's root. Withdrawn, it stays known: a key is not free for other use because of that."""

    anchor_id: str
    manufacturer: str
    fingerprint_sha256: str
    spki_sha256: str
    subject: str
    not_after: datetime
    pem: str
    hash_data: tuple[HashData, ...]
    note: str
    recorded_by: str
    recorded_at: datetime
    withdrawn_at: datetime | None = None
    withdrawn_reason: str | None = None


class FirmwareFleet(msgspec.Struct, frozen=True, kw_only=True):
    """Every manufacturer's root there is or was, by id."""

    anchors: dict[str, FirmwareAnchor] = {}
    revision: int = 0


class FirmwareWork(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wanted of a charger, and how it ended."""

    work_id: str
    body: FirmwareKind
    reason: str
    by: str
    opened_at: datetime
    anchor_id: str | None = None
    decision: int = 1
    state: WorkState = "open"
    ended_at: datetime | None = None
    reason_code: str | None = None
    reason_message: str | None = None

    @property
    def action(self) -> Literal["install", "list", "compare", "delete", "update"]:
        """In one word."""
        match self.body:
            case InstallFirmwareRoot():
                return "install"
            case ListFirmwareRoots():
                return "list"
            case CompareRootStores():
                return "compare"
            case DeleteFirmwareRoot():
                return "delete"
            case UpdateFirmware():
                return "update"


class FirmwareUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """One firmware update as far as the charger told of it; `statuses` oldest first, each with its time.

    Without a `work_id` it was ordered elsewhere.
    """

    request_id: int | None
    statuses: tuple[tuple[str, datetime], ...]
    security_event: str | None = None
    work_id: str | None = None


class FirmwareCharger(msgspec.Struct, frozen=True, kw_only=True):
    """One charger's firmware trust. `accepted` holds what it took since its last list, by fingerprint."""

    charger_id: str
    work: dict[str, FirmwareWork] = {}
    held: tuple[HashData, ...] | None = None
    """As the charger names them; None: it was never asked."""
    held_at: datetime | None = None
    shared: tuple[HashData, ...] | None = None
    """Roots it listed in the manufacturers' and the central system's store alike; None: the two were never compared."""
    compared_at: datetime | None = None
    accepted: dict[str, str] = {}
    updates: tuple[FirmwareUpdate, ...] = ()
    last_request_id: int = 1000
    """The number of the latest update ordered here; smaller ones are left to others."""
    revision: int = 0

    @property
    def outstanding(self) -> list[FirmwareWork]:
        """What it has still to answer, oldest first."""
        return [work for work in self.work.values() if work.state == "open"]
