"""How long records are kept, and what went. Never of events, checkpoints or certificates."""

from datetime import datetime

from bfactors.event.base import LedgerRecord


class RetentionSet(LedgerRecord, frozen=True, kw_only=True):
    """Records of a kind are kept for so many days from now on."""

    kind: str
    days: int
    reason: str
    by: str


class RetentionSwept(LedgerRecord, frozen=True, kw_only=True):
    """A run deleted so many records of a kind, all older than `before`."""

    kind: str
    count: int
    before: datetime
