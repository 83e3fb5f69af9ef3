"""Server CPU per accepted charger - mutual TLS 1.3, identity check, actor, SessionOpened recorded - over a bare handshake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median

from bench import pki
from bench.process import ProcessFailed, Subject
from bench.round import Result, interleave, ratios, shares

TARGET = 2.0


def measure(folder: Path, quick: bool, said: Callable[[str], None]) -> list[Result]:
    """Every round connects chargers the server has never seen; the limit shakes hands with the same certificates."""
    rounds, each = (1, 40) if quick else (9, 150)
    warm = 16
    chargers = warm + rounds * each
    pki.make(folder, chargers)
    with (
        Subject("bench.product", folder, chargers=chargers) as server,
        Subject("bench.handshake", folder, chargers=chargers) as limit,
        Subject("bench.dialer", folder, port=server.ready["port"]) as dialer,
    ):
        connected = 0

        def connect(count: int) -> float:
            nonlocal connected
            before = server.cpu_s()
            dialer.ask("connect", first=connected, count=count)
            connected += count
            settled = server.ask("settled", sessions=count, opened=connected)
            spent = server.cpu_s() - before
            if settled["trouble"]:
                raise ProcessFailed(str(settled["trouble"]))
            dialer.ask("leave")
            server.ask("settled", sessions=0, opened=connected)
            return spent / count

        def shake(count: int, settings: str) -> float:
            return float(limit.ask("shake", count=count, server=settings)["cpu_s"]) / count

        connect(warm)
        shake(warm, "port")
        threads = server.ask("threads")
        found = interleave(
            rounds,
            {
                "ours": lambda: connect(each),
                "handshake": lambda: shake(each, "stock"),
                "port_handshake": lambda: shake(each, "port"),
            },
            said,
        )
        spent = shares(threads, server.ask("threads"), rounds * each)
    to_stock = ratios(found["ours"], found["handshake"])
    to_port = ratios(found["ours"], found["port_handshake"])
    ours = f"{found['ours'].scaled(1e6)} us CPU a charger"
    details = {"rounds": rounds, "chargers_a_round": each, "us_by_thread_with_closing": spent}
    return [
        Result(
            name="connect",
            ratio=median(to_stock),
            target=TARGET,
            ratios=to_stock,
            ours=ours,
            peer=f"{found['handshake'].scaled(1e6)} us, server half of a handshake in memory",
            details={"handshake": "default settings: root trusted, two session tickets", **details},
        ),
        Result(
            name="connect, to a trimmed handshake",
            ratio=median(to_port),
            target=None,
            ratios=to_port,
            ours=ours,
            peer=f"{found['port_handshake'].scaled(1e6)} us, with the charger port's own settings",
            details={"handshake": "issuing CA trusted directly, no session tickets", **details},
        ),
    ]
