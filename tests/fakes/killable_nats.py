"""A NATS server of a test module's own that may be killed, and a pair of clients that notice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from deploy.embedded import DataDirectory, EmbeddedNats
from gateways.nats.layout import NatsLayout
from tests.fakes.nats_sides import JetStreamSide, jetstream_side
from tests.patience import PATIENCE_S


@contextlib.contextmanager
def killable_server(folder: Path) -> Iterator[EmbeddedNats]:
    with DataDirectory.open(folder / "data") as data:
        server = EmbeddedNats.start(data, durable=False)
        try:
            yield server
        finally:
            server.stop()


@contextlib.asynccontextmanager
async def killable_side(
    server: EmbeddedNats, layout: NatsLayout | None = None
) -> AsyncIterator[JetStreamSide]:
    """A side on the server, which runs again afterwards whatever the test did to it."""
    if not server.is_alive:
        server.restart()
    async with jetstream_side(server, layout) as side:
        yield side
        if not server.is_alive:  # the streams are to be cleaned up
            server.restart()
            await both_connected(side)


async def kill(server: EmbeddedNats, side: JetStreamSide) -> None:
    """kill -9, and wait until both clients have noticed."""
    lost = [asyncio.Event(), asyncio.Event()]
    for event, gateway in zip(lost, (side.core, side.connect), strict=True):
        if gateway.connection.healthy:
            gateway.connection.on_lost(event.set)
        else:
            event.set()
    os.kill(server.pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        for event in lost:
            await event.wait()


async def both_connected(side: JetStreamSide) -> None:
    await asyncio.gather(side.core.connected(PATIENCE_S), side.connect.connected(PATIENCE_S))
