"""What is global, and the facts about it that every other partition is told."""

import hashlib
from datetime import datetime

import msgspec

from bfactors.approval import Approval
from bfactors.capability import NO_CAPABILITIES, Capabilities
from bfactors.event import Anchor, ReconciliationItem
from bfactors.incident import Incident
from bfactors.notice import Subscription
from bfactors.policy import PolicySet
from bfactors.retention import LastSweep, RetentionRule
from bfactors.waiver import Waiver


def authority_id_of(purpose: str, arn: str) -> str:
    """What a CA is called in paths and policies: short, and the same for the same CA of the same purpose."""
    return hashlib.sha256(f"{purpose}\x1f{arn}".encode()).hexdigest()[:16]


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """An issuing CA of a purpose. `chain_pem`: its issuers upward without the root; `fingerprint_sha256` its own.

    `state` as `bfactors.fleet.authority` draws it; `status` as the CA itself last said (`ACTIVE` signs). `escalated_days`:
    the nearest window before its end that was told.
    """

    purpose: str
    arn: str
    certificate_pem: str
    chain_pem: str
    fingerprint_sha256: str
    signing_algorithm: str
    not_after: datetime
    root_pem: str = ""
    state: str = "current"
    status: str = "ACTIVE"
    escalated_days: int | None = None

    @property
    def authority_id(self) -> str:
        return authority_id_of(self.purpose, self.arn)


class Rollover(msgspec.Struct, frozen=True, kw_only=True):
    """A purpose on its way from one CA to another; `step` since `since`, as `bfactors.fleet.rollover` draws it."""

    rollover_id: str
    purpose: str
    leaving_id: str
    leaving_arn: str
    to_id: str
    step: str
    since: datetime
    started_at: datetime
    by: str
    reason: str
    renew_after: datetime | None = None
    stalled_told: bool = False
    left_was_current: bool = True
    """Whether it changes which CA is current; else a CA that was not is only being emptied."""

    def renews(self, arn: str, not_after: datetime) -> bool:
        """Whether a certificate of that CA and end is to be renewed because of this."""
        if self.step != "renewal" or arn != self.leaving_arn:
            return False
        return self.renew_after is None or not_after > self.renew_after


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
    server_anchors: frozenset[str] = frozenset()
    """What the certificates it shows chargers hang on, by name and key id; empty: it has not said."""


class Qualification(msgspec.Struct, frozen=True, kw_only=True):
    """One real charger of the family was walked through everything a campaign will ask of it."""

    charger_id: str
    firmware: str
    by: str
    at: datetime
    passed: bool
    report: str
    """JSON text: step by step what was tried and what came of it."""


class FactoryAnchor(msgspec.Struct, frozen=True, kw_only=True):
    """A CA that gives a family's chargers their certificates at the factory."""

    fingerprint_sha256: str
    subject: str
    not_after: datetime
    pem: str


class FamilyFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one make, model and firmware line."""

    family: str
    capabilities: Capabilities = NO_CAPABILITIES
    note: str = ""
    by: str = ""
    at: datetime | None = None
    qualification: Qualification | None = None
    factory_anchors: tuple[FactoryAnchor, ...] = ()
    """Under these an unknown leaf may be a charger's first contact, where policy allows that."""


class FleetFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet partition's decisions as the other partitions know them, as of `sequence`.

    `bundles` holds the current version by purpose, `authorities` the issuing CA by purpose, `pauses` by `kind/name`,
    `nodes` the connect nodes' trust by incarnation: while a node restarts, both of its lives count. `families` holds what
    is known of charger families, by name.
    """

    sequence: int = 0
    policies: PolicySet = PolicySet()
    authorities: dict[str, Authority] = {}
    bundles: dict[str, Bundle] = {}
    pauses: dict[str, SupervisorPause] = {}
    nodes: dict[str, NodeTrust] = {}
    families: dict[str, FamilyFacts] = {}
    waivers: dict[str, tuple[Waiver, ...]] = {}
    """What was granted and has not been seen to end, by subject."""
    incidents: dict[str, Incident] = {}
    """Going on, and the last that ended, by id."""
    past: tuple[Bundle, ...] = ()
    """Earlier bundles, newest first, with those anchors alone that no current bundle holds: chargers may hold them still."""
    further: dict[str, Authority] = {}
    """CAs of a purpose beside its current one, by id: trusted, and issuing where a policy names one."""
    rollovers: dict[str, Rollover] = {}
    """Those under way, by purpose."""

    def authorities_of(self, purpose: str) -> tuple[Authority, ...]:
        """Every CA of a purpose that is not retired, the current one first."""
        current = self.authorities.get(purpose)
        others = tuple(each for each in self.further.values() if each.purpose == purpose)
        return others if current is None else (current, *others)

    def authority_of(self, purpose: str, arn: str) -> Authority | None:
        """The CA of that ARN, unless it is retired or was never known."""
        current = self.authorities.get(purpose)
        if current is not None and current.arn == arn:
            return current
        for each in self.further.values():
            if each.purpose == purpose and each.arn == arn:
                return each
        return None

    def issuing(self, purpose: str, wanted_id: str = "") -> Authority | None:
        """The CA to ask now: the one that policy names, while it is there, else the current one."""
        for each in self.authorities_of(purpose):
            if each.authority_id == wanted_id and each.state != "outgoing":
                return each
        return self.authorities.get(purpose)

    def capabilities(self, family: str) -> Capabilities:
        """What a family is known for; nothing, if nobody has said anything about it."""
        known = self.families.get(family)
        return NO_CAPABILITIES if known is None else known.capabilities

    def blind_nodes(self, fingerprint: str) -> list[str]:
        """The names of the live connect nodes that do not verify that issuer."""
        return sorted({n.node for n in self.nodes.values() if fingerprint not in n.fingerprints})


class UnexplainedCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """One that a CA signed and nothing in the ledger accounts for."""

    authority_arn: str
    external_ref: str
    serial_number: str
    subject: str
    not_after: datetime
    issued_at: datetime
    spki_sha256: str | None
    found_at: datetime
    revocation_requested_at: datetime | None = None
    revoked_at: datetime | None = None


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """Where the comparison of one CA with the ledger stands: the run that is wanted, and what the last one found."""

    purpose: str
    authority_arn: str
    wanted: str | None = None
    """The run that was asked for and has not ended."""
    requested_at: datetime | None = None
    reason: str = ""
    last_asked: str | None = None
    """The last run that was asked for, ended or not: asked for again it is none."""
    run_id: str | None = None
    report_ref: str | None = None
    report_at: datetime | None = None
    ended_at: datetime | None = None
    failure: tuple[str, str] | None = None
    """Why the last run came to nothing: code and message."""
    certificates: int = 0
    counts: dict[str, int] = {}
    items: tuple[ReconciliationItem, ...] = ()
    unexplained: dict[str, UnexplainedCertificate] = {}
    """By serial number, those that the last successful run still found, and those revoked since."""
    is_retired: bool = False
    """Its CA is retired: kept for the revocations it still owes, and compared no more."""

    @property
    def authority_id(self) -> str:
        return authority_id_of(self.purpose, self.authority_arn)


class FleetState(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet partition's one aggregate: the facts, every bundle there ever was, and what no other partition needs."""

    facts: FleetFacts = FleetFacts()
    history: dict[str, Bundle] = {}
    subscriptions: dict[str, Subscription] = {}
    """Who is told of what, by id."""
    retention: dict[str, RetentionRule] = {}
    swept: dict[str, LastSweep] = {}
    """By kind of record: how long it is kept, where that was decided, and what last went."""
    reconciliations: dict[str, Reconciliation] = {}
    """By the CA's id, in the order of their turns; by purpose where a purpose had one CA when it was written."""
    retired: tuple[Authority, ...] = ()
    """CAs that nothing current hangs on any more, the newest first."""
    last_rollovers: dict[str, str] = {}
    """The last rollover that was started, by purpose: started again under its id it is none."""
    approvals: dict[str, Approval] = {}
    """What waits for a second person, by id, and what last did."""
    waivers: dict[str, Waiver] = {}
    """By id: asked for, in force, and the last that ended."""
    revision: int = 0
