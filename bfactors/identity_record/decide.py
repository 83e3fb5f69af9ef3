"""The decisions about identities: pure. Who bears a name, and the charger of an EVSE, are handed in."""

from collections.abc import Mapping
from datetime import datetime
from typing import assert_never

import msgspec

from bfactors.charger import part_place
from bfactors.charger.state import ChargerState
from bfactors.event.identity import IdentityChanged, IdentityRegistered, IdentityRetired, PersonalDataErased
from bfactors.identity_record import command as c
from bfactors.identity_record.evolve import IdentityEvent, evolve
from bfactors.identity_record.scheme import AT_A_CHARGER, SCHEMES, is_personal, scheme_of
from bfactors.identity_record.state import IdentityState, part_of
from bfactors.refusal import Refusal

MOST_NAMES = 8


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """`state` None with a refusal only. `erase`: pseudonyms whose values go in the same commit."""

    state: IdentityState | None
    event: IdentityEvent | None = None
    refusal: Refusal | None = None
    erase: tuple[str, ...] = ()


def decide(
    state: IdentityState | None,
    command: c.IdentityCommand,
    *,
    holders: Mapping[str, str],
    charger: ChargerState | None,
    by: str,
    now: datetime,
) -> Decision:
    """What a command leads to. The same command again leads to nothing more."""
    found: IdentityEvent | Refusal | None
    if isinstance(command, c.RegisterIdentity):
        found = _registered(state, command, holders, charger, by, now)
    elif state is None:
        found = Refusal(
            "unknown-identity", f"no identity is called {command.identity_id}", "identity_id", 404
        )
    else:
        match command:
            case c.ChangeIdentity():
                found = _changed(state, command, holders, charger, by)
            case c.RetireIdentity():
                found = _retired(state, charger, by)
            case c.ErasePersonalData():
                found = _erased(state, command, by)
            case _:
                assert_never(command)
    if isinstance(found, Refusal):
        return Decision(state=state, refusal=found)
    after = state if found is None else evolve(state, found, now)
    assert after is not None
    # deleted again if it was asked again: a request that was refused may have sealed it anew
    erase = after.pseudonyms if isinstance(command, c.ErasePersonalData) else ()
    return Decision(state=after, event=found, erase=erase)


def _registered(
    state: IdentityState | None,
    command: c.RegisterIdentity,
    holders: Mapping[str, str],
    charger: ChargerState | None,
    by: str,
    now: datetime,
) -> IdentityRegistered | Refusal | None:
    names = tuple(sorted(set(command.external_ids)))
    if state is not None:
        known = (state.kind, state.charger_id, state.external_ids, state.evses)
        if known == (command.kind, command.charger_id, names, _sorted(command.evses)):
            return None
        return Refusal(
            "identity-exists", "an identity of this id is known, and is another", "identity_id", 409
        )
    refusal = (
        _unfit(command.kind, names)
        or _misplaced(command, charger)
        or _numbered(command.kind, command.evses)
        or _taken(names, command.identity_id, holders)
    )
    if refusal is not None:
        return refusal
    event = IdentityRegistered(
        managed_identity_id=command.identity_id,
        kind=command.kind,
        external_ids=names,
        family=command.family,
        site=command.site,
        cohort=command.cohort,
        charger_id=command.charger_id,
        evses=_sorted(command.evses),
        by=by,
    )
    return _unfit_there(evolve(None, event, now), charger) or event


def _misplaced(command: c.RegisterIdentity, charger: ChargerState | None) -> Refusal | None:
    if command.kind not in AT_A_CHARGER:
        if command.charger_id is None:
            return None
        return Refusal("wrong-identity", f"a {command.kind} belongs to no charger", "charger_id")
    if command.charger_id is None:
        return Refusal("charger-missing", f"an {command.kind} is part of a charger: name it", "charger_id")
    if charger is None:
        return Refusal("unknown-charger", f"no charger is called {command.charger_id}", "charger_id", 404)
    if charger.decommissioned_at is not None:
        return Refusal("charger-decommissioned", "that charger is out of service", "charger_id", 409)
    return None


