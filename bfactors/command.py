"""What operators (and the system's own clocks) ask the ledger to do. Imperative; answered after commit."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from bfactors.admission import KeyVerifier, Speaker
from bfactors.approval import Verdict
from bfactors.capability import Capabilities
from bfactors.certificate_hash import HashData
from bfactors.firmware.command import FirmwareCommand
from bfactors.identity_record.command import IdentityCommand
from bfactors.incident import Mode, RevocationReason, Selector
from bfactors.notice import Channel, Severity
from bfactors.refusal import Refusal


class _Command(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    pass


class RegisterCharger(_Command, frozen=True, kw_only=True):
    """Add a charger to the inventory. `key` verifies its Basic password (profiles 1 and 2); ids come from the caller.

    `key_forms` verify the same key in the other forms its OCPP versions may present it in, e.g. the bytes of a hex text (1.6).
    """

    charger_id: str
    managed_identity_id: str
    serial_number: str
    family: str
    site: str
    cohort: str
    security_profile: int
    target_security_profile: int = 3
    organization: str | None = None
    installer: str | None = None
    expected_common_name: str | None = None
    ocpp_versions: tuple[str, ...] = ("2.0.1",)
    key: KeyVerifier | None = None
    key_forms: tuple[KeyVerifier, ...] = ()
    key_origin: str | None = None
    key_weakness: str | None = None


class DecommissionCharger(_Command, frozen=True, kw_only=True):
    """Take a charger out of service: it is refused at once, and what it holds is revoked."""

    job_id: str
    charger_id: str
    reason: str


class ReplaceUnit(_Command, frozen=True, kw_only=True):
    """Put another unit in a charger's position; the old one is refused at once, and what it holds is revoked.

    Absent fields: the name is the new serial number, or stays where it was no serial number; versions and profile stay,
    but a unit nobody has seen does not start on profile 3.
    """

    job_id: str
    charger_id: str
    managed_identity_id: str
    serial_number: str
    reason: str
    expected_common_name: str | None = None
    security_profile: int | None = None
    ocpp_versions: tuple[str, ...] | None = None
    key: KeyVerifier | None = None
    key_forms: tuple[KeyVerifier, ...] = ()
    key_origin: str | None = None
    key_weakness: str | None = None


class ChangeCharger(_Command, frozen=True, kw_only=True):
    """Change where a charger stands or what its certificate is expected to say; absent fields stay."""

    charger_id: str
    site: str | None = None
    cohort: str | None = None
    organization: str | None = None
    installer: str | None = None
    expected_common_name: str | None = None


class SetChargerCapabilities(_Command, frozen=True, kw_only=True):
    """Say what this one charger can and cannot do, on top of its family; replaces what was said before."""

    charger_id: str
    capabilities: Capabilities
    reason: str


class ResumeCharger(_Command, frozen=True, kw_only=True):
    """Let a charger go on that was paused because a piece of its evidence is quarantined."""

    charger_id: str
    reason: str


class CallCharger(_Command, frozen=True, kw_only=True):
    """Make one call to a charger as an operator wrote it. `payload` is JSON text without secrets."""

    call_id: str
    charger_id: str
    action: str
    payload: str


class SetSpokenFor(_Command, frozen=True, kw_only=True):
    """Say which local controllers may open this charger's session; replaces what was said before, empty: none."""

    charger_id: str
    speakers: tuple[Speaker, ...]
    reason: str


class AdmitExpired(_Command, frozen=True, kw_only=True):
    """Let one charger in with its own expired certificate until then, to be renewed at once; None: no more."""

    charger_id: str
    until: datetime | None
    reason: str


class StartTrace(_Command, frozen=True, kw_only=True):
    """Write down a charger's frames for a while, without secrets; a running trace is replaced."""

    trace_id: str
    charger_id: str
    seconds: int
    frames: int
    reason: str


class RequestJob(_Command, frozen=True, kw_only=True):
    """Open a certificate job. `action`: issue, renew, revoke, deactivate, delete, install-anchor.

    What is to be deleted is named by the charger's own hash data (`reported_ref`), a certificate id or an anchor's
    fingerprint; for install-anchor a fingerprint narrows the bundle of `purpose` down to one anchor.
    """

    job_id: str
    charger_id: str
    purpose: str
    action: str
    reason: str
    certificate_id: str | None = None
    revocation_reason: str | None = None
    due_reason: str | None = None
    reported_ref: HashData | None = None
    fingerprint_sha256: str | None = None
    managed_identity_id: str | None = None
    """The part of the charger it is for; None: the charger itself, or the only one whose purpose it is."""
    replace: bool = False
    """With revoke: order another certificate at once."""
    delete: bool = False
    """With revoke: have it deleted on the charger, where the protocol can and nothing is stranded by it."""


