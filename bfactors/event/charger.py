"""A charger's record: where it stands, its sessions, what operators let it do."""

from datetime import datetime

from bfactors.admission import KeyVerifier, Speaker
from bfactors.capability import Capabilities
from bfactors.event.base import LedgerRecord
from bfactors.lockout import Cause


class ChargerRegistered(LedgerRecord, frozen=True, kw_only=True):
    """A charger joined the inventory. The verifiers of `key`, in all its forms, stay out of the stored payload."""

    charger_id: str
    managed_identity_id: str
    serial_number: str
    family: str
    site: str
    cohort: str
    security_profile: int
    target_security_profile: int
    organization: str | None
    installer: str | None = None
    expected_common_name: str
    ocpp_versions: tuple[str, ...]
    key: KeyVerifier | None
    key_forms: tuple[KeyVerifier, ...] = ()
    key_origin: str | None
    key_weakness: str | None = None


class ChargerChanged(LedgerRecord, frozen=True, kw_only=True):
    """Where a charger stands, or what its certificate is expected to say, changed."""

    charger_id: str
    site: str
    cohort: str
    organization: str | None
    installer: str | None = None
    expected_common_name: str


class ChargerLockoutForeseen(LedgerRecord, frozen=True, kw_only=True):
    """Policy's days before its lock-out are here, and nothing prevents it yet; or it could not be foreseen and has come."""

    charger_id: str
    locked_out_at: datetime
    cause: Cause
    certificate_id: str | None


class ChargerResumed(LedgerRecord, frozen=True, kw_only=True):
    """An operator looked at what paused this charger and let it go on."""

    charger_id: str
    reason: str
    actor: str


class ChargerDecommissioned(LedgerRecord, frozen=True, kw_only=True):
    """The unit left its position and none took its place: nobody connects as this charger any more."""

    charger_id: str
    job_id: str
    reason: str
    actor: str


class ChargerReplaced(LedgerRecord, frozen=True, kw_only=True):
    """Another unit stands in this position. The verifiers of `key`, in all its forms, stay out of the stored payload."""

    charger_id: str
    job_id: str
    managed_identity_id: str
    serial_number: str
    former_managed_identity_id: str
    former_serial_number: str
    expected_common_name: str
    security_profile: int
    ocpp_versions: tuple[str, ...]
    key: KeyVerifier | None
    key_forms: tuple[KeyVerifier, ...] = ()
    key_origin: str | None
    key_weakness: str | None = None
    reason: str
    actor: str


class AdmissionRuleChanged(LedgerRecord, frozen=True, kw_only=True):
    """Policy compares this charger's name in another way, minds others' revocations in another, or lets it in with other
    factory certificates, from now on; its admission record follows.
    """

    charger_id: str
    subject_match: str
    policy_version: int
    foreign_revocation: str = "soft"
    factory_anchors: tuple[str, ...] = ()


class ChargerCapabilitiesSet(LedgerRecord, frozen=True, kw_only=True):
    """An operator said what this one charger can and cannot do, on top of its family."""

    charger_id: str
    capabilities: Capabilities
    reason: str


class CapabilitiesChanged(LedgerRecord, frozen=True, kw_only=True):
    """What holds for this charger from now on: its family's capabilities, its own, and what its answers have shown."""

    charger_id: str
    capabilities: Capabilities


class ChargerSessionOpened(LedgerRecord, frozen=True, kw_only=True):
    """A session was admitted; it is the charger's live one, and earlier ones are over."""

    charger_id: str
    session_id: str
    session_generation: int
    node: str
    incarnation: str
    ocpp_version: str
    security_profile: int
    remote_address: str
    connected_at: datetime
    fingerprint_sha256: str | None
    flags: tuple[str, ...]
    key_generation: int | None = None
    """Which AuthorizationKey it was opened with."""


class ChargerSessionClosed(LedgerRecord, frozen=True, kw_only=True):
    """The charger's live session ended."""

    charger_id: str
    session_id: str
    reason: str


class ChargerBootReported(LedgerRecord, frozen=True, kw_only=True):
    """What the charger says of itself, when it differs from before."""

    charger_id: str
    vendor: str
    model: str
    serial_number: str | None
    firmware_version: str | None


class ChargerClockObserved(LedgerRecord, frozen=True, kw_only=True):
    """The charger's clock is so many seconds ahead, as its session showed; recorded when it proves wrong or right again."""

    charger_id: str
    offset_s: int
    evidence_ref: str


class ChargerFactObserved(LedgerRecord, frozen=True, kw_only=True):
    """A capability of this charger, learned from its answers, e.g. `cannot-list`."""

    charger_id: str
    fact: str
    evidence_ref: str


class SpokenForSet(LedgerRecord, frozen=True, kw_only=True):
    """Which local controllers may open this charger's session was said anew."""

    charger_id: str
    speakers: tuple[Speaker, ...]
    reason: str


class ExpiredCertificateAdmitted(LedgerRecord, frozen=True, kw_only=True):
    """An operator lets this one charger in with its own expired certificate until then (A00.FR.429)."""

    charger_id: str
    until: datetime
    reason: str
    actor: str


class ExpiredCertificateAdmissionEnded(LedgerRecord, frozen=True, kw_only=True):
    """That is over. `cause`: `renewed`, `date-passed` or `withdrawn`."""

    charger_id: str
    cause: str
    reason: str


class TraceStarted(LedgerRecord, frozen=True, kw_only=True):
    """An operator had a charger's frames written down until `until`, `frames` of them at most in each session."""

    charger_id: str
    trace_id: str
    until: datetime
    frames: int
    reason: str


class OperatorCallAnswered(LedgerRecord, frozen=True, kw_only=True):
    """How a call an operator wrote out ended: answered, error, timeout or disconnected."""

    charger_id: str
    instruction_id: str
    action: str
    outcome: str
    payload: str | None
    """The charger's answer as JSON text; None if there is none, or it is too long to be kept."""
    error: str | None
    evidence_ref: str


class ChargerPartChanged(LedgerRecord, frozen=True, kw_only=True):
    """A part of the charger that has certificates of its own, an SECC say, is known so from now on, or is retired."""

    charger_id: str
    managed_identity_id: str
    kind: str
    external_ids: tuple[str, ...]
    evses: tuple[int, ...]
    is_retired: bool
