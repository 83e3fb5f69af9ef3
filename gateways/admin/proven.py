"""What an outsider can check without believing us: signed checkpoints, proofs against them, evidence packs."""

from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from bfactors.identity import PARTITIONS
from bfactors.refusal import Refusal
from gateways.admin import field, shape
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.inbound import given
from gateways.admin.paging import page_of
from gateways.admin.ports import Proofs
from gateways.admin.problem import Problem
from gateways.admin.route import Answer, Call, Route

Partition = Annotated[int, msgspec.Meta(ge=0, lt=PARTITIONS)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10**15)]
ARCHIVE = "application/zip"


class CheckpointQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one partition, or of all."""

    partition: Partition | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET


class InclusionQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which event, under the checkpoint of which size; without one under the latest."""

    partition: Partition
    sequence: Count
    size: Count | UnsetType = UNSET


class ConsistencyQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sizes of two checkpoints of one partition."""

    partition: Partition
    first: Count
    second: Count


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How far a partition had come, as one hash. `note` is what was signed, with its signatures (C2SP `signed-note`)."""

    origin: str
    partition: int
    size: int
    root_hash: str
    head_hash: str
    made_at: field.Time
    note: str


class CheckpointKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key that signed. Get it from somebody you trust as well: this answer proves nothing."""

    name: str
    key_id: str
    algorithm: str
    fingerprint_sha256: str
    public_key_pem: str
    verifier: str
    first_used_at: field.Time


class CheckpointKeys(msgspec.Struct, frozen=True, kw_only=True):
    """All that ever signed, the earliest first."""

    items: list[CheckpointKey]


class Inclusion(msgspec.Struct, frozen=True, kw_only=True):
    """A Merkle audit path (RFC 6962 section 2.1.1): the leaf is SHA-256 of a zero byte and the event's hash."""

    partition: int
    sequence: int
    hash: str
    leaf_index: int
    leaf_hash: str
    tree_size: int
    root_hash: str
    path: list[str]
    note: str


class Consistency(msgspec.Struct, frozen=True, kw_only=True):
    """A Merkle consistency proof (RFC 6962 section 2.1.2)."""

    partition: int
    first: int
    second: int
    first_root_hash: str
    second_root_hash: str
    path: list[str]
    first_note: str
    second_note: str


class Proven:
    """`/api/v1/audit/...` and a charger's evidence pack."""

    def __init__(self, dependencies: AdminDependencies) -> None:
        self._given = dependencies.proofs

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/api/v1/audit/checkpoints",
                operation="audit.checkpoints",
                summary="Signed heads of the trees over the ledger's rows, newest first",
                handler=self.checkpoints,
                query=CheckpointQuery,
                answer=shape.Page[Checkpoint],
                conflicts=True,
            ),
            Route(
                method="GET",
                path="/api/v1/audit/keys",
                operation="audit.keys",
                summary="The public keys that signed checkpoints",
                handler=self.keys,
                answer=CheckpointKeys,
                conflicts=True,
            ),
            Route(
                method="GET",
                path="/api/v1/audit/proof/inclusion",
                operation="audit.inclusion",
                summary="That an event is under a checkpoint",
                handler=self.inclusion,
                query=InclusionQuery,
                answer=Inclusion,
                conflicts=True,
                further={404: "There is no such checkpoint"},
            ),
            Route(
                method="GET",
                path="/api/v1/audit/proof/consistency",
                operation="audit.consistency",
                summary="That a later checkpoint only adds events to an earlier one",
                handler=self.consistency,
                query=ConsistencyQuery,
                answer=Consistency,
                conflicts=True,
                further={404: "There is no such checkpoint"},
            ),
            Route(
                method="GET",
                path="/api/v1/chargers/{charger_id}/evidence-pack",
                operation="chargers.evidence_pack",
                summary="Everything the ledger holds of a charger, as a signed archive for an outsider",
                description="A zip archive with its events, proofs, certificates and a README; `run.py verify --pack` checks "
                "it, and the README says how to do so without our program.",
                handler=self.evidence_pack,
                answer=bytes,
                content_type=ARCHIVE,
                conflicts=True,
            ),
        )

    async def checkpoints(self, call: Call, query: CheckpointQuery) -> Answer:
        return page_of(await self._proofs().checkpoints(**given(query)))

    async def keys(self, call: Call) -> Answer:
        return Answer(await self._proofs().keys())

    async def inclusion(self, call: Call, query: InclusionQuery) -> Answer:
        return page_of(await self._proofs().inclusion(**given(query)))

    async def consistency(self, call: Call, query: ConsistencyQuery) -> Answer:
        return page_of(await self._proofs().consistency(**given(query)))

    async def evidence_pack(self, call: Call) -> Answer:
        pack = await self._proofs().evidence_pack(call.path["charger_id"])
        if isinstance(pack, Refusal):
            raise Problem.of_refusal(pack)
        return Answer(pack, headers={"Content-Disposition": 'attachment; filename="evidence-pack.zip"'})

    def _proofs(self) -> Proofs:
        if self._given is None:
            raise Problem(409, "no-proofs", "this process serves no proofs")
        return self._given
