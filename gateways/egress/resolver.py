"""Names to addresses, for one connection each: what is checked here is what is connected to, so a second answer of the
name's owner (DNS rebinding) comes too late."""

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from bfactors.errors import NotFetched
from gateways.egress.address import is_public


class PublicResolver(AbstractResolver):
    """Around another resolver: a name with any private address among its addresses has none at all.

    It must be asked for every connection anew (`use_dns_cache=False`). Raises NotFetched, and OSError for unknown names.
    """

    def __init__(self, names: AbstractResolver, allowed_hosts: frozenset[str]) -> None:
        self._names = names
        self._allowed_hosts = allowed_hosts

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._names.resolve(host, port, family)
        if host.lower() not in self._allowed_hosts and not all(is_public(each["host"]) for each in found):
            raise NotFetched("private-address", host)
        return found

    async def close(self) -> None:
        await self._names.close()
