"""Server CPU of a validated exchange in OCPP 1.6 and 2.1, over the same exchange in OCPP 2.0.1: one server, all three at once.

SignCertificate is the promise: it has a charger's longest call, evidence and a reply that is checked. Heartbeat, the
lightest exchange there is, shows what a version costs by itself.
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
from bench.round import Result, Spread, interleave, ratios

TARGET = 1.20
_REFERENCE = "2.0.1"
_OTHERS = ("1.6", "2.1")
_EXCHANGES = {"sign": "SignCertificate", "beat": "Heartbeat"}
_LINES = 50


def measure(folder: Path, quick: bool, said: Callable[[str], None]) -> list[Result]:
    """CPU seconds an exchange, every version on as many lines, each line with one call in flight."""
    rounds, exchanges = (2, 200) if quick else (11, 2000)
    versions = (_REFERENCE, *_OTHERS)
    chargers = _LINES * len(versions)
    pki.make(folder, chargers)
    results: list[Result] = []
    with ExitStack() as stack:
        server = stack.enter_context(Subject("bench.product", folder, chargers=chargers))
        fleets = {
            version: Fleet(
                server,
                stack.enter_context(
                    Subject("bench.dialer", folder, port=server.ready["port"], version=version)
                ),
            )
            for version in versions
        }
        for number, fleet in enumerate(fleets.values()):
            fleet.begin(number * _LINES)
        for what, action in _EXCHANGES.items():
            said(action)
            for fleet in fleets.values():
                fleet.cpu_s_an_exchange(what, 4 * _LINES)
            sides = {
                version: partial(fleet.cpu_s_an_exchange, what, exchanges)
                for version, fleet in fleets.items()
            }
            found = interleave(rounds, sides, said)
            if what == "sign":
                _require_evidence(server, chargers, len(versions) * (4 * _LINES + rounds * exchanges))
            results += [_result(version, what, found, rounds) for version in _OTHERS]
    return results


def _require_evidence(server: Subject, chargers: int, csrs: int) -> None:
    """Every CSR must have become evidence, whatever the version. Raises ProcessFailed."""
    stored = server.ask("settled", sessions=chargers, opened=chargers)["evidence"].get("CsrReceived", 0)
    if stored != csrs:
        raise ProcessFailed(f"{stored} CSRs became evidence, {csrs} were sent")


@dataclass(frozen=True, slots=True)
class Fleet:
    """The chargers of one version, in a process of their own, on the server that all versions share."""

    server: Subject
    dialer: Subject

    def begin(self, first: int) -> None:
        """All connect and boot, after `first` others. Raises ProcessFailed."""
        self.dialer.ask("connect", first=first, count=_LINES)
        settled = self.server.ask("settled", sessions=first + _LINES, opened=first + _LINES)
        if settled["trouble"]:
            raise ProcessFailed(str(settled["trouble"]))
        self.dialer.ask("boot")

    def cpu_s_an_exchange(self, what: str, count: int) -> float:
        """The server's CPU over so many exchanges of one kind."""
        before = self.server.cpu_s()
        self.dialer.ask(what, exchanges=count, lines=_LINES)
        return (self.server.cpu_s() - before) / count


def _result(version: str, what: str, found: dict[str, Spread], rounds: int) -> Result:
    each_round = ratios(found[version], found[_REFERENCE])
    return Result(
        name=f"versions, {version} {_EXCHANGES[what]}",
        ratio=median(each_round),
        target=TARGET,
        ratios=each_round,
        ours=f"{found[version].scaled(1e6)} us CPU an exchange",
        peer=f"{found[_REFERENCE].scaled(1e6)} us, the same in {_REFERENCE}",
        details={"lines": _LINES, "rounds": rounds},
    )
