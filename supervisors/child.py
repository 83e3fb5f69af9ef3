"""A supervised actor: how it is made, what its owner is told, and what is done to it on its lane.

The functions here run on the lane's loop. They touch no supervisor; what they found out goes back as a message.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from actors.mailbox import Mailbox
from supervisors.guarded_actor import Tell
from supervisors.lane import Lane

_LOG = logging.getLogger(__name__)


@runtime_checkable
class Pausable(Protocol):
    """An actor that starts nothing new while paused, and still answers and records."""

    def set_paused(self, paused: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Started:
    """The child is there for the first time, on `lane`."""

    name: str
    actor: Mailbox[Any]
    lane: Lane


@dataclass(frozen=True, slots=True)
class Restarted:
    """The child is a new actor, possibly on a new lane; the one its owner held is dead."""

    name: str
    actor: Mailbox[Any]
    lane: Lane
    cause: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The child is gone and does not come back by itself: given up, drained, or its supervisor failed."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The child was not started: its supervisor is draining or failed, or has a child of that name."""

    name: str
    reason: str


ChildNotice = Started | Restarted | Lost | Refused


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How to make a child, again and again.

    `factory` runs on the lane's loop and returns at once (slow beginnings belong in the actor's `begin`); it
    gives the actor what it needs of the lane, `is_current` above all. `notify` is called from the supervisor's
    thread and must only hand over.
    """

    name: str
    factory: Callable[[Lane], Mailbox[Any]]
    notify: Callable[[ChildNotice], object] = lambda _: None


@dataclass(frozen=True, slots=True)
class ChildStarted:
    """News from the lane; `incarnation` tells which making of the child they are about."""

    name: str
    incarnation: int
    actor: Mailbox[Any]
    lane: Lane
    is_paused: bool


@dataclass(frozen=True, slots=True)
class ChildFailed:
    """Its factory, its `begin` or its `receive` raised."""

    name: str
    incarnation: int
    error: BaseException


@dataclass(frozen=True, slots=True)
class ChildDrained:
    """It has finished everything it had taken, and stopped."""

    name: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class ChildrenStopped:
    """All children have finished what they had in hand."""


def create(spec: ChildSpec, lane: Lane, incarnation: int, paused: bool, tell: Tell) -> None:
    """Make the actor and start it; a factory that fails is a child that failed."""

    def failed(_: Mailbox[Any], error: BaseException, __: object) -> None:
        tell(ChildFailed(spec.name, incarnation, error))

    try:
        actor = spec.factory(lane)
        if paused and isinstance(actor, Pausable):
            actor.set_paused(True)
        actor.start(failed)
    except BaseException as error:  # noqa: BLE001 - the factory's failure is its child's, not the lane's
        tell(ChildFailed(spec.name, incarnation, error))
    else:
        if not tell(ChildStarted(spec.name, incarnation, actor, lane, paused)):
            actor.abandon()  # nobody supervises it any more


def abandon(actors: Iterable[Mailbox[Any]]) -> None:
    """Cancel what these actors are doing."""
    for actor in actors:
        actor.abandon()


def pause(actors: Iterable[tuple[str, int, Mailbox[Any]]], paused: bool, tell: Tell) -> None:
    """Tell each of (name, incarnation, actor) that a pause begins or ends."""
    for name, incarnation, actor in actors:
        if isinstance(actor, Pausable):
            try:
                actor.set_paused(paused)
            except BaseException as error:  # noqa: BLE001 - one child's failure, as above
                actor.abandon()
                tell(ChildFailed(name, incarnation, error))


class Endings:
    """Children's orderly ends in progress on one lane; kept here because a loop holds tasks only weakly."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def drain(self, name: str, incarnation: int, actor: Mailbox[Any], tell: Tell) -> None:
        async def drain() -> None:
            await actor.drain()
            tell(ChildDrained(name, incarnation))

        self._keep(drain())

    def stop(self, actors: Sequence[Mailbox[Any]], tell: Tell | None = None) -> None:
        async def stop() -> None:
            await asyncio.gather(*(actor.stop() for actor in actors))
            if tell is not None:
                tell(ChildrenStopped())

        self._keep(stop())

    def _keep(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
