"""What the fleet knows of charger families: capabilities an operator set, and how a family was qualified."""

from datetime import datetime
from typing import Any

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors.fleet.state import FamilyFacts, FleetFacts, Qualification
from bfactors.refusal import Refusal

_REPORT_MAX_CHARS = 100_000
_NAME_MAX_CHARS = 64
_VERSIONS = ("1.6", "2.0.1", "2.1")


def facts_set(
    facts: FleetFacts, command: c.SetFamilyFacts, actor: str, now: datetime
) -> e.FamilyFactsSet | Refusal | None:
    """What saying a family's capabilities leads to; None if that was said already."""
    if (refusal := _refusal(command)) is not None:
        return refusal
    known = facts.families.get(command.family)
    if known is not None and (known.capabilities, known.note) == (command.capabilities, command.note):
        return None
    return e.FamilyFactsSet(
        family=command.family, capabilities=command.capabilities, note=command.note, by=actor, at=now
    )


def qualified(command: c.QualifyFamily, actor: str, now: datetime) -> e.FamilyQualified | Refusal:
    """What the report of a qualification leads to."""
    if not 0 < len(command.family) <= _NAME_MAX_CHARS:
        return Refusal("invalid-name", f"must have 1 to {_NAME_MAX_CHARS} characters", "family", 404)
    if len(command.report) > _REPORT_MAX_CHARS:
        return Refusal("too-large", f"a report has {_REPORT_MAX_CHARS} characters at most", "report")
    return e.FamilyQualified(
        family=command.family,
        charger_id=command.charger_id,
        firmware=command.firmware,
        by=actor,
        at=now,
        passed=command.passed,
        report=command.report,
    )


def known(facts: FleetFacts, event: e.FamilyFactsSet | e.FamilyQualified) -> FamilyFacts:
    """What is known of the family after the event."""
    before = facts.families.get(event.family) or FamilyFacts(family=event.family)
    if isinstance(event, e.FamilyFactsSet):
        return msgspec.structs.replace(
            before, capabilities=event.capabilities, note=event.note, by=event.by, at=event.at
        )
    return msgspec.structs.replace(
        before,
        qualification=Qualification(
            charger_id=event.charger_id,
            firmware=event.firmware,
            by=event.by,
            at=event.at,
            passed=event.passed,
            report=event.report,
        ),
    )


def body(family: FamilyFacts) -> dict[str, Any]:
    """A family as the API shows it."""
    qualification = family.qualification
    return {
        "family": family.family,
        "capabilities": msgspec.structs.asdict(family.capabilities),
        "note": family.note,
        "changed_by": family.by or None,
        "changed_at": family.at,
        "qualification": None
        if qualification is None
        else {
            "charger_id": qualification.charger_id,
            "firmware": qualification.firmware,
            "by": qualification.by,
            "at": qualification.at,
            "passed": qualification.passed,
            "report": msgspec.json.decode(qualification.report),
        },
    }


def _refusal(command: c.SetFamilyFacts) -> Refusal | None:
    if not 0 < len(command.family) <= _NAME_MAX_CHARS:
        return Refusal("invalid-name", f"must have 1 to {_NAME_MAX_CHARS} characters", "family", 404)
    said = command.capabilities
    for name in ("max_chain_chars", "trust_store_slots"):
        value = getattr(said, name)
        if value is not None and value < 1:
            return Refusal("invalid-value", "must be at least 1", f"capabilities.{name}")
    if said.assume_version is not None and said.assume_version not in _VERSIONS:
        message = f"must be one of {', '.join(_VERSIONS)}"
        return Refusal("invalid-value", message, "capabilities.assume_version")
    return None
