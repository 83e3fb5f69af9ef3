"""Trust anchors: the bundles, and the PEM files chargers and their owners fetch without a token."""

import hashlib
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from bfactors.command import CreateTrustAnchorBundle
from bfactors.fleet.bundle import body as bundle_body
from bfactors.fleet.state import Bundle, FleetState
from bfactors.purpose import purposes
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.fleet import Fleet
from gateways.admin.inbound import given
from gateways.admin.paging import cut
from gateways.admin.problem import Problem
from gateways.admin.route import Answer, Call, Route

PEM = "application/pem-certificate-chain"
CENTRAL_SYSTEM = "backend_server"
"""The purpose whose anchors a charger verifies this system's server certificate with."""


class CreateBundleBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A purpose's anchors, all of them: a bundle replaces the one before."""

    purpose: field.Name
    anchors: Annotated[list[field.Pem], msgspec.Meta(min_length=1, max_length=32)]
    note: field.Note = ""


class BundleQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bundles of one purpose, or released to one cohort."""

    purpose: field.Search | UnsetType = UNSET
    cohort: field.Search | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class Trust:
    """`/api/v1/trust` and `/api/v1/trust-anchor-bundles`."""

    def __init__(self, fleet: Fleet, commands: Commands) -> None:
        self._fleet = fleet
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/api/v1/trust/central_system.pem",
                operation="trust.central_system",
                summary="The anchors a charger needs to trust this system's server certificate",
                handler=self.central_system,
                answer=str,
                content_type=PEM,
                further={404: "No bundle has been made yet"},
            ),
            Route(
                method="GET",
                path="/api/v1/trust/{purpose}.pem",
                operation="trust.purpose",
                summary="The anchors of one purpose's current bundle",
                handler=self.of_purpose,
                answer=str,
                content_type=PEM,
            ),
            Route(
                method="POST",
                path="/api/v1/trust-anchor-bundles",
                operation="trust_anchor_bundles.create",
                summary="Record a new version of a purpose's anchors; the present set again changes nothing",
                handler=self.create,
                body=CreateBundleBody,
                answer=shape.Bundle,
                status=201,
                conflicts=True,
                may_be_held=True,
            ),
            Route(
                method="GET",
                path="/api/v1/trust-anchor-bundles",
                operation="trust_anchor_bundles.list",
                summary="List bundles, newest version first within a purpose",
                handler=self.list,
                query=BundleQuery,
                answer=shape.Page[shape.Bundle],
            ),
            Route(
                method="GET",
                path="/api/v1/trust-anchor-bundles/{bundle_id}",
                operation="trust_anchor_bundles.get",
                summary="One bundle with its anchors' PEM",
                handler=self.get,
                answer=shape.Bundle,
            ),
        )

    async def central_system(self, call: Call) -> Answer:
        return await self._pem(CENTRAL_SYSTEM)

    async def of_purpose(self, call: Call) -> Answer:
        purpose = call.path["purpose"]
        if purpose not in purposes():
            raise Problem.unknown("purpose", purpose)
        return await self._pem(purpose)

    async def _pem(self, purpose: str) -> Answer:
        bundle = (await self._fleet.state()).facts.bundles.get(purpose)
        if bundle is None:
            raise Problem(
                404, "no-trust-anchor-bundle", f"no trust anchor bundle has been made for {purpose}"
            )
        return Answer("".join(anchor.pem.rstrip() + "\n" for anchor in bundle.anchors).encode())

    async def create(self, call: Call, body: CreateBundleBody) -> Answer:
        anchors = tuple(body.anchors)
        command = CreateTrustAnchorBundle(
            bundle_id=_bundle_id(call, body.purpose, anchors),
            purpose=body.purpose,
            anchors_pem=anchors,
            note=body.note,
        )
        bundle = result_of(await self._commands.to_fleet(call, command))
        return Answer(bundle, 201, {"Location": f"/api/v1/trust-anchor-bundles/{bundle['bundle_id']}"})

    async def list(self, call: Call, query: BundleQuery) -> Answer:
        state = await self._fleet.state()
        wanted = given(query)
        rows = [
            bundle
            for bundle in sorted(state.history.values(), key=lambda found: (found.purpose, -found.version))
            if wanted.get("purpose") in (None, bundle.purpose)
        ]
        if "cohort" in wanted:
            rows = [bundle for bundle in rows if _is_aimed_at(bundle, wanted["cohort"])]
        page = cut(
            "trust-anchor-bundles",
            rows,
            lambda bundle: bundle.bundle_id,
            lambda bundle: _shown(state, bundle),
            limit=query.limit,
            cursor=wanted.get("cursor"),
        )
        return Answer(page)

    async def get(self, call: Call) -> Answer:
        state = await self._fleet.state()
        bundle = state.history.get(call.path["bundle_id"])
        if bundle is None:
            raise Problem.unknown("bundle", call.path["bundle_id"])
        body = _shown(state, bundle)
        body["anchors"] = [
            {**shown, "pem": anchor.pem}
            for shown, anchor in zip(body["anchors"], bundle.anchors, strict=True)
        ]
        return Answer(body)


def _bundle_id(call: Call, purpose: str, anchors: tuple[str, ...]) -> str:
    """Of the request and the anchors: an old set that comes back is a version of its own."""
    digest = hashlib.sha256(
        "\x1f".join((call.repetition.seed, purpose, *sorted(anchors))).encode()
    ).hexdigest()
    return f"{purpose}-{digest[:16]}"


def _is_aimed_at(bundle: Bundle, cohort: str) -> bool:
    return any(entry["cohort"] == cohort for entry in bundle_body(bundle)["cohorts"])


def _shown(state: FleetState, bundle: Bundle) -> dict[str, Any]:
    current = state.facts.bundles.get(bundle.purpose)
    return bundle_body(bundle) | {
        "created_at": bundle.created_at,
        "current": current is not None and current.bundle_id == bundle.bundle_id,
    }
