"""How much of a hurry a call to a CA is in: what goes first when not all can."""

from datetime import datetime, timedelta
from enum import IntEnum

SOON = timedelta(days=7)
URGENT_REASONS = frozenset({"key_compromise", "certificate_authority_compromise", "a_a_compromise"})
"""Reasons of a revocation that say somebody else may hold the key."""


class Urgency(IntEnum):
    """The smaller goes first."""

    INCIDENT = 0
    """A key is compromised: its certificate is taken back, or replaced."""
    SOON = 1
    """What it replaces ends within 7 days, or has ended."""
    ROUTINE = 2


def urgency_of(*, is_incident: bool, replaces_until: datetime | None, now: datetime) -> Urgency:
    """`replaces_until`: when the certificate that is to be replaced ends; None for a first one."""
    if is_incident:
        return Urgency.INCIDENT
    if replaces_until is not None and replaces_until - now <= SOON:
        return Urgency.SOON
    return Urgency.ROUTINE
