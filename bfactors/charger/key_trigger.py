"""When a charger's AuthorizationKey is changed without anybody asking: one rule a reason, chosen by policy.

A rule says why now, or nothing. What it starts is a rotation like any other, under the rule's name. No rule starts one while
another is open or has just ended, nor while the charger is on its way to a certificate.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from bfactors import event as e
from bfactors.charger import key_rotation
from bfactors.charger.draft import Draft
from bfactors.charger.own_policy import policy_of
from bfactors.charger.state import ChargerState, open_issue
from bfactors.fleet.state import FleetFacts
from bfactors.policy import Policy
from bfactors.purpose import session_purpose
from bfactors.security_event import DUPLICATE_IDENTITY

_PASSWORD_PROFILES = (1, 2)
_LEAKS = frozenset({"TamperDetectionActivated"})
"""Security events after which whoever was at the charger may know its key."""
_GUESSABLE = frozenset({"factory-key", "default-key", "key-from-identity"})
"""Weaknesses that need no cracking: half the world knows such a key."""


class Trigger(NamedTuple):
    """`check` says why a key is to be changed now, or None; it is asked after every message."""

    name: str
    check: Callable[[Draft, Policy], str | None]
    rests: bool = True
    """Whether it waits while the charger rests from its last rotation."""


def _leaked(draft: Draft, policy: Policy) -> str | None:
    kinds = {event.kind for event in draft.events if isinstance(event, e.SecurityEventRecorded)}
    found = sorted(kinds & _LEAKS)
    return f"the charger reported {found[0]}: its key may be known to others" if found else None


def _used_from_two_places(draft: Draft, policy: Policy) -> str | None:
    kinds = {event.kind for event in draft.events if isinstance(event, e.SecurityEventRecorded)}
    return "two sessions displace each other under its name" if DUPLICATE_IDENTITY in kinds else None


def _owner_changed(draft: Draft, policy: Policy) -> str | None:
    before, after = draft.before.organization, draft.state.organization
    if before is None or before == after:
        return None
    return f"it belongs to {after} now, and {before} knew its key"


def _installer_changed(draft: Draft, policy: Policy) -> str | None:
    before, after = draft.before.installer, draft.state.installer
    if before is None or before == after:
        return None
    return f"{before}, who looked after it before {after}, may know its key"


def _factory_key(draft: Draft, policy: Policy) -> str | None:
    state = draft.state
    if not _is_shown(state):
        return None
    if state.key_origin == "factory":
        return "it came with the key it left its factory with"
    return f"anybody can guess its key: {state.key_weakness}" if state.key_weakness in _GUESSABLE else None


def _first_contact(draft: Draft, policy: Policy) -> str | None:
    state = draft.state
    is_ours = state.key_origin == "generated"
    return "it came with a key that was given, not made here" if _is_shown(state) and not is_ours else None


def _scheduled(draft: Draft, policy: Policy) -> str | None:
    due = scheduled_at(draft.state, policy)
    if due is None or due > draft.now:
        return None
    return f"its key is in use since {draft.state.key_since:%Y-%m-%d}"


TRIGGERS: tuple[Trigger, ...] = (
    Trigger("suspected-leak", _leaked),
    Trigger("used-from-two-places", _used_from_two_places),
    Trigger("owner-changed", _owner_changed, rests=False),
    Trigger("installer-changed", _installer_changed, rests=False),
    Trigger("factory-key", _factory_key),
    Trigger("first-contact", _first_contact),
    Trigger("schedule", _scheduled),
)
"""The more pressing first: the first that has a reason names the job."""


def follow(draft: Draft) -> None:
    """Start a rotation for the first rule of the policy's that has a reason."""
    if not _may_begin(draft.state):
        return
    policy = draft.policy(session_purpose().name)
    rests_until = draft.state.key_rests_until
    is_resting = rests_until is not None and rests_until > draft.now
    for trigger in TRIGGERS:
        if trigger.name not in policy.key_rotation_triggers or (is_resting and trigger.rests):
            continue
        reason = trigger.check(draft, policy)
        if reason is not None:
            key_rotation.begin(draft, draft.derived_id("rotate-key", trigger.name), trigger.name, reason)
            return


def due_at(state: ChargerState, facts: FleetFacts, now: datetime) -> datetime | None:
    """When time alone starts a rotation."""
    if not _may_begin(state):
        return None
    policy = policy_of(state, facts, session_purpose().name, now)
    if "schedule" not in policy.key_rotation_triggers:
        return None
    due = scheduled_at(state, policy)
    if due is None or state.key_rests_until is None:
        return due
    return max(due, state.key_rests_until)


def scheduled_at(state: ChargerState, policy: Policy) -> datetime | None:
    """In the last twelfth of the key's time, at a moment that a hash of the charger chooses."""
    if not policy.key_rotation_days or state.key_since is None:
        return None
    share = _share(state.managed_identity_id)
    return state.key_since + timedelta(days=policy.key_rotation_days) * (1 - share / 12)


@lru_cache(maxsize=32_768)
def _share(managed_identity_id: str) -> float:
    """Where in the spread a charger stands; asked with every message."""
    digest = hashlib.sha256(f"{managed_identity_id}/key".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def _may_begin(state: ChargerState) -> bool:
    """A password in use, and nothing under way that a rotation would disturb: no other one, no way to a certificate."""
    if state.security_profile not in _PASSWORD_PROFILES or not state.keys:
        return False
    is_migrating = state.migration is not None and state.migration.state == "active"
    if is_migrating or key_rotation.open_rotation(state) is not None:
        return False
    is_going_to_certificate = state.target_security_profile not in _PASSWORD_PROFILES
    return not is_going_to_certificate or open_issue(state, session_purpose().name) is None


def _is_shown(state: ChargerState) -> bool:
    active = key_rotation.active_generation(state)
    return active is not None and state.key_shown == active
