"""Reconciliations: what each CA says it signed, held against the ledger."""

from typing import Literal

import msgspec

from bfactors.command import RequestReconciliation
from bfactors.fleet.reconciliation_view import body as shown
from bfactors.fleet.reconciliation_view import item_bodies, known_of
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.fleet import Fleet
from gateways.admin.job import ReasonBody
from gateways.admin.paging import PageQuery, cut
from gateways.admin.problem import Problem
from gateways.admin.route import Answer, Call, Route

State = Literal["running", "failed", "done"]
Kind = Literal["unexplained", "attached", "missing", "revoked-at-ca", "revocation-not-kept"]


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why the last run came to nothing."""

    code: str
    message: str


class OfAuthority(msgspec.Struct, frozen=True, kw_only=True):
    """One CA's part. `is_retired`: it is compared no more, and is here for certificates it is still to revoke."""

    authority_id: str
    authority_arn: str
    is_retired: bool
    state: State
    run_id: str | None
    reason: Reason | None
    report_at: field.Time | None
    ended_at: field.Time | None
    certificates: int
    counts: dict[str, int]


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is of the newest run; certificates and counts are of the last that succeeded, whose report is of `report_at`.

    A run takes the purpose's CAs one after another, and goes on while one is left. Certificates and counts are of all of
    them, `report_at` is of the oldest report, `reason` of the first CA that failed, `authority_arn` the current CA.
    """

    purpose: str
    authority_arn: str
    state: State
    run_id: str | None
    requested_at: field.Time | None
    reason: Reason | None
    report_at: field.Time | None
    ended_at: field.Time | None
    certificates: int
    counts: dict[str, int]
    authorities: list[OfAuthority]


class ReconciliationItem(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate of which the CA and the ledger do not say the same, as the run found."""

    kind: Kind
    authority_id: str
    authority_arn: str
    run_id: str | None
    serial_number: str
    external_ref: str | None
    certificate_id: str | None
    charger_id: str | None
    subject: str
    not_after: field.Time
    issued_at: field.Time
    spki_sha256: str | None
    found_at: field.Time | None
    revocation_requested_at: field.Time | None
    revoked_at: field.Time | None


class ItemQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`authority_id`: of that CA alone."""

    authority_id: field.Search = ""


class Reconciliations:
    """`/api/v1/reconciliations`; named by the purpose whose CAs they are about."""

    def __init__(self, fleet: Fleet, commands: Commands) -> None:
        self._fleet = fleet
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/api/v1/reconciliations",
                operation="reconciliations.list",
                summary="How each CA's own list of certificates compares with the ledger",
                handler=self.list,
                query=PageQuery,
                answer=shape.Page[Reconciliation],
            ),
            Route(
                method="GET",
                path="/api/v1/reconciliations/{purpose}/items",
                operation="reconciliations.items",
                summary="The certificates of which a CA and the ledger do not say the same, at most 200 of each CA",
                handler=self.items,
                query=ItemQuery,
                answer=shape.Page[ReconciliationItem],
            ),
            Route(
                method="POST",
                path="/api/v1/reconciliations/{purpose}",
                operation="reconciliations.request",
                summary="Compare a purpose's CAs with the ledger now; AWS makes one report of a CA in 30 minutes",
                handler=self.request,
                body=ReasonBody,
                answer=Reconciliation,
                status=202,
            ),
        )

    async def list(self, call: Call, query: PageQuery) -> Answer:
        state = await self._fleet.state()
        purposes = sorted({each.purpose for each in state.reconciliations.values()})
        page = cut(
            "reconciliations",
            [shown(known_of(state, purpose)) for purpose in purposes],
            lambda row: str(row["purpose"]),
            lambda row: row,
            limit=query.limit,
            cursor=query.cursor or None,
        )
        return Answer(page)

    async def items(self, call: Call, query: ItemQuery) -> Answer:
        purpose = call.path["purpose"]
        known = known_of(await self._fleet.state(), purpose)
        if not known:
            raise Problem.unknown("reconciliation", purpose)
        of = [each for each in known if query.authority_id in ("", each.authority_id)]
        rows = sorted((row for each in of for row in item_bodies(each)), key=_key)
        page = cut(
            "reconciliation-items",
            rows,
            _key,
            lambda row: row,
            limit=query.limit,
            cursor=query.cursor or None,
        )
        return Answer(page)

    async def request(self, call: Call, body: ReasonBody) -> Answer:
        command = RequestReconciliation(
            purpose=call.path["purpose"],
            run_id=call.repetition.new_id("reconciliation"),
            reason=body.reason,
        )
        return Answer(result_of(await self._commands.to_fleet(call, command)), 202)


def _key(row: dict[str, object]) -> str:
    return f"{row['kind']}/{row['serial_number']}/{row['authority_id']}"
