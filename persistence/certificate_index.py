"""The ledger's certificates by serial number, purpose and key: for whoever compares them with what a CA says."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Self

import asyncpg

from bfactors.known_certificate import KnownCertificate
from persistence.database import open_pool, unavailable_when_lost
from persistence.query import queries

_SQL = queries("certificate_index")
_WITHIN = timedelta(seconds=30)


class PostgresCertificateIndex:
    """`bfactors.ports.CertificateIndex` on the reader's role. Runs on the pool's loop; may raise Unavailable."""

    def __init__(self, reader_pool: asyncpg.Pool) -> None:
        self._pool = reader_pool

    @classmethod
    async def reach(cls, reader_dsn: str, *, size: int = 2) -> Self:
        """With a pool of its own, ended by `close`."""
        return cls(
            await open_pool(reader_dsn, size=size, application="bf-reconciliation", statement_timeout=_WITHIN)
        )

    async def close(self) -> None:
        """Cut off what is still under way."""
        self._pool.terminate()

    async def by_serial(self, serial_numbers: Sequence[str]) -> Mapping[str, KnownCertificate]:
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SQL["by_serial"], list(serial_numbers))
        return {row["serial_number"]: KnownCertificate(**row) for row in rows}

    async def of_purpose(
        self, purpose: str, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[KnownCertificate]:
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SQL["of_purpose"], purpose, *(after or (None, None)), limit)
        return [KnownCertificate(**row) for row in rows]

    async def charger_of_key(self, spki_sha256: str) -> str | None:
        async with unavailable_when_lost():
            charger_id: str | None = await self._pool.fetchval(
                _SQL["charger_of_key"], bytes.fromhex(spki_sha256)
            )
        return charger_id

    async def newest_issued(self, purpose: str) -> Sequence[tuple[str, str]]:
        """`bfactors.ports.IssuedSample`."""
        async with unavailable_when_lost():
            rows = await self._pool.fetch(_SQL["newest_issued"], purpose)
        return [(row["arn"], row["chain_pem"]) for row in rows]
