"""Waiting in the main thread until somebody asks the process to stop."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from bfactors.errors import SettingsError, Unavailable
from deploy.embedded.errors import EmbeddedError


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

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Around what starts children: one that a Ctrl-C took before it had left our process group is no failure.

        A child stands in our group from fork to setsid, and a signal that meets it there ends it. Raises KeyboardInterrupt.
        """
        try:
            yield
        except (EmbeddedError, SettingsError, Unavailable) as error:
            if self.asked:
                raise KeyboardInterrupt from error
            raise

    def wait(self, until: Callable[[], bool] = lambda: False, every_s: float = 0.5) -> None:
        """Return when asked to stop, or when `until` holds, looked at every so often."""
        while not until() and not self._asked.wait(every_s):
            pass
