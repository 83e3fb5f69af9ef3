"""The one way out to addresses that are not in settings: `bfactors.ports.Egress` over aiohttp.

No redirect is followed, no proxy or cookie used, nothing unpacked; what is read and waited for is bounded.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from bfactors.errors import NotFetched
from bfactors.ports import Metrics
from gateways.egress.address import checked_url
from gateways.egress.breaker import Host, Hosts
from gateways.egress.resolver import PublicResolver

_LOG = logging.getLogger(__name__)

AT_ONCE = 64
"""Requests to all hosts together."""
_CHUNK_BYTES = 64 * 1024
_CANNOT = 500
_OK = 200
_TAKEN = range(200, 300)
"""How a POST may be answered well."""
_HOSTS_FAULT = frozenset({"unreachable", "timeout", "server-error"})


class HttpEgress:
    """Made and used on one loop. `names` resolves hosts (tests bring their own)."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        allowed_hosts: Iterable[str] = (),
        names: AbstractResolver | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)
        self._monotonic = monotonic
        self._hosts = Hosts()
        self._places = asyncio.Semaphore(AT_ONCE)
        connector = aiohttp.TCPConnector(
            resolver=PublicResolver(names or aiohttp.ThreadedResolver(), self._allowed_hosts),
            use_dns_cache=False,
            force_close=True,  # a connection kept alive would outlive what was checked for it
            limit=AT_ONCE,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"Accept-Encoding": "identity", "User-Agent": "betterfleet"},
        )

    async def close(self) -> None:
        """Cut what is open."""
        await self._session.close()

    async def fetch(
        self,
        url: str,
        *,
        size_bytes: int,
        within_s: float,
        body: bytes | None = None,
        content_type: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """What lies at an address; POSTs `body` if there is one, which any 2xx answers well. Raises NotFetched."""
        sent = {**(headers or {}), **({"Content-Type": content_type} if content_type else {})}
        outcome = "cut"
        began_s = self._monotonic()
        try:
            checked = checked_url(url, self._allowed_hosts)
            async with asyncio.timeout(within_s):
                found = await self._ask(checked, size_bytes, body, sent)
            outcome = "answered"
            return found
        except NotFetched as problem:
            outcome = problem.reason
            _LOG.info("nothing was fetched: %s", problem)
            raise
        except TimeoutError:
            outcome = "timeout"
            raise NotFetched("timeout", f"no answer within {within_s:g} s") from None
        finally:
            self._metrics.count("egress_requests_total", outcome=outcome)
            self._metrics.observe("egress_seconds", self._monotonic() - began_s)

    async def _ask(self, url: URL, size_bytes: int, body: bytes | None, headers: dict[str, str]) -> bytes:
        host = self._hosts.of(url.host or "", url.port or 0)
        if host.is_left_alone(self._monotonic()):
            raise NotFetched("left-alone", f"{url.host} has failed too often")
        host.in_use += 1
        try:
            async with host.places, self._places:
                return await self._counted(host, url, size_bytes, body, headers)
        finally:
            host.in_use -= 1

    async def _counted(
        self, host: Host, url: URL, size_bytes: int, body: bytes | None, headers: dict[str, str]
    ) -> bytes:
        try:
            found = await self._exchange(url, size_bytes, body, headers)
        except NotFetched as problem:
            if problem.reason in _HOSTS_FAULT:
                host.failed(self._monotonic())
            else:
                host.succeeded()
            raise
        except asyncio.CancelledError:  # out of time, as a rule: the caller's clock tells it so
            host.failed(self._monotonic())
            raise
        host.succeeded()
        return found

    async def _exchange(
        self, url: URL, size_bytes: int, body: bytes | None, headers: dict[str, str]
    ) -> bytes:
        method = "GET" if body is None else "POST"
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                if response.status != _OK and not (body is not None and response.status in _TAKEN):
                    reason = "server-error" if response.status >= _CANNOT else "not-ok"
                    raise NotFetched(reason, f"{url.host} answered {response.status}")
                found = bytearray()
                async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                    found += chunk
                    if len(found) > size_bytes:
                        raise NotFetched("too-large", f"more than {size_bytes} bytes from {url.host}")
                return bytes(found)
        except aiohttp.InvalidURL:
            raise NotFetched("bad-address", "not a URL") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NotFetched("unreachable", f"{url.host}: {type(error).__name__}") from error
