"""The start-up check that operations and firmware signing have no key, issuer or certificate in common.

The ledger refuses whatever would bring them together, so an overlap that is found here came in another way: a restored
database, a CA of the settings. The node is not ready until it is gone.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

import msgspec

from bfactors.errors import Unavailable
from bfactors.firmware.state import FLEET_KEY as FIRMWARE_KEY
from bfactors.firmware.state import FirmwareFleet
from bfactors.firmware_fold import shared
from bfactors.fleet.state import FleetState
from bfactors.identity import FLEET
from bfactors.ledger_fold import FLEET_KEY
from bfactors.ledger_row import AggregateRow

_LOG = logging.getLogger(__name__)
MISSING = "firmware-trust-separation"
RETRY_S = 1.0
AGAIN_S = 5.0


class AggregateReader(Protocol):
    """Raises Unavailable."""

    async def aggregate(self, partition: int, key: str) -> AggregateRow | None: ...


class FirmwareSeparation:
    """Made and used on the I/O lane; `missing` may be read from any thread."""

    def __init__(self, reader: AggregateReader) -> None:
        self._reader = reader
        self._found: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """`firmware-trust-separation` while something is shared."""
        return [MISSING] if self._found else []

    async def until_apart(self, offered: Iterable[str] = ()) -> None:
        """Look until nothing is shared; `offered` are PEM texts about to be added to operations."""
        texts = tuple(offered)
        while True:
            if await self.is_apart(texts):
                return
            await asyncio.sleep(AGAIN_S)

    async def is_apart(self, offered: Iterable[str] = ()) -> bool:
        """One look, as soon as the database answers; says in the log what is shared, once."""
        while True:
            try:
                fleet = await self._reader.aggregate(FLEET, FLEET_KEY)
                firmware = await self._reader.aggregate(FLEET, FIRMWARE_KEY)
                break
            except Unavailable as away:
                _LOG.info("firmware trust is not compared with operations yet: %s", away)
                await asyncio.sleep(RETRY_S)
        operations = FleetState() if fleet is None else msgspec.json.decode(fleet.state, type=FleetState)
        anchors = (
            FirmwareFleet() if firmware is None else msgspec.json.decode(firmware.state, type=FirmwareFleet)
        )
        found = tuple(overlap.message for overlap in shared(anchors, operations, offered))
        if found != self._found:
            for message in found or ("nothing is shared any more",):
                log = _LOG.error if found else _LOG.info
                log("firmware trust and operations are to be kept apart: %s", message)
        self._found = found
        return not found
