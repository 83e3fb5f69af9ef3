"""Which ledger events somebody should be told of, how urgent they are, and in what words.

A notice repeats what its event says and nothing more: no key, no CSR, no certificate. `Subscription` says who is told.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from bfactors.ledger_row import EventRow
from bfactors.lockout import PREVENTED_BY

Severity = Literal["info", "warning", "critical"]
Channel = Literal["webhook", "email"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
CHANNELS: tuple[Channel, ...] = get_args(Channel)

Payload = Mapping[str, Any]
_LATE_DAYS, _LAST_DAYS = 14, 7
_LAST_MONTH = 30


class Kind(msgspec.Struct, frozen=True):
    """One kind of notice: its name in the API, and how an event of it reads."""

    name: str
    severity: Callable[[Payload], Severity]
    text: Callable[[Payload], str]


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be told. `notice_id` is its event's place in the ledger, so that telling it twice can be noticed."""

    notice_id: str
    kind: str
    severity: Severity
    event: str
    recorded_at: datetime
    text: str
    charger_id: str | None
    managed_identity_id: str | None
    purpose: str | None
    job_id: str | None
    certificate_id: str | None


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told what: `kinds` and `cohorts` narrow it down, empty means all.

    `role` says whom it is for (a role of the admin API), for people to read. The address, which may be a person's, and a
    webhook's signing key lie sealed under `secret_id`, where they can be deleted; `target` is the address's host or domain.
    A notice that is about no charger has no cohort, and reaches subscriptions to all cohorts only. What was recorded before
    `since` is told to nobody.
    """

    subscription_id: str
    channel: Channel
    target: str
    role: str
    secret_id: str
    least_severity: Severity = "warning"
    kinds: tuple[str, ...] = ()
    cohorts: tuple[str, ...] = ()
    since: datetime = datetime.min.replace(tzinfo=UTC)

    def wants(self, notice: Notice, cohort: str | None) -> bool:
        """Whether this notice, about a charger of that cohort, is for them."""
        return (
            notice.recorded_at >= self.since
            and SEVERITIES.index(notice.severity) >= SEVERITIES.index(self.least_severity)
            and (not self.kinds or notice.kind in self.kinds)
            and (not self.cohorts or cohort in self.cohorts)
        )


class SealedTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscription's secret holds. `signing_key` is a webhook's; empty for an e-mail address."""

    address: str
    signing_key: str = ""

    def __repr__(self) -> str:
        return "SealedTarget(***)"


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """One notice on its way to one subscription."""

    notice: Notice
    subscription_id: str
    created_at: datetime
    attempts: int = 0


class NotifierLease(NamedTuple):
    """Who goes through the published events. `position`: up to where that has been done; None: never yet."""

    owner: str
    epoch: int
    position: int | None


FIRST_WAIT_S = 30
LONGEST_WAIT_S = 3600
GIVEN_UP_AFTER_S = 86_400


def next_attempt(telling: Telling, now: datetime) -> datetime | None:
    """When to try again after another failure; None: it has been tried for a day, and is given up."""
    if now - telling.created_at >= timedelta(seconds=GIVEN_UP_AFTER_S):
        return None
    wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(telling.attempts, 16))
    return now + timedelta(seconds=wait_s)


def _always(severity: Severity) -> Callable[[Payload], Severity]:
    return lambda _: severity


def _because(payload: Payload) -> str:
    return f"{payload.get('reasonCode', 'unknown')}: {payload.get('reasonMessage', '')}"


