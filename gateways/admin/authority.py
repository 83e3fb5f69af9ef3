"""A purpose's issuing CAs: which there are, how they stand, what hangs on each; and making another known."""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from bfactors.fleet import authority as standing
from bfactors.fleet.state import Authority, FleetState
from bfactors.purpose import purposes
from bfactors.refusal import Refusal
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.fleet import Fleet
from gateways.admin.paging import PageQuery, cut
from gateways.admin.ports import Body
from gateways.admin.problem import Problem
from gateways.admin.route import Answer, Call, Route

State = Literal["incoming", "current", "outgoing", "retired"]


class Crl(msgspec.Struct, frozen=True, kw_only=True):
    """The CA's own revocation list as this node last read it, about once an hour; of several, the one due first."""

    number: str | None
    this_update: field.Time
    next_update: field.Time | None
    age_s: int
    seen_at: field.Time


class AuthorityShape(msgspec.Struct, frozen=True, kw_only=True):
    """An issuing CA. `status` in its own words, as it last said; `certificates` may open a session now or soon, `orders` are
    with it. `crl` is null while this node has read none of it.
    """

    authority_id: str
    purpose: str
    realm: str
    authority_arn: str
    state: State
    status: str
    fingerprint_sha256: str
    not_after: field.Time
    certificates: int
    orders: int
    crl: Crl | None


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate that hangs on the CA."""

    certificate_id: str
    charger_id: str
    family: str
    cohort: str
    connected: bool
    state: str
    not_after: field.Time


class RegisterBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The CA is asked itself what it is. `root_pem`: its root, where it does not hand it out."""

    purpose: field.Search
    authority_arn: field.Arn
    root_pem: field.Pem | msgspec.UnsetType = msgspec.UNSET


class Authorities:
    """`/api/v1/authorities`."""

    def __init__(self, dependencies: AdminDependencies, fleet: Fleet, commands: Commands) -> None:
        self._reader = dependencies.reader
        self._desk = dependencies.authorities
        self._clock = dependencies.clock
        self._fleet = fleet
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/api/v1/authorities",
                operation="authorities.list",
                summary="Every issuing CA, how it stands, and how many certificates hang on it",
                handler=self.list,
                query=PageQuery,
                answer=shape.Page[AuthorityShape],
            ),
            Route(
                method="POST",
                path="/api/v1/authorities",
                operation="authorities.register",
                summary="Make another CA of a purpose known: gateways trust it, and it issues nothing yet",
                handler=self.register,
                body=RegisterBody,
                answer=AuthorityShape,
                status=201,
                conflicts=True,
            ),
            Route(
                method="GET",
                path="/api/v1/authorities/{authority_id}/holders",
                operation="authorities.holders",
                summary="The certificates that hang on a CA, those of absent chargers first; a thousand at most",
                handler=self.holders,
                query=PageQuery,
                answer=shape.Page[Holder],
                further={404: "There is no such CA"},
            ),
        )

    async def list(self, call: Call, query: PageQuery) -> Answer:
        known = everyone(await self._fleet.state())
        page = cut(
            "authorities",
            await self._loaded(known),
            lambda row: f"{row['purpose']}/{row['authority_id']}",
            lambda row: row,
            limit=query.limit,
            cursor=query.cursor or None,
        )
        return Answer(page)

    async def register(self, call: Call, body: RegisterBody) -> Answer:
        if body.purpose not in purposes():
            raise Problem.of_field("purpose", f"no purpose is called {body.purpose!r}", "unknown-purpose")
        if self._desk is None:
            raise Problem(409, "no-ca-here", "this process has no CA to ask")
        described = await self._desk.described(body.purpose, body.authority_arn)
        if isinstance(described, Refusal):
            raise Problem.of_refusal(described)
        if body.root_pem is not msgspec.UNSET:
            described = msgspec.structs.replace(described, root_pem=body.root_pem)
        row = result_of(await self._commands.to_fleet(call, described))
        (loaded,) = await self._counted([row])
        return Answer(loaded, 201)

    async def holders(self, call: Call, query: PageQuery) -> Answer:
        wanted = call.path["authority_id"]
        known = {each.authority_id: each for each in everyone(await self._fleet.state())}
        if wanted not in known:
            raise Problem.unknown("authority", wanted)
        rows = await self._reader.authority_holders(known[wanted].arn, self._clock.now())
        page = cut(
            "authority-holders",
            [{**row, "place": f"{place:04d}"} for place, row in enumerate(rows)],
            lambda row: str(row["place"]),
            lambda row: {name: value for name, value in row.items() if name != "place"},
            limit=query.limit,
            cursor=query.cursor or None,
        )
        return Answer(page)

    async def _loaded(self, known: Iterable[Authority]) -> Sequence[Body]:
        rows = [standing.body(each) for each in known]
        rows.sort(key=lambda row: f"{row['purpose']}/{row['authority_id']}")
        return await self._counted(rows)

    async def _counted(self, rows: Sequence[Body]) -> Sequence[Body]:
        arns = [row["authority_arn"] for row in rows]
        load = {
            each["authority_arn"]: each for each in await self._reader.authority_load(arns, self._clock.now())
        }
        return [
            {
                **row,
                **{name: int(load[row["authority_arn"]][name]) for name in ("certificates", "orders")},
                "crl": self._crl(row["authority_arn"]),
            }
            for row in rows
        ]

    def _crl(self, arn: str) -> Body | None:
        seen = None if self._desk is None else self._desk.list_of(arn)
        if seen is None:
            return None
        age_s = max(0, int((self._clock.now() - seen.this_update).total_seconds()))
        return {**msgspec.structs.asdict(seen), "age_s": age_s}


def everyone(state: FleetState) -> tuple[Authority, ...]:
    """Every CA, retired ones last."""
    return (*standing.every(state.facts), *state.retired)
