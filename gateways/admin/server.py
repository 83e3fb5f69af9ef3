"""A socket for the admin application."""

import ipaddress
import ssl
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bfactors.errors import SettingsError

CLOSE_WITHIN_S = 5.0
KEEP_ALIVE_S = 75.0


@dataclass(frozen=True, slots=True)
class AdminServer:
    """A listening admin API. `url` has no slash at its end."""

    url: str
    port: int
    _runner: web.AppRunner

    async def close(self) -> None:
        """Stop listening, let what is under way end, then cut what is left."""
        await self._runner.cleanup()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


async def serve_admin(
    app: web.Application, host: str, port: int, tls: ssl.SSLContext | None = None
) -> AdminServer:
    """Listen; port 0 takes a free one.

    Raises SettingsError: the address is taken or not ours, or it is not loopback and there is no TLS.
    """
    if tls is None and not is_loopback(host):
        raise SettingsError(f"admin_host {host} is reachable from other machines and needs TLS")
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=CLOSE_WITHIN_S, keepalive_timeout=KEEP_ALIVE_S
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=tls)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise SettingsError(
            f"the admin API cannot listen on {host}:{port}: {error.strerror or error}"
        ) from None
    address: Any = runner.addresses[0]
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    scheme = "https" if tls is not None else "http"
    return AdminServer(f"{scheme}://{shown}:{address[1]}", address[1], runner)
