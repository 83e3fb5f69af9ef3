"""How one host is treated: a few requests at once, and none for a while after several have failed in a row."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

HOSTS_REMEMBERED = 1024
AT_ONCE = 8
FAILURES_IN_A_ROW = 4
CLOSED_FOR_S = 30.0


@dataclass(slots=True)
class Host:
    """What is known of one host and port."""

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    failures: int = 0
    closed_until_s: float = 0.0
    in_use: int = 0

    def is_left_alone(self, now_s: float) -> bool:
        """Whether nothing is to be asked just now; once the time is over one failure is enough to begin it anew."""
        return now_s < self.closed_until_s

    def succeeded(self) -> None:
        """It answered, whatever it said."""
        self.failures = 0

    def failed(self, now_s: float) -> None:
        """It did not answer, or only that it cannot."""
        self.failures += 1
        if self.failures >= FAILURES_IN_A_ROW:
            self.closed_until_s = now_s + CLOSED_FOR_S


class Hosts:
    """The hosts asked lately; the least recently asked is forgotten first, one in use never."""

    def __init__(self, remembered: int = HOSTS_REMEMBERED) -> None:
        self._remembered = remembered
        self._hosts: OrderedDict[tuple[str, int], Host] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hosts)

    def of(self, name: str, port: int) -> Host:
        key = (name.lower(), port)
        host = self._hosts.setdefault(key, Host())
        self._hosts.move_to_end(key)
        if len(self._hosts) > self._remembered:
            idle = next(
                (each for each, known in self._hosts.items() if not known.in_use and each != key), None
            )
            if idle is not None:
                del self._hosts[idle]
        return host
