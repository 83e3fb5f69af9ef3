"""The central system's own certificates: what each node shows chargers, and what another issuer would do to the fleet."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from bfactors.server_certificate import (
    Forecast,
    NotPresented,
    ServerCertificate,
    described,
    switch_problem,
)
from bfactors.x509 import MalformedX509, parse_certificates
from gateways.admin import shape
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.paging import PageQuery, cut
from gateways.admin.ports import Body, ShownOnNode
from gateways.admin.problem import Problem
from gateways.admin.route import Answer, Call, Route

_Chain = Annotated[str, msgspec.Meta(min_length=1, max_length=65_536)]


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why it is not shown, and since when that is so."""

    code: str
    message: str
    since: datetime | None


class ServerCertificateBody(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate on one node. `kept-back`: it is there, and chargers are shown the one before it."""

    node: str
    state: Literal["presented", "kept-back"]
    source: str
    fingerprint_sha256: str
    serial_number: str
    subject: str
    names: list[str]
    issuer: str
    key_algorithm: str
    not_before: datetime
    not_after: datetime
    reason: Reason | None


class ForecastBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A chain, leaf first, without the root: of the certificate that is to be shown, or of the CA that is to sign it."""

    chain_pem: _Chain


class StrandedGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Chargers of one family and cohort that could not verify us."""

    family: str
    cohort: str
    total: int
    stranded: int
    examples: list[str]


class ForecastAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`allowed`: it would be presented now. `bundles`: the ids of those whose anchors verify the chain."""

    allowed: bool
    reason: Reason | None
    total: int
    stranded: int
    bundles: list[str]
    groups: list[StrandedGroup]


class ServerCertificates:
    """`/api/v1/server-certificates`."""

    def __init__(self, dependencies: AdminDependencies) -> None:
        self._shown = dependencies.server_certificates
        self._forecast = dependencies.server_forecast
        self._clock = dependencies.clock

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/api/v1/server-certificates",
                operation="server_certificates.list",
                summary="The central system's own certificates by node, with those kept back and why",
                handler=self.list,
                query=PageQuery,
                answer=shape.Page[ServerCertificateBody],
            ),
            Route(
                method="POST",
                path="/api/v1/server-certificates/forecast",
                operation="server_certificates.forecast",
                summary="Who could not connect any more if chargers were shown this chain; changes nothing",
                handler=self.forecast,
                body=ForecastBody,
                answer=ForecastAnswer,
            ),
        )

    async def list(self, call: Call, query: PageQuery) -> Answer:
        rows = [row for node in self._shown() for row in _rows(node)]
        rows.sort(key=_key)
        page = cut(
            "server-certificates", rows, _key, lambda row: row, limit=query.limit, cursor=query.cursor or None
        )
        return Answer(page)

    async def forecast(self, call: Call, body: ForecastBody) -> Answer:
        try:
            chain = parse_certificates(body.chain_pem)
        except MalformedX509 as problem:
            raise Problem.of_field("chain_pem", str(problem), "malformed-certificate") from problem
        if not chain:
            raise Problem.of_field("chain_pem", "no certificate in it", "malformed-certificate")
        shown = [each for node in self._shown() for each in node.presented.certificates]
        fleet = await self._forecast(chain)
        refusal = switch_problem(shown, described(chain, "forecast"), fleet, self._clock.now())
        reason = (
            None if refusal is None else {"code": refusal.code, "message": refusal.message, "since": None}
        )
        return Answer({"allowed": refusal is None, "reason": reason, **_forecast_body(fleet)})


def _rows(node: ShownOnNode) -> list[Body]:
    rows = [_row(node.node, each, None) for each in node.presented.certificates]
    return rows + [_row(node.node, each.certificate, each) for each in node.presented.kept_back]


def _key(row: Body) -> str:
    return f"{row['node']}/{row['fingerprint_sha256']}"


def _row(node: str, certificate: ServerCertificate, kept_back: NotPresented | None) -> Body:
    reason = None
    if kept_back is not None:
        reason = {"code": kept_back.code, "message": kept_back.message, "since": kept_back.since}
    return {
        "node": node,
        "state": "presented" if kept_back is None else "kept-back",
        "source": certificate.source,
        "fingerprint_sha256": certificate.fingerprint_sha256,
        "serial_number": certificate.serial_number,
        "subject": certificate.subject,
        "names": list(certificate.names),
        "issuer": certificate.issuer,
        "key_algorithm": certificate.key_algorithm,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "reason": reason,
    }


def _forecast_body(fleet: Forecast) -> Body:
    return {
        "total": fleet.total,
        "stranded": fleet.stranded,
        "bundles": list(fleet.bundles),
        "groups": [
            {
                "family": each.family,
                "cohort": each.cohort,
                "total": each.total,
                "stranded": each.stranded,
                "examples": list(each.examples),
            }
            for each in sorted(fleet.groups, key=lambda each: -each.stranded)
        ],
    }
