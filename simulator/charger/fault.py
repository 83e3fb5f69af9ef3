"""The scripted ways in which a charger misbehaves: data, so that a test or a plan can compose them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from simulator.charger.fault_conduct import ConductFault
from simulator.charger.fault_identity import IdentityFault

Fault = ConductFault | IdentityFault

FaultT = TypeVar("FaultT", bound=Fault)


class FaultScript:
    """The faults of one charger, and how often each may still strike."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._faults = tuple(faults)
        self._spent = [0] * len(self._faults)

    def find(self, kind: type[FaultT]) -> FaultT | None:
        """The first fault of this kind, without using it up."""
        return next((fault for fault in self._faults if isinstance(fault, kind)), None)

    def has(self, kind: type[Fault]) -> bool:
        """Whether a fault of this kind was scripted."""
        return self.find(kind) is not None

    def awaits(self, kind: type[Fault]) -> bool:
        """Whether a fault of this kind may still strike."""
        return any(isinstance(fault, kind) and not self._is_spent(i) for i, fault in enumerate(self._faults))

    def spend(self, kind: type[FaultT], aim: str | None = None) -> FaultT | None:
        """The first fault of this kind that applies to this action or setting and is not used up, used once more."""
        for index, fault in enumerate(self._faults):
            if not isinstance(fault, kind):
                continue
            aimed_at = getattr(fault, "action", None) or getattr(fault, "setting", None)
            if (aimed_at is not None and aimed_at != aim) or self._is_spent(index):
                continue
            self._spent[index] += 1
            return fault
        return None

    def _is_spent(self, index: int) -> bool:
        times = getattr(self._faults[index], "times", None)
        return times is not None and self._spent[index] >= times
