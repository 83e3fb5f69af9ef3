"""What the fleet knows of charger families: capabilities an operator set, and how a family was qualified."""

from datetime import datetime
from typing import Any

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors.fleet.state import FactoryAnchor, FamilyFacts, FleetFacts, Qualification
from bfactors.refusal import Refusal
from bfactors.x509 import MalformedX509, parse_certificate, pem_of

_REPORT_MAX_CHARS = 100_000
_NAME_MAX_CHARS = 64
_VERSIONS = ("1.6", "2.0.1", "2.1")
MOST_FACTORY_ANCHORS = 8
FamilyEvent = e.FamilyFactsSet | e.FamilyQualified | e.FamilyFactoryAnchorsSet


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


def anchors_set(
    facts: FleetFacts, command: c.SetFactoryAnchors, actor: str, now: datetime
) -> e.FamilyFactoryAnchorsSet | Refusal | None:
    """What naming a family's factory CAs leads to; None if they are the ones known."""
    if not 0 < len(command.family) <= _NAME_MAX_CHARS:
        return Refusal("invalid-name", f"must have 1 to {_NAME_MAX_CHARS} characters", "family", 404)
    if len(command.anchors_pem) > MOST_FACTORY_ANCHORS:
        return Refusal("too-large", f"a family has {MOST_FACTORY_ANCHORS} factory CAs at most", "anchors")
    try:
        anchors = _factory_anchors(command.anchors_pem)
    except MalformedX509 as problem:
        return Refusal("malformed-certificate", str(problem), "anchors")
    ours = {each.fingerprint_sha256 for name in facts.authorities for each in facts.authorities_of(name)}
    if any(anchor.fingerprint_sha256 in ours for anchor in anchors):
        message = "it issues our own certificates: an unknown leaf under it is nobody's first contact"
        return Refusal("own-authority", message, "anchors", 409)
    known = facts.families.get(command.family)
    if known is not None and known.factory_anchors == anchors:
        return None
    return e.FamilyFactoryAnchorsSet(
        family=command.family,
        anchors_pem=tuple(anchor.pem for anchor in anchors),
        note=command.note,
        by=actor,
        at=now,
    )


def _factory_anchors(texts: tuple[str, ...]) -> tuple[FactoryAnchor, ...]:
    """Each once, in the order of their fingerprints. Raises MalformedX509."""
    found = {}
    for text in texts:
        certificate = parse_certificate(text)
        if not certificate.is_ca:
            raise MalformedX509(f"{certificate.subject!r} is no CA")
        found[certificate.fingerprint_sha256] = FactoryAnchor(
            fingerprint_sha256=certificate.fingerprint_sha256,
            subject=certificate.subject,
            not_after=certificate.not_after,
            pem=pem_of(certificate.der),
        )
    return tuple(found[name] for name in sorted(found))


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


def known(facts: FleetFacts, event: FamilyEvent) -> FamilyFacts:
    """What is known of the family after the event."""
    before = facts.families.get(event.family) or FamilyFacts(family=event.family)
    if isinstance(event, e.FamilyFactoryAnchorsSet):
        return msgspec.structs.replace(before, factory_anchors=_factory_anchors(event.anchors_pem))
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
        "factory_anchors": [
            {"fingerprint_sha256": one.fingerprint_sha256, "subject": one.subject, "not_after": one.not_after}
            for one in family.factory_anchors
        ],
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
