"""What operations are shown of firmware: that a charger is being updated and how far it got, in its own words.

The update is followed in one place, firmware trust; operators of chargers need to know why one reboots or stays away.
"""

from typing import Any

import msgspec

from bfactors.firmware.state import FirmwareUpdate, charger_key
from bfactors.identity import partition_of
from gateways.admin.ports import Reader


class _Updates(msgspec.Struct, frozen=True):
    updates: tuple[FirmwareUpdate, ...] = ()


_UPDATES = msgspec.json.Decoder(_Updates)


async def last_update(reader: Reader, charger_id: str) -> dict[str, Any] | None:
    """The newest status of the newest update; None: there was none."""
    row = await reader.aggregate(partition_of(charger_id), charger_key(charger_id))
    told = (
        [update for update in _UPDATES.decode(row.state).updates if update.statuses]
        if row is not None
        else []
    )
    if not told:
        return None
    status, at = told[-1].statuses[-1]
    return {"status": status, "request_id": told[-1].request_id, "at": at}
