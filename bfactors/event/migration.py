"""A charger's way between security profiles, and back."""

from datetime import datetime

from bfactors.event.base import LedgerRecord


class SecurityProfileMigrated(LedgerRecord, frozen=True, kw_only=True):
    """The first session with a higher profile: from now on the lower one is refused (A05.FR.07)."""

    charger_id: str
    from_profile: int
    to_profile: int
    evidence_ref: str


class MigrationOpened(LedgerRecord, frozen=True, kw_only=True):
    """A migration case began: what the charger is to connect with in the end, and the way's first stage."""

    charger_id: str
    job_id: str
    from_profile: int
    to_profile: int
    target_profile: int
    reason: str


class MigrationHeld(LedgerRecord, frozen=True, kw_only=True):
    """The prerequisites named are not met yet; nothing of the migration is sent before they are."""

    charger_id: str
    job_id: str
    missing: tuple[str, ...]
    reason_code: str
    reason_message: str


class MigrationCertificateWanted(LedgerRecord, frozen=True, kw_only=True):
    """A job was opened for the certificate that the new profile needs."""

    charger_id: str
    job_id: str
    certificate_job_id: str


class MigrationStarted(LedgerRecord, frozen=True, kw_only=True):
    """Every prerequisite is met: the steps to `toProfile` begin, not before the time given."""

    charger_id: str
    job_id: str
    to_profile: int
    not_before: datetime | None


class MigrationSlotsChosen(LedgerRecord, frozen=True, kw_only=True):
    """Which network slot is written and which one stays to fall back on.

    `priority` is what the charger said of its slots in use, if it did.
    """

    charger_id: str
    job_id: str
    priority: tuple[int, ...]
    old_slot: int
    new_slot: int


class MigrationSetBack(LedgerRecord, frozen=True, kw_only=True):
    """A step was refused, or the charger came back with its old profile; the steps begin again after `notBefore`."""

    charger_id: str
    job_id: str
    reason_code: str
    reason_message: str
    not_before: datetime
    refused_slot: int | None


class MigrationQuarantined(LedgerRecord, frozen=True, kw_only=True):
    """Nothing more is tried by itself; every credential that was admitted stays so until an operator has looked."""

    charger_id: str
    job_id: str
    reason_code: str
    reason_message: str


class MigrationReleased(LedgerRecord, frozen=True, kw_only=True):
    """An operator looked at what put the migration into quarantine, and it starts again."""

    charger_id: str
    job_id: str
    reason: str
    actor: str


class MigrationCompleted(LedgerRecord, frozen=True, kw_only=True):
    """The charger was seen on the profile it was to reach. `fromState`: where the case stood just before."""

    charger_id: str
    job_id: str
    profile: int
    from_state: str
    evidence_ref: str


class RollbackRequested(LedgerRecord, frozen=True, kw_only=True):
    """A charger on profile 3 is to be let in with profile 2 for a while, if the approval is given."""

    charger_id: str
    job_id: str
    from_profile: int
    to_profile: int
    ends_at: datetime
    approval_id: str
    reason: str


class RollbackStarted(LedgerRecord, frozen=True, kw_only=True):
    """Profile 2 is admitted beside profile 3 until `endsAt`, with keys of a later generation than the one named."""

    charger_id: str
    job_id: str
    ends_at: datetime
    after_generation: int


class RollbackUsed(LedgerRecord, frozen=True, kw_only=True):
    """The charger was seen on profile 2 for the first time since."""

    charger_id: str
    job_id: str
    evidence_ref: str


class RollbackEnded(LedgerRecord, frozen=True, kw_only=True):
    """Profile 2 is refused again. `reason`: end-date, back-on-profile-3 or cancelled."""

    charger_id: str
    job_id: str
    reason: str
