"""A process under measurement: started by us, asked over its own pipe, stopped by us.

Requests and answers are one JSON object a line. What the child prints itself goes to a file, so that no pipe can fill.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from select import select
from types import TracebackType
from typing import IO, Any

PATIENCE_S = 300.0
_STOP_S = 10.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ProcessFailed(Exception):
    """A process under measurement ended or did not answer; its last words are in the message."""


class Subject:
    """One child process running `module` of this package; a context manager that never leaves it behind."""

    def __init__(self, module: str, folder: Path, **settings: Any) -> None:
        self._log = folder / f"{module.rpartition('.')[2]}-{time.monotonic_ns()}.log"
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, json.dumps({"folder": str(folder), **settings})],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        try:
            self.ready = self._answer()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Ask and wait for the answer. Raises ProcessFailed."""
        self.tell(what, **arguments)
        return self._answer()

    def tell(self, what: str, **arguments: Any) -> None:
        """Ask, and take the answer later with `answer`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"what": what, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as broken:
            raise ProcessFailed(self._last_words()) from broken

    def answer(self) -> dict[str, Any]:
        """What `tell` asked for."""
        return self._answer()

    def cpu_s(self) -> float:
        """CPU seconds of the whole process so far, all threads, user and system."""
        return float(self.ask("cpu")["cpu_s"])

    def stop(self) -> None:
        """End it: politely by closing its pipe, then by its id."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Subject:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answer(self) -> dict[str, Any]:
        stream = self._process.stdout
        assert stream is not None
        if not select([stream], [], [], PATIENCE_S)[0]:
            raise ProcessFailed(f"no answer within {PATIENCE_S:.0f} s; {self._last_words()}")
        line = stream.readline()
        if not line:
            raise ProcessFailed(self._last_words())
        found: dict[str, Any] = json.loads(line)
        if "failed" in found:
            raise ProcessFailed(str(found["failed"]))
        return found

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:] or "it ended without a word"


Handler = Callable[..., Mapping[str, Any] | None]


def settings_of_this_process() -> dict[str, Any]:
    """What `Subject` was made with."""
    found: dict[str, Any] = json.loads(sys.argv[1])
    return found


def serve(handlers: Mapping[str, Handler], **ready: Any) -> None:
    """Answer requests until the pipe closes, `cpu`, `threads` and `rss` always among them. Belongs to the main thread."""
    answers: IO[bytes] = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    known: dict[str, Handler] = {"cpu": _cpu, "rss": _rss, "threads": _threads, **handlers}
    answers.write(json.dumps(ready).encode() + b"\n")
    for line in sys.stdin.buffer:
        request = json.loads(line)
        handler = known[request.pop("what")]
        answers.write(json.dumps(handler(**request) or {}).encode() + b"\n")


def _cpu() -> dict[str, Any]:
    return {"cpu_s": time.process_time()}


def _threads() -> dict[str, Any]:
    """CPU seconds of every Python thread that is alive."""
    found = {}
    for thread in threading.enumerate():
        task = Path(f"/proc/self/task/{thread.native_id}/schedstat")
        found[thread.name] = int(task.read_text(encoding="ascii").split()[0]) / 1e9
    return found


def _rss() -> dict[str, Any]:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return {"rss_bytes": pages * _PAGE_BYTES}
