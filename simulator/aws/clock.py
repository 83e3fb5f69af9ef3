"""The peer's own time: the machine's clock plus an offset that tests move, or an instant they hold still.

Everything the peer dates or measures (validity, token windows, readiness, quotas, CRL lag) reads this
clock, so an hour passes in a test by one request. Injected faults' `delay_s` alone is real time, because
it imitates a slow network. Used from the peer's event loop only.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class PeerClock:
    """A movable clock; `offset` survives a restart of the peer (its store keeps it), `freeze` does not."""

    def __init__(self, source: Callable[[], float] = time.time) -> None:
        self._source = source
        self._frozen_at_s: float | None = None
        self.offset = timedelta()

    def now(self) -> datetime:
        """The present as an aware UTC datetime."""
        base_s = self._source() if self._frozen_at_s is None else self._frozen_at_s
        return datetime.fromtimestamp(base_s, UTC) + self.offset

    def timestamp(self) -> float:
        """The present in seconds since the epoch, as sqlite and JSON 1.1 carry it."""
        return self.now().timestamp()

    def machine_timestamp(self) -> float:
        """Seconds since the epoch without the offset: for what clients judge by their own clock."""
        return self._source()

    def advance(self, step: timedelta) -> None:
        """Move time by `step`; a negative step is allowed (a test of a clock set back)."""
        self.offset += step

    def freeze(self) -> None:
        """Hold still until `thaw`; `advance` still moves it."""
        if self._frozen_at_s is None:
            self._frozen_at_s = self._source()

    def thaw(self) -> None:
        """Run on from the machine's clock, plus whatever was advanced."""
        self._frozen_at_s = None

    @property
    def is_frozen(self) -> bool:
        """True between `freeze` and `thaw`."""
        return self._frozen_at_s is not None
