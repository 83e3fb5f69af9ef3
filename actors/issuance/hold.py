"""Leaving a CA alone that said it cannot serve, with everything that waits for it."""


class Hold:
    """Until when nothing is begun; pure, in seconds of a monotonic clock."""

    __slots__ = ("_until_s",)

    def __init__(self) -> None:
        self._until_s = 0.0

    def extend(self, now_s: float, duration_s: float) -> None:
        """Hold for at least so long from now."""
        self._until_s = max(self._until_s, now_s + duration_s)

    def lift(self) -> None:
        """The CA served."""
        self._until_s = 0.0

    def left_s(self, now_s: float) -> float:
        """Seconds that are left, 0 when nothing is held."""
        return max(0.0, self._until_s - now_s)
