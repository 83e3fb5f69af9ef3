"""An incident: certificates that must go, chosen by what they have in common, and how far their going has come.

`revoke`: they are refused on every node at once, all of them, and revoked at the CA stage by stage; a charger that has
nothing else is locked out by it. `replace`: stage by stage each charger gets another one first, and what was replaced is
revoked. What is issued after the incident was opened is not part of it.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec

Mode = Literal["revoke", "replace"]
IncidentState = Literal["running", "paused", "ended"]
TargetState = Literal["waiting", "denied", "replacing", "revoking", "revoked", "ended"]
RevocationReason = Literal[
    "key_compromise",
    "superseded",
    "cessation_of_operation",
    "privilege_withdrawn",
    "affiliation_changed",
    "unspecified",
]
MOST_NAMED = 500
"""Values of one criterion."""
_OVER = ("revoked", "expired")
"""One that the charger has deleted is still good at its CA."""


class Selector(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the certificates have in common. Every criterion that is given must hold; of several values, any."""

    purpose: str
    issuing_ca_ids: tuple[str, ...] = ()
    spki_sha256: tuple[str, ...] = ()
    """Digests of public keys: lower-hex SHA-256 of the SubjectPublicKeyInfo."""
    certificate_ids: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    cohorts: tuple[str, ...] = ()
    issued_from: datetime | None = None
    issued_before: datetime | None = None

    @property
    def is_narrowed(self) -> bool:
        """Whether it chooses anything at all; one that does not means the whole purpose."""
        return self != Selector(purpose=self.purpose)


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate and the charger it belongs to, as a selector sees them."""

    certificate_id: str
    purpose: str
    issuing_ca_id: str
    spki_sha256: str
    state: str
    issued_at: datetime
    not_after: datetime
    family: str
    site: str
    cohort: str


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """One incident. `percent`: the share of the chargers whose turn has come; `expected` certificates when it was asked for,
    `agreed` when somebody else agreed to it (None: nobody had to, or they were not counted).
    """

    incident_id: str
    name: str
    reason: str
    mode: Mode
    revocation_reason: RevocationReason
    selector: Selector
    percent: int
    expected: int
    author: str
    approver: str | None
    opened_at: datetime
    agreed: int | None = None
    state: IncidentState = "running"
    ended_at: datetime | None = None
    end_reason: str | None = None
    is_lifted: bool = False
    """Ended so that what is refused and not yet revoked is let in again."""


def selects(incident: Incident, subject: Subject, now: datetime) -> bool:
    """Whether this certificate is part of the incident; one that is over anyway is not."""
    if subject.state in _OVER or subject.not_after <= now or subject.issued_at > incident.opened_at:
        return False
    wanted = incident.selector
    criteria = (
        (wanted.issuing_ca_ids, subject.issuing_ca_id),
        (wanted.spki_sha256, subject.spki_sha256),
        (wanted.certificate_ids, subject.certificate_id),
        (wanted.families, subject.family),
        (wanted.sites, subject.site),
        (wanted.cohorts, subject.cohort),
    )
    return (
        wanted.purpose == subject.purpose
        and all(not values or value in values for values, value in criteria)
        and (wanted.issued_from is None or wanted.issued_from <= subject.issued_at)
        and (wanted.issued_before is None or subject.issued_at < wanted.issued_before)
    )


def came_later(incident: Incident, placed_at: datetime | None, known_at: datetime | None) -> bool:
    """Whether a certificate that is part of it was not when it was opened: its charger stood elsewhere until `placed_at`, or
    nobody here knew the certificate until `known_at`. None: it was always so.

    To be asked before the first mark only. A charger that moved from one chosen place to another in between is taken for one
    that came later.
    """
    wanted = incident.selector
    is_by_place = bool(wanted.families or wanted.sites or wanted.cohorts)
    moments = (placed_at if is_by_place else None, known_at)
    return any(at is not None and at > incident.opened_at for at in moments)


def refuses(incidents: Iterable[Incident]) -> bool:
    """Whether any of these refuses certificates at all, now."""
    return any(one.mode == "revoke" and one.state != "ended" for one in incidents)


def has_turn(incident: Incident, charger_id: str) -> bool:
    """Whether the stage this charger belongs to has begun: each has its place in the order, by a hash, for good."""
    digest = hashlib.sha256(f"{incident.incident_id}\x1f{charger_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big") * 100 < incident.percent * 2**32
