"""What pseudonyms stand for: sealed here, and the one thing about an identity that can be taken back."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Self

import asyncpg
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bfactors.disclosed import Disclosed
from bfactors.errors import LedgerCorrupt
from bfactors.ports import KeyCustody
from persistence.database import open_pool, unavailable_when_lost
from persistence.query import queries

NONCE_BYTES = 12
_SQL = queries("personal_identifier")


class PostgresPersonalIdentifiers:
    """`bfactors.ports.PersonalIdentifiers` on the writer's role. Runs on the pool's loop; methods may raise Unavailable."""

    def __init__(self, writer_pool: asyncpg.Pool, custody: KeyCustody) -> None:
        self._pool = writer_pool
        self._custody = custody

    @classmethod
    async def reach(cls, writer_dsn: str, custody: KeyCustody, *, size: int = 2) -> Self:
        """With a pool of its own, ended by `close`. Raises Unavailable."""
        return cls(await open_pool(writer_dsn, size=size, application="bf-personal"), custody)

    async def close(self) -> None:
        """Cut off what is still under way."""
        self._pool.terminate()

    async def put(self, pseudonym: str, kind: str, value: Disclosed, now: datetime) -> None:
        """Seal and keep; what is there already stays, and counts as used just now."""
        key = await self._custody.sealing_key()
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = AESGCM(key.key).encrypt(nonce, value.value, _bound_to(pseudonym, kind))
        row = (pseudonym, kind, key.key_id, key.wrapped, nonce, sealed, now)
        async with unavailable_when_lost():
            await self._pool.execute(_SQL["put"], *row)

    async def open(self, pseudonyms: Sequence[str]) -> Mapping[str, Disclosed]:
        """What of these is still there. Raises LedgerCorrupt for a row that is not as it was sealed."""
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SQL["find"], list(pseudonyms))
        return {row["pseudonym"]: await self._opened(row) for row in rows}

    async def sweep_unwanted(self, used_before: datetime, limit: int) -> int:
        """Delete values that no identity bears, or that were erased there; how many, at most `limit`."""
        async with unavailable_when_lost():
            return int(await self._pool.fetchval(_SQL["sweep_unwanted"], used_before, limit))

    async def sweep_retired(self, retired_before: datetime, limit: int) -> int:
        """Delete values whose last bearer was retired before that; how many, at most `limit`."""
        async with unavailable_when_lost():
            return int(await self._pool.fetchval(_SQL["sweep_retired"], retired_before, limit))

    async def _opened(self, row: asyncpg.Record) -> Disclosed:
        key = await self._custody.opening_key(row["key_id"], row["wrapped"])
        bound = _bound_to(row["pseudonym"], row["kind"])
        try:
            return Disclosed(AESGCM(key.key).decrypt(row["nonce"], row["sealed"], bound))
        except InvalidTag:
            raise LedgerCorrupt(f"what {row['pseudonym']} stands for is not as it was sealed") from None


def _bound_to(pseudonym: str, kind: str) -> bytes:
    """What the seal covers besides the value."""
    return msgspec.json.encode(["bf-personal-1", pseudonym, kind])
