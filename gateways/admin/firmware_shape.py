"""What firmware trust answers with, as types: documentation and, for a root's name, what a request is read as."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

_Hash = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class RootName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hash data as the charger lists it."""

    algorithm: Literal["SHA256", "SHA384", "SHA512"]
    issuer_name_hash: _Hash
    issuer_key_hash: _Hash
    serial_number: _Hash


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """A manufacturer's root. Withdrawn ones are installed no more, and their keys stay barred from operations."""

    anchor_id: str
    manufacturer: str
    state: Literal["recorded", "withdrawn"]
    fingerprint_sha256: str
    subject: str
    not_after: datetime
    pem: str
    note: str
    recorded_by: str
    recorded_at: datetime
    withdrawn_at: datetime | None
    withdrawn_reason: str | None


class WorkReason(msgspec.Struct, frozen=True, kw_only=True):
    """Why it ended as it did."""

    code: str
    message: str


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wanted of a charger; open until it answers, however long it stays away."""

    work_id: str
    action: Literal["install", "list", "compare", "delete", "update"]
    anchor_id: str | None
    state: Literal["open", "succeeded", "failed", "cancelled"]
    tries: int
    why: str
    by: str
    opened_at: datetime
    ended_at: datetime | None
    reason: WorkReason | None


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """A root on the charger: `listed` by it, or `accepted` since its last list. Without an anchor: not one of ours."""

    seen: Literal["listed", "accepted"]
    anchor_id: str | None
    manufacturer: str | None
    withdrawn: bool
    hash_data: RootName | None


class UpdateStatus(msgspec.Struct, frozen=True, kw_only=True):
    """In the charger's own words."""

    status: str
    at: datetime


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """A firmware update as far as the charger told of it; without a `work_id` it was ordered elsewhere."""

    request_id: int | None
    statuses: list[UpdateStatus]
    security_event: str | None
    work_id: str | None


class ChargerFirmware(msgspec.Struct, frozen=True, kw_only=True):
    """A charger's firmware trust; `listed_at` null: it was never asked. Newest work and updates first.

    `shared_roots` sat in the central system's store as well at `compared_at` (null: never compared); there should be none.
    """

    charger_id: str
    roots: list[Root]
    listed_at: datetime | None
    shared_roots: list[Root]
    compared_at: datetime | None
    work: list[Work]
    updates: list[Update]
