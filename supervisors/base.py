"""The supervisor: a thread that watches the actors of one family, cohort, purpose or scheme, or of the ledger.

    running ◄──► paused        children are told, and still answer and record
       ▲  └────► draining      children finish what they have taken and end; new ones are refused
       └───────► failed        the root gave it up; children are ended; only a resume takes it back

It does no I/O and never waits: it tells, and is told. A child that fails is made again by its factory; a lane
that misses beats is abandoned and replaced; past the budget the root is told and replaces this supervisor.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass

from supervisors.child import ChildDrained, ChildFailed, ChildrenStopped, ChildStarted, Refused
from supervisors.children import Children, notify
from supervisors.guarded_actor import GuardedActor, Tell, call_outside, tell_to
from supervisors.kinds import Kind
from supervisors.lane import Lane, LaneWatch
from supervisors.message import (
    AddTenant,
    Escalated,
    GiveUp,
    Key,
    LaneEnded,
    LaneReady,
    Open,
    Retire,
    Stand,
    StartChild,
    Stop,
    StopChild,
    Stopped,
    Tick,
)
from supervisors.restart_budget import RestartBudget
from supervisors.status import Standing, SupervisorStatus

_LOG = logging.getLogger(__name__)


class Phase(enum.Enum):
    ACTIVE = "active"
    ESCALATED = "escalated"  # waits for the root's word; messages are held for whoever comes after
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Charter:
    """What a supervisor is given for life, and its successor after it.

    `open_lane(name, generation, on_closed)` is None for a tenant, which is lent its host's lane.
    `publish` and `on_lane_abandoned` are called from the supervisor's thread and must only hand over.
    """

    kind: Kind
    name: str
    tell_root: Tell
    clock: Callable[[], float]
    publish: Callable[[SupervisorStatus], object]
    open_lane: Callable[[str, int, Callable[[Lane], object]], Lane] | None
    on_lane_abandoned: Callable[[Lane], object]
    missed_beats_limit: int

    @property
    def key(self) -> Key:
        return self.kind.name, self.name


class Supervisor(GuardedActor):
    """See the module. Started by the roster, which sends `Open` first; all else reaches it as messages."""

    def __init__(self, charter: Charter) -> None:
        super().__init__()
        self._charter = charter
        self._tell = tell_to(self.actor_ref)
        self._children = Children(charter.kind, charter.clock, self._tell)
        self._budget = RestartBudget(charter.kind.limit)
        self._phase = Phase.ACTIVE
        self._standing = Standing.RUNNING
        self._reason: str | None = None
        self._restarts = 0
        self._generation = 1
        self._lane: Lane | None = None
        self._watch: LaneWatch | None = None
        self._tenants: dict[Key, Tell] = {}
        self._held: list[object] = []
        self._published: SupervisorStatus | None = None

    def __str__(self) -> str:
        return f"supervisor {self._charter.kind.name} {self._charter.name}"

    def handle(self, message: object) -> None:
        if self._phase is Phase.ESCALATED and isinstance(
            message, StartChild | StopChild | Stand | AddTenant | LaneReady
        ):
            self._held.append(message)
        else:
            self._do(message)
        if self._phase is not Phase.ESCALATED:  # a successor may have spoken already
            self._publish_if_changed()

    def survive(self, error: BaseException) -> None:
        self._escalate(f"the supervisor itself failed: {type(error).__name__}")

    def _do(self, message: object) -> None:
        match message:
            case StartChild(spec):
                if self._phase is Phase.STOPPING:
                    notify(spec, Refused(spec.name, "this process is stopping"))
                elif self._standing in (Standing.DRAINING, Standing.FAILED):
                    reason = f"{self._standing.value}: {self._reason or 'no reason given'}"
                    notify(spec, Refused(spec.name, reason))
                else:
                    self._children.add(spec)
            case StopChild(name):
                self._children.remove(name)
            case ChildStarted():
                self._children.started(message)
            case ChildFailed() if self._phase is Phase.ACTIVE:
                self._child_failed(message)
            case ChildDrained():
                self._children.drained(message)
            case Tick() if self._phase is Phase.ACTIVE:
                self._tick()
            case Stand(standing, reason):
                self._stand(standing, reason)
            case LaneReady(lane):
                self._work_on(lane)
            case AddTenant(key, tell):
                self._tenants[key] = tell
                if self._lane is None:
                    self._new_lane()
                else:
                    tell(LaneReady(self._lane))
            case Open():
                self._open(message)
            case Retire(successor):
                for held in self._held:
                    successor(held)
                self.stop()
            case GiveUp(reason):
                self._give_up(reason)
            case Stop():
                self._phase = Phase.STOPPING
                if not self._children.stop():
                    self._tell(ChildrenStopped())
            case ChildrenStopped():
                if self._charter.open_lane is not None and self._lane is not None and self._lane.is_current():
                    self._lane.close()
                else:
                    self._end()
            case LaneEnded(lane) if self._phase is Phase.STOPPING and lane is self._lane:
                self._end()
            case _:
                _LOG.debug("%s passes over %s", self, type(message).__name__)

    # -- opening and ending -----------------------------------------------------------------------

    def _open(self, state: Open) -> None:
        self._standing, self._reason = state.standing, state.reason
        self._restarts, self._generation = state.restarts, state.generation
        self._children.pause(state.standing in (Standing.PAUSED, Standing.DRAINING))
        if self._charter.open_lane is not None:
            self._children.move_to(self._new_lane(), state.cause)
        for spec in state.children:
            self._children.add(spec, wanted=state.standing is not Standing.DRAINING, cause=state.cause)

    def _work_on(self, lane: Lane) -> None:
        """As a tenant: take the lane the host lends; said twice, it changes nothing."""
        if lane is not self._lane:
            cause = None if self._lane is None else "lane replaced"
            self._children.abandon()
            self._lane = lane
            self._children.move_to(lane, cause)

    def _new_lane(self) -> Lane:
        assert self._charter.open_lane is not None
        name = f"{self._charter.kind.name} {self._charter.name}"
        lane = self._charter.open_lane(name, self._generation, lambda lane: self._tell(LaneEnded(lane)))
        self._generation += 1
        self._lane = lane
        self._watch = LaneWatch(lane, self._charter.missed_beats_limit)
        for tell in self._tenants.values():
            tell(LaneReady(lane))
        return lane

    def _end(self) -> None:
        self._charter.tell_root(Stopped(self._charter.key))
        self.stop()

    # -- failures ---------------------------------------------------------------------------------

    def _child_failed(self, news: ChildFailed) -> None:
        if not self._children.failed(news):
            return
        delay_s = self._children.restart_delay(news.name)
        if delay_s is None:
            if self._charter.kind.gives_children_up:
                self._children.give_up(news.name, f"failed too often: {type(news.error).__name__}")
            else:
                self._escalate(f"{news.name} failed too often: {type(news.error).__name__}")
        elif self._budget.spend(self._charter.clock()):
            self._restarts += 1
            self._children.restart(news.name, delay_s)
        else:
            self._escalate(f"too many restarts, the last of {news.name}: {type(news.error).__name__}")

    def _tick(self) -> None:
        self._children.make_those_due()
        if self._watch is not None and self._watch.finds_it_wedged():
            self._replace_lane(self._watch.lane)

    def _replace_lane(self, wedged: Lane) -> None:
        _LOG.error("%s abandons %r: no beat for %.1f s", self, wedged, wedged.last_beat_age())
        wedged.abandon()
        self._children.abandon()
        self._lane = self._watch = None
        call_outside("an abandoned lane", self._charter.on_lane_abandoned, wedged)
        if self._budget.spend(self._charter.clock()):
            self._restarts += 1
            self._children.move_to(self._new_lane(), "lane wedged")
        else:
            self._escalate("its lane was wedged too often")

    def _escalate(self, reason: str) -> None:
        if self._phase is not Phase.ACTIVE:
            return
        self._phase = Phase.ESCALATED
        state = Open(
            self._children.specs, self._standing, self._reason, self._restarts + 1, self._generation, reason
        )
        try:
            self._let_go()
        finally:
            self._charter.tell_root(Escalated(self._charter.key, reason, state))

    def _let_go(self) -> None:
        self._children.abandon()
        self._watch = None
        if self._charter.open_lane is not None and self._lane is not None:
            self._lane.close()
            self._lane = None

    def _give_up(self, reason: str) -> None:
        self._phase, self._standing, self._reason = Phase.ACTIVE, Standing.FAILED, reason
        self._children.lose(reason)
        if self._tenants:
            self._new_lane()
        held, self._held = self._held, []
        for message in held:
            self._do(message)

    # -- standing ---------------------------------------------------------------------------------

    def _stand(self, standing: Standing, reason: str | None) -> None:
        if self._standing is Standing.FAILED:
            if standing is not Standing.RUNNING:
                return
            self._budget = RestartBudget(self._charter.kind.limit)
            if self._lane is None and self._charter.open_lane is not None:
                self._new_lane()
            if self._lane is not None:
                self._children.move_to(self._lane, "resumed")
        self._standing, self._reason = standing, None if standing is Standing.RUNNING else reason
        self._children.pause(standing is not Standing.RUNNING)
        if standing is Standing.DRAINING:
            self._children.drain()
        else:
            self._children.revive("resumed")

    # -- what others see --------------------------------------------------------------------------

    def _publish_if_changed(self) -> None:
        """Once per burst of messages, so that a reconnect storm costs one status and not thousands."""
        status = SupervisorStatus(
            *self._charter.key, self._standing, self._children.there, self._restarts, self._reason
        )
        old = self._published
        if status != old and (self.actor_inbox.empty() or old is None or status.state != old.state):
            self._published = status
            call_outside("a new status", self._charter.publish, status)
