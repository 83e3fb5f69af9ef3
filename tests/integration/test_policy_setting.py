"""A policy in the settings that no fleet could take ends the process before anything is started."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", ["up", "core", "demo"])
@pytest.mark.parametrize(
    ("policy", "named"),
    [
        ({"purpose:teapot": {}}, "purpose:teapot"),
        ({"purpose:charging_station": {"validity_day": 90}}, "validity_day"),
        ({"purpose:charging_station": {"renew_before_days": 200}}, "renew_before_days"),
        (
            {
                "purpose:charging_station": {"validity_days": 365},
                "cohort:c/charging_station": {"renew_before_days": 365},
            },
            "renew_before_days",
        ),
    ],
)
def test_it_is_one_clear_line_and_status_2(
    command: str, policy: dict[str, object], named: str, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [sys.executable, "run.py", command],
        cwd=ROOT,
        env={**os.environ, "BF_POLICY": json.dumps(policy), "BF_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"run.py {command}: ")
    assert named in line
    assert not (tmp_path / "data").exists()
