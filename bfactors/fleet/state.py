"""What is global, and the facts about it that every other partition is told."""

from datetime import datetime

import msgspec

from bfactors.event import Anchor
from bfactors.policy import PolicySet


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """The issuing CA of a purpose. `chain_pem`: its issuers upward without the root; `fingerprint_sha256` its own."""

    purpose: str
    arn: str
    certificate_pem: str
    chain_pem: str
    fingerprint_sha256: str
    signing_algorithm: str
    not_after: datetime


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable version of a purpose's trust anchors."""

    bundle_id: str
    purpose: str
    version: int
    anchors: tuple[Anchor, ...]
    note: str
    created_at: datetime


class SupervisorPause(msgspec.Struct, frozen=True, kw_only=True):
    """A supervisor that was told to pause or drain, by whom and why."""

    kind: str
    name: str
    state: str
    reason: str
    by: str
    at: datetime


class NodeTrust(msgspec.Struct, frozen=True, kw_only=True):
    """What a live connect node verifies client certificates with."""

    node: str
    incarnation: str
    fingerprints: frozenset[str]


class FleetFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet partition's decisions as the other partitions know them, as of `sequence`.

    `bundles` holds the current version by purpose, `authorities` the issuing CA by purpose, `pauses` by `kind/name`,
    `nodes` the connect nodes' trust by incarnation: while a node restarts, both of its lives count.
    """

    sequence: int = 0
    policies: PolicySet = PolicySet()
    authorities: dict[str, Authority] = {}
    bundles: dict[str, Bundle] = {}
    pauses: dict[str, SupervisorPause] = {}
    nodes: dict[str, NodeTrust] = {}

    def blind_nodes(self, fingerprint: str) -> list[str]:
        """The names of the live connect nodes that do not verify that issuer."""
        return sorted({n.node for n in self.nodes.values() if fingerprint not in n.fingerprints})


class FleetState(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet partition's one aggregate: the facts, and every bundle there ever was."""

    facts: FleetFacts = FleetFacts()
    history: dict[str, Bundle] = {}
    revision: int = 0
