"""One step while it is being worked out: the state so far and the outputs so far."""

from typing import Any

import msgspec

from bfactors.exchange.message import Close, Moment, Output
from bfactors.exchange.state import ExchangeState


class Turn:
    """Lives for one call of `step`; nothing outside this package sees it."""

    __slots__ = ("now", "outputs", "state")

    def __init__(self, state: ExchangeState, now: Moment) -> None:
        self.state = state
        self.now = now
        self.outputs: list[Output] = []

    @property
    def now_s(self) -> float:
        return self.now.monotonic_s

    def change(self, **fields: Any) -> None:
        """Replace fields of the state."""
        self.state = msgspec.structs.replace(self.state, **fields)

    def emit(self, output: Output) -> None:
        self.outputs.append(output)

    def close(self, code: int, reason: str) -> None:
        """Ask for the socket to be closed, once; the first reason is the one recorded."""
        if self.state.phase == "open":
            self.change(phase="closing", close_reason=reason)
            self.emit(Close(code, reason))
