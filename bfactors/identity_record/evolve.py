"""The only place where an identity changes: its state after an event."""

from datetime import datetime
from typing import assert_never

import msgspec

from bfactors.event.identity import IdentityChanged, IdentityRegistered, IdentityRetired, PersonalDataErased
from bfactors.identity_record.state import IdentityState

_replace = msgspec.structs.replace
IdentityEvent = IdentityRegistered | IdentityChanged | IdentityRetired | PersonalDataErased


def evolve(state: IdentityState | None, event: IdentityEvent, now: datetime) -> IdentityState:
    """The identity after one event. `state` None before its first, which is its registration."""
    if isinstance(event, IdentityRegistered):
        return IdentityState(
            identity_id=event.managed_identity_id,
            kind=event.kind,
            external_ids=event.external_ids,
            family=event.family,
            site=event.site,
            cohort=event.cohort,
            charger_id=event.charger_id,
            evses=event.evses,
            registered_at=now,
            revision=1,
        )
    assert state is not None
    return _replace(_changed(state, event, now), revision=state.revision + 1)


def _changed(
    state: IdentityState, event: IdentityChanged | IdentityRetired | PersonalDataErased, now: datetime
) -> IdentityState:
    match event:
        case IdentityChanged():
            return _replace(
                state,
                external_ids=event.external_ids,
                family=event.family,
                site=event.site,
                cohort=event.cohort,
                evses=event.evses,
                erased_at=None if event.restored else state.erased_at,
            )
        case IdentityRetired():
            return _replace(state, retired_at=now)
        case PersonalDataErased():
            return _replace(state, erased_at=now)
        case _:
            assert_never(event)
