"""What is global: supervisors, policies, families, subscriptions."""

from datetime import datetime

from bfactors.capability import Capabilities
from bfactors.event.base import LedgerRecord
from bfactors.policy import PolicyOverride


class SupervisorStateSet(LedgerRecord, frozen=True, kw_only=True):
    """A supervisor was paused, resumed or told to drain."""

    kind: str
    name: str
    state: str
    reason: str
    by: str
    at: datetime


class PolicySetChanged(LedgerRecord, frozen=True, kw_only=True):
    """The overrides of one scope were replaced; the policy set has a new version."""

    version: int
    override: PolicyOverride
    reason: str


class FamilyFactsSet(LedgerRecord, frozen=True, kw_only=True):
    """An operator said what a charger family can and cannot do."""

    family: str
    capabilities: Capabilities
    note: str
    by: str
    at: datetime


class FamilyFactoryAnchorsSet(LedgerRecord, frozen=True, kw_only=True):
    """An operator said which CAs give the family's chargers their factory certificates; replaces what was said before."""

    family: str
    anchors_pem: tuple[str, ...]
    note: str
    by: str
    at: datetime


class FamilyQualified(LedgerRecord, frozen=True, kw_only=True):
    """A charger of the family was walked through everything a campaign will ask of it; `report` is JSON text."""

    family: str
    charger_id: str
    firmware: str
    by: str
    at: datetime
    passed: bool
    report: str


class NotificationSubscriptionSet(LedgerRecord, frozen=True, kw_only=True):
    """Notices go to an address from now on. The address is sealed, not here; `target` is its host or domain."""

    subscription_id: str
    channel: str
    target: str
    role: str
    secret_id: str
    least_severity: str
    kinds: tuple[str, ...]
    cohorts: tuple[str, ...]


class NotificationSubscriptionRemoved(LedgerRecord, frozen=True, kw_only=True):
    """Nothing is sent there any more."""

    subscription_id: str
    reason: str
