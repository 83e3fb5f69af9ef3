"""Waivers in the fleet's partition: asked for, granted, announced before they end, ended by their date or by hand."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors.fleet.reach import reached
from bfactors.fleet.state import FleetFacts
from bfactors.policy import Policy, PolicyOverride, effective, problems
from bfactors.policy_scope import Scope
from bfactors.purpose import purposes
from bfactors.realm import loosened
from bfactors.refusal import Refusal
from bfactors.waiver import CHARGER, COHORT, EXEMPTIONS, RULES, Waiver, parse_subject, waived

MOST_WAIVERS = 500
"""Asked for and in force: those in force travel to every partition."""
_OVER_KEPT = 200
_SAID = ("subject", "purpose", "rule", "value", "reason", "ends_at")

Event = e.WaiverRequested | e.WaiverGranted | e.WaiverRejected | e.WaiverEnding | e.WaiverEnded
Known = Mapping[str, Waiver]


def policy_at(facts: FleetFacts, command: c.RequestWaiver) -> Policy:
    """The policy that says how long it may be and whether it takes two: the subject's, without any waiver."""
    kind, name = parse_subject(command.subject) or (CHARGER, "")
    cohort = name if kind == COHORT else command.cohort
    return effective(facts.policies, purpose=command.purpose, family=command.family, cohort=cohort)


def requested(
    known: Known, facts: FleetFacts, command: c.RequestWaiver, author: str, now: datetime
) -> e.WaiverRequested | Refusal | None:
    """What asking for one leads to; None if this one was asked for already, and that has been decided."""
    before = known.get(command.waiver_id)
    if before is not None and any(getattr(before, name) != getattr(command, name) for name in _SAID):
        return Refusal("waiver-exists", "a waiver of this id was asked for otherwise", "waiver_id", 409)
    if before is not None and before.state != "requested":
        return None
    refusal = refusal_of(known, facts, command, now)
    if refusal is not None:
        return refusal
    return e.WaiverRequested(
        waiver_id=command.waiver_id,
        charger_id=charger_of(command.subject),
        subject=command.subject,
        purpose=command.purpose,
        rule=command.rule,
        value=command.value,
        reason=command.reason,
        author=author,
        family=command.family,
        cohort=command.cohort,
        ends_at=command.ends_at,
    )


def refusal_of(known: Known, facts: FleetFacts, command: c.RequestWaiver, now: datetime) -> Refusal | None:
    """Why it can be neither asked for nor granted now."""
    subject = parse_subject(command.subject)
    if subject is None:
        return Refusal("invalid-value", "must be charger:<id> or cohort:<name>", "subject")
    if command.purpose not in purposes():
        return Refusal("unknown-purpose", f"no purpose is called {command.purpose!r}", "purpose")
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    if command.rule not in RULES:
        return Refusal("not-waivable", f"{command.rule!r} is no rule that can be waived", "rule")
    if command.rule in EXEMPTIONS and command.value is not None:
        return Refusal("invalid-value", f"{command.rule} is waived as a whole and has no value", "value")
    longest = policy_at(facts, command).waiver_longest_days
    if not now < command.ends_at <= now + timedelta(days=longest):
        return Refusal("end-out-of-range", f"must lie within the next {longest} days", "ends_at")
    same = [
        waiver
        for waiver in facts.waivers.get(command.subject, ())
        if (waiver.purpose, waiver.rule) == (command.purpose, command.rule) and waiver.holds(now)
    ]
    if same:
        message = f"waiver {same[0].waiver_id} of this rule is in force; end it first"
        return Refusal("waiver-in-force", message, "rule", 409)
    live = sum(waiver.state in ("requested", "in-force") for waiver in known.values())
    if command.waiver_id not in known and live >= MOST_WAIVERS:
        return Refusal("too-many-waivers", f"there are {MOST_WAIVERS}; end some", status=409)
    return _policy_problem(facts, command, now)


