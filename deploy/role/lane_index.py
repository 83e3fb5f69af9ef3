"""The certificate index as the purposes' lanes see it: its connections live on the I/O lane, every call goes over and back."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from bfactors.known_certificate import KnownCertificate
from bfactors.ports import CertificateIndex
from gateways.nats.lanes import run_on

T = TypeVar("T")
PEER = "PostgreSQL"


class LaneIndex:
    """`CertificateIndex` callable from any lane."""

    def __init__(self, index: CertificateIndex, io_loop: asyncio.AbstractEventLoop) -> None:
        self._index = index
        self._io_loop = io_loop

    async def _over(self, work: Coroutine[Any, Any, T]) -> T:
        return await run_on(self._io_loop, work, PEER)

    async def by_serial(self, serial_numbers: Sequence[str]) -> Mapping[str, KnownCertificate]:
        return await self._over(self._index.by_serial(serial_numbers))

    async def of_purpose(
        self, purpose: str, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[KnownCertificate]:
        return await self._over(self._index.of_purpose(purpose, after, limit))

    async def charger_of_key(self, spki_sha256: str) -> str | None:
        return await self._over(self._index.charger_of_key(spki_sha256))
