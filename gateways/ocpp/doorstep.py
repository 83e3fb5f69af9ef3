"""Sockets that are no sessions yet: how many there may be, how many shake hands at once, and how long they may take.

A depot that reconnects in the morning is thousands of handshakes; taking them a few at a time keeps the sessions that are
already open served, and a peer that says nothing costs one place for ten seconds.
"""

from collections import deque

from gateways.ocpp.connection import Connection


class Doorstep:
    """Kept by the gateway on the I/O lane; times are monotonic seconds."""

    def __init__(self, *, places: int, handshakes: int, wait_s: float, turn_wait_s: float) -> None:
        self._places = places
        self._handshakes = handshakes
        self._wait_s = wait_s
        self._turn_wait_s = turn_wait_s
        self._standing: dict[Connection, None] = {}
        self._shaking: set[Connection] = set()
        self._waiting: deque[Connection] = deque()

    def __len__(self) -> int:
        return len(self._standing)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Every socket that is no session yet."""
        return tuple(self._standing)

    def arrive(self, connection: Connection, now: float) -> bool:
        """Take a place; False if there is none."""
        if len(self._standing) >= self._places:
            return False
        connection.deadline = now + self._wait_s
        self._standing[connection] = None
        return True

    def may_begin(self, connection: Connection, now: float) -> bool:
        """Whether its handshake may begin at once; if not, it is begun when a place is free."""
        if len(self._shaking) < self._handshakes:
            self._shaking.add(connection)
            return True
        connection.deadline = now + self._turn_wait_s
        self._waiting.append(connection)
        return False

    def finished(self, connection: Connection, now: float) -> None:
        """Its handshake is done: the upgrade has its own time."""
        connection.deadline = now + self._wait_s
        self._free(connection, now)

    def leave(self, connection: Connection, now: float) -> None:
        """It became a session, or it is gone."""
        self._standing.pop(connection, None)
        self._free(connection, now)

    def overdue(self, now: float) -> list[Connection]:
        """Those that took too long."""
        return [connection for connection in self._standing if connection.deadline <= now]

    def _free(self, connection: Connection, now: float) -> None:
        if connection not in self._shaking:
            return
        self._shaking.remove(connection)
        while self._waiting and len(self._shaking) < self._handshakes:
            following = self._waiting.popleft()
            if following in self._standing and not following.transport.is_closing():
                self._shaking.add(following)
                following.deadline = now + self._wait_s
                following.begin_handshake()
