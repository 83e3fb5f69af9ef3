"""A child lives as long as its owner wants, and not longer than its owner."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from deploy.embedded.child import Account, ChildCommand, ChildProcess
from deploy.embedded.errors import EmbeddedError, ServerDidNotStart
from tests.patience import PATIENCE_S

DEADLINE = timedelta(seconds=PATIENCE_S)
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")

OWNER = """
import signal, sys
from pathlib import Path
from deploy.embedded.child import Account, ChildCommand, ChildProcess
folder, user_id, group_id = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
account = None if user_id < 0 else Account("low", user_id, group_id)
command = ChildCommand("idler", ("/bin/sleep", "600"), folder / "idler.log", folder / "idler.pid", signal.SIGTERM, account)
print(ChildProcess.spawn(command).pid, flush=True)
signal.pause()
"""


def command(folder: Path, script: str, *, dies_with_parent: bool = True) -> ChildCommand:
    return ChildCommand(
        name="scripted",
        arguments=(sys.executable, "-I", "-c", script),
        log_file=folder / "scripted.log",
        pid_file=folder / "scripted.pid",
        stop_signal=signal.SIGTERM,
        dies_with_parent=dies_with_parent,
    )


def await_end(pid: int, deadline: timedelta = DEADLINE) -> None:
    """Wait for the end of a process that may be nobody's child of ours any more."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(deadline.total_seconds() * 1000), f"process {pid} still runs"
    finally:
        os.close(descriptor)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[ChildProcess]:
    running = ChildProcess.spawn(command(tmp_path, "import signal; print('up', flush=True); signal.pause()"))
    yield running
    running.stop(DEADLINE)


def test_a_child_has_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it(child: ChildProcess) -> None:
    child.wait_until(lambda: "up" in child.log_tail() or None, DEADLINE)
    assert os.getsid(child.pid) == child.pid != os.getsid(0)


def test_stop_returns_when_the_child_is_gone_and_may_be_repeated(child: ChildProcess) -> None:
    assert child.is_alive
    child.stop(DEADLINE)
    assert not child.is_alive
    child.stop(DEADLINE)
    assert child.exit_code == -signal.SIGTERM


def test_a_child_that_ignores_its_stop_signal_is_killed_at_the_deadline(tmp_path: Path) -> None:
    script = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"
    stubborn = ChildProcess.spawn(command(tmp_path, script))
    stubborn.wait_until(lambda: "up" in stubborn.log_tail() or None, DEADLINE)
    stubborn.stop(timedelta(milliseconds=100))
    assert stubborn.exit_code == -signal.SIGKILL


def test_a_child_that_ends_before_it_is_ready_is_quoted_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "scripted.log").write_text("said by an earlier child\n", encoding="utf-8")
    failing = ChildProcess.spawn(command(tmp_path, "raise SystemExit('no such luck')"))
    with pytest.raises(ServerDidNotStart, match="no such luck") as caught:
        failing.wait_until(lambda: None, DEADLINE)
    assert "earlier child" not in str(caught.value)


def test_a_child_that_never_becomes_ready_is_stopped_and_reported(tmp_path: Path) -> None:
    silent = ChildProcess.spawn(command(tmp_path, "import signal; signal.pause()"))
    with pytest.raises(ServerDidNotStart, match="was not ready"):
        silent.wait_until(lambda: None, timedelta(milliseconds=50))
    assert not silent.is_alive


def test_spawning_off_the_main_thread_is_refused_because_the_child_would_die_with_that_thread(
    tmp_path: Path,
) -> None:
    with ThreadPoolExecutor(1) as executor, pytest.raises(EmbeddedError, match="main thread"):
        executor.submit(ChildProcess.spawn, command(tmp_path, "pass")).result(DEADLINE.total_seconds())


@needs_linux
@pytest.mark.parametrize("as_nobody", [False, True])
def test_a_killed_owner_takes_its_child_along(tmp_path: Path, as_nobody: bool) -> None:
    if as_nobody and os.geteuid() != 0:
        pytest.skip("only root can drop privileges")
    low = Account("nobody", 65534, 65534) if as_nobody else Account("ourselves", -1, -1)
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path), str(low.user_id), str(low.group_id)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    await_end(pid)


def test_without_a_death_signal_the_next_start_ends_the_survivor_named_in_the_pid_file(
    tmp_path: Path,
) -> None:
    same = command(tmp_path, "import signal; print('up', flush=True); signal.pause()", dies_with_parent=False)
    survivor = ChildProcess.spawn(same)
    survivor.wait_until(lambda: "up" in survivor.log_tail() or None, DEADLINE)
    successor = ChildProcess.spawn(same)
    try:
        await_end(survivor.pid)
        assert same.pid_file.read_text(encoding="ascii").strip() == str(successor.pid)
    finally:
        survivor.stop(DEADLINE)
        successor.stop(DEADLINE)
    assert not same.pid_file.exists()


def test_a_stranger_that_was_given_the_old_process_id_is_left_alone(
    tmp_path: Path, child: ChildProcess
) -> None:
    other = command(tmp_path, "pass", dies_with_parent=False)
    other.pid_file.write_text(f"{child.pid}\n", encoding="ascii")
    ChildProcess.spawn(other).wait_for_exit(DEADLINE)
    assert child.is_alive
