"""The rest of BetterFleet, as far as a charger's question needs it: whoever answers on `bf.ocpp-decision.<charger>`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import nats
from nats.aio.msg import Msg

from tests.conformance.control_plane import ControlPlane
from tests.conformance.raw_charger import Payload

Decide = Callable[[str, Payload], Payload | None]
"""(action, what the charger asked) -> the answer, or None to stay silent."""


@asynccontextmanager
async def deciding(system: ControlPlane, decide: Decide) -> AsyncIterator[list[tuple[str, Payload]]]:
    """Serve the decisions of a running system; what was asked is written down."""
    data = system.folder / "data"
    [ports] = (data / "run" / "nats").glob("*.ports")
    [url] = [each for each in json.loads(ports.read_text())["nats"] if "127.0.0.1" in each]
    asked: list[tuple[str, Payload]] = []
    client = await nats.connect(url, nkeys_seed=str(data / "secrets" / "nats-core.seed"))

    async def serve(message: Msg) -> None:
        action = (message.headers or {})["Bf-Action"]
        question = json.loads(message.data)
        asked.append((action, question))
        decision = decide(action, question)
        if decision is not None:
            await message.respond(json.dumps(decision).encode())

    try:
        await client.subscribe("bf.ocpp-decision.>", cb=serve)
        await client.flush()
        yield asked
    finally:
        await client.close()
