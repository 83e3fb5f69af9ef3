"""How well a role reaches NATS, for Prometheus."""

import asyncio

from bfactors.ports import Metrics
from gateways.nats.gateway import NatsGateway

EVERY_S = 5.0


async def keep_measuring(nats: NatsGateway, role: str, metrics: Metrics) -> None:
    """Until cancelled. I/O lane."""
    while True:
        metrics.gauge("bf_nats_connected", 1.0 if nats.connection.healthy else 0.0, role=role)
        metrics.gauge("bf_nats_publications_waiting", nats.publisher.depth, role=role)
        await asyncio.sleep(EVERY_S)
