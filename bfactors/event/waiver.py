"""What was set aside for somebody, for how long, and how that ended."""

from datetime import datetime
from typing import Any

from bfactors.event.base import LedgerRecord


class WaiverRequested(LedgerRecord, frozen=True, kw_only=True):
    """Somebody asked that a rule be set aside. `family` and `cohort` are those of the charger, if it is about one."""

    waiver_id: str
    charger_id: str | None
    subject: str
    purpose: str
    rule: str
    value: Any
    reason: str
    author: str
    family: str
    cohort: str
    ends_at: datetime


class WaiverGranted(LedgerRecord, frozen=True, kw_only=True):
    """It is in force from now to its end. `approver` None: policy asked for nobody else."""

    waiver_id: str
    charger_id: str | None
    subject: str
    purpose: str
    rule: str
    value: Any
    reason: str
    author: str
    approver: str | None
    ends_at: datetime


class WaiverRejected(LedgerRecord, frozen=True, kw_only=True):
    """It was not granted, and will not be; `reason` of whoever decided."""

    waiver_id: str
    charger_id: str | None
    purpose: str
    reason: str


class WaiverEnding(LedgerRecord, frozen=True, kw_only=True):
    """It ends soon; said once."""

    waiver_id: str
    charger_id: str | None
    subject: str
    purpose: str
    rule: str
    author: str
    ends_at: datetime


class WaiverEnded(LedgerRecord, frozen=True, kw_only=True):
    """`cause`: date-passed or withdrawn."""

    waiver_id: str
    charger_id: str | None
    subject: str
    purpose: str
    rule: str
    cause: str
    reason: str
