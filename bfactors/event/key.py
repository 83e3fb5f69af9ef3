"""AuthorizationKeys. No key and no verifier of one is ever in a payload."""

from datetime import datetime

from bfactors.admission import KeyVerifier
from bfactors.event.base import LedgerRecord


class AuthorizationKeyRequested(LedgerRecord, frozen=True, kw_only=True):
    """A charger is to have another AuthorizationKey: `trigger` says which rule, or who, wants it; `origin` who makes it."""

    charger_id: str
    job_id: str
    generation: int
    trigger: str
    origin: str


class AuthorizationKeyPrepared(LedgerRecord, frozen=True, kw_only=True):
    """The new key is sealed and admitted beside the old one. Its verifiers stay out of the stored payload."""

    charger_id: str
    job_id: str
    generation: int
    keys: tuple[KeyVerifier, ...]
    weakness: str | None
    evidence_ref: str
    replaces: tuple[int, ...] = ()
    """Doubted generations that were this very key, given once before."""


class AuthorizationKeyAccepted(LedgerRecord, frozen=True, kw_only=True):
    """The charger said that it has it, or will after a reboot; both keys stay admitted until the new one is seen."""

    charger_id: str
    job_id: str
    generation: int
    needs_reboot: bool
    evidence_ref: str


class AuthorizationKeyActivated(LedgerRecord, frozen=True, kw_only=True):
    """A session opened with it: it is the charger's key, and every earlier one is refused from now on."""

    charger_id: str
    job_id: str
    generation: int
    evidence_ref: str


class AuthorizationKeyDoubted(LedgerRecord, frozen=True, kw_only=True):
    """Its job ended and the charger may have it all the same: admitted until `admitUntil`, and until another was seen."""

    charger_id: str
    job_id: str
    generation: int
    admit_until: datetime
    reason: str


class AuthorizationKeyWithdrawn(LedgerRecord, frozen=True, kw_only=True):
    """A key that never came into use is refused from now on."""

    charger_id: str
    job_id: str
    generation: int
    reason: str


class AuthorizationKeysRetired(LedgerRecord, frozen=True, kw_only=True):
    """No key of this charger is admitted any more."""

    charger_id: str
    reason: str
