"""Waivers: one rule set aside for one charger or cohort, by two people, for a reason, until a date.

A rule is a field of a purpose's policy, whose value then stands above every policy, or an exemption of the list below. A
charger's waiver is stronger than its cohort's. What a waiver comes to is a function of the time: it ends at its date whether or
not anybody has noticed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from bfactors.policy import Policy, PolicyOverride

WaiverState = Literal["requested", "in-force", "rejected", "ended"]
EXEMPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "unqualified-family": "a campaign may reach it although its family has not been qualified",
        "trust-gate": "its answer to an install counts although it cannot list its certificates",
    }
)
"""Rules that are no field of a policy, and what a waiver of them allows."""
_FIRM = (
    "approvals_needed",
    "approval_valid_hours",
    "waiver_longest_days",
    "waiver_alert_days",
    "unexplained_certificates",
    "mode",
    "authority",
)
"""Fields that a waiver cannot set: what governs waivers themselves, and what is not about chargers."""
RULES: tuple[str, ...] = tuple(
    sorted((set(Policy.__struct_fields__) - set(_FIRM)) | set(EXEMPTIONS)),
)
CHARGER, COHORT = "charger", "cohort"


class Waiver(msgspec.Struct, frozen=True, kw_only=True):
    """`subject`: `charger:<id>` or `cohort:<name>`. `family` and `cohort`: a charger's when it was asked for."""

    waiver_id: str
    subject: str
    purpose: str
    rule: str
    value: Any
    reason: str
    author: str
    family: str
    cohort: str
    requested_at: datetime
    ends_at: datetime
    state: WaiverState = "requested"
    approver: str | None = None
    """None: policy asked for nobody else."""
    granted_at: datetime | None = None
    alerted_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it is in force: from when it was granted up to its end, which is not in it."""
        return self.state == "in-force" and now < self.ends_at


Waivers = Mapping[str, Sequence[Waiver]]
"""Those that were granted and have not been seen to end, by subject."""


def subject_of(kind: str, name: str) -> str:
    """As it is written."""
    return f"{kind}:{name}"


def parse_subject(text: str) -> tuple[str, str] | None:
    """(kind, name), or None if it is none."""
    kind, _, name = text.partition(":")
    return (kind, name) if kind in (CHARGER, COHORT) and name else None


def touching(waivers: Waivers, *, charger_id: str, cohort: str) -> list[Waiver]:
    """Whatever is known about a charger or its cohort, the stronger one last."""
    if not waivers:
        return []
    return [
        *waivers.get(subject_of(COHORT, cohort), ()),
        *waivers.get(subject_of(CHARGER, charger_id), ()),
    ]


def chargers_named(waivers: Waivers) -> tuple[str, ...]:
    """The chargers that something is waived for alone."""
    subjects = (parse_subject(text) for text in sorted(waivers))
    return tuple(subject[1] for subject in subjects if subject is not None and subject[0] == CHARGER)


def waived(
    waivers: Waivers, *, charger_id: str, cohort: str, purpose: str, now: datetime
) -> tuple[PolicyOverride, ...]:
    """The values that stand above a charger's policy now, the stronger one last."""
    return tuple(
        PolicyOverride(scope=f"waiver:{waiver.waiver_id}", values={waiver.rule: waiver.value})
        for waiver in touching(waivers, charger_id=charger_id, cohort=cohort)
        if waiver.purpose == purpose and waiver.rule not in EXEMPTIONS and waiver.holds(now)
    )


def exemption(
    waivers: Waivers, rule: str, *, charger_id: str, cohort: str, purpose: str, now: datetime
) -> Waiver | None:
    """The waiver that exempts a charger from a rule of `EXEMPTIONS` now; None: nothing does."""
    for waiver in reversed(touching(waivers, charger_id=charger_id, cohort=cohort)):
        if (waiver.rule, waiver.purpose) == (rule, purpose) and waiver.holds(now):
            return waiver
    return None