def _of_pause(payload: Payload) -> Severity:
    return "info" if payload["state"] == "running" else "warning"


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "CertificateExpiryEscalated": Kind(
            "expiry-escalated",
            lambda p: (
                "critical"
                if p["daysLeft"] <= _LAST_DAYS
                else "warning"
                if p["daysLeft"] <= _LATE_DAYS
                else "info"
            ),
            lambda p: f"the certificate ends in at most {p['daysLeft']} days, and no successor is in use",
        ),
        "CertificateExpired": Kind(
            "certificate-expired", _always("critical"), lambda _: "the certificate has ended"
        ),
        "ChargerLockoutForeseen": Kind(
            "lockout",
            _always("critical"),
            lambda p: (
                f"not let in from {p['lockedOutAt'][:16]} UTC on ({p['cause']}): {PREVENTED_BY[p['cause']]}"
            ),
        ),
        "CertificateRejected": Kind(
            "certificate-rejected",
            _always("warning"),
            lambda p: f"the certificate was not taken: {p['reason']}",
        ),
        "CertificateRevoked": Kind("certificate-revoked", _always("info"), lambda _: "the CA has revoked it"),
        "CertificateRevocationUnpublished": Kind("revocation-unpublished", _always("warning"), _because),
        "RevocationListOverdue": Kind(
            "revocation-list-overdue",
            _always("critical"),
            lambda p: (
                f"the CA's revocation list should have been replaced by {p['nextUpdate']}: {p['address']}"
            ),
        ),
        "CertificateJobOverdue": Kind("job-overdue", _always("warning"), _because),
        "CertificateJobFailed": Kind("job-failed", _always("warning"), _because),
        "CSRRefused": Kind("csr-refused", _always("warning"), lambda p: f"{p['reason']}: {p['message']}"),
        "IssuanceInDoubt": Kind(
            "issuance-in-doubt",
            _always("warning"),
            lambda _: "a crash fell into a call to the CA; whether it issued is not known yet",
        ),
        "AuthorityStatusChanged": Kind(
            "authority-status",
            lambda p: "info" if p["status"] == "ACTIVE" else "critical",
            lambda p: (
                f"the CA {p['authorityArn']} of {p['purpose']} says it is {p['status']} (was {p['before']})"
            ),
        ),
        "AuthorityExpiryEscalated": Kind(
            "authority-expiry",
            lambda p: "critical" if p["daysLeft"] <= _LAST_MONTH else "warning",
            lambda p: (
                f"the CA {p['authorityArn']} of {p['purpose']} ends in at most {p['daysLeft']} days: roll over"
            ),
        ),
        "CaRolloverStalled": Kind(
            "ca-rollover-stalled",
            _always("warning"),
            lambda p: (
                f"the CA rollover of {p['purpose']} has stood at {p['step']} since {p['since'][:16]} UTC"
            ),
        ),
        "SecurityEventEscalated": Kind(
            "security-event", _always("critical"), lambda p: f"{p['kind']} {p['detail']}".strip()
        ),
        "EvidenceQuarantined": Kind(
            "evidence-quarantined",
            _always("critical"),
            lambda p: f"evidence {p['evidenceId']} could not be decided on; its charger is paused",
        ),
        "ApprovalRequested": Kind(
            "approval-requested",
            _always("info"),
            lambda p: (
                f"{p['author']} asks for {p['kind']}; somebody else must agree by {p['expiresAt']}: {p['reason']}"
            ),
        ),
        "WaiverGranted": Kind(
            "waiver-granted",
            _always("info"),
            lambda p: (
                f"{p['rule']} is waived for {p['subject']} until {p['endsAt']}: {p['reason']} ({p['author']})"
            ),
        ),
        "WaiverEnding": Kind(
            "waiver-ending",
            _always("warning"),
            lambda p: f"the waiver of {p['rule']} for {p['subject']} ends {p['endsAt']} ({p['author']})",
        ),
        "WaiverEnded": Kind(
            "waiver-ended",
            _always("info"),
            lambda p: f"the waiver of {p['rule']} for {p['subject']} has ended: {p['reason']}",
        ),
        "IncidentOpened": Kind(
            "incident-opened",
            _always("critical"),
            lambda p: (
                f"{p['name']}: {p['expected']} certificates are to be "
                f"{'refused and revoked' if p['mode'] == 'revoke' else 'replaced'}: {p['reason']} ({p['author']})"
            ),
        ),
        "IncidentEnded": Kind(
            "incident-ended",
            _always("info"),
            lambda p: f"incident {p['incidentId']} has ended: {p['reason']}",
        ),
        "SupervisorStateSet": Kind(
            "supervisor-state",
            _of_pause,
            lambda p: f"{p['kind']} {p['name']} is {p['state']}: {p['reason']} ({p['by']})",
        ),
    }
)
"""By the event's name. What a future version records beside these is told to nobody until it has a row."""

KIND_NAMES: tuple[str, ...] = tuple(sorted(kind.name for kind in KINDS.values()))
TEXT_MAX_CHARS = 1000


def notice_of(row: EventRow) -> Notice | None:
    """The notice a published event leads to; None for most of them."""
    kind = KINDS.get(row.event)
    if kind is None:
        return None
    payload = msgspec.json.decode(row.payload, type=dict[str, Any])
    return Notice(
        notice_id=f"{row.partition}:{row.sequence}",
        kind=kind.name,
        severity=kind.severity(payload),
        event=row.event,
        recorded_at=row.recorded_at,
        text=kind.text(payload)[:TEXT_MAX_CHARS],
        charger_id=row.charger_id,
        managed_identity_id=row.managed_identity_id,
        purpose=row.purpose,
        job_id=row.job_id,
        certificate_id=row.certificate_id,
    )
