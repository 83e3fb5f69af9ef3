"""Whose turn it is among the effects that wait: the greatest hurry first, then who came first."""

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush
from itertools import count

from bfactors.effect import IssueCertificate, RevokeCertificate
from bfactors.urgency import SOON, URGENT_REASONS, Urgency, urgency_of


def urgency_of_effect(effect: IssueCertificate | RevokeCertificate, now: datetime) -> Urgency:
    """How much of a hurry an effect is in."""
    match effect:
        case IssueCertificate():
            return urgency_of(is_incident=effect.is_incident, replaces_until=effect.replaces_until, now=now)
        case RevokeCertificate():
            is_incident = effect.is_incident or effect.reason in URGENT_REASONS
            return urgency_of(is_incident=is_incident, replaces_until=None, now=now)


@dataclass(slots=True)
class _Place:
    effect_id: str
    is_left: bool = False


class Turns:
    """A queue of effect ids for each urgency. What waits as routine moves up when its certificate's last week begins: a CA
    may be away for longer than that.
    """

    __slots__ = ("_ends", "_numbers", "_queues", "_waiting")

    def __init__(self) -> None:
        self._queues: dict[Urgency, deque[_Place]] = {urgency: deque() for urgency in Urgency}
        self._ends: list[tuple[datetime, int, _Place]] = []
        self._numbers = count()
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def append(self, effect_id: str, urgency: Urgency, replaces_until: datetime | None = None) -> None:
        """Behind all that are in that hurry."""
        self._queues[urgency].append(self._place(effect_id, urgency, replaces_until))

    def come_first(self, effect_id: str, urgency: Urgency, replaces_until: datetime | None = None) -> None:
        """Before all that are in no greater hurry."""
        self._queues[urgency].appendleft(self._place(effect_id, urgency, replaces_until))

    def next(self, least: Urgency, now: datetime) -> str | None:
        """The next that is in at least this hurry by now."""
        self._move_up(now)
        for urgency, queue in self._queues.items():
            while queue and urgency <= least:
                place = queue.popleft()
                if not place.is_left:
                    place.is_left = True
                    self._waiting -= 1
                    return place.effect_id
        return None

    def _place(self, effect_id: str, urgency: Urgency, replaces_until: datetime | None) -> _Place:
        place = _Place(effect_id)
        self._waiting += 1
        if urgency is Urgency.ROUTINE and replaces_until is not None:
            heappush(self._ends, (replaces_until, next(self._numbers), place))
        return place

    def _move_up(self, now: datetime) -> None:
        while self._ends and self._ends[0][0] - now <= SOON:
            _, _, place = heappop(self._ends)
            if not place.is_left:
                place.is_left = True
                self._queues[Urgency.SOON].append(_Place(place.effect_id))
