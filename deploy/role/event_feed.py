"""The ledger's stream as the admin API's event feed."""

from collections.abc import AsyncIterator

import msgspec

from bfactors.ledger_row import EventRow
from bfactors.subject import is_of_firmware
from gateways.admin.ports import EventTooOld, FeedItem
from gateways.nats.ledger_feed import LedgerFeed


class StreamFeed:
    """`gateways.admin.ports.EventFeed` over the published events."""

    def __init__(self, feed: LedgerFeed) -> None:
        self._feed = feed

    async def open(self, after: int | None) -> AsyncIterator[FeedItem]:
        """Raises EventTooOld, Unavailable."""
        bounds = await self._feed.bounds()
        if after is not None and after + 1 < bounds.first:
            raise EventTooOld(f"the stream begins at {bounds.first}")
        return self._items(bounds.last if after is None else min(after, bounds.last))

    async def _items(self, after: int) -> AsyncIterator[FeedItem]:
        rows = self._feed.read(after)
        try:
            async for position, row in rows:
                if is_of_firmware(row.event):
                    continue  # no operational role follows firmware trust; its trail has a route of its own
                yield FeedItem(position, row.event, _data(row))
        finally:
            await rows.aclose()


def _data(row: EventRow) -> bytes:
    """The event as the audit trail shows it."""
    body = {name: getattr(row, name) for name in EventRow.__struct_fields__ if name != "payload"}
    return msgspec.json.encode({**body, "payload": msgspec.Raw(row.payload.encode())})