def _policy_problem(facts: FleetFacts, command: c.RequestWaiver, now: datetime) -> Refusal | None:
    if command.rule in EXEMPTIONS:
        return None
    value = PolicyOverride(scope="waiver:", values={command.rule: command.value})
    found = _contradiction(
        facts, command.purpose, command.subject, command.family, command.cohort, (value,), now
    )
    if found is None:
        return None
    code, name, message = found
    return Refusal(code, message, "value" if name == command.rule else "rule")


def contradicted(facts: FleetFacts, purpose: str, now: datetime) -> tuple[str, str, str] | None:
    """The first waiver that could not be kept under these policies: (code, field, message)."""
    for subject, waivers in facts.waivers.items():
        held = [waiver for waiver in waivers if waiver.purpose == purpose and waiver.holds(now)]
        if not held:
            continue
        first = held[0]
        found = _contradiction(facts, purpose, subject, first.family, first.cohort, (), now)
        if found is not None:
            code, name, message = found
            return code, name, f"under waiver {first.waiver_id} of {subject}, {message}"
    return None


def _contradiction(
    facts: FleetFacts,
    purpose: str,
    subject: str,
    family: str,
    cohort: str,
    more: tuple[PolicyOverride, ...],
    now: datetime,
) -> tuple[str, str, str] | None:
    """What is wrong with the policy that a subject would have: (code, field, message)."""
    kind, name = parse_subject(subject) or (CHARGER, "")
    whose = [(family, cohort)]
    if kind == COHORT:
        whose = list(reached(facts.policies, Scope("cohort", name, purpose)))
    for each_family, each_cohort in whose:
        values = waived(
            facts.waivers,
            charger_id=name if kind == CHARGER else "",
            cohort=each_cohort,
            purpose=purpose,
            now=now,
        )
        try:
            would_be = effective(
                facts.policies,
                purpose=purpose,
                family=each_family,
                cohort=each_cohort,
                waived=(*values, *more),
            )
        except msgspec.ValidationError as problem:
            return "invalid-value", next(iter(more[0].values)) if more else "", str(problem)
        for code, found in (
            ("contradiction", problems(would_be)),
            ("realm-rule", loosened(purposes()[purpose], would_be)),
        ):
            if found:
                field, message = found[0]
                return code, field, f"{field} {message}"
    return None


def granted(command: c.RequestWaiver, author: str, approver: str | None) -> e.WaiverGranted:
    """It is in force from now on."""
    return e.WaiverGranted(
        waiver_id=command.waiver_id,
        charger_id=charger_of(command.subject),
        subject=command.subject,
        purpose=command.purpose,
        rule=command.rule,
        value=command.value,
        reason=command.reason,
        author=author,
        approver=approver,
        ends_at=command.ends_at,
    )


def ended(known: Known, command: c.EndWaiver) -> e.WaiverEnded | Refusal:
    """What ending one by hand leads to."""
    waiver = known.get(command.waiver_id)
    if waiver is None:
        return Refusal("unknown-waiver", "there is no such waiver", "waiver_id", 404)
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    if waiver.state == "requested":
        message = "it is not in force yet; withdraw or reject its approval"
        return Refusal("waiver-not-in-force", message, "waiver_id", 409)
    if waiver.state != "in-force":
        return Refusal("waiver-not-in-force", f"it is {waiver.state}", "waiver_id", 409)
    return _end(waiver, "withdrawn", command.reason)


def rang(known: Known, facts: FleetFacts, now: datetime) -> Iterator[Event]:
    """Those that end by now, and those that are to be announced."""
    for waiver in known.values():
        if waiver.state != "in-force":
            continue
        if waiver.ends_at <= now:
            yield _end(waiver, "date-passed", f"it was granted until {waiver.ends_at:%Y-%m-%d %H:%M} UTC")
        elif waiver.alerted_at is None and (at := _alert_at(waiver, facts)) is not None and at <= now:
            yield e.WaiverEnding(
                waiver_id=waiver.waiver_id,
                charger_id=charger_of(waiver.subject),
                subject=waiver.subject,
                purpose=waiver.purpose,
                rule=waiver.rule,
                author=waiver.author,
                ends_at=waiver.ends_at,
            )


