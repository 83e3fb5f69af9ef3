"""The answer to a call, and what the charger does after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulator.charger.deed import Deed
from simulator.charger.frame import Payload


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back at once, and what the charger does after it."""

    payload: Payload
    deeds: tuple[Deed, ...] = ()


Handler = Callable[[Payload], Answer]
