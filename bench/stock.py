"""The peers: a stock `websockets` server on asyncio with TLS, idle, or serving OCPP with the `ocpp` package's ChargePoint.

Default settings throughout; the loop is asyncio's own unless `loop` says uvloop.
"""

from __future__ import annotations

import asyncio
import gc
import os
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop
from ocpp.routing import on
from ocpp.v201 import ChargePoint, call_result
from ocpp.v201.enums import CertificateSignedStatusEnumType, RegistrationStatusEnumType
from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as listen
from websockets.typing import Subprotocol

from bench import pki
from bench.process import serve, settings_of_this_process
from supervisors.descriptor_limit import raise_descriptor_limit

_SETTLED_S = 30.0


class Station(ChargePoint):  # type: ignore[misc]
    """A charger as the `ocpp` package models it: every call validated, and every answer."""

    @on("BootNotification")  # type: ignore[untyped-decorator]
    async def booted(self, **_: Any) -> call_result.BootNotification:
        return call_result.BootNotification(
            current_time=datetime.now(UTC).isoformat(),
            interval=300,
            status=RegistrationStatusEnumType.accepted,
        )

    @on("SignCertificate")  # type: ignore[untyped-decorator]
    async def sign(self, csr: str, **_: Any) -> call_result.SignCertificate:
        return call_result.SignCertificate(status=CertificateSignedStatusEnumType.accepted)


class Stock:
    """The server and how many are connected."""

    def __init__(self) -> None:
        self.sessions = 0
        self.opened = 0

    async def idle(self, connection: ServerConnection) -> None:
        """Hold the line."""
        await self._counted(connection.wait_closed())

    async def ocpp(self, connection: ServerConnection) -> None:
        """Serve OCPP 2.0.1 until the charger leaves."""
        assert connection.request is not None
        station = Station(connection.request.path.rpartition("/")[2], connection)
        await self._counted(station.start())

    async def _counted(self, work: Awaitable[Any]) -> None:
        self.sessions += 1
        self.opened += 1
        try:
            await work
        finally:
            self.sessions -= 1

    def settled(self, sessions: int, opened: int) -> dict[str, Any]:
        """Once so many are connected, and so many ever were."""
        deadline = time.monotonic() + _SETTLED_S
        while (self.sessions, self.opened) != (sessions, opened) and time.monotonic() < deadline:
            time.sleep(0.005)
        return {"trouble": [] if (self.sessions, self.opened) == (sessions, opened) else ["not settled"]}


async def _listen(files: pki.Files, handler: Callable[[ServerConnection], Awaitable[None]]) -> Server:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files.root))
    tls.load_cert_chain(*files.server)
    tls.verify_mode = ssl.CERT_REQUIRED
    return await listen(handler, "127.0.0.1", 0, ssl=tls, subprotocols=[Subprotocol("ocpp2.0.1")])


def main() -> None:
    settings = settings_of_this_process()
    raise_descriptor_limit()
    stock = Stock()
    loop = uvloop.new_event_loop() if settings.get("loop") == "uvloop" else asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    handler = stock.ocpp if settings.get("serves") == "ocpp" else stock.idle
    listening = _listen(pki.Files(Path(settings["folder"])), handler)
    server = asyncio.run_coroutine_threadsafe(listening, loop).result()
    port = next(iter(server.sockets)).getsockname()[1]
    gc.collect()
    serve({"settled": stock.settled}, port=port)
    os._exit(0)


if __name__ == "__main__":
    main()
