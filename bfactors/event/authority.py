"""A purpose's issuing CAs: how they stand, and how a fleet goes from one to the next."""

from datetime import datetime

from bfactors.event.base import LedgerRecord


class CaRolloverStarted(LedgerRecord, frozen=True, kw_only=True):
    """A purpose is to leave one CA for another. Certificates that end before `renewAfter` are left to end by themselves."""

    purpose: str
    rollover_id: str
    leaving_id: str
    to_id: str
    renew_after: datetime | None
    reason: str
    by: str


class CaRolloverAdvanced(LedgerRecord, frozen=True, kw_only=True):
    """The rollover's next step began."""

    purpose: str
    rollover_id: str
    step: str
    reason: str
    by: str


class CaRolloverCompleted(LedgerRecord, frozen=True, kw_only=True):
    """Nothing current hung on the CA that was left: it is retired, and gateways trust it no more."""

    purpose: str
    rollover_id: str
    retired_id: str
    reason: str
    by: str


class CaRolloverAborted(LedgerRecord, frozen=True, kw_only=True):
    """The rollover ended where it stood; both CAs stay trusted, and what was current before issues again."""

    purpose: str
    rollover_id: str
    reason: str
    by: str


class CaRolloverStalled(LedgerRecord, frozen=True, kw_only=True):
    """The rollover has stood in one step for so long that somebody is told, once a step."""

    purpose: str
    rollover_id: str
    step: str
    since: datetime


class AuthorityStatusChanged(LedgerRecord, frozen=True, kw_only=True):
    """The CA says otherwise of itself than when it was last asked; only `ACTIVE` signs."""

    purpose: str
    authority_id: str
    authority_arn: str
    status: str
    before: str


class AuthorityExpiryEscalated(LedgerRecord, frozen=True, kw_only=True):
    """A CA that something may hang on comes to its end, told once at each window."""

    purpose: str
    authority_id: str
    authority_arn: str
    days_left: int
    not_after: datetime
