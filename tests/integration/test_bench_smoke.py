"""The benchmarks stay runnable: the quickest of them, as `make bench` starts it, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE_S


def _bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_a_quick_run_of_connect_reports_its_ratio_against_the_handshake_of_the_same_run(
    tmp_path: Path,
) -> None:
    report = tmp_path / "report" / "bench.json"

    ran = _bench("connect", "--quick", "--report", str(report))

    assert ran.returncode == 0, ran.stdout + ran.stderr
    line = json.loads(report.read_text())[0]
    assert (line["name"], line["target"]) == ("connect", 2.0)
    # Less than a bare handshake is impossible, and ten of them would mean that something else was measured.
    assert 1.0 < line["ratio"] < 10.0
    assert line["met"] is (line["ratio"] <= line["target"])


def test_a_benchmark_that_does_not_exist_is_named() -> None:
    ran = _bench("conect")

    assert ran.returncode == 2
    assert "conect" in ran.stderr
