"""An identity as it is stored for lists and answered: names as the ledger knows them, nothing that they stand for."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from bfactors.identity_record.scheme import AT_A_CHARGER
from bfactors.identity_record.state import IdentityState
from bfactors.ledger_row import HolderRow, IdentityRow

REGISTERED, RETIRED = "registered", "retired"


def body(state: IdentityState) -> dict[str, Any]:
    """`names` are the ledger's; the edge shows what may be shown of them."""
    numbers = {"evses": list(state.evses)} if state.kind in AT_A_CHARGER else {}
    return {
        "identity_id": state.identity_id,
        "kind": state.kind,
        "state": REGISTERED if state.retired_at is None else RETIRED,
        "names": list(state.external_ids),
        "family": state.family,
        "site": state.site,
        "cohort": state.cohort,
        "charger_id": state.charger_id,
        "registered_at": state.registered_at,
        "retired_at": state.retired_at,
        "erased_at": state.erased_at,
        **numbers,
    }


def row(state: IdentityState) -> IdentityRow:
    """For lists and filters."""
    shown = body(state)
    return IdentityRow(
        identity_id=state.identity_id,
        kind=state.kind,
        state=shown["state"],
        family=state.family,
        site=state.site,
        cohort=state.cohort,
        charger_id=state.charger_id,
        doc=msgspec.json.encode(shown),
    )


def holder_rows(before: IdentityState | None, after: IdentityState, now: datetime) -> Iterator[HolderRow]:
    """Which names it bears from now on, where that changed. A name it lost was a mistake: its value is not kept."""
    was = _bearing(before)
    for name, (held, kept) in _bearing(after).items():
        if was.get(name) != (held, kept):
            yield HolderRow(external_id=name, identity_id=after.identity_id, held=held, kept=kept, since=now)
    for name in was.keys() - _bearing(after).keys():
        yield HolderRow(external_id=name, identity_id=after.identity_id, held=False, kept=False, since=now)


def _bearing(state: IdentityState | None) -> dict[str, tuple[bool, bool]]:
    if state is None:
        return {}
    fact = (state.retired_at is None, state.erased_at is None)
    return dict.fromkeys(state.external_ids, fact)
