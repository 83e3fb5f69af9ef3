"""A socket for the admin application."""

import asyncio
import ipaddress
import logging
import ssl
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bfactors.errors import SettingsError
from gateways.admin.problem import Problem

_LOG = logging.getLogger(__name__)

CLOSE_WITHIN_S = 5.0
KEEP_ALIVE_S = 75.0


@dataclass(frozen=True, slots=True)
class AdminServer:
    """A listening admin API. `url` has no slash at its end."""

    url: str
    port: int
    _listener: asyncio.Server
    _runner: web.AppRunner

    async def close(self) -> None:
        """Stop listening, end event streams, let the rest end by itself, then cut what is left."""
        self._listener.close()
        await self._runner.cleanup()


class _Connection(web.RequestHandler):
    """aiohttp's connection, answering what it cannot even parse in the form of every other error."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Called by aiohttp for broken requests; its own text would repeat what the client sent."""
        _LOG.info("admin request not readable: %s", type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun, nothing can be put in its place")
        if status >= 500:
            problem = Problem(500, "internal-error", "this is a fault of the server and has been logged")
        else:
            problem = Problem(
                400, "malformed-request", "this is not an HTTP request, or a line of it is too long"
            )
        response = problem.response()
        response.force_close()
        return response


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
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_WITHIN_S)
    await runner.setup()
    loop = asyncio.get_running_loop()
    connections = runner.server
    assert connections is not None

    def connect() -> _Connection:
        return _Connection(
            connections,
            loop=loop,
            access_log=None,  # type: ignore[arg-type] # how aiohttp's own runner turns it off
            keepalive_timeout=KEEP_ALIVE_S,
        )

    try:
        listener = await loop.create_server(connect, host.strip("[]"), port, ssl=tls, backlog=128)
    except OSError as error:
        await runner.cleanup()
        raise SettingsError(f"the admin API cannot listen on {host}:{port}: {_reason(error)}") from None
    taken: Any = listener.sockets[0].getsockname()
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    scheme = "https" if tls is not None else "http"
    return AdminServer(f"{scheme}://{shown}:{taken[1]}", taken[1], listener, runner)


def _reason(error: OSError) -> str:
    """asyncio packs the system's words into a long sentence of its own."""
    text = error.strerror or str(error)
    return text.rpartition(": ")[2] if "error while attempting" in text else text
