"""The peer's own routes below `/_peer`: faults, time, what was called, what is odd. AWS has none of them."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from simulator.aws.fault import FaultOrder, FaultPlan
from simulator.aws.hierarchy import add_issuing
from simulator.aws.journal import Journal
from simulator.aws.publishing import Publishing
from simulator.aws.registry import AuthorityRegistry
from simulator.aws.service_error import ServiceError


class ClockOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Moves the peer's time by seconds, and holds it still or lets it run when told."""

    advance_s: float = 0
    freeze: bool | None = None


class StatusOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Disables or re-enables an authority."""

    arn: str
    status: Literal["ACTIVE", "DISABLED", "FAILED", "DELETED"]


class BesideOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The authority beside which another is to be made."""

    arn: str


class ListOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """When revocations are published from now on; held, the lists that are there grow old."""

    crl_lag_s: Annotated[float, Meta(ge=0)] | None = None
    ocsp_lag_s: Annotated[float, Meta(ge=0)] | None = None
    held: bool | None = None


@dataclass(frozen=True)
class Control:
    """Handlers of the `/_peer` routes; unauthenticated, hence for loopback only."""

    registry: AuthorityRegistry
    faults: FaultPlan
    journal: Journal
    publishing: Publishing

    def routes(self) -> list[web.RouteDef]:
        """The routes, all JSON."""
        return [
            web.get("/_peer/faults", self.list_faults),
            web.post("/_peer/faults", self.add_faults),
            web.delete("/_peer/faults", self.clear_faults),
            web.get("/_peer/log", self.log),
            web.get("/_peer/stats", self.stats),
            web.post("/_peer/clock", self.move_clock),
            web.post("/_peer/lists", self.publish),
            web.post("/_peer/authority", self.set_authority),
            web.post("/_peer/authorities", self.add_authority),
        ]

    async def list_faults(self, request: web.Request) -> web.Response:
        """What is still to happen."""
        return _json({"faults": self.faults.pending})

    async def add_faults(self, request: web.Request) -> web.Response:
        """One fault, or a list of them."""
        orders = _parse(await request.read(), FaultOrder | list[FaultOrder])
        self.faults.add(orders if isinstance(orders, list) else [orders])
        return _json({"faults": self.faults.pending})

    async def clear_faults(self, request: web.Request) -> web.Response:
        """Back to good behaviour."""
        self.faults.clear()
        return _json({"faults": []})

    async def log(self, request: web.Request) -> web.Response:
        """The calls kept in memory, oldest first; `?operation=` and `?token=` narrow them."""
        query = request.query
        return _json({"entries": self.journal.entries(query.get("operation"), query.get("token"))})

    async def stats(self, request: web.Request) -> web.Response:
        """Counts of calls since start, and of certificates, conflicts and twice-certified keys ever."""
        return _json(self.statistics())

    def statistics(self) -> dict[str, Any]:
        """What `GET /_peer/stats` answers.

        `token_conflicts`: the same token came with other parameters. `keys_certified_repeatedly`: one
        public key was certified more than once by the same authority, the trace of a duplicate issue.
        """
        execute = self.registry.store.execute
        certificates = {
            row["arn"]: {"issued": row["issued"], "revoked": row["revoked"]}
            for row in execute(
                "SELECT arn, count(serial) AS issued, count(revoked_at) AS revoked"
                " FROM authority LEFT JOIN certificate ON authority_id = id GROUP BY arn"
            )
        }
        repeated = execute(
            "SELECT public_key_sha256, authority_id, count(*) AS times, group_concat(serial) AS serials"
            " FROM certificate GROUP BY public_key_sha256, authority_id HAVING count(*) > 1"
        )
        return {
            "now": self.registry.config.clock.now().isoformat(),
            "calls": self.journal.counts(),
            "certificates": certificates,
            "token_conflicts": [dict(row) for row in execute("SELECT * FROM token_conflict")],
            "keys_certified_repeatedly": [
                {
                    "public_key_sha256": row["public_key_sha256"],
                    "authority_arn": self.registry.by_id(row["authority_id"]).arn,
                    "serials": row["serials"].split(","),
                }
                for row in repeated
            ],
            "faults_pending": len(self.faults.pending),
        }

    async def add_authority(self, request: web.Request) -> web.Response:
        """Another issuing authority beside this one, under a root of its own."""
        order = _parse(await request.read(), BesideOrder)
        try:
            first = self.registry.named(order.arn)
        except ServiceError as error:
            raise web.HTTPNotFound(text=error.message) from error
        registry = self.registry
        made = add_issuing(registry.config, registry.store, registry.hierarchy, first)
        return _json({"arn": made.arn})

    async def move_clock(self, request: web.Request) -> web.Response:
        """Advance, freeze or thaw the peer's time; the offset is kept across restarts."""
        order = _parse(await request.read(), ClockOrder)
        clock = self.registry.config.clock
        if order.freeze is not None:
            (clock.freeze if order.freeze else clock.thaw)()
        clock.advance(timedelta(seconds=order.advance_s))
        self.registry.store.execute(
            "INSERT OR REPLACE INTO setting VALUES ('clock_offset_s', ?)", (clock.offset.total_seconds(),)
        )
        return _json({"now": clock.now().isoformat(), "frozen": clock.is_frozen})

    async def publish(self, request: web.Request) -> web.Response:
        """Change how late revocations are published."""
        order = _parse(await request.read(), ListOrder)
        publishing = self.publishing
        if order.crl_lag_s is not None:
            publishing.crl_lag = timedelta(seconds=order.crl_lag_s)
        if order.ocsp_lag_s is not None:
            publishing.ocsp_lag = timedelta(seconds=order.ocsp_lag_s)
        if order.held is not None:
            publishing.is_held = order.held
        lags = {
            "crl_lag_s": publishing.crl_lag.total_seconds(),
            "ocsp_lag_s": publishing.ocsp_lag.total_seconds(),
        }
        return _json({**lags, "held": publishing.is_held})

    async def set_authority(self, request: web.Request) -> web.Response:
        """Change the status of an authority."""
        order = _parse(await request.read(), StatusOrder)
        try:
            authority = self.registry.named(order.arn)
        except ServiceError as error:
            raise web.HTTPNotFound(text=error.message) from error
        self.registry.set_status(authority, order.status)
        return _json({"arn": order.arn, "status": order.status})


def _parse(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise web.HTTPBadRequest(text=str(error)) from error


def _json(document: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")
