"""A server process that lives exactly as long as we want it to: ours to stop, and gone when we are gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from deploy.embedded import shim
from deploy.embedded.errors import EmbeddedError, ServerDidNotStart

KERNEL_REPORTS_PARENT_DEATH = sys.platform == "linux"
POLL_INTERVAL = timedelta(milliseconds=10)
LOG_LINES_QUOTED = 15
LOG_BYTES_KEPT = 16 * 1024 * 1024

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Account:
    """The system account a child runs as; `None` in its place means our own."""

    name: str
    user_id: int
    group_id: int


@dataclass(frozen=True, slots=True)
class ChildCommand:
    """What to run and where its traces go. `stop_signal` is also what the kernel sends when we die."""

    name: str
    arguments: tuple[str, ...]
    log_file: Path
    pid_file: Path
    stop_signal: signal.Signals
    account: Account | None = None
    environment: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({"LC_ALL": "C", "TZ": "UTC"})
    )
    dies_with_parent: bool = KERNEL_REPORTS_PARENT_DEATH


class ChildProcess:
    """One running child. All methods belong to the main thread.

    The parent-death signal fires when the spawning *thread* ends, not the process, so `spawn` insists on the main
    thread. Where the kernel has no such signal (macOS) a pid file lets the next start end a survivor.
    """

    def __init__(
        self, command: ChildCommand, process: subprocess.Popen[bytes], log_offset_bytes: int
    ) -> None:
        self.command = command
        self._process = process
        self._log_offset_bytes = log_offset_bytes

    @classmethod
    def spawn(cls, command: ChildCommand) -> ChildProcess:
        """Start `command` in its own session, so that Ctrl-C in our terminal reaches us alone.

        Raises EmbeddedError off the main thread.
        """
        if not _on_main_thread():
            raise EmbeddedError(
                f"{command.name} must be started from the main thread, before other threads and loops"
            )
        end_survivor(command)
        offset_bytes = _rotate(command.log_file)
        log_descriptor = os.open(
            command.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        account = command.account
        launch = [
            *(sys.executable, "-I", "-S", shim.__file__),
            str(int(command.stop_signal) if command.dies_with_parent else 0),
            str(os.getpid()),
            str(account.user_id if account else -1),
            str(account.group_id if account else -1),
            *command.arguments,
        ]
        try:
            process = subprocess.Popen(  # noqa: S603 - a fixed binary of ours, no shell
                launch,
                stdin=subprocess.DEVNULL,
                stdout=log_descriptor,
                stderr=log_descriptor,
                cwd="/",
                env=dict(command.environment),
                start_new_session=True,
            )
        finally:
            os.close(log_descriptor)
        if not command.dies_with_parent:
            command.pid_file.write_text(f"{process.pid}\n", encoding="ascii")
        return cls(command, process, offset_bytes)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number when a signal ended it. Reaps the child when it has ended."""
        return self._process.poll()

    @property
    def is_alive(self) -> bool:
        return self.exit_code is None

    def wait_until(self, ready: Callable[[], Answer | None], deadline: timedelta) -> Answer:
        """Ask `ready` every 10 ms until it answers.

        Raises ServerDidNotStart when the child ends first or `deadline` passes (the child is then stopped).
        """
        latest = time.monotonic() + deadline.total_seconds()
        while True:
            if (answer := ready()) is not None:
                return answer
            try:
                code = self._process.wait(POLL_INTERVAL.total_seconds())
            except subprocess.TimeoutExpired:
                if time.monotonic() < latest:
                    continue
                self.stop(timedelta(seconds=2))
                raise self._did_not_start(f"was not ready within {deadline.total_seconds():.0f} s") from None
            raise self._did_not_start(f"ended with status {code}")

    def wait_for_exit(self, deadline: timedelta) -> None:
        """Wait for a child that ends by itself (initdb). Raises ServerDidNotStart unless it ends in time with status 0."""
        try:
            code = self._process.wait(deadline.total_seconds())
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._did_not_start(f"was not done within {deadline.total_seconds():.0f} s") from None
        if code != 0:
            raise self._did_not_start(f"ended with status {code}")

    def stop(self, deadline: timedelta) -> None:
        """Ask it to end, wait, then kill. Returns only when it is gone and reaped; harmless when it already was."""
        if self.is_alive:
            self._process.send_signal(self.command.stop_signal)
            try:
                self._process.wait(deadline.total_seconds())
            except subprocess.TimeoutExpired:
                self.kill()
        self.command.pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def log_tail(self) -> str:
        """The last lines this child wrote, nothing of its predecessors."""
        with self.command.log_file.open("rb") as stream:
            stream.seek(self._log_offset_bytes)
            lines = stream.read().decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-LOG_LINES_QUOTED:])

    def _did_not_start(self, how: str) -> ServerDidNotStart:
        return ServerDidNotStart(
            f"{self.command.name} {how}; the end of {self.command.log_file}:\n{self.log_tail()}"
        )


def end_survivor(command: ChildCommand) -> None:
    """End the child named in the pid file if it outlived its owner; the caller holds the data directory's lock.

    A process id may have been given to a stranger since, so the command line has to be the one we would start.
    """
    try:
        pid = int(command.pid_file.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return
    if _runs(pid, command):
        os.kill(pid, command.stop_signal)
        latest = time.monotonic() + 5
        while _runs(pid, command):
            if time.monotonic() > latest:
                os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_INTERVAL.total_seconds())
    command.pid_file.unlink(missing_ok=True)


def _runs(pid: int, command: ChildCommand) -> bool:
    listing = subprocess.run(  # noqa: S603 - a fixed program and a number
        ["/bin/ps", "-ww", "-o", "stat=,command=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    state, _, running = listing.stdout.strip().partition(" ")
    return bool(running) and not state.startswith("Z") and running.strip() == " ".join(command.arguments)


def _on_main_thread() -> bool:
    if not KERNEL_REPORTS_PARENT_DEATH:
        return True
    return Path("/proc/thread-self").readlink().name == str(os.getpid())


def _rotate(log_file: Path) -> int:
    """Keep one older file once the log is large; the size in bytes of what is appended to."""
    size_bytes = log_file.stat().st_size if log_file.exists() else 0
    if size_bytes <= LOG_BYTES_KEPT:
        return size_bytes
    log_file.replace(log_file.with_suffix(".old.log"))
    return 0
