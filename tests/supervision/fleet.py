"""A small supervised world for these tests: an actor that can be told to misbehave, and an owner that listens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pykka

from actors.mailbox import Mailbox
from supervisors.base import Supervisor
from supervisors.child import Restarted, Started
from supervisors.lane import Lane
from supervisors.root import Root
from supervisors.status import SupervisorStatus
from supervisors.tree import Supervised, Tree
from tests.patience import PATIENCE_S


class HandClock:
    """Monotonic seconds that move only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Listener:
    """Collects what it is told from any thread, and lets a test wait for what it expects."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self._changed = threading.Condition()

    def __call__(self, item: object) -> None:
        with self._changed:
            self.heard.append(item)
            self._changed.notify_all()

    def wait_for(self, predicate: Callable[[list[Any]], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: predicate(self.heard), PATIENCE_S), self.heard

    def wait_for_one(self, kind: type, nth: int = 1) -> Any:
        def found() -> list[Any]:
            return [item for item in self.heard if isinstance(item, kind)]

        self.wait_for(lambda _: len(found()) >= nth)
        return found()[nth - 1]


@dataclass
class Crash:
    error: BaseException


@dataclass
class Where:
    """Answered with the actor's own identity."""

    answer: Future[object] = field(default_factory=Future)


@dataclass
class Block:
    """Blocks the whole loop until the gate opens, then answers whether the actor's lane may still write."""

    entered: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)
    may_write: Future[bool] = field(default_factory=Future)


@dataclass
class Wait:
    """Keeps the actor busy without blocking the loop; `go_on` is called on the loop."""

    entered: threading.Event = field(default_factory=threading.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)


class Parrot(Mailbox[Any]):
    def __init__(self, name: str, lane: Lane) -> None:
        super().__init__(name)
        self.lane = lane
        self.paused = False

    def set_paused(self, paused: bool) -> None:
        self.paused = paused

    async def receive(self, message: Any) -> None:
        match message:
            case Crash(error):
                raise error
            case Where(answer):
                answer.set_result(self)
            case Block(entered, gate, may_write):
                entered.set()
                gate.wait(PATIENCE_S * 4)
                may_write.set_result(self.lane.is_current())
            case Wait(entered, gate):
                entered.set()
                await gate.wait()


class SlowFactory:
    """Makes its parrot only once the gate opens, and blocks the lane until then."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entered = threading.Event()
        self.gate = threading.Event()

    def __call__(self, lane: Lane) -> Parrot:
        self.entered.set()
        self.gate.wait(PATIENCE_S * 4)
        return Parrot(self.name, lane)


class Owner(Listener):
    """Owns one child: always knows its latest actor and lane."""

    def __init__(
        self, supervised: Supervised, name: str, factory: Callable[[Lane], Mailbox[Any]] | None = None
    ) -> None:
        super().__init__()
        self.name = name
        supervised.start_child(name, factory or (lambda lane: Parrot(name, lane)), self)

    @property
    def latest(self) -> Started | Restarted:
        self.wait_for(lambda heard: any(isinstance(item, Started | Restarted) for item in heard))
        return [item for item in self.heard if isinstance(item, Started | Restarted)][-1]

    def tell(self, message: Any) -> None:
        latest = self.latest
        assert latest.lane.submit(latest.actor.tell, message)

    def answers(self) -> bool:
        """The latest actor answers, on the lane it was made on."""
        where = Where()
        self.tell(where)
        return where.answer.result(PATIENCE_S) is self.latest.actor

    def crash(self, error: BaseException | None = None) -> None:
        self.tell(Crash(error or ValueError("told to")))

    def wait_restarted(self, nth: int = 1) -> Restarted:
        restarted: Restarted = self.wait_for_one(Restarted, nth)
        return restarted


@dataclass
class World:
    tree: Tree
    clock: HandClock
    statuses: Listener
    exits: Listener
    abandoned: Listener
    gates: list[threading.Event] = field(default_factory=list)

    def block(self, owner: Owner) -> Block:
        """Wedge the lane of this owner's child; the gate is opened at the latest when the test ends."""
        block = Block()
        self.gates.append(block.gate)
        owner.tell(block)
        assert block.entered.wait(PATIENCE_S)
        return block

    def wait_status(self, predicate: Callable[[SupervisorStatus], object]) -> SupervisorStatus:
        self.statuses.wait_for(lambda heard: any(predicate(status) for status in heard))
        found: SupervisorStatus = next(item for item in reversed(self.statuses.heard) if predicate(item))
        return found

    def wait_now(self, name: str, predicate: Callable[[SupervisorStatus], object]) -> SupervisorStatus:
        """Wait until the latest word of the supervisor of this name is as expected."""

        def latest() -> list[SupervisorStatus]:
            return [status for status in self.statuses.heard if status.name == name][-1:]

        self.statuses.wait_for(lambda _: any(predicate(status) for status in latest()))
        return latest()[0]

    def wait_restarts(self, name: str, least: int) -> SupervisorStatus:
        return self.wait_now(name, lambda status: status.restarts >= least)

    def tick(self, *healthy: Owner) -> None:
        """One tick; the lanes of `healthy` have surely answered the one before."""
        for owner in healthy:
            assert owner.answers()
        self.tree.tick()
        self.settle()

    def settle(self) -> None:
        """Every supervisor has handled what it had been told; asking is for tests, which are no loop."""
        for kind in (Root, Supervisor):
            for ref in pykka.ActorRegistry.get_by_class(kind):
                ref.ask("are you there", timeout=PATIENCE_S)

    def tick_until_abandoned(self, *healthy: Owner) -> None:
        """Tick until one more lane has been abandoned; the lanes of `healthy` have answered each tick before."""
        already = len(self.abandoned.heard)
        for _ in range(10):
            if len(self.abandoned.heard) > already:
                return
            self.tick(*healthy)
        raise AssertionError("no lane was abandoned")
