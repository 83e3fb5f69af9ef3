"""`python -m deploy.embedded`: one line, no secrets, and nothing left behind however it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import nats
import pytest

from tests.contract.test_embedded_child import await_end, needs_linux
from tests.patience import PATIENCE_S


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="bf-cmd-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def started(folder: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.embedded", "--data-dir", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        process.stdout.close()


Started = tuple[subprocess.Popen[str], dict[str, Any]]


def contents(files: list[str]) -> list[str]:
    return [Path(file).read_text(encoding="utf-8").strip() for file in files]


def pids(described: dict[str, Any]) -> list[int]:
    return [described["postgres"]["pid"], described["nats"]["pid"]]


async def test_the_printed_line_is_enough_to_connect_and_holds_no_secret(started: Started) -> None:
    _, described = started
    connection = await asyncpg.connect(described["postgres"]["dsn"]["postgres"])
    try:
        assert await connection.fetchval("SELECT 1") == 1
    finally:
        await connection.close()
    broker = described["nats"]
    client = await nats.connect(
        broker["url"], nkeys_seed=broker["seed_file"]["core"], inbox_prefix=broker["inbox_prefix"]["core"]
    )
    await client.close()
    shown = json.dumps(described)
    secrets = contents([*described["postgres"]["password_file"].values(), *broker["seed_file"].values()])
    assert len(secrets) == 7
    assert not [secret for secret in secrets if secret in shown]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_everything_with_status_0(started: Started, number: signal.Signals) -> None:
    process, described = started
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == 0
    for pid in pids(described):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@needs_linux
def test_a_kill_takes_both_servers_along_and_the_next_start_succeeds(started: Started, folder: Path) -> None:
    process, described = started
    process.kill()
    process.wait()
    again = subprocess.Popen(
        [sys.executable, "-m", "deploy.embedded", "--data-dir", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert again.stdout is not None
    try:
        assert json.loads(again.stdout.readline())["nats"]["pid"] not in pids(described)
        for pid in pids(described):
            await_end(pid)
    finally:
        again.terminate()
        assert again.wait(PATIENCE_S) == 0
        again.stdout.close()


def test_a_second_start_on_the_same_directory_is_one_line_and_status_2(
    started: Started, folder: Path
) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "deploy.embedded", "--data-dir", str(folder)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert second.returncode == 2
    assert second.stdout == ""
    assert second.stderr.count("\n") == 1
    assert f"in use by process {started[0].pid}" in second.stderr


def test_a_server_that_dies_ends_the_command_with_status_1_and_the_other_server_too(started: Started) -> None:
    process, described = started
    os.kill(described["nats"]["pid"], signal.SIGKILL)
    assert process.wait(PATIENCE_S) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(described["postgres"]["pid"], 0)
