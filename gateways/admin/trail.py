"""What happened: the audit trail and the security events, page by page."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from gateways.admin import field, shape
from gateways.admin.inbound import given
from gateways.admin.paging import page_of
from gateways.admin.ports import Reader
from gateways.admin.reach import cohorts_of
from gateways.admin.route import Answer, Call, Route


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`after` is an RFC 3339 time or `<partition>:<sequence>`; a cursor overrides it."""

    managed_identity_id: field.Search | UnsetType = UNSET
    charger_id: field.Search | UnsetType = UNSET
    event: field.Search | UnsetType = UNSET
    job_id: field.Search | UnsetType = UNSET
    after: field.Moment | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class SecurityEventQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one charger, or of one kind."""

    charger_id: field.Search | UnsetType = UNSET
    kind: field.Search | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class LedgerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One link of a partition's hash chain."""

    partition: int
    sequence: int
    event: str
    recorded_at: field.Time
    actor: str
    cause: str
    policy_version: int
    payload: dict[str, Any]
    previous_hash: str
    hash: str


class SecurityEvent(msgspec.Struct, frozen=True, kw_only=True):
    """From a charger, or observed at the edge; `count` of a kind at once, or in a flood.

    `charger_time` is the charger's own clock. `critical` is what its OCPP version says. `job_id` is the job it explains.
    """

    evidence_id: str
    charger_id: str | None
    kind: str
    detail: str
    count: int
    remote_address: str | None
    observed_at: field.Time
    last_observed_at: field.Time | UnsetType = UNSET
    charger_time: str | UnsetType | None = UNSET
    critical: bool | UnsetType = UNSET
    job_id: str | UnsetType | None = UNSET


class Trail:
    """`/api/v1/audit` and `/api/v1/security-events`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/api/v1/audit",
                operation="audit.list",
                summary="Ledger events, oldest first, with their hashes",
                handler=self.audit,
                query=AuditQuery,
                answer=shape.Page[LedgerEvent],
            ),
            Route(
                method="GET",
                path="/api/v1/security-events",
                operation="security_events.list",
                summary="Security events, newest first",
                handler=self.security_events,
                query=SecurityEventQuery,
                answer=shape.Page[SecurityEvent],
            ),
        )

    async def audit(self, call: Call, query: AuditQuery) -> Answer:
        return page_of(await self._reader.audit(**given(query)))

    async def security_events(self, call: Call, query: SecurityEventQuery) -> Answer:
        return page_of(await self._reader.security_events(**given(query), **cohorts_of(call)))
