"""One step while it is being worked out: the state so far and the outputs so far."""

from typing import Any

from msgspec.structs import replace

from bfactors.exchange.message import Close, Moment, Output
from bfactors.exchange.state import ExchangeState


class Turn:
    """Lives for one call of `step`; nothing outside this package sees it."""

    __slots__ = ("now", "now_s", "outputs", "state")

    def __init__(self, state: ExchangeState, now: Moment) -> None:
        self.state = state
        self.now = now
        self.now_s = now.monotonic_s
        self.outputs: list[Output] = []

    def change(self, **fields: Any) -> None:
        """Replace fields of the state."""
        self.state = replace(self.state, **fields)

    def emit(self, output: Output) -> None:
        self.outputs.append(output)

    def close(self, code: int, reason: str) -> None:
        """Ask for the socket to be closed, once; the first reason is the one recorded."""
        if self.state.phase == "open":
            self.change(phase="closing", close_reason=reason)
            self.emit(Close(code, reason))
