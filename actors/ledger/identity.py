"""Identities inside a partition's actor: what a batch's commands speak of. Few commands, so nothing is kept in memory."""

from collections.abc import Sequence

import msgspec

from actors.ledger.item import Asked, Item
from bfactors.identity_fold import IdentitiesLoaded
from bfactors.identity_record.command import IdentityCommand
from bfactors.identity_record.state import IdentityState, identity_key
from bfactors.ports import LedgerStore

_STATE = msgspec.json.Decoder(IdentityState)


async def load_identities(store: LedgerStore, partition: int, items: Sequence[Item]) -> IdentitiesLoaded:
    """Raises Unavailable."""
    keys: set[str] = set()
    names: set[str] = set()
    for item in items:
        if isinstance(item, Asked) and isinstance(item.envelope.body, IdentityCommand):
            body = item.envelope.body
            keys.add(identity_key(body.identity_id))
            names.update(getattr(body, "external_ids", None) or ())
    if not keys:
        return IdentitiesLoaded()
    states = [_STATE.decode(row.state) for row in (await store.load(partition, sorted(keys))).values()]
    holders = await store.identity_holders(sorted(names)) if names else {}
    return IdentitiesLoaded(states={state.identity_id: state for state in states}, holders=dict(holders))
