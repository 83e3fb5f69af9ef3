"""The secret store as other lanes see it: its connections live on the I/O lane, every call goes over and back."""

import asyncio
from datetime import datetime

from bfactors.disclosed import Disclosed
from bfactors.ports import SecretStore
from bfactors.secret import OpenedSecret, SecretName
from gateways.nats.lanes import run_on

PEER = "PostgreSQL"


class LaneSecrets:
    """`SecretStore` callable from any lane."""

    def __init__(self, store: SecretStore, io_loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._io_loop = io_loop

    async def put(self, name: SecretName, disclosed: Disclosed, expires_at: datetime | None) -> bool:
        return await run_on(self._io_loop, self._store.put(name, disclosed, expires_at), PEER)

    async def open(self, secret_id: str) -> OpenedSecret | None:
        return await run_on(self._io_loop, self._store.open(secret_id), PEER)

    async def reseal(self, secret_id: str, expires_at: datetime | None) -> bool:
        return await run_on(self._io_loop, self._store.reseal(secret_id, expires_at), PEER)

    async def delete(self, secret_id: str) -> bool:
        return await run_on(self._io_loop, self._store.delete(secret_id), PEER)

    async def expire(self) -> int:
        return await run_on(self._io_loop, self._store.expire(), PEER)
