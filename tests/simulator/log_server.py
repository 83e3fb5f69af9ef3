"""An upload receiver for logs: real HTTP or HTTPS, told by a test what to answer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class LogServer:
    """Keeps what was uploaded: method, path, Authorization and text."""

    statuses: list[int] = field(default_factory=list)
    uploads: list[tuple[str, str, str, str]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    @asynccontextmanager
    async def listen(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[LogServer]:
        self.open.set()
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            self.open.set()
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.uploads.append((request.method, request.path, request.headers.get("Authorization", ""), text))
        self.arrived.set()
        await self.open.wait()
        status = self.statuses.pop(0) if self.statuses else 201
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else None)
