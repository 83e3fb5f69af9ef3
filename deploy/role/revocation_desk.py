"""Core's own look at what CAs publish: a way out of its own, which reaches the stand-in for AWS too."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

from bfactors.ports import Clock, Metrics
from bfactors.revocation_answer import RevocationAnswer
from bfactors.revocation_list import RevocationList, SeenList
from bfactors.settings import Settings
from deploy.role.certificate_desk import issuers_in
from gateways.egress.egress import HttpEgress
from gateways.nats.lanes import run_on
from gateways.ocsp.reader import RevocationSourceReader

T = TypeVar("T")


class RevocationDesk:
    """`bfactors.ports.RevocationReader` callable from any lane; made and stopped on the I/O lane.

    The addresses come from certificates that our own CAs signed, never from a charger. So the host that stands in for AWS, a
    private one, may be asked here, and not on the way out that chargers' questions take.
    """

    def __init__(
        self, settings: Settings, clock: Clock, metrics: Metrics, loop: asyncio.AbstractEventLoop
    ) -> None:
        stand_in = urlsplit(settings.aws_endpoint_url).hostname
        hosts = [*settings.egress_allowed_hosts, *([stand_in] if stand_in else [])]
        self._egress = HttpEgress(metrics, allowed_hosts=hosts)
        self._reader = RevocationSourceReader(
            self._egress, clock, issuers_in(settings.revocation_issuers_file)
        )
        self._loop = loop

    async def list_at(self, address: str, issuer_pem: str) -> RevocationList:
        return await self._over(self._reader.list_at(address, issuer_pem))

    async def answer_at(self, address: str, issuer_pem: str, serial_number: str) -> RevocationAnswer:
        return await self._over(self._reader.answer_at(address, issuer_pem, serial_number))

    async def issuer_of(self, chain_pem: str) -> str | None:
        return await self._over(self._reader.issuer_of(chain_pem))

    async def _over(self, work: Coroutine[Any, Any, T]) -> T:
        return await run_on(self._loop, work, "egress")

    async def stop(self) -> None:
        """Cut what is open."""
        await self._egress.close()


class SeenLists:
    """`bfactors.ports.ListBoard`: what this node's actors read, whichever lane they live on, for whoever asks."""

    def __init__(self) -> None:
        self._seen: dict[str, SeenList] = {}

    def note(self, authority_arn: str, seen: SeenList) -> None:
        self._seen[authority_arn] = seen

    def of(self, authority_arn: str) -> SeenList | None:
        """None: this node has read none of that CA since it started."""
        return self._seen.get(authority_arn)
