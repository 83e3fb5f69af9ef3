"""CPU of a connect node for each of 5,000 chargers that come back at once, over the same for each of 100.

The whole of a power cut: the sockets are gone, everybody dials at once over mutual TLS 1.3, boots, and what the node has
seen of that - closed, opened, booted - is stored by a NATS that flushes to disk. The node is `run.py connect` as deployed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench import pki
from bench.edge import Edge, edge
from bench.process import Subject
from bench.round import Result, Spread, interleave, ratios

TARGET = 1.15
_MANY, _FEW = 5000, 100
_DIALERS = 2
_FIRST, _AGAIN = 2, 3
"""Pieces of evidence a charger leaves: opened and booted; and when it was there before, closed."""


def measure(folder: Path, quick: bool, said: Callable[[str], None]) -> list[Result]:
    """CPU seconds a charger. A round cuts the large fleet once, and the small one as often as gives a figure."""
    rounds, many, few, cuts = (1, 200, 20, 2) if quick else (3, _MANY, _FEW, 20)
    files = pki.make(folder, many)
    with ExitStack() as stack:
        sides = {
            name: Storm(folder, files, name, chargers, stack)
            for name, chargers in (("many", many), ("few", few))
        }
        for storm in sides.values():
            storm.cpu_s_a_charger(1)
        found = interleave(
            rounds,
            {
                "many": lambda: sides["many"].cpu_s_a_charger(1),
                "few": lambda: sides["few"].cpu_s_a_charger(cuts),
            },
            said,
        )
        return [_result(found, sides, rounds)]


class Storm:
    """A node, the fleet it knows, and the processes its chargers live in."""

    def __init__(self, folder: Path, files: pki.Files, name: str, chargers: int, stack: ExitStack) -> None:
        self.chargers = chargers
        self.turned_away = 0
        self.node: Edge = stack.enter_context(edge(folder / name, files, chargers))
        self._dialers = [
            stack.enter_context(Subject("bench.dialer", folder, port=self.node.port)) for _ in range(_DIALERS)
        ]
        self._is_first = True

    def cpu_s_a_charger(self, cuts: int) -> float:
        """The node's CPU for so many power cuts, until the evidence of the last is stored."""
        before = self.node.cpu_s()
        for _ in range(cuts):
            self._cut()
        return (self.node.cpu_s() - before) / cuts / self.chargers

    def _cut(self) -> None:
        each = self.chargers // _DIALERS
        expected = self.node.watch.evidence() + (_FIRST if self._is_first else _AGAIN) * each * _DIALERS
        self._is_first = False
        for number, dialer in enumerate(self._dialers):
            dialer.tell("storm", first=number * each, count=each)
        self.turned_away += sum(int(dialer.answer()["turned_away"]) for dialer in self._dialers)
        self.node.watch.until(expected)


def _result(found: dict[str, Spread], sides: dict[str, Storm], rounds: int) -> Result:
    each_round = ratios(found["many"], found["few"])
    many, few = sides["many"], sides["few"]
    return Result(
        name="reconnect_storm",
        ratio=median(each_round),
        target=TARGET,
        ratios=each_round,
        ours=f"{found['many'].scaled(1e6)} us CPU each of {many.chargers}",
        peer=f"{found['few'].scaled(1e6)} us, each of {few.chargers}",
        details={
            "rounds": rounds,
            "turned_away_a_storm": round(many.turned_away / (rounds + 1)),
            "rss_mib": round(many.node.rss_bytes() / 2**20, 1),
            "rss_mib_of_few": round(few.node.rss_bytes() / 2**20, 1),
        },
    )