class RotateKey(_Command, frozen=True, kw_only=True):
    """Have a charger given another AuthorizationKey. `is_given`: the key is sealed under `job_id` already, else one is made."""

    job_id: str
    charger_id: str
    reason: str
    is_given: bool = False


class OpenMigration(_Command, frozen=True, kw_only=True):
    """Have a charger change its security profile, as a case that a job of its own carries."""

    job_id: str
    charger_id: str
    target_profile: int
    reason: str
    ends_at: datetime | None = None
    """Of a way back from profile 3, which alone also needs an approval."""
    approval_id: str | None = None


class DecideApproval(_Command, frozen=True, kw_only=True):
    """Agree to what somebody else asked for, or do not. `content_hash` says which content was read."""

    charger_id: str
    approval_id: str
    verdict: Verdict
    content_hash: str
    reason: str


class DecideFleetApproval(_Command, frozen=True, kw_only=True):
    """As `DecideApproval`, about a command that the fleet's partition holds back (fleet).

    `afresh`: what the projections say at that moment, by the held command's fields that age (`ApprovalKind.ageing`).
    """

    approval_id: str
    verdict: Verdict
    content_hash: str
    reason: str
    afresh: dict[str, int] = {}


class ReleaseMigration(_Command, frozen=True, kw_only=True):
    """Say that a migration in quarantine was looked at: it starts again, or (`ends`) is given up."""

    charger_id: str
    reason: str
    ends: bool = False


class RequestLog(_Command, frozen=True, kw_only=True):
    """Have a log uploaded under a ticket already made; an open request of the same charger ends by it.

    The upload address is sealed under `secret_id`; of what is in it, only hashes come along.
    """

    job_id: str
    log_id: str
    charger_id: str
    log: Literal["security", "diagnostics"]
    reason: str
    secret_id: str
    ticket_hash: str
    credential_hash: str
    max_bytes: int
    expires_at: datetime
    oldest: str | None = None
    latest: str | None = None


class CancelJob(_Command, frozen=True, kw_only=True):
    """Give up a job; an effect in flight is completed and its certificate superseded."""

    charger_id: str
    job_id: str
    reason: str


class RegisterAuthority(_Command, frozen=True, kw_only=True):
    """Make an issuing CA known for a purpose (fleet): its chain, its key and the anchors under it."""

    purpose: str
    authority_arn: str
    certificate_pem: str
    chain_pem: str
    signing_algorithm: str
    root_pem: str = ""
    """Its root, where the CA hands it out: what chargers need before they are given a leaf under it."""


class StartRollover(_Command, frozen=True, kw_only=True):
    """Leave one CA of a purpose for another (fleet). Without `leaving_id` it is the current one that is left."""

    rollover_id: str
    purpose: str
    to_id: str
    leaving_id: str = ""
    renew_after: datetime | None = None
    reason: str = ""


class AdvanceRollover(_Command, frozen=True, kw_only=True):
    """Begin a rollover's next step, or end it (fleet). `step`: the one it stands in, so that a repetition moves nothing.

    What the projections say of the CA that is left, read for the last step: how many certificates and orders hang on it,
    and up to which of the fleet's decisions every partition had heard when they were counted.
    """

    purpose: str
    step: str
    reason: str = ""
    hanging: int = 0
    heard_sequence: int = 0


class AbortRollover(_Command, frozen=True, kw_only=True):
    """End a rollover where it stands (fleet)."""

    purpose: str
    reason: str = ""


class CreateTrustAnchorBundle(_Command, frozen=True, kw_only=True):
    """Record a new version of a purpose's trust anchors (fleet). The same set of anchors again changes nothing."""

    bundle_id: str
    purpose: str
    anchors_pem: tuple[str, ...]
    note: str = ""


class SetSupervisorState(_Command, frozen=True, kw_only=True):
    """Pause, resume or drain a supervisor by a ledger event (fleet)."""

    kind: str
    name: str
    action: str
    reason: str


class SetPolicy(_Command, frozen=True, kw_only=True):
    """Replace the overrides of one scope (fleet)."""

    scope: str
    values: dict[str, object]
    reason: str = ""


class RequestWaiver(_Command, frozen=True, kw_only=True):
    """Set one rule aside for a charger or a cohort until a date (fleet). `subject`: `charger:<id>` or `cohort:<name>`.

    `rule` is a field of the purpose's policy, or an exemption (without value). `family` and `cohort` are the charger's.
    """

    waiver_id: str
    subject: str
    purpose: str
    rule: str
    value: Any
    reason: str
    ends_at: datetime
    family: str = ""
    cohort: str = ""


