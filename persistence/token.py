"""API tokens: shown once, stored as SHA-256, so that neither the database nor its backup lets anyone in.

The tokens are 256 random bits, hence a plain hash: there is nothing to guess that a slow one would protect.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Self

import asyncpg
import msgspec

from bfactors.refusal import Refusal
from persistence.database import open_pool, unavailable_when_lost
from persistence.query import queries

PREFIX = "bf_"
"""So that a leaked token can be recognised by scanners and by people."""

_SQL = queries("token")


class ApiToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token without the token."""

    name: str
    role: str
    created_at: datetime
    revoked_at: datetime | None
    cohorts: tuple[str, ...] | None = None
    """What it is limited to; None: nothing."""


class TokenStore:
    """Tokens by name; a name is free again once its token is revoked. Runs on the pool's loop; raises Unavailable."""

    def __init__(self, writer_pool: asyncpg.Pool) -> None:
        self._pool = writer_pool

    @classmethod
    async def open(cls, writer_dsn: str, *, size: int = 2) -> Self:
        """With a pool of its own, ended by `close`. Raises Unavailable."""
        return cls(await open_pool(writer_dsn, size=size, application="bf-token"))

    async def close(self) -> None:
        """Cut off what is still under way."""
        self._pool.terminate()

    async def create(self, name: str, role: str, cohorts: Sequence[str] | None = None) -> str | Refusal:
        """The new token, the only time it can be seen; refused while another live token has the name."""
        token = PREFIX + secrets.token_urlsafe(32)
        async with unavailable_when_lost():
            made = await self._pool.fetchval(_SQL["create"], _hash(token), role, name, cohorts)
        if made is None:
            return Refusal("token-name-taken", f"a live token is already called {name!r}", "name", 409)
        return token

    async def verify(self, token: str) -> ApiToken | None:
        """Whose token this is; None for an unknown or revoked one. Compared by its hash, so timing tells nothing."""
        async with unavailable_when_lost():
            row = await self._pool.fetchrow(_SQL["verify"], _hash(token))
        return None if row is None else _token(row)

    async def revoke(self, name: str) -> bool:
        """Whether a live token of that name was revoked just now."""
        async with unavailable_when_lost():
            revoked = await self._pool.fetchval(_SQL["revoke"], name)
        return revoked is not None

    async def list(self) -> list[ApiToken]:
        """Every token there ever was, oldest first."""
        async with unavailable_when_lost():
            return [_token(row) for row in await self._pool.fetch(_SQL["list"])]


def _token(row: Mapping[str, Any]) -> ApiToken:
    cohorts = row["cohorts"]
    return ApiToken(**{**row, "cohorts": None if cohorts is None else tuple(cohorts)})


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
