"""Memory per idle charger over mutual TLS, its actor included, over a stock `websockets` server's on asyncio.

The growth of the server's resident set from a few connections to all of them; a fresh server every time, because memory
once used is kept. No compression is offered: with it the peer would need more.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median

from bench import pki
from bench.process import ProcessFailed, Subject
from bench.round import Result, interleave, ratios

TARGET = 0.30
_WARM = 50


def measure(folder: Path, quick: bool, said: Callable[[str], None]) -> list[Result]:
    """Bytes a charger, ours and the peer's."""
    rounds, connections = (1, 200) if quick else (5, 2000)
    pki.make(folder, _WARM + connections)

    def grown(module: str) -> float:
        with (
            Subject(module, folder, chargers=_WARM + connections) as server,
            Subject("bench.dialer", folder, port=server.ready["port"]) as dialer,
        ):

            def reach(first: int, count: int) -> int:
                dialer.ask("connect", first=first, count=count)
                settled = server.ask("settled", sessions=first + count, opened=first + count)
                if settled["trouble"]:
                    raise ProcessFailed(str(settled["trouble"]))
                return int(server.ask("rss")["rss_bytes"])

            before = reach(0, _WARM)
            return (reach(_WARM, connections) - before) / connections

    found = interleave(
        rounds, {"ours": lambda: grown("bench.product"), "stock": lambda: grown("bench.stock")}, said
    )
    each_round = ratios(found["ours"], found["stock"])
    return [
        Result(
            name="memory",
            ratio=median(each_round),
            target=TARGET,
            ratios=each_round,
            ours=f"{found['ours'].scaled(1 / 1024)} KiB RSS a charger",
            peer=f"{found['stock'].scaled(1 / 1024)} KiB, websockets on asyncio, idle",
            details={"connections": connections, "rounds": rounds},
        )
    ]
