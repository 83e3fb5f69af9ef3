"""A NATS client that ends without saying so is noticed and replaced."""

from __future__ import annotations

import asyncio

from deploy.embedded import EmbeddedNats, inbox_prefix
from gateways.nats.connection import NatsConnection
from gateways.nats.settings import NatsSettings
from tests.patience import PATIENCE_S


async def test_a_client_that_closed_without_its_callback_is_replaced(nats_server: EmbeddedNats) -> None:
    """As nats-py does when its socket was reset with bytes still to send, on uvloop: closed, and no callback."""
    connection = NatsConnection(
        NatsSettings(
            servers=(nats_server.url,),
            seed_file=nats_server.seed_file("core"),
            inbox_prefix=inbox_prefix("core"),
            name="core",
        )
    )
    connects, losses = asyncio.Semaphore(0), asyncio.Semaphore(0)
    connection.on_connected(connects.release)
    connection.on_lost(losses.release)
    connection.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await connects.acquire()
            client = connection._client
            client._status = client.CLOSED
            assert not connection.healthy
            await losses.acquire()
            await connects.acquire()
        assert connection.healthy
    finally:
        await connection.close()
