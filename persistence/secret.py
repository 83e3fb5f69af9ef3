"""Secrets that still have to be sent: sealed here, opened here, in clear nowhere else but in the memory of whoever asked."""

import secrets
from datetime import datetime
from typing import Self

import asyncpg
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bfactors.disclosed import Disclosed
from bfactors.errors import LedgerCorrupt
from bfactors.ports import KeyCustody
from bfactors.secret import OpenedSecret, SealingKey, SecretName
from persistence.database import open_pool, unavailable_when_lost
from persistence.query import queries

NONCE_BYTES = 12
"""Random ones, so a key must seal fewer than 2^32 secrets (NIST SP 800-38D); a fleet's rotations stay far below."""

_SQL = queries("secret")


class PostgresSecretStore:
    """`bfactors.ports.SecretStore` on the writer's role. Runs on the pool's loop; every method may raise Unavailable."""

    def __init__(self, writer_pool: asyncpg.Pool, custody: KeyCustody) -> None:
        self._pool = writer_pool
        self._custody = custody

    @classmethod
    async def reach(cls, writer_dsn: str, custody: KeyCustody, *, size: int = 2) -> Self:
        """With a pool of its own, ended by `close`. Raises Unavailable."""
        return cls(await open_pool(writer_dsn, size=size, application="bf-secret"), custody)

    async def close(self) -> None:
        """Cut off what is still under way."""
        self._pool.terminate()

    async def put(self, name: SecretName, disclosed: Disclosed, expires_at: datetime | None) -> bool:
        """Seal and keep. False: a live secret has this id already, and it stays as it is - open it and go on with that."""
        key = await self._custody.sealing_key()
        async with unavailable_when_lost(), self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_SQL["delete_expired"], name.secret_id)
            return await _insert(connection, key, name, disclosed, expires_at)

    async def open(self, secret_id: str) -> OpenedSecret | None:
        """The secret; None when there is none or it has expired.

        Raises LedgerCorrupt when the row is not as it was sealed, Unavailable also when its sealing key is not at hand.
        """
        async with unavailable_when_lost():
            row = await self._pool.fetchrow(_SQL["find"], secret_id)
        return None if row is None else await self._opened(row)

    async def reseal(self, secret_id: str, expires_at: datetime | None) -> bool:
        """Give a secret another expiry (None: kept until deleted), under the newest key. False: there is none.

        Raises LedgerCorrupt as `open`; the row then stays.
        """
        key = await self._custody.sealing_key()
        async with unavailable_when_lost(), self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(_SQL["take"], secret_id)
            if row is None:
                return False
            opened = await self._opened(row)
            return await _insert(connection, key, opened.name, opened.disclosed, expires_at)

    async def delete(self, secret_id: str) -> bool:
        """Whether there was one to delete, expired or not."""
        async with unavailable_when_lost():
            return await self._pool.fetchval(_SQL["delete"], secret_id) is not None

    async def expire(self) -> int:
        """Delete what nobody wants: secrets whose command never came, keys whose job has ended; how many they were."""
        async with unavailable_when_lost():
            return int(await self._pool.fetchval(_SQL["expire"]))

    async def _opened(self, row: asyncpg.Record) -> OpenedSecret:
        key = await self._custody.opening_key(row["key_id"], row["wrapped"])
        name = SecretName(
            secret_id=row["secret_id"],
            purpose=row["purpose"],
            charger_id=row["charger_id"],
            generation=row["generation"],
        )
        try:
            value = AESGCM(key.key).decrypt(row["nonce"], row["sealed"], _bound_to(name))
        except InvalidTag:
            raise LedgerCorrupt(f"the secret {name.secret_id} is not as it was sealed") from None
        return OpenedSecret(name, Disclosed(value))


async def _insert(
    connection: asyncpg.Connection,
    key: SealingKey,
    name: SecretName,
    disclosed: Disclosed,
    expires_at: datetime | None,
) -> bool:
    nonce = secrets.token_bytes(NONCE_BYTES)
    sealed = AESGCM(key.key).encrypt(nonce, disclosed.value, _bound_to(name))
    inserted = await connection.fetchval(
        _SQL["put"],
        *(name.secret_id, name.purpose, name.charger_id, name.generation),
        *(key.key_id, key.wrapped, nonce, sealed, expires_at),
    )
    return inserted is not None


def _bound_to(name: SecretName) -> bytes:
    """What the seal covers besides the secret. A JSON list, since `|` or `,` may stand in a charger's name."""
    return msgspec.json.encode(
        ["bf-secret-1", name.secret_id, name.purpose, name.charger_id, name.generation]
    )
