"""How long what is no ledger event is kept: a number of days for each kind of record, within bounds.

Events, checkpoints and certificates are kept for good and are no kind here. What must be kept for a protocol to work (answers
to repeated commands, evidence ids) has fixed times beside its own code.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from bfactors.refusal import Refusal

RUN_EVERY = timedelta(hours=1)
UNCLAIMED_AFTER = timedelta(hours=1)
"""A value sealed for a command that did not commit within this time is nobody's."""
UNCLAIMED = "unclaimed-identifiers"
PERSONAL = "personal-identifiers"
LOGS = "uploaded-logs"


class RetentionKind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of record. `what` is for people."""

    name: str
    default_days: int
    least_days: int
    most_days: int
    what: str


_KINDS = (
    RetentionKind(
        name="security-events",
        default_days=730,
        least_days=30,
        most_days=3650,
        what="the list of security events; each stays in the audit trail",
    ),
    RetentionKind(
        name="notices",
        default_days=30,
        least_days=1,
        most_days=730,
        what="notices that were delivered, given up or withdrawn",
    ),
    RetentionKind(
        name="quarantined-evidence",
        default_days=365,
        least_days=14,
        most_days=3650,
        what="evidence that could not be decided on, as it arrived",
    ),
    RetentionKind(
        name=PERSONAL,
        default_days=90,
        least_days=1,
        most_days=3650,
        what="what pseudonyms stand for, counted from the retirement of whoever bore them",
    ),
    RetentionKind(
        name=LOGS,
        default_days=30,
        least_days=1,
        most_days=3650,
        what="logs that chargers uploaded; without a value here, BF_LOG_RETENTION_DAYS counts",
    ),
)
KINDS: Mapping[str, RetentionKind] = {kind.name: kind for kind in _KINDS}
SWEPT_IN_DATABASE = tuple(name for name in KINDS if name != LOGS)
"""Logs lie beside each core that took them in, and go there."""


class RetentionRule(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody decided for a kind."""

    days: int
    reason: str
    by: str
    at: datetime


class LastSweep(msgspec.Struct, frozen=True, kw_only=True):
    """The latest sweep of a kind that deleted anything."""

    at: datetime
    count: int
    before: datetime


def days_of(rules: Mapping[str, RetentionRule], kind: str) -> int:
    """How long records of a kind are kept."""
    rule = rules.get(kind)
    return KINDS[kind].default_days if rule is None else rule.days


def problem(kind: str, days: int) -> Refusal | None:
    """Why a kind cannot be kept for so long."""
    known = KINDS.get(kind)
    if known is None:
        message = f"no kind of record is called {kind!r}; there are {', '.join(KINDS)}"
        return Refusal("unknown-retention-kind", message, "kind")
    if not known.least_days <= days <= known.most_days:
        message = f"{kind} are kept from {known.least_days} to {known.most_days} days"
        return Refusal("retention-out-of-range", message, "days")
    return None
