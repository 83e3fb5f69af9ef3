"""The children of one supervisor: which are wanted, which are there, and how often each has failed."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.mailbox import Mailbox
from supervisors import child as on_lane
from supervisors.child import (
    ChildDrained,
    ChildFailed,
    ChildNotice,
    ChildSpec,
    ChildStarted,
    Endings,
    Lost,
    Refused,
    Restarted,
    Started,
)
from supervisors.guarded_actor import Tell, call_outside
from supervisors.kinds import Kind
from supervisors.lane import Lane
from supervisors.restart_budget import RestartBudget

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Child:
    """`actor` is None while it is being made, waits to be made again, or is not wanted."""

    spec: ChildSpec
    incarnation: int = 0
    actor: Mailbox[Any] | None = None
    is_wanted: bool = True
    cause: str | None = None


class Children:
    """Used by its supervisor's thread alone; what concerns an actor is submitted to the lane."""

    def __init__(self, kind: Kind, clock: Callable[[], float], tell: Tell) -> None:
        self._kind = kind
        self._clock = clock
        self._tell = tell
        self._children: dict[str, Child] = {}
        self._there = 0
        self._numbers = itertools.count(1)
        # By name and not in Child: a charger given up and connecting again at once has not improved.
        self._budgets: dict[str, RestartBudget] = {}
        self._put_off: dict[str, float] = {}
        self._lane: Lane | None = None
        self._endings = Endings()
        self._paused = False

    @property
    def there(self) -> int:
        """How many are alive just now."""
        return self._there

    @property
    def specs(self) -> tuple[ChildSpec, ...]:
        return tuple(child.spec for child in self._children.values())

    # -- coming ---------------------------------------------------------------------------------

    def add(self, spec: ChildSpec, *, wanted: bool = True, cause: str | None = None) -> None:
        if spec.name in self._children:
            notify(spec, Refused(spec.name, "a child of this name is already supervised"))
            return
        child = self._children[spec.name] = Child(spec, is_wanted=wanted)
        if wanted:
            self._make(child, cause)

    def move_to(self, lane: Lane, cause: str | None) -> None:
        """Work on `lane` from now; the children on the lane before, if any, are dead."""
        self._lane = lane
        self._endings = Endings()
        for child in self._children.values():
            if child.is_wanted:
                self._make(child, cause or child.cause)

    def started(self, news: ChildStarted) -> None:
        child = self._known(news.name, news.incarnation)
        if child is None:  # stopped by its owner, or made again, while it was being made
            news.lane.submit(self._endings.stop, (news.actor,))
            return
        self._set_actor(child, news.actor)
        if news.is_paused != self._paused:
            actors = [(news.name, news.incarnation, news.actor)]
            news.lane.submit(on_lane.pause, actors, self._paused, self._tell)
        if child.cause is None:
            notify(child.spec, Started(news.name, news.actor, news.lane))
        else:
            notify(child.spec, Restarted(news.name, news.actor, news.lane, child.cause))

    def revive(self, cause: str) -> None:
        """Make those again that were drained or lost; one still draining is made again when it has ended."""
        for child in self._children.values():
            if not child.is_wanted:
                child.is_wanted = True
                if child.actor is None:
                    self._make(child, cause)

    def make_those_due(self) -> None:
        """Restarts that were put off and whose time has come. Forgets failures that count no more."""
        now = self._clock()
        for name in [name for name, at in self._put_off.items() if at <= now]:
            del self._put_off[name]
            self._make(self._children[name], self._children[name].cause)
        for name in [name for name, budget in self._budgets.items() if not budget.spent(now)]:
            del self._budgets[name]

    # -- failing --------------------------------------------------------------------------------

    def failed(self, news: ChildFailed) -> bool:
        """Whether this failure asks for a restart; False for stale news and for a child not wanted any more."""
        child = self._known(news.name, news.incarnation)
        if child is None:
            return False
        _LOG.warning("%s %s failed", self._kind.name, news.name, exc_info=news.error)
        self._set_actor(child, None)
        child.incarnation = next(self._numbers)
        child.cause = f"failed: {type(news.error).__name__}"
        if not child.is_wanted:
            notify(child.spec, Lost(news.name, child.cause))
            return False
        return self._lane is not None and self._lane.is_current()  # otherwise it is made on the next lane

    def restart_delay(self, name: str) -> float | None:
        """Take one restart of a failed child from its budget: after how many seconds, None when none is left."""
        now = self._clock()
        budget = self._budgets.setdefault(name, RestartBudget(self._kind.child_limit))
        earlier = budget.spent(now)
        if not budget.spend(now):
            return None
        if earlier == 0:
            return 0.0
        return min(self._kind.restart_delay_s * 2.0 ** (earlier - 1), self._kind.longest_delay_s)

    def restart(self, name: str, delay_s: float) -> None:
        """Make a failed child again, now or at the first tick after the delay."""
        if delay_s:
            self._put_off[name] = self._clock() + delay_s
        else:
            self._make(self._children[name], self._children[name].cause)

    # -- going ----------------------------------------------------------------------------------

    def remove(self, name: str) -> None:
        """Its owner needs it no more: it finishes the message in hand."""
        child = self._children.pop(name, None)
        self._put_off.pop(name, None)
        if child is not None and child.actor is not None and self._lane is not None:
            self._lane.submit(self._endings.stop, (child.actor,))
            self._set_actor(child, None)

    def give_up(self, name: str, reason: str) -> None:
        child = self._children.pop(name)
        self._put_off.pop(name, None)
        notify(child.spec, Lost(name, reason))

    def pause(self, paused: bool) -> None:
        if paused != self._paused:
            self._paused = paused
            actors = [
                (name, child.incarnation, child.actor)
                for name, child in self._children.items()
                if child.actor is not None
            ]
            if self._lane is not None:
                self._lane.submit(on_lane.pause, actors, paused, self._tell)

    def drain(self) -> None:
        """Let all finish what they have taken; each is lost to its owner when it has."""
        self._put_off.clear()
        for name, child in self._children.items():
            if not child.is_wanted:
                continue
            child.is_wanted = False
            if child.actor is not None and self._lane is not None:
                self._lane.submit(self._endings.drain, name, child.incarnation, child.actor, self._tell)
            else:
                self._lose(child, "draining")

    def drained(self, news: ChildDrained) -> None:
        child = self._known(news.name, news.incarnation)
        if child is None:
            return
        self._set_actor(child, None)
        if child.is_wanted:  # resumed meanwhile
            self._make(child, "resumed")
        else:
            self._lose(child, "drained")

    def abandon(self) -> None:
        """Distrust every child at once: its lane is wedged, or the supervisor itself is."""
        actors = []
        for child in self._children.values():
            if child.actor is not None:
                child.actor.abandon()
                actors.append(child.actor)
                self._set_actor(child, None)
                if not child.is_wanted:  # it was draining
                    self._lose(child, "abandoned while draining")
            child.incarnation = next(self._numbers)
        self._put_off.clear()
        if self._lane is not None:
            self._lane.submit(on_lane.abandon, actors)
        self._lane = None

    def lose(self, reason: str) -> None:
        """Tell every owner that its child does not come back by itself. After `abandon`."""
        for child in self._children.values():
            child.is_wanted = False
            self._lose(child, reason)

    def stop(self) -> bool:
        """Forget all children and let them finish the message in hand; ChildrenStopped follows if True."""
        actors = [child.actor for child in self._children.values() if child.actor is not None]
        self._children.clear()
        self._put_off.clear()
        self._there = 0
        return self._lane is not None and self._lane.submit(self._endings.stop, actors, self._tell)

    # -- inside ---------------------------------------------------------------------------------

    def _known(self, name: str, incarnation: int) -> Child | None:
        child = self._children.get(name)
        return child if child is not None and child.incarnation == incarnation else None

    def _make(self, child: Child, cause: str | None) -> None:
        child.incarnation = next(self._numbers)
        child.cause = cause
        self._put_off.pop(child.spec.name, None)
        if self._lane is not None:
            self._lane.submit(
                on_lane.create, child.spec, self._lane, child.incarnation, self._paused, self._tell
            )

    def _lose(self, child: Child, reason: str) -> None:
        child.incarnation = next(self._numbers)
        notify(child.spec, Lost(child.spec.name, reason))

    def _set_actor(self, child: Child, actor: Mailbox[Any] | None) -> None:
        self._there += (actor is not None) - (child.actor is not None)
        child.actor = actor


def notify(spec: ChildSpec, notice: ChildNotice) -> None:
    """Tell the child's owner."""
    call_outside(f"child {spec.name}", spec.notify, notice)
