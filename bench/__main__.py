"""`python -m bench [names...]`: run benchmarks, print their ratios, write build/bench.json."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.table import Table

from bench.process import ProcessFailed
from bench.round import Result

NAMES = (
    "connect",
    "reconnect_storm",
    "memory",
    "sign_certificate",
    "versions",
    "evidence",
    "enrolment",
    "reconcile",
    "audit",
    "inventory",
    "signing",
    "fleet_change",
)
REPORT = Path("build") / "bench.json"


class Benchmark(Protocol):
    """A module of this package that measures one thing."""

    def measure(self, folder: Path, quick: bool, said: Callable[[str], None]) -> list[Result]: ...


def main(arguments: list[str]) -> int:
    """0 if every target is met, 1 if one is missed, 2 if a benchmark could not be run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which ones (default: all): {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="a smoke run: one small round each")
    parser.add_argument("--report", type=Path, default=REPORT, help="where the JSON goes")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    console = Console(width=None if sys.stdout.isatty() else 160)
    results: list[Result] = []
    broken: list[str] = []
    for name in options.names or NAMES:
        began = time.monotonic()
        console.print(f"[bold]{name}[/bold]")
        benchmark: Benchmark = importlib.import_module(f"bench.{name}")
        with tempfile.TemporaryDirectory(prefix="bf-bench-") as folder:
            try:
                results += benchmark.measure(
                    Path(folder), options.quick, lambda line: console.print(f"  {line}", highlight=False)
                )
            except ProcessFailed as failed:
                broken.append(name)
                console.print(f"  [red]could not be measured[/red]: {failed}", markup=True)
        console.print(f"  {time.monotonic() - began:.0f} s", style="dim")
    console.print(_table(results))
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(
        json.dumps([result.as_json() for result in results], indent=2) + "\n", encoding="utf-8"
    )
    if broken:
        return 2
    return 1 if any(result.met is False for result in results) and not options.quick else 0


def _table(results: list[Result]) -> Table:
    table = Table(title=f"median of interleaved rounds, {os.cpu_count()} cores", title_justify="left")
    for column in ("benchmark", "ratio", "min-max", "target", "met", "ours", "peer"):
        table.add_column(column, justify="left" if column in ("benchmark", "ours", "peer") else "right")
    for result in results:
        spread = f"{min(result.ratios):.3g}-{max(result.ratios):.3g}" if result.ratios else ""
        bound = "" if result.target is None else f"{'>=' if result.at_least else '<='} {result.target:g}"
        met = {True: "[green]yes[/green]", False: "[red]no[/red]", None: ""}[result.met]
        table.add_row(result.name, f"{result.ratio:.3g}", spread, bound, met, result.ours, result.peer)
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
