"""Server CPU per SignCertificate over wss, validated both ways, over the same server built on the `ocpp` package.

Ours: gateway, door, chargers' actors on a family lane; its evidence log acknowledges at once in memory. Every CSR differs
from the charger's last one, so none is answered from memory. The peer: `ChargePoint` with default validation, behind
`websockets` on asyncio. Saturated: every charger has one call in flight, which is all OCPP allows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from bench import pki
from bench.process import ProcessFailed, Subject
from bench.round import Result, Spread, interleave, ratios, shares

TARGET = 0.30
_MODES = {"saturated": 100, "one in flight": 1}


def measure(folder: Path, quick: bool, said: Callable[[str], None]) -> list[Result]:
    """CPU seconds an exchange; the saturated one is the promise."""
    rounds, exchanges = (1, 200) if quick else (7, 2000)
    chargers = _MODES["saturated"]
    pki.make(folder, chargers)
    with (
        Subject("bench.product", folder, chargers=chargers) as ours,
        Subject("bench.stock", folder, serves="ocpp") as peer,
        Subject("bench.stock", folder, serves="ocpp", loop="uvloop") as uvloop_peer,
        ExitStack() as stack,
    ):
        servers = {"ours": ours, "ocpp package": peer, "ocpp package on uvloop": uvloop_peer}
        pairs = {
            name: Pair(
                server, stack.enter_context(Subject("bench.dialer", folder, port=server.ready["port"]))
            )
            for name, server in servers.items()
        }
        for pair in pairs.values():
            pair.begin(chargers)
        found: dict[str, dict[str, Spread]] = {}
        spent: dict[str, dict[str, float]] = {}
        asked = 0
        for mode, lines in _MODES.items():
            count = exchanges if lines > 1 else exchanges // 4
            for pair in pairs.values():
                pair.cpu_s_an_exchange(lines, 2 * lines)
            said(mode)
            sides = {name: partial(pair.cpu_s_an_exchange, lines, count) for name, pair in pairs.items()}
            threads = ours.ask("threads")
            found[mode] = interleave(rounds, sides, said)
            spent[mode] = shares(threads, ours.ask("threads"), rounds * count)
            asked += 2 * lines + rounds * count
        stored = int(ours.ask("settled", sessions=chargers, opened=chargers)["evidence"]["CsrReceived"])
        if stored != asked:
            raise ProcessFailed(f"{stored} CSRs became evidence, {asked} were sent")
    return [_result(mode, found[mode], spent[mode], rounds) for mode in _MODES]


@dataclass(frozen=True, slots=True)
class Pair:
    """A server and the process its chargers live in."""

    server: Subject
    dialer: Subject

    def begin(self, chargers: int) -> None:
        """All chargers connect and boot. Raises ProcessFailed."""
        self.dialer.ask("connect", first=0, count=chargers)
        settled = self.server.ask("settled", sessions=chargers, opened=chargers)
        if settled["trouble"]:
            raise ProcessFailed(str(settled["trouble"]))
        self.dialer.ask("boot")

    def cpu_s_an_exchange(self, lines: int, count: int) -> float:
        """The server's CPU over so many exchanges, on so many lines at once."""
        before = self.server.cpu_s()
        self.dialer.ask("sign", exchanges=count, lines=lines)
        return (self.server.cpu_s() - before) / count


def _result(mode: str, found: dict[str, Spread], spent: dict[str, float], rounds: int) -> Result:
    each_round = ratios(found["ours"], found["ocpp package"])
    on_uvloop = ratios(found["ours"], found["ocpp package on uvloop"])
    is_bound = mode == "saturated"
    return Result(
        name="sign_certificate" if is_bound else f"sign_certificate, {mode}",
        ratio=median(each_round),
        target=TARGET if is_bound else None,
        ratios=each_round,
        ours=f"{found['ours'].scaled(1e6)} us CPU an exchange",
        peer=f"{found['ocpp package'].scaled(1e6)} us, ocpp ChargePoint on websockets",
        details={
            "evidence_log": "acknowledges at once, in process",
            "ratio_to_peer_on_uvloop": round(median(on_uvloop), 4),
            "peer_on_uvloop_us": str(found["ocpp package on uvloop"].scaled(1e6)),
            "us_by_thread": spent,
            "rounds": rounds,
        },
    )