def _unfit_there(after: IdentityState, charger: ChargerState | None) -> Refusal | None:
    """Why its charger cannot have it so."""
    if after.kind not in AT_A_CHARGER or charger is None:
        return None
    return part_place.problem(charger, part_of(after))


def _numbered(kind: str, evses: tuple[int, ...]) -> Refusal | None:
    if not evses or kind in AT_A_CHARGER:
        return None
    return Refusal("wrong-identity", f"a {kind} has no EVSE numbers", "evses")


def _sorted(evses: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(evses)))


def _unfit(kind: str, names: tuple[str, ...]) -> Refusal | None:
    schemes = [scheme_of(name) for name in names]
    may = SCHEMES.get(kind, ())
    wrong = next((scheme for scheme in schemes if scheme not in may), None)
    if wrong is not None:
        message = f"a {kind} has no {wrong}; it may have {', '.join(may) or 'no names here'}"
        return Refusal("wrong-identity", message, "external_ids")
    if not names:
        return Refusal("name-missing", f"give at least one of {', '.join(may)}", "external_ids")
    if len(set(schemes)) != len(schemes) or len(names) > MOST_NAMES:
        return Refusal("invalid-value", "one value of each scheme", "external_ids")
    return None


def _taken(names: tuple[str, ...], identity_id: str, holders: Mapping[str, str]) -> Refusal | None:
    for name in names:
        holder = holders.get(name)
        if holder is not None and holder != identity_id:
            message = f"that {scheme_of(name)} is borne by the identity {holder}"
            return Refusal("external-id-held", message, "external_ids", 409)
    return None


def _changed(
    state: IdentityState,
    command: c.ChangeIdentity,
    holders: Mapping[str, str],
    charger: ChargerState | None,
    by: str,
) -> IdentityChanged | Refusal | None:
    if state.retired_at is not None:
        return Refusal("identity-retired", "it was retired; register it anew", status=409)
    names = state.external_ids
    if command.external_ids is not None:
        names = tuple(sorted(set(command.external_ids)))
        refusal = _unfit(state.kind, names) or _taken(names, state.identity_id, holders)
        if refusal is not None:
            return refusal
    place = (command.family, command.site, command.cohort)
    if state.kind in AT_A_CHARGER and any(part is not None for part in place):
        message = f"family, site and cohort of an {state.kind} are its charger's"
        return Refusal("wrong-identity", message, "cohort")
    evses = state.evses if command.evses is None else _sorted(command.evses)
    refusal = _numbered(state.kind, evses)
    if refusal is not None:
        return refusal
    is_given_again = command.external_ids is not None and any(map(is_personal, names))
    event = IdentityChanged(
        managed_identity_id=state.identity_id,
        kind=state.kind,
        external_ids=names,
        family=state.family if command.family is None else command.family,
        site=state.site if command.site is None else command.site,
        cohort=state.cohort if command.cohort is None else command.cohort,
        charger_id=state.charger_id,
        restored=state.erased_at is not None and is_given_again,
        evses=evses,
        by=by,
    )
    refusal = _unfit_there(evolve(state, event, state.registered_at), charger)
    if refusal is not None:
        return refusal
    before = (state.external_ids, state.family, state.site, state.cohort, state.evses)
    if not event.restored and (names, event.family, event.site, event.cohort, evses) == before:
        return None
    return event


def _retired(state: IdentityState, charger: ChargerState | None, by: str) -> IdentityRetired | Refusal | None:
    if state.retired_at is not None:
        return None
    event = IdentityRetired(
        managed_identity_id=state.identity_id, kind=state.kind, charger_id=state.charger_id, by=by
    )
    return _unfit_there(evolve(state, event, state.registered_at), charger) or event


def _erased(
    state: IdentityState, command: c.ErasePersonalData, by: str
) -> PersonalDataErased | Refusal | None:
    if not state.pseudonyms:
        return Refusal("nothing-personal", "it bears no personal identifier: nothing to erase", status=409)
    if state.erased_at is not None:
        return None
    return PersonalDataErased(
        managed_identity_id=state.identity_id,
        kind=state.kind,
        charger_id=state.charger_id,
        pseudonyms=state.pseudonyms,
        count=len(state.pseudonyms),
        reason=command.reason,
        by=by,
    )
