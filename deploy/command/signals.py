"""Waiting in the main thread until somebody asks the process to stop."""

import signal
import threading
from collections.abc import Callable
from types import FrameType


class StopSignal:
    """SIGTERM and SIGINT, noticed once and for all; a second one changes nothing."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._notice)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        self._asked.set()

    @property
    def asked(self) -> bool:
        """Whether to stop."""
        return self._asked.is_set()

    def wait(self, until: Callable[[], bool] = lambda: False, every_s: float = 0.5) -> None:
        """Return when asked to stop, or when `until` holds, looked at every so often."""
        while not until() and not self._asked.wait(every_s):
            pass
