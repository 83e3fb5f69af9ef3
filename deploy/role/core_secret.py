"""Core's part in secrets on their way: it answers connect, and clears away what no command ever came for."""

import asyncio
import logging

from bfactors.errors import Unavailable
from bfactors.ports import SecretStore
from deploy.role.runtime import cancel
from gateways.nats.connection import NatsConnection
from gateways.nats.secret import NatsSecretDoor

_LOG = logging.getLogger(__name__)
SWEPT_EVERY_S = 60.0


class CoreSecrets:
    """Made and used on the I/O lane."""

    def __init__(
        self, connection: NatsConnection, store: SecretStore, *, swept_every_s: float = SWEPT_EVERY_S
    ) -> None:
        self.store = store
        self._swept_every_s = swept_every_s
        self._door = NatsSecretDoor(connection, store)
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Answer from now on, or from when NATS is there."""
        await self._door.start()
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep(), name="sweep secrets")

    async def stop(self) -> None:
        """Answer nobody any more."""
        if self._sweeping is not None:
            await cancel([self._sweeping])
        await self._door.stop()

    async def _sweep(self) -> None:
        while True:
            try:
                swept = await self.store.expire()
            except Unavailable as away:
                _LOG.info("secrets past their time are not swept yet: %s", away)
            else:
                if swept:
                    _LOG.info("%d secrets past their time were deleted", swept)
            await asyncio.sleep(self._swept_every_s)
