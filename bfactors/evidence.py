"""Recorded facts from outside: what a charger, a CA or a node told us, with its source. Never our opinion.

Everything here is published to the partition's evidence stream and acknowledged before anyone answers or acts on it.
"""

import hashlib
from datetime import datetime

import msgspec

from bfactors.admission import KeyVerifier
from bfactors.certificate_hash import HashData
from bfactors.event import ReconciliationItem
from bfactors.fleet.state import FleetFacts
from bfactors.ocpp import Outcome


class _Body(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    pass


# ---------------------------------------------------------------- sessions


class SessionOpened(_Body, frozen=True, kw_only=True):
    """A charger was admitted: every identity rule had passed."""

    session_id: str
    node: str
    incarnation: str
    ocpp_version: str
    security_profile: int
    remote_address: str
    opened_at: datetime
    fingerprint_sha256: str | None = None
    key_generation: int | None = None
    flags: tuple[str, ...] = ()
    managed_identity_id: str | None = None
    """The unit that the admission record it was admitted by named."""
    leaf_pem: str | None = None
    """The leaf itself and what was shown above it, told where it is none that its admission record lists."""


class SessionClosed(_Body, frozen=True, kw_only=True):
    """The session named here ended; no other one."""

    session_id: str
    reason: str


class NodeLost(_Body, frozen=True, kw_only=True):
    """A connect node's incarnation stopped renewing its presence: its sessions are over."""

    node: str
    incarnation: str


class BootReported(_Body, frozen=True, kw_only=True):
    """What a charger says of itself at BootNotification."""

    session_id: str
    vendor: str
    model: str
    serial_number: str | None
    firmware_version: str | None
    reason: str


# ---------------------------------------------------------------- exchanges


class CsrReceived(_Body, frozen=True, kw_only=True):
    """A SignCertificate arrived; the text is normalised PEM or what could not be made into one."""

    session_id: str
    message_id: str
    purpose: str
    csr: str
    request_id: int | None = None
    hash_root: HashData | None = None


class InstructionSent(_Body, frozen=True, kw_only=True):
    """The frame of an instruction is about to leave (recorded before it leaves)."""

    instruction_id: str
    decision: int
    session_id: str


class InstructionAnswered(_Body, frozen=True, kw_only=True):
    """How an instruction's call ended, on the session it was sent on."""

    instruction_id: str
    decision: int
    session_id: str
    outcome: Outcome


class SecurityEventReported(_Body, frozen=True, kw_only=True):
    """A SecurityEventNotification; or `count` of one type in a flood, the first of them as sent."""

    session_id: str
    event_type: str
    charger_time: str
    tech_info: str | None = None
    count: int = 1


class LogStatusReported(_Body, frozen=True, kw_only=True):
    """How far a log upload got, in the charger's own words."""

    session_id: str
    status: str
    request_id: int | None = None


class FirmwareStatusReported(_Body, frozen=True, kw_only=True):
    """How far a firmware update got, in the charger's own words."""

    session_id: str
    status: str
    request_id: int | None = None


class ClockSeen(_Body, frozen=True, kw_only=True):
    """The charger's clock proved wrong by what it said of something that had just happened, or right again."""

    session_id: str
    offset_s: int
    """Seconds ahead of ours."""


class LogUploaded(_Body, frozen=True, kw_only=True):
    """The upload receiver holds a whole log: the fact behind, or against, what the charger says of it."""

    request_id: int
    sha256: str
    size_bytes: int
    stored_name: str
    file_name: str | None
    remote_address: str


# ---------------------------------------------------------------- the edge


class ConnectionRefused(_Body, frozen=True, kw_only=True):
    """Upgrades refused for one charger id from one source, folded over a short time."""

    remote_address: str
    reason: str
    http_status: int
    count: int = 1
    fingerprint_sha256: str | None = None


class HandshakeFailed(_Body, frozen=True, kw_only=True):
    """TLS handshakes from one address that never reached the upgrade, folded over a short time."""

    remote_address: str
    count: int


class AccessDenied(_Body, frozen=True, kw_only=True):
    """Requests to the admin API that were not allowed, alike ones folded. `who`: whose token it was, empty for a stranger.

    `claimed` is what a stranger said of themselves, believed by nobody; `request` the method and path of the first of them.
    """

    remote_address: str
    who: str
    role: str
    claimed: str
    operation: str
    request: str
    status: int
    code: str
    count: int = 1


class NodeTrustReported(_Body, frozen=True, kw_only=True):
    """The issuers a connect node's client trust verifies just now (lower-hex SHA-256 of each anchor and issuing CA).

    `server_anchors`: what the certificates it shows chargers hang on, as `server_certificate.anchor_of` names it.
    """

    node: str
    incarnation: str
    fingerprints: tuple[str, ...]
    server_anchors: tuple[str, ...] = ()


# ---------------------------------------------------------------- the CA


class IssuanceRequested(_Body, frozen=True, kw_only=True):
    """IssueCertificate answered with an ARN."""

    job_id: str
    attempt: int
    external_ref: str


class IssuanceCompleted(_Body, frozen=True, kw_only=True):
    """The CA handed out the certificate, and it passed the re-check against CSR and profile.

    `chain_pem` holds leaf first, issuers upward, no root; `findings` names what the re-check could not accept (then the
    certificate is recorded and superseded, never delivered).
    """

    job_id: str
    attempt: int
    external_ref: str
    chain_pem: str
    findings: tuple[str, ...] = ()


class IssuanceRefused(_Body, frozen=True, kw_only=True):
    """The CA said no for good: `code` is its error's name."""

    job_id: str
    attempt: int
    code: str
    message: str


class IssuanceAttemptLapsed(_Body, frozen=True, kw_only=True):
    """`call_before` passed. `in_doubt`: the actor cannot rule out that a call left."""

    job_id: str
    attempt: int
    in_doubt: bool


class IssuanceDelayed(_Body, frozen=True, kw_only=True):
    """The CA is away or throttling; the attempt goes on. Shown to operators, settles nothing."""

    job_id: str
    attempt: int
    code: str
    message: str


class IssuanceReconciled(_Body, frozen=True, kw_only=True):
    """A report of the CA, made when no call could leave any more, was searched for an attempt's certificate.

    `external_ref` names the one found by key, template and dates; None: the CA made none.
    """

    job_id: str
    attempt: int
    external_ref: str | None
    report_ref: str
    report_at: datetime


class IssuanceUnreconciled(_Body, frozen=True, kw_only=True):
    """The CA could not be asked what became of an attempt: it offers no report, or gave none in time."""

    job_id: str
    attempt: int
    code: str
    message: str


class CertificateSeenAtCa(_Body, frozen=True, kw_only=True):
    """What the CA says of a certificate whose key is this charger's, where the ledger says something else or nothing.

    `chain_pem` as in IssuanceCompleted. `ledger_state` is what the ledger's rows had of it; None: nothing.
    """

    purpose: str
    authority_arn: str
    external_ref: str
    chain_pem: str
    issued_at: datetime
    revoked_at: datetime | None
    revocation_reason: str | None
    report_ref: str
    report_at: datetime
    ledger_state: str | None


class CertificateNotAtCa(_Body, frozen=True, kw_only=True):
    """The CA's report does not list a certificate that the ledger has from it."""

    certificate_id: str
    report_ref: str


class AuthorityObserved(_Body, frozen=True, kw_only=True):
    """A CA was asked how it stands; `status` in its own words."""

    purpose: str
    authority_arn: str
    status: str


class AuthorityCompared(_Body, frozen=True, kw_only=True):
    """A whole report was held against the ledger. `items`: the first differences; `counts`: all of them by kind."""

    purpose: str
    run_id: str
    authority_arn: str
    report_ref: str
    report_at: datetime
    certificates: int
    counts: dict[str, int]
    items: tuple[ReconciliationItem, ...]


class AuthorityNotCompared(_Body, frozen=True, kw_only=True):
    """No report could be had."""

    purpose: str
    run_id: str
    authority_arn: str
    code: str
    message: str


class RevocationAccepted(_Body, frozen=True, kw_only=True):
    """RevokeCertificate succeeded, now or earlier."""

    certificate_id: str


class RevocationRefused(_Body, frozen=True, kw_only=True):
    """The CA refused to revoke, for good."""

    certificate_id: str
    code: str
    message: str


class RefusalConfirmed(_Body, frozen=True, kw_only=True):
    """Every connect node that lives holds the charger's admission record of that revision, or a newer one.

    `at` is when the last of them said so; `nodes` are their names.
    """

    revision: int
    nodes: tuple[str, ...]
    at: datetime


class RevocationListed(_Body, frozen=True, kw_only=True):
    """A certificate's issuer says to everybody that it is revoked: on a list it signed, or by its responder."""

    certificate_id: str
    source: str
    address: str
    list_number: str | None
    this_update: datetime
    revoked_at: datetime


class ForeignRevocationSeen(_Body, frozen=True, kw_only=True):
    """What the issuer of somebody else's certificate says of it now: `good`, `revoked`, or `unknown` for the reason given."""

    certificate_id: str
    status: str
    source: str | None = None
    address: str | None = None
    this_update: datetime | None = None
    good_until: datetime | None = None
    revoked_at: datetime | None = None
    code: str | None = None
    message: str | None = None


class RevocationListStale(_Body, frozen=True, kw_only=True):
    """A CA's list was read after the date by which it was to be replaced."""

    purpose: str
    authority_arn: str
    address: str
    list_number: str | None
    this_update: datetime
    next_update: datetime


class RevocationUnlisted(_Body, frozen=True, kw_only=True):
    """Nobody will say so any more: the certificate has expired, and lists forget those."""

    certificate_id: str
    code: str
    message: str


# ---------------------------------------------------------------- authorization keys


class KeyMinted(_Body, frozen=True, kw_only=True):
    """A new key is sealed under its job's id; here is what admission compares with."""

    job_id: str
    generation: int
    keys: tuple[KeyVerifier, ...]
    weakness: str | None = None


class KeyNotMinted(_Body, frozen=True, kw_only=True):
    """There is no key, and will not be: a given one is gone or not as it was sealed."""

    job_id: str
    generation: int
    code: str
    message: str


# ---------------------------------------------------------------- time and the fleet


class DeadlinePassed(_Body, frozen=True, kw_only=True):
    """The partition's timer for this charger rang; `at` is the deadline that was due."""

    at: datetime


class FleetFactsChanged(_Body, frozen=True, kw_only=True):
    """The fleet partition decided something this partition must know."""

    facts: FleetFacts


EvidenceBody = (
    SessionOpened
    | SessionClosed
    | NodeLost
    | BootReported
    | CsrReceived
    | InstructionSent
    | InstructionAnswered
    | SecurityEventReported
    | LogStatusReported
    | FirmwareStatusReported
    | ClockSeen
    | LogUploaded
    | ConnectionRefused
    | HandshakeFailed
    | AccessDenied
    | NodeTrustReported
    | IssuanceRequested
    | IssuanceCompleted
    | IssuanceRefused
    | IssuanceAttemptLapsed
    | IssuanceDelayed
    | IssuanceReconciled
    | IssuanceUnreconciled
    | CertificateSeenAtCa
    | CertificateNotAtCa
    | AuthorityObserved
    | AuthorityCompared
    | AuthorityNotCompared
    | RevocationAccepted
    | RevocationRefused
    | RefusalConfirmed
    | RevocationListed
    | RevocationUnlisted
    | RevocationListStale
    | ForeignRevocationSeen
    | KeyMinted
    | KeyNotMinted
    | DeadlinePassed
    | FleetFactsChanged
)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One fact with its source. `charger_id` is "" for facts about a node or an address (fleet partition).

    `source` is `charger`, `ca:<authority>`, `node:<node>` or `clock`. `observed_at` is the observer's clock.
    """

    evidence_id: str
    charger_id: str
    source: str
    observed_at: datetime
    body: EvidenceBody


def kind_name(body: EvidenceBody) -> str:
    """The kind as it stands in the subject and in metrics, e.g. `CsrReceived`."""
    return type(body).__name__


def evidence_id(*parts: str) -> str:
    """A stable id: the same fact observed or delivered twice has the same one (32 hex characters)."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]
