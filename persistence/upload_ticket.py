"""Upload tickets as rows: who may upload a log, and the fact that one is here, kept until it is in the evidence stream."""

from collections.abc import Sequence
from typing import Self

import asyncpg
import msgspec

from bfactors.log_upload import UploadReceived, UploadTicket
from persistence.database import open_pool, unavailable_when_lost
from persistence.query import queries

_SQL = queries("upload_ticket")
_AT_ONCE = 100
_encode = msgspec.json.Encoder().encode
_RECEIVED = msgspec.json.Decoder(UploadReceived)


class PostgresUploadTickets:
    """On the writer's role. Runs on the pool's loop; every method may raise Unavailable."""

    def __init__(self, writer_pool: asyncpg.Pool) -> None:
        self._pool = writer_pool

    @classmethod
    async def reach(cls, writer_dsn: str, *, size: int = 2) -> Self:
        """With a pool of its own, ended by `close`. Raises Unavailable."""
        return cls(await open_pool(writer_dsn, size=size, application="bf-upload"))

    async def close(self) -> None:
        """Cut off what is still under way."""
        self._pool.terminate()

    async def claim(self, ticket_hash: str) -> UploadTicket | None:
        """The ticket while its request is open and nothing has come under it."""
        async with unavailable_when_lost():
            row = await self._pool.fetchrow(_SQL["claim"], bytes.fromhex(ticket_hash))
        if row is None:
            return None
        return UploadTicket(
            charger_id=row["charger_id"],
            request_id=row["request_id"],
            log_type=row["log"],
            expires_at=row["expires_at"],
            max_bytes=row["max_bytes"],
            credential_hash=row["credential_hash"].hex(),
        )

    async def use_up(self, received: UploadReceived) -> bool:
        """Keep the fact under its ticket. False: another upload was first. The same fact again is True again."""
        key = bytes.fromhex(received.ticket_hash)
        async with unavailable_when_lost():
            if await self._pool.fetchval(_SQL["use_up"], key, _encode(received)) is not None:
                return True
            first = await self._pool.fetchval(_SQL["used_by"], key)
        return first is not None and _RECEIVED.decode(first) == received

    async def unannounced(self) -> Sequence[UploadReceived]:
        """Facts that may not be in the evidence stream yet."""
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SQL["unannounced"], _AT_ONCE)
        return [_RECEIVED.decode(row["received"]) for row in rows]

    async def announced(self, ticket_hash: str) -> None:
        """The fact is in the evidence stream."""
        async with unavailable_when_lost():
            await self._pool.execute(_SQL["announced"], bytes.fromhex(ticket_hash))

    async def forget_secrets(self) -> int:
        """Delete the sealed addresses of requests that have ended; how many they were."""
        async with unavailable_when_lost():
            return int(await self._pool.fetchval(_SQL["forget_secrets"]))
