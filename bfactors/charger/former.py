"""Certificates that a charger's state has let go of while their CA still vouches for them, and which of them come back.

The state keeps the last few that ended. Older ones are in the table of certificates; a command or an incident that is about
one brings it back (`CertificateRecalled`), and from there on it is like any other. Few at a time: what is left over is looked
for again with each message, until there is nothing more.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from bfactors import event as e
from bfactors.charger.draft import Draft
from bfactors.charger.state import ChargerState, is_of_this_unit
from bfactors.fleet.state import FleetFacts
from bfactors.incident import Incident, Subject, has_turn, selects
from bfactors.pem import MalformedX509
from bfactors.x509 import parse_certificate

MOST_UNDER_WAY = 32
"""Recalled ones of a charger that the CA has not revoked yet."""
MOST_KEPT = 256
"""Recalled ones of a charger in its state, those that its CA's list does not name yet among them."""


ENDED = ("superseded", "inactive", "rejected", "deleted")
"""States in which a certificate may have left its charger's state and be valid at its CA."""


class Former(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked about such a certificate before it is read whole."""

    certificate_id: str
    charger_id: str
    managed_identity_id: str
    purpose: str
    state: str
    issuing_ca_id: str
    spki_sha256: str
    issued_at: datetime
    not_after: datetime


class Recall(msgspec.Struct, frozen=True):
    """Which certificates of a charger are to come back. `has_more`: others wait until these are done with."""

    certificate_ids: tuple[str, ...] = ()
    has_more: bool = False


def is_looked_for(state: ChargerState, facts: FleetFacts) -> bool:
    """Whether its older certificates are to be looked at when it is: a unit has left, or an incident goes on."""
    is_asked = any(incident.state == "running" for incident in facts.incidents.values())
    return bool(state.leaving_job_id) or is_asked


def is_to_go_on(before: ChargerState | None, after: ChargerState) -> bool:
    """Whether others wait, and there may be room for them now."""
    return after.recalls_more and after is not before and _room(after) > 0


def _room(state: ChargerState) -> int:
    held = [one for one in state.certificates.values() if one.is_recalled]
    under_way = sum(one.state != "revoked" for one in held)
    return max(0, min(MOST_UNDER_WAY - under_way, MOST_KEPT - len(held)))


def recall(
    state: ChargerState,
    facts: FleetFacts,
    known: Iterable[Former],
    now: datetime,
    *,
    is_leaving: bool = False,
    compromised: str | None = None,
) -> Recall:
    """Which of its older certificates are wanted. `is_leaving`: a command takes its unit away; `compromised`: a command
    revokes this certificate, because somebody else may hold its key.
    """
    older = sorted(
        (one for one in known if one.certificate_id not in state.certificates),
        key=lambda one: (one.issued_at, one.certificate_id),
    )
    key = "" if compromised is None else _key_of(state, older, compromised)
    at_once = [one.certificate_id for one in older if key and one.spki_sha256 == key][:MOST_KEPT]
    wanted = [
        one.certificate_id
        for one in older
        if one.certificate_id not in at_once
        and (_is_left(state, one, is_leaving=is_leaving) or _is_selected(state, facts, one, now))
    ]
    room = _room(state)
    return Recall((*at_once, *wanted[:room]), len(wanted) > room)


def _key_of(state: ChargerState, known: Iterable[Former], certificate_id: str) -> str:
    held = state.certificates.get(certificate_id)
    if held is not None:
        return held.spki_sha256
    return next((one.spki_sha256 for one in known if one.certificate_id == certificate_id), "")


def _is_left(state: ChargerState, former: Former, *, is_leaving: bool) -> bool:
    is_of_unit = former.managed_identity_id == state.managed_identity_id or (
        former.managed_identity_id in state.parts and is_of_this_unit(state, former.issued_at)
    )
    has_left = state.decommissioned_at is not None or not is_of_unit
    return is_leaving or (bool(state.leaving_job_id) and has_left)


def _is_selected(state: ChargerState, facts: FleetFacts, former: Former, now: datetime) -> bool:
    if state.decommissioned_at is not None:
        return False
    subject = Subject(
        certificate_id=former.certificate_id,
        purpose=former.purpose,
        issuing_ca_id=former.issuing_ca_id,
        spki_sha256=former.spki_sha256,
        state=former.state,
        issued_at=former.issued_at,
        not_after=former.not_after,
        family=state.family,
        site=state.site,
        cohort=state.cohort,
    )
    return any(_reaches(incident, subject, state.charger_id, now) for incident in facts.incidents.values())


def _reaches(incident: Incident, subject: Subject, charger_id: str, now: datetime) -> bool:
    """Its stage has begun. Until then nothing is to be done: what no admission record lists is refused already."""
    is_on = incident.state == "running" and has_turn(incident, charger_id)
    return is_on and selects(incident, subject, now)


def take_back(draft: Draft) -> None:
    """Hold again what the decision is about."""
    for event in draft.context.recalled:
        if event.certificate_id not in draft.state.certificates:
            draft.record(event)


# ---------------------------------------------------------------- from the rows


class _Row(msgspec.Struct, kw_only=True):
    """A certificate as the API shows it, as far as it is needed here."""

    certificate_id: str
    managed_identity_id: str
    charger_id: str
    purpose: str
    variant: str
    mode: str
    state: str
    authority: str
    external_ref: str | None
    fingerprint_sha256: str
    serial_number: str
    subject: str
    issuer: str
    issuing_ca_id: str | None
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    installed_at: datetime | None = None
    activated_at: datetime | None = None
    revoked_at: datetime | None = None
    revocation_requested_at: datetime | None = None
    pem: str = ""
    chain_pem: str = ""


_ROW = msgspec.json.Decoder(_Row)


def from_rows(docs: Sequence[bytes], *, has_more: bool) -> tuple[e.CertificateRecalled, ...]:
    """What the rows of a charger's older certificates say, as the events that bring them back."""
    events = [_event(_ROW.decode(doc), has_more=has_more) for doc in docs]
    return tuple(event for event in events if event is not None)


def spki_of(doc: bytes) -> str:
    """The digest of its key, from its certificate: rows that are older than the column have none. Empty: unreadable."""
    return _spki(_ROW.decode(doc).pem)


def _spki(pem: str) -> str:
    try:
        return parse_certificate(pem).spki_sha256
    except (MalformedX509, IndexError):
        return ""


def _event(row: _Row, *, has_more: bool) -> e.CertificateRecalled | None:
    spki_sha256 = _spki(row.pem)
    if not spki_sha256:
        return None
    return e.CertificateRecalled(
        certificate_id=row.certificate_id,
        managed_identity_id=row.managed_identity_id,
        charger_id=row.charger_id,
        purpose=row.purpose,
        variant=row.variant,
        mode=row.mode,
        authority=row.authority,
        state=row.state,
        issuing_ca_id=row.issuing_ca_id or "",
        external_ref=row.external_ref or "",
        not_before=row.not_before,
        not_after=row.not_after,
        fingerprint_sha256=row.fingerprint_sha256,
        serial_number=row.serial_number,
        subject=row.subject,
        issuer=row.issuer,
        spki_sha256=spki_sha256,
        chain_pem=row.pem + row.chain_pem,
        issued_at=row.issued_at,
        installed_at=row.installed_at,
        activated_at=row.activated_at,
        revoked_at=row.revoked_at,
        revocation_requested_at=row.revocation_requested_at,
        has_more=has_more,
    )
