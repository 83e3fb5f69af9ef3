"""Leaving a CA alone that cannot serve: its quota is exhausted, or it is not active."""

from bfactors.ca import CaError, NotActive, QuotaExhausted, Transient


class Circuit:
    """Of one CA and one kind of call. Pure: the caller brings the time.

    closed ──QuotaExhausted, NotActive──► open ──open_s passed──► one call is let through
       ▲                                   ▲                           │
       └──────────────any other outcome────┼───────────────────────────┘ the same again: open twice as long
    """

    __slots__ = ("_first_open_s", "_longest_open_s", "_open_s", "_open_until_s", "_probe_until_s", "_reason")

    def __init__(self, *, first_open_s: float = 30.0, longest_open_s: float = 300.0) -> None:
        self._first_open_s = first_open_s
        self._longest_open_s = longest_open_s
        self._open_s = 0.0
        self._open_until_s = 0.0
        self._probe_until_s = 0.0
        self._reason: CaError | None = None

    @property
    def reason(self) -> CaError | None:
        """What opened it; None while it is closed."""
        return self._reason

    def check(self, now_s: float) -> None:
        """Let a call through, or raise what opened the circuit, with the seconds that are left."""
        reason = self._reason
        if reason is None:
            return
        wait_s = max(self._open_until_s, self._probe_until_s) - now_s
        if wait_s > 0:
            raise type(reason)(reason.code, reason.message, retry_after_s=wait_s)
        # This caller probes; should its outcome never be told, another may probe after the same time.
        self._probe_until_s = now_s + self._first_open_s

    def succeeded(self) -> None:
        """The CA served, or refused for a reason that lies in the request."""
        self._reason = None
        self._open_s = 0.0
        self._probe_until_s = 0.0

    def failed(self, error: CaError, now_s: float) -> None:
        """Learn from an error: two kinds open the circuit, no answer leaves it as it is, every other answer closes it."""
        if isinstance(error, QuotaExhausted | NotActive):
            # Calls that left together fail together: only a probe's failure makes the next pause longer.
            if self._reason is None or now_s >= self._open_until_s:
                self._open_s = min(self._longest_open_s, self._open_s * 2 or self._first_open_s)
            self._reason = error
            self._open_until_s = now_s + self._open_s
            self._probe_until_s = 0.0
            error.retry_after_s = self._open_s
        elif not isinstance(error, Transient):
            self.succeeded()
