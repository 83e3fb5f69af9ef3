"""Purposes: what this system can make certificates for, from the purposes' own files."""

import msgspec

from bfactors.purpose import Mode, PurposeSpec, Realm, Rung, purposes
from gateways.admin import shape
from gateways.admin.paging import PageQuery, cut
from gateways.admin.ports import Body
from gateways.admin.route import Answer, Call, Route


class Purpose(msgspec.Struct, frozen=True, kw_only=True):
    """`dependent_bundle` is the purpose whose trust anchor bundle must be confirmed before a leaf is delivered."""

    purpose: str
    title: str
    realm: Realm
    modes: list[Mode]
    owner: str
    identity_kind: str
    dependent_bundle: str | None
    evidence_rungs: list[Rung]
    active_rung: Rung
    variants: list[str]


class Purposes:
    """`/api/v1/purposes`."""

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/api/v1/purposes",
                operation="purposes.list",
                summary="What certificates can be for, with realm, modes, owner and the rungs of evidence",
                handler=self.list,
                query=PageQuery,
                answer=shape.Page[Purpose],
            ),
        )

    async def list(self, call: Call, query: PageQuery) -> Answer:
        rows = list(purposes().values())
        page = cut(
            "purposes", rows, lambda spec: spec.name, _shown, limit=query.limit, cursor=query.cursor or None
        )
        return Answer(page)


def _shown(spec: PurposeSpec) -> Body:
    return {
        "purpose": spec.name,
        "title": spec.title,
        "realm": spec.realm,
        "modes": spec.modes,
        "owner": spec.owner,
        "identity_kind": spec.identity_kind,
        "dependent_bundle": spec.anchor_bundle,
        "evidence_rungs": spec.evidence_rungs,
        "active_rung": spec.active_rung,
        "variants": spec.variants,
    }
