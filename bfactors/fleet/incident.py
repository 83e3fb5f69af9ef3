"""Incidents in the fleet's partition: opened, staged, paused, ended."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors.fleet.state import FleetFacts
from bfactors.incident import MOST_NAMED, Incident
from bfactors.purpose import purposes
from bfactors.refusal import Refusal

MOST_GOING_ON = 20
"""They travel to every partition."""
_OVER_KEPT = 20

Event = e.IncidentOpened | e.IncidentChanged | e.IncidentEnded
Known = Mapping[str, Incident]


def opened(
    facts: FleetFacts, command: c.OpenIncident, author: str, approver: str | None
) -> e.IncidentOpened | Refusal | None:
    """What opening one leads to; None if it is open already."""
    before = facts.incidents.get(command.incident_id)
    if before is not None:
        same = (before.name, before.mode, before.selector) == (command.name, command.mode, command.selector)
        if same:
            return None
        message = "another incident has this id"
        return Refusal("incident-exists", message, "incident_id", 409)
    refusal = _problem(facts, command)
    if refusal is not None:
        return refusal
    return e.IncidentOpened(
        incident_id=command.incident_id,
        name=command.name,
        purpose=command.selector.purpose,
        reason=command.reason,
        mode=command.mode,
        revocation_reason=command.revocation_reason,
        selector=command.selector,
        percent=command.percent,
        expected=command.expected,
        author=author,
        approver=approver,
        agreed=command.agreed if approver is not None else None,
    )


def _problem(facts: FleetFacts, command: c.OpenIncident) -> Refusal | None:
    selector = command.selector
    for field, text in (("name", command.name), ("reason", command.reason)):
        if not text.strip():
            return Refusal("reason-missing", f"give a {field}", field)
    if selector.purpose not in purposes():
        return Refusal("unknown-purpose", f"no purpose is called {selector.purpose!r}", "selector.purpose")
    if not selector.is_narrowed:
        message = "give at least one criterion beside the purpose; for everything a CA issued, name the CA"
        return Refusal("selector-too-wide", message, "selector")
    if max(len(values) for values in _lists(selector)) > MOST_NAMED:
        return Refusal("too-large", f"at most {MOST_NAMED} values of one criterion", "selector")
    if not 1 <= command.percent <= 100:
        return Refusal("invalid-value", "must lie between 1 and 100", "percent")
    if command.mode == "replace" and command.revocation_reason == "key_compromise":
        message = (
            "a compromised key is refused at once: that is mode revoke; to replace first, name another reason"
        )
        return Refusal("contradiction", message, "revocation_reason")
    going_on = sum(one.state != "ended" for one in facts.incidents.values())
    if going_on >= MOST_GOING_ON:
        return Refusal("too-many-incidents", f"{MOST_GOING_ON} are going on; end some", status=409)
    return None


def _lists(selector: Any) -> list[tuple[str, ...]]:
    values = (getattr(selector, name) for name in selector.__struct_fields__)
    return [value for value in values if isinstance(value, tuple)]


def changed_by(facts: FleetFacts, command: c.ChangeIncident) -> Event | Refusal | None:
    """What its next stage, a pause, or its end leads to; None if it is so already."""
    incident = facts.incidents.get(command.incident_id)
    if incident is None:
        return Refusal("unknown-incident", "there is no such incident", "incident_id", 404)
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    if incident.state == "ended":
        return Refusal("incident-ended", "the incident has ended", "incident_id", 409)
    if command.action == "end":
        return e.IncidentEnded(
            incident_id=incident.incident_id, is_lifted=command.lift, reason=command.reason
        )
    percent = incident.percent
    if command.action == "advance":
        if command.percent is None or not percent <= command.percent <= 100:
            message = f"must lie between {percent}, where it is, and 100: no stage is taken back"
            return Refusal("invalid-value", message, "percent")
        percent = command.percent
    is_paused = command.action == "pause" or (command.action == "advance" and incident.state == "paused")
    if (percent, is_paused) == (incident.percent, incident.state == "paused"):
        return None
    return e.IncidentChanged(
        incident_id=incident.incident_id, percent=percent, is_paused=is_paused, reason=command.reason
    )


def changed(known: Known, event: Event, now: datetime) -> dict[str, Incident]:
    """The incidents after the event: those that go on, and the last that ended, which may have refusals to lift."""
    after = dict(known)
    replace = msgspec.structs.replace
    match event:
        case e.IncidentOpened():
            after[event.incident_id] = Incident(
                incident_id=event.incident_id,
                name=event.name,
                reason=event.reason,
                mode=event.mode,
                revocation_reason=event.revocation_reason,
                selector=event.selector,
                percent=event.percent,
                expected=event.expected,
                author=event.author,
                approver=event.approver,
                agreed=event.agreed,
                opened_at=now,
            )
        case e.IncidentChanged() if event.incident_id in after:
            state = "paused" if event.is_paused else "running"
            after[event.incident_id] = replace(after[event.incident_id], percent=event.percent, state=state)
        case e.IncidentEnded() if event.incident_id in after:
            after[event.incident_id] = replace(
                after[event.incident_id],
                state="ended",
                is_lifted=event.is_lifted,
                ended_at=now,
                end_reason=event.reason,
            )
        case _:
            pass
    over = sorted(
        (one for one in after.values() if one.ended_at is not None), key=lambda one: str(one.ended_at)
    )
    for one in over[:-_OVER_KEPT]:
        del after[one.incident_id]
    return after


def body(incident: Incident) -> dict[str, Any]:
    """As the API shows it, without its counts."""
    return msgspec.structs.asdict(incident)
