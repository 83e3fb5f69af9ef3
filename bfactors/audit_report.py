"""A CA's own list of everything it ever signed, and how an attempt's certificate is recognised in it."""

from datetime import datetime, timedelta

import msgspec

from bfactors.effect import ReconcileIssuance

SETTLES_WITHIN = timedelta(minutes=1)
"""A call that left in time is finished at the CA, and clocks disagree by less, after this."""


class ReportRef(msgspec.Struct, frozen=True, kw_only=True):
    """One report and where it lies. It holds what was signed up to `created_at`."""

    authority_arn: str
    report_id: str
    bucket: str
    key: str
    created_at: datetime


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate as its CA lists it. `serial_number`: lower hex without leading zeros; `template`: its short name."""

    external_ref: str
    serial_number: str
    subject: str
    template: str
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    revoked_at: datetime | None = None
    revocation_reason: str | None = None


def tells_from(effect: ReconcileIssuance) -> datetime:
    """A report made from this moment on holds the attempt's certificate, if there is one."""
    return effect.call_before + SETTLES_WITHIN


def may_be_of(entry: AuditEntry, effect: ReconcileIssuance) -> bool:
    """Whether all that a report tells fits what was asked for; the key, which it does not tell, decides."""
    return (entry.template, entry.not_before, entry.not_after) == (
        effect.template,
        effect.not_before,
        effect.not_after,
    )
