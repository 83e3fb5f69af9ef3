"""What the ledger remembers of one identity."""

from datetime import datetime

import msgspec

from bfactors.charger.part import Part
from bfactors.identity_record.scheme import is_personal

_PREFIX = "identity:"


def identity_key(identity_id: str) -> str:
    """The key of its aggregate."""
    return _PREFIX + identity_id


class IdentityState(msgspec.Struct, frozen=True, kw_only=True):
    """`external_ids` are names, sorted. `erased_at`: what the pseudonyms among them stand for was deleted then."""

    identity_id: str
    kind: str
    external_ids: tuple[str, ...]
    family: str
    site: str
    cohort: str
    charger_id: str | None
    evses: tuple[int, ...] = ()
    """Of an EVSE: which of its charger's it is, or serves; empty: all of them."""
    registered_at: datetime
    retired_at: datetime | None = None
    erased_at: datetime | None = None
    revision: int = 0

    @property
    def pseudonyms(self) -> tuple[str, ...]:
        """Those of its names that stand for something personal."""
        return tuple(filter(is_personal, self.external_ids))


def part_of(state: IdentityState) -> Part:
    """The identity as its charger knows it."""
    return Part(
        identity_id=state.identity_id,
        kind=state.kind,
        names=state.external_ids,
        evses=state.evses,
        is_retired=state.retired_at is not None,
    )