def moments(known: Known, facts: FleetFacts) -> Iterator[datetime]:
    """When something of them is due."""
    for waiver in known.values():
        if waiver.state == "in-force":
            yield waiver.ends_at
            if waiver.alerted_at is None and (at := _alert_at(waiver, facts)) is not None:
                yield at


def _alert_at(waiver: Waiver, facts: FleetFacts) -> datetime | None:
    """Before its end as policy says, and never in its first half: a short one is not announced when it is granted."""
    days = effective(
        facts.policies, purpose=waiver.purpose, family=waiver.family, cohort=waiver.cohort
    ).waiver_alert_days
    if not days or waiver.granted_at is None:
        return None
    half = waiver.granted_at + (waiver.ends_at - waiver.granted_at) / 2
    return max(waiver.ends_at - timedelta(days=days), half)


def _end(waiver: Waiver, cause: str, reason: str) -> e.WaiverEnded:
    return e.WaiverEnded(
        waiver_id=waiver.waiver_id,
        charger_id=charger_of(waiver.subject),
        subject=waiver.subject,
        purpose=waiver.purpose,
        rule=waiver.rule,
        cause=cause,
        reason=reason,
    )


def charger_of(subject: str) -> str | None:
    """The charger it is about, if it is about one."""
    kind, name = parse_subject(subject) or (COHORT, "")
    return name if kind == CHARGER else None


def changed(known: Known, event: Event, now: datetime) -> dict[str, Waiver]:
    """The waivers after the event: all that live, and the last that are over."""
    after = dict(known)
    replace = msgspec.structs.replace
    if isinstance(event, e.WaiverRequested):
        after[event.waiver_id] = Waiver(
            waiver_id=event.waiver_id,
            subject=event.subject,
            purpose=event.purpose,
            rule=event.rule,
            value=event.value,
            reason=event.reason,
            author=event.author,
            family=event.family,
            cohort=event.cohort,
            requested_at=now,
            ends_at=event.ends_at,
        )
        return after
    waiver = after.get(event.waiver_id)
    if waiver is None:
        return after
    match event:
        case e.WaiverGranted():
            waiver = replace(waiver, state="in-force", approver=event.approver, granted_at=now)
        case e.WaiverEnding():
            waiver = replace(waiver, alerted_at=now)
        case e.WaiverRejected():
            waiver = replace(waiver, state="rejected", ended_at=now, end_reason=event.reason)
        case _:
            waiver = replace(waiver, state="ended", ended_at=now, end_reason=event.reason)
    after[event.waiver_id] = waiver
    over = sorted((one for one in after.values() if one.ended_at is not None), key=_ended_at)
    for one in over[:-_OVER_KEPT]:
        del after[one.waiver_id]
    return after


def _ended_at(waiver: Waiver) -> datetime:
    assert waiver.ended_at is not None
    return waiver.ended_at


def in_force(known: Known) -> dict[str, tuple[Waiver, ...]]:
    """By subject, as every partition is told."""
    found: dict[str, tuple[Waiver, ...]] = {}
    for waiver in known.values():
        if waiver.state == "in-force":
            found[waiver.subject] = (*found.get(waiver.subject, ()), waiver)
    return found


def body(waiver: Waiver, now: datetime) -> dict[str, Any]:
    """As the API shows it; one whose date has passed is over, whether or not the ledger has noticed."""
    shown = msgspec.structs.asdict(waiver)
    if waiver.state == "in-force" and not waiver.holds(now):
        shown |= {"state": "ended", "ended_at": waiver.ends_at}
    shown["charger_id"] = charger_of(waiver.subject)
    return shown
