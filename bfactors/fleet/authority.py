"""A purpose's issuing CAs: registering them, how each stands, and what is told of them when their end comes near.

    incoming ──a rollover's overlap──► current ──the next one's──► outgoing ──nothing hangs on it──► retired
        ▲ └──────────────── left before it was ever current ──────────────────▲
        └── an aborted rollover takes it back

Gateways trust all of them but retired ones, so that no certificate that may open a session is refused for its issuer.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.fleet.state import Authority, FleetFacts, FleetState
from bfactors.purpose import purposes
from bfactors.refusal import Refusal
from bfactors.x509 import MalformedX509, is_root, parse_certificate

WINDOWS_DAYS = (365, 180, 90, 30, 14, 7, 1)
"""How long before a CA's end somebody is told: replacing one takes months, not days."""
MOST_OF_A_PURPOSE = 4
_RETIRED_KEPT = 16
_replace = msgspec.structs.replace


def register(state: FleetState, command: c.RegisterAuthority) -> e.AuthorityRegistered | Refusal | None:
    """What making a CA known leads to; None if it is known so already. The first of a purpose is current at once."""
    facts = state.facts
    if command.purpose not in purposes():
        return Refusal("unknown-purpose", f"no purpose is called {command.purpose!r}", "purpose")
    try:
        certificate = parse_certificate(command.certificate_pem)
        if command.root_pem and not is_root(parse_certificate(command.root_pem)):
            return Refusal("not-a-root", "the root is not self-signed", "root_pem")
    except MalformedX509 as problem:
        return Refusal("malformed-certificate", str(problem), "certificate_pem")
    if not certificate.is_ca:
        return Refusal("not-a-ca", "the certificate may not sign others", "certificate_pem")
    known = facts.authority_of(command.purpose, command.authority_arn)
    if known is None and any(gone.arn == command.authority_arn for gone in state.retired):
        return None  # settings may name it long after; it stays retired
    if known is None and len(facts.authorities_of(command.purpose)) >= MOST_OF_A_PURPOSE:
        message = f"{command.purpose} has {MOST_OF_A_PURPOSE} CAs; retire one first"
        return Refusal("too-many-authorities", message, "purpose", 409)
    first = "incoming" if command.purpose in facts.authorities else "current"
    event = e.AuthorityRegistered(
        purpose=command.purpose,
        authority_arn=command.authority_arn,
        certificate_pem=command.certificate_pem,
        chain_pem=command.chain_pem,
        root_pem=command.root_pem or (known.root_pem if known is not None else ""),
        fingerprint_sha256=certificate.fingerprint_sha256,
        signing_algorithm=command.signing_algorithm,
        not_after=certificate.not_after,
        state=first if known is None else known.state,
    )
    return None if known is not None and _described(known) == _described(of_event(event)) else event


def _described(authority: Authority) -> Authority:
    """What registering says of it, without what happened to it since."""
    return _replace(authority, status="ACTIVE", escalated_days=None)


def of_event(event: e.AuthorityRegistered) -> Authority:
    return Authority(
        purpose=event.purpose,
        arn=event.authority_arn,
        certificate_pem=event.certificate_pem,
        chain_pem=event.chain_pem,
        root_pem=event.root_pem,
        fingerprint_sha256=event.fingerprint_sha256,
        signing_algorithm=event.signing_algorithm,
        not_after=event.not_after,
        state=event.state,
    )


def put(facts: FleetFacts, authority: Authority) -> FleetFacts:
    """The facts with this CA as it stands now, where its state says."""
    further = {key: each for key, each in facts.further.items() if key != authority.authority_id}
    authorities = {
        name: each
        for name, each in facts.authorities.items()
        if (name, each.arn) != (authority.purpose, authority.arn)
    }
    if authority.state == "current":
        return _replace(facts, authorities={**authorities, authority.purpose: authority}, further=further)
    if authority.state == "retired":
        return _replace(facts, authorities=authorities, further=further)
    return _replace(facts, authorities=authorities, further={**further, authority.authority_id: authority})


def kept_retired(state: FleetState, authority: Authority) -> tuple[Authority, ...]:
    """The retired ones, the newest first; only the last few are remembered."""
    return (_replace(authority, state="retired"), *state.retired)[:_RETIRED_KEPT]


# ---------------------------------------------------------------- what they say of themselves, and when they end


def observed(state: FleetState, body: v.AuthorityObserved) -> list[e.FleetEvent]:
    """What a CA's own word on its state leads to, if it is news."""
    known = state.facts.authority_of(body.purpose, body.authority_arn)
    if known is None or known.status == body.status:
        return []
    return [
        e.AuthorityStatusChanged(
            purpose=known.purpose,
            authority_id=known.authority_id,
            authority_arn=known.arn,
            status=body.status,
            before=known.status,
        )
    ]


def noted(facts: FleetFacts, event: e.AuthorityStatusChanged | e.AuthorityExpiryEscalated) -> FleetFacts:
    """The facts after a CA said how it stands, or after its end was told."""
    known = facts.authority_of(event.purpose, event.authority_arn)
    if known is None:
        return facts
    match event:
        case e.AuthorityStatusChanged():
            return put(facts, _replace(known, status=event.status))
        case e.AuthorityExpiryEscalated():
            return put(facts, _replace(known, escalated_days=event.days_left))


def rang(facts: FleetFacts, now: datetime) -> Iterator[e.FleetEvent]:
    """Every window before a CA's end that is reached, told once; only the nearest, when several are."""
    for authority in every(facts):
        days = _reached(authority, now)
        if days is not None:
            yield e.AuthorityExpiryEscalated(
                purpose=authority.purpose,
                authority_id=authority.authority_id,
                authority_arn=authority.arn,
                days_left=days,
                not_after=authority.not_after,
            )


def moments(facts: FleetFacts) -> Iterator[datetime]:
    """When the next windows are reached."""
    for authority in every(facts):
        for days in WINDOWS_DAYS:
            if authority.escalated_days is None or days < authority.escalated_days:
                yield authority.not_after - timedelta(days=days)


def _reached(authority: Authority, now: datetime) -> int | None:
    reached = [
        days
        for days in WINDOWS_DAYS
        if authority.not_after - timedelta(days=days) <= now
        and (authority.escalated_days is None or days < authority.escalated_days)
    ]
    return min(reached, default=None)


def every(facts: FleetFacts) -> tuple[Authority, ...]:
    """All that are not retired."""
    return (*facts.authorities.values(), *facts.further.values())


def body(authority: Authority) -> dict[str, Any]:
    """A CA as the API shows it, without what hangs on it."""
    return {
        "authority_id": authority.authority_id,
        "purpose": authority.purpose,
        "realm": purposes()[authority.purpose].realm,
        "authority_arn": authority.arn,
        "state": authority.state,
        "status": authority.status,
        "fingerprint_sha256": authority.fingerprint_sha256,
        "not_after": authority.not_after,
    }
