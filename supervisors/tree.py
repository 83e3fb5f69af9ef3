"""The supervision tree as the rest of the process sees it.

    Tree ── root ─┬─ family …     a lane each while lanes are left
                  ├─ purpose …    a lane each
                  ├─ scheme …     a lane each
                  ├─ ledger       one lane
                  └─ rollout lane ── cohort …

Everything here may be called from any thread and from inside any loop: it tells and returns. Answers come through
the callbacks of a child and through `statuses`, which were published and need not be asked for.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import time
import weakref
from collections.abc import Callable
from typing import Any

import uvloop

from actors.mailbox import Mailbox
from supervisors.base import Charter
from supervisors.child import ChildNotice, ChildSpec, Refused
from supervisors.descriptor_limit import raise_descriptor_limit
from supervisors.guarded_actor import tell_to
from supervisors.kinds import COHORT, FAMILY, KINDS, LEDGER, PURPOSE, SCHEME, Kind
from supervisors.lane import Lane, LaneWatch, LoopFactory
from supervisors.message import Key, Stand, StartChild, StopChild, Tick
from supervisors.root import Root, StopAll
from supervisors.roster import Roster
from supervisors.status import Standing, SupervisorStatus
from supervisors.ticker import Ticker

_LOG = logging.getLogger(__name__)


class Supervised:
    """One supervisor, by name. Holds no reference to it, so it stays right when the supervisor is replaced."""

    def __init__(self, roster: Roster, kind: Kind, name: str) -> None:
        self._roster = roster
        self._kind = kind
        self.name = name

    def start_child(
        self,
        name: str,
        factory: Callable[[Lane], Mailbox[Any]],
        notify: Callable[[ChildNotice], object] = lambda _: None,
    ) -> None:
        """Have an actor made on the supervisor's lane; see `ChildSpec` for what the two callables may do."""
        if not self._roster.tell(self._kind, self.name, StartChild(ChildSpec(name, factory, notify))):
            notify(Refused(name, "this process is stopping"))

    def stop_child(self, name: str) -> None:
        """Its owner needs it no more; it finishes the message in hand. Unknown names are passed over."""
        self._roster.tell(self._kind, self.name, StopChild(name))


class Tree:
    """Made once a process, closed with `stop`. Times are seconds.

    A lane is abandoned after `missed_beats_limit` ticks without an answer, the process given up after
    `io_missed_beats_limit` ticks without one from the I/O lane. `exit_process(reason)` ends the process from
    whatever thread; `publish` and `on_lane_abandoned` are called from supervisors' threads and only hand over.
    `tick_interval_s` None leaves ticking to the caller.
    """

    def __init__(
        self,
        *,
        exit_process: Callable[[str], object],
        io_lane: Lane | None = None,
        publish: Callable[[SupervisorStatus], object] = lambda _: None,
        on_lane_abandoned: Callable[[Lane], object] = lambda _: None,
        max_lanes: int = 64,
        missed_beats_limit: int = 10,
        io_missed_beats_limit: int = 20,
        tick_interval_s: float | None = 1.0,
        clock: Callable[[], float] = time.monotonic,
        loop_factory: LoopFactory = uvloop.new_event_loop,
    ) -> None:
        raise_descriptor_limit()
        self._publish_outside = publish
        self._on_lane_abandoned = on_lane_abandoned
        self._missed_beats_limit = missed_beats_limit
        self._clock = clock
        self._loop_factory = loop_factory
        self._statuses: dict[Key, SupervisorStatus] = {}
        self._lanes: weakref.WeakSet[Lane] = weakref.WeakSet()
        self._roster = Roster(self._charter, max_lanes=max_lanes, children_of=self._children_of)
        io_watch = LaneWatch(io_lane, io_missed_beats_limit) if io_lane is not None else None
        self._tell_root = tell_to(Root.start(self._roster, io_watch, clock, exit_process))
        self._ticker = Ticker(self.tick, tick_interval_s) if tick_interval_s is not None else None

    def family(self, name: str) -> Supervised:
        return Supervised(self._roster, FAMILY, name)

    def cohort(self, name: str) -> Supervised:
        return Supervised(self._roster, COHORT, name)

    def purpose(self, name: str) -> Supervised:
        return Supervised(self._roster, PURPOSE, name)

    def scheme(self, name: str) -> Supervised:
        return Supervised(self._roster, SCHEME, name)

    def ledger(self, name: str = "ledger") -> Supervised:
        return Supervised(self._roster, LEDGER, name)

    def apply_pause(self, kind: str, name: str, paused: bool, reason: str) -> None:
        """Carry out a recorded pause, or take back a pause, a drain or a failure. Raises KeyError on no such kind."""
        standing = Standing.PAUSED if paused else Standing.RUNNING
        self._roster.stand(KINDS[kind], name, Stand(standing, reason))

    def apply_drain(self, kind: str, name: str, reason: str) -> None:
        """Carry out a recorded drain; `apply_pause(..., paused=False)` takes it back. Raises KeyError likewise."""
        self._roster.stand(KINDS[kind], name, Stand(Standing.DRAINING, reason))

    def statuses(self) -> list[SupervisorStatus]:
        """The latest word of every supervisor, and of those paused before they were ever needed."""
        rows = {key: status for key, status in self._statuses.copy().items() if key[0] in KINDS}
        for key, stand in self._roster.stands.items():
            rows.setdefault(key, SupervisorStatus(*key, stand.standing, 0, 0, stand.reason))
        return [rows[key] for key in sorted(rows)]

    def tick(self) -> None:
        """Have every lane looked at; the ticker's thread calls this."""
        self._tell_root(Tick())

    async def stop(self, timeout: float) -> bool:
        """End all actors, lanes and supervisors in order; False when some did not in time and were abandoned."""
        if self._ticker is not None:
            self._ticker.stop()
        done: concurrent.futures.Future[None] = concurrent.futures.Future()
        if not self._tell_root(StopAll(done)):
            return True  # stopped before
        ended = asyncio.shield(asyncio.wrap_future(done))
        try:
            await asyncio.wait_for(ended, timeout)
        except TimeoutError:
            late = [lane for lane in self._lanes if lane.is_current()]
            _LOG.error("abandoned at the end: %s", late)
            for lane in self._lanes:
                lane.abandon()
            return False
        return True

    def _charter(self, kind: Kind, name: str, owns_lane: bool) -> Charter:
        return Charter(
            kind=kind,
            name=name,
            tell_root=self._tell_root,
            clock=self._clock,
            publish=self._publish,
            open_lane=self._open_lane if owns_lane else None,
            on_lane_abandoned=self._on_lane_abandoned,
            missed_beats_limit=self._missed_beats_limit,
        )

    def _open_lane(self, name: str, generation: int, on_closed: Callable[[Lane], object]) -> Lane:
        lane = Lane.open(
            name,
            generation=generation,
            clock=self._clock,
            loop_factory=self._loop_factory,
            on_closed=on_closed,
        )
        self._lanes.add(lane)
        return lane

    def _publish(self, status: SupervisorStatus) -> None:
        self._statuses[(status.kind, status.name)] = status
        if status.kind in KINDS:
            self._publish_outside(status)

    def _children_of(self, key: Key) -> int:
        status = self._statuses.get(key)
        return 0 if status is None else status.children
