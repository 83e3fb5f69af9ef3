"""One timer for all open sockets: pings, answers to them, writes that get nowhere, closings that never end.

A connection has no task and no timer of its own. Sockets are spread over as many slots as the ping interval has seconds;
each second one slot is pinged and the slot pinged a while ago is looked at.
"""

from gateways.ocpp.connection import Connection


class Pulse:
    """Kept by the gateway on the I/O lane, beaten once a second; times are monotonic seconds."""

    def __init__(
        self, now: float, *, ping_s: int, pong_s: int, unsent_s: float, unsent_bytes: int, close_s: float
    ) -> None:
        """Raises ValueError unless an answer is looked for before the next ping."""
        if not 0 < pong_s < ping_s:
            raise ValueError("pong_s must lie between 0 and ping_s")
        self._ping_s = ping_s
        self._pong_s = pong_s
        self._unsent_s = unsent_s
        self._unsent_bytes = unsent_bytes
        self._close_s = close_s
        self._slots: list[set[Connection]] = [set() for _ in range(ping_s)]
        self._writing: dict[Connection, float] = {}
        self._closing: dict[Connection, None] = {}
        self._last = int(now)
        self._now = now

    def join(self, connection: Connection, now: float) -> None:
        """Ping this one from now on, a whole interval from now first."""
        connection.slot = int(now) % self._ping_s
        self._slots[connection.slot].add(connection)

    def leave(self, connection: Connection) -> None:
        """It is gone."""
        self._slots[connection.slot].discard(connection)
        self._writing.pop(connection, None)
        self._closing.pop(connection, None)

    def wrote(self, connection: Connection, now: float) -> None:
        """It has been given bytes to send."""
        if connection.transport.get_write_buffer_size() > self._unsent_bytes:
            connection.abort("write-buffer-full")
        else:
            self._writing.setdefault(connection, now)

    def closing(self, connection: Connection, now: float) -> None:
        """Its closing has begun."""
        connection.deadline = now + self._close_s
        self._closing[connection] = None

    def beat(self, now: float) -> None:
        """Do what is due; every second once, and all that was missed if the lane was late (up to one round)."""
        second = int(now)
        due = range(max(self._last + 1, second - self._ping_s + 1), second + 1)
        # Every answer is looked for before any ping leaves: after a late beat nobody is judged by a ping just sent.
        for moment in due:
            for connection in tuple(self._slots[(moment - self._pong_s) % self._ping_s]):
                if connection.awaiting_pong:
                    connection.abort("no-pong")
        for moment in due:
            for connection in tuple(self._slots[moment % self._ping_s]):
                connection.ping()
        self._last = max(second, self._last)
        for connection, since in tuple(self._writing.items()):
            if not connection.transport.get_write_buffer_size():
                del self._writing[connection]
            elif now - since >= self._unsent_s:
                connection.abort("unsent-too-long")
        for connection in tuple(self._closing):
            if connection.deadline <= now:
                connection.transport.abort()
