"""Whose turn it is among the effects that wait: the greatest hurry first, then who came first."""

from collections import deque
from datetime import datetime

from bfactors.effect import IssueCertificate, RevokeCertificate
from bfactors.urgency import URGENT_REASONS, Urgency, urgency_of


def urgency_of_effect(effect: IssueCertificate | RevokeCertificate, now: datetime) -> Urgency:
    """How much of a hurry an effect is in."""
    match effect:
        case IssueCertificate():
            return urgency_of(is_incident=effect.is_incident, replaces_until=effect.replaces_until, now=now)
        case RevokeCertificate():
            return urgency_of(is_incident=effect.reason in URGENT_REASONS, replaces_until=None, now=now)


class Turns:
    """A queue of effect ids for each urgency."""

    __slots__ = ("_queues",)

    def __init__(self) -> None:
        self._queues: dict[Urgency, deque[str]] = {urgency: deque() for urgency in Urgency}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def append(self, effect_id: str, urgency: Urgency) -> None:
        self._queues[urgency].append(effect_id)

    def come_first(self, effect_id: str, urgency: Urgency) -> None:
        """Before all that are in no greater hurry."""
        self._queues[urgency].appendleft(effect_id)

    def next(self, least: Urgency) -> str | None:
        """The next that is in at least this hurry."""
        for urgency, queue in self._queues.items():
            if queue and urgency <= least:
                return queue.popleft()
        return None