class EndWaiver(_Command, frozen=True, kw_only=True):
    """Have a waiver end now (fleet)."""

    waiver_id: str
    reason: str


class OpenIncident(_Command, frozen=True, kw_only=True):
    """Have certificates go that have something in common (fleet). `expected`: how many a dry run had found; `agreed`: how
    many the projections told of when somebody else agreed to it; None: nobody had to, or it was not counted.
    """

    incident_id: str
    name: str
    reason: str
    mode: Mode
    revocation_reason: RevocationReason
    selector: Selector
    percent: int = 100
    expected: int = 0
    agreed: int | None = None


class ChangeIncident(_Command, frozen=True, kw_only=True):
    """Begin an incident's next stage, pause or resume it, or end it (fleet).

    `lift`: with its end, let in again what is refused and not yet asked to be revoked.
    """

    incident_id: str
    action: Literal["advance", "pause", "resume", "end"]
    reason: str
    percent: int | None = None
    lift: bool = False


class SetFamilyFacts(_Command, frozen=True, kw_only=True):
    """Say what a charger family can and cannot do (fleet); replaces what was said before."""

    family: str
    capabilities: Capabilities
    note: str = ""


class SetRetention(_Command, frozen=True, kw_only=True):
    """Have records of a kind kept for so many days (fleet)."""

    kind: str
    days: int
    reason: str


class RecordSweep(_Command, frozen=True, kw_only=True):
    """Put on record what a run deleted (fleet); sent by the system itself."""

    kind: str
    count: int
    before: datetime


class SetFactoryAnchors(_Command, frozen=True, kw_only=True):
    """Say which CAs give a family's chargers their factory certificates (fleet); replaces what was said before."""

    family: str
    anchors_pem: tuple[str, ...]
    note: str = ""


class RequestReconciliation(_Command, frozen=True, kw_only=True):
    """Have a purpose's CA compared with the ledger (fleet). The same run again changes nothing."""

    purpose: str
    run_id: str
    reason: str


class QualifyFamily(_Command, frozen=True, kw_only=True):
    """Record that a charger of the family was walked through everything (fleet). `report` is JSON text."""

    family: str
    charger_id: str
    firmware: str
    passed: bool
    report: str


class SetSubscription(_Command, frozen=True, kw_only=True):
    """Have notices sent to an address (fleet), sealed under `secret_id`; replaces the subscription of the same id."""

    subscription_id: str
    channel: Channel
    target: str
    role: str
    secret_id: str
    least_severity: Severity = "warning"
    kinds: tuple[str, ...] = ()
    cohorts: tuple[str, ...] = ()


class RemoveSubscription(_Command, frozen=True, kw_only=True):
    """Send nothing there any more (fleet)."""

    subscription_id: str
    reason: str


Command = (
    RegisterCharger
    | DecommissionCharger
    | ReplaceUnit
    | ChangeCharger
    | SetChargerCapabilities
    | ResumeCharger
    | CallCharger
    | StartTrace
    | SetSpokenFor
    | AdmitExpired
    | RequestJob
    | RotateKey
    | OpenMigration
    | DecideApproval
    | DecideFleetApproval
    | ReleaseMigration
    | RequestLog
    | CancelJob
    | RegisterAuthority
    | StartRollover
    | AdvanceRollover
    | AbortRollover
    | CreateTrustAnchorBundle
    | SetSupervisorState
    | SetPolicy
    | RequestWaiver
    | EndWaiver
    | OpenIncident
    | ChangeIncident
    | SetFamilyFacts
    | SetFactoryAnchors
    | QualifyFamily
    | SetSubscription
    | RemoveSubscription
    | SetRetention
    | RecordSweep
    | RequestReconciliation
    | IdentityCommand
    | FirmwareCommand
)


class CommandEnvelope(msgspec.Struct, frozen=True, kw_only=True):
    """A command with who sent it. `idempotency_key` is "" for the system's own; `request_hash` is of the HTTP body."""

    command_id: str
    actor: str
    role: str
    body: Command
    cohorts: tuple[str, ...] | None = None
    """What the sender's token is limited to; None: nothing."""
    idempotency_key: str = ""
    request_hash: str = ""


class CommandAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger's answer after commit. `result` is JSON bytes of the resource; `retry` asks to send it again later."""

    result: bytes = b"null"
    refusal: Refusal | None = None
    retry: bool = False
    repeated: bool = False
    is_held: bool = False
    """Nothing was done yet: somebody else must agree first, and `result` is the approval."""
