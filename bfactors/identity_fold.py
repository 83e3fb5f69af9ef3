"""The identities' side of one commit in the making."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from bfactors.charger.part import Part
from bfactors.charger.state import ChargerState
from bfactors.identity_record import view
from bfactors.identity_record.command import IdentityCommand
from bfactors.identity_record.decide import decide
from bfactors.identity_record.evolve import IdentityEvent
from bfactors.identity_record.scheme import AT_A_CHARGER
from bfactors.identity_record.state import IdentityState, identity_key, part_of
from bfactors.ledger_row import AggregateRow, Batch
from bfactors.refusal import Refusal

_encode = msgspec.json.Encoder().encode
Append = Callable[[IdentityEvent, str, str, ChargerState | None], None]


class IdentitiesLoaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch starts from: the identities it names, and who bears the names it gives."""

    states: dict[str, IdentityState] = {}
    holders: dict[str, str] = {}


class IdentityFold:
    """Decides one command after another, each seeing what those before it did."""

    def __init__(self, loaded: IdentitiesLoaded, now: datetime, append: Append) -> None:
        self._before = loaded.states
        self._states = dict(loaded.states)
        self._holders = dict(loaded.holders)
        self._erased: list[str] = []
        self._now = now
        self._append = append

    def command(
        self, body: IdentityCommand, charger: ChargerState | None, *, by: str, cause: str
    ) -> bytes | Refusal:
        """The identity as it is then, as JSON."""
        before = self._states.get(body.identity_id)
        decision = decide(before, body, holders=self._holders, charger=charger, by=by, now=self._now)
        if decision.refusal is not None:
            return decision.refusal
        after = decision.state
        assert after is not None
        self._erased += decision.erase
        if decision.event is not None:
            self._append(decision.event, by, cause, None)
            self._states[after.identity_id] = after
            self._note_holders(before, after)
        return _encode(view.body(after))

    def part(self, identity_id: str, charger_id: str) -> Part | None:
        """What that charger must know of an identity; None: it is no part of it."""
        state = self._states.get(identity_id)
        if state is None or state.kind not in AT_A_CHARGER or state.charger_id != charger_id:
            return None
        return part_of(state)

    def write(self, batch: Batch) -> None:
        """Add the rows of what changed."""
        for identity_id, after in self._states.items():
            before = self._before.get(identity_id)
            if after is before:
                continue
            batch.aggregates.append(AggregateRow(identity_key(identity_id), after.revision, _encode(after)))
            batch.identities.append(view.row(after))
            batch.identity_holders += view.holder_rows(before, after, self._now)
        batch.erased_identifiers += self._erased

    def _note_holders(self, before: IdentityState | None, after: IdentityState) -> None:
        for row in view.holder_rows(before, after, self._now):
            if row.held:
                self._holders[row.external_id] = row.identity_id
            elif self._holders.get(row.external_id) == row.identity_id:
                del self._holders[row.external_id]
