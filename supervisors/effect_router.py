"""Effects on their way from the ledger's lane to the actors that carry them out, one per purpose and duty.

Holds what is outstanding, so that an actor made anew is given everything again. Called from any thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from actors.mailbox import Mailbox
from bfactors.effect import Effect
from supervisors.child import ChildNotice, Lost, Refused, Restarted, Started
from supervisors.lane import Lane

_LOG = logging.getLogger(__name__)

Choose = Callable[[Effect], str | None]
"""The name of the child an effect belongs to; None when nobody carries it out here."""


class EffectRouter:
    """Routes effects to children by name; `wanted` and `settled` make the messages the child understands."""

    def __init__(
        self,
        choose: Choose,
        wanted: Callable[[Effect], Any],
        settled: Callable[[str], Any],
    ) -> None:
        self._choose = choose
        self._wanted = wanted
        self._settled = settled
        self._lock = threading.Lock()
        self._outstanding: dict[str, Effect] = {}
        self._children: dict[str, tuple[Mailbox[Any], Lane]] = {}

    def __call__(self, effect_id: str, effect: Effect | None) -> None:
        """Take an effect, or (None) learn that it is settled."""
        with self._lock:
            before = self._outstanding.get(effect_id)
            if effect is None:
                self._outstanding.pop(effect_id, None)
            else:
                self._outstanding[effect_id] = effect
            about = effect or before
            name = self._choose(about) if about is not None else None
            child = self._children.get(name) if name is not None else None
            if child is not None:  # under the lock: what is said first of an effect arrives first
                _tell(child, self._settled(effect_id) if effect is None else self._wanted(effect))

    def notified(self, name: str) -> Callable[[ChildNotice], None]:
        """What the supervisor is to tell of the child called `name`."""

        def notice(news: ChildNotice) -> None:
            match news:
                case Started() | Restarted():
                    with self._lock:
                        child = self._children[name] = (news.actor, news.lane)
                        for effect in self._outstanding.values():
                            if self._choose(effect) == name:
                                _tell(child, self._wanted(effect))
                case Lost() | Refused():
                    _LOG.warning("%s carries out nothing: %s", name, news.reason)
                    with self._lock:
                        self._children.pop(name, None)

        return notice


def _tell(child: tuple[Mailbox[Any], Lane], message: object) -> None:
    actor, lane = child
    lane.submit(_deliver, actor, message)


def _deliver(actor: Mailbox[Any], message: object) -> None:
    if not actor.tell(message):
        _LOG.warning("%s is full or closed; the effect is given again with its next restart", actor.name)
