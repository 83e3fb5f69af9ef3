"""The certificate index as the purposes' lanes see it: its connections live on the I/O lane, every call goes over and back."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from bfactors.known_certificate import KnownCertificate
from bfactors.ports import CertificateIndex, IssuedSample
from gateways.nats.lanes import run_on
from persistence.certificate_index import PostgresCertificateIndex

T = TypeVar("T")
PEER = "PostgreSQL"


class LaneIndex:
    """`CertificateIndex` and `IssuedSample` callable from any lane."""

    def __init__(self, index: PostgresCertificateIndex, io_loop: asyncio.AbstractEventLoop) -> None:
        self._index: CertificateIndex = index
        self._sample: IssuedSample = index
        self._io_loop = io_loop

    async def _over(self, work: Coroutine[Any, Any, T]) -> T:
        return await run_on(self._io_loop, work, PEER)

    async def by_serial(self, serial_numbers: Sequence[str]) -> Mapping[str, KnownCertificate]:
        return await self._over(self._index.by_serial(serial_numbers))

    async def of_purpose(
        self, purpose: str, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[KnownCertificate]:
        return await self._over(self._index.of_purpose(purpose, after, limit))

    async def newest_issued(self, purpose: str) -> Sequence[tuple[str, str]]:
        return await self._over(self._sample.newest_issued(purpose))

    async def charger_of_key(self, spki_sha256: str) -> str | None:
        return await self._over(self._index.charger_of_key(spki_sha256))
