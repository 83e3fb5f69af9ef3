"""The root of the tree: replaces supervisors that gave up, and gives up the process when that is no use."""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable
from dataclasses import dataclass

from supervisors.guarded_actor import GuardedActor, call_outside
from supervisors.kinds import WHOLE_PROCESS_LIMIT
from supervisors.lane import LaneWatch
from supervisors.message import Escalated, GiveUp, Key, Stop, Stopped, Tick
from supervisors.restart_budget import RestartBudget
from supervisors.roster import Roster

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StopAll:
    """End everything in order; `done` is set when the last supervisor has ended."""

    done: concurrent.futures.Future[None]


class Root(GuardedActor):
    """`exit_process(reason)` must end the process from whatever thread; nothing is decided here after it."""

    def __init__(
        self,
        roster: Roster,
        io_watch: LaneWatch | None,
        clock: Callable[[], float],
        exit_process: Callable[[str], object],
    ) -> None:
        super().__init__()
        self._roster = roster
        self._io_watch = io_watch
        self._clock = clock
        self._exit_process = exit_process
        self._budget = RestartBudget(WHOLE_PROCESS_LIMIT)
        self._budgets: dict[Key, RestartBudget] = {}
        self._is_exiting = False
        self._done: concurrent.futures.Future[None] | None = None
        self._tenants: set[Key] = set()
        self._owners: set[Key] = set()

    def __str__(self) -> str:
        return "the root supervisor"

    def survive(self, error: BaseException) -> None:
        self._exit(f"the root supervisor failed: {type(error).__name__}")

    def handle(self, message: object) -> None:
        match message:
            case Tick():
                if self._io_watch is not None and self._done is None and self._io_watch.finds_it_wedged():
                    self._exit("the I/O lane is wedged")
                self._roster.tell_all(message)
            case Escalated() if self._done is None:
                self._escalated(message)
            case StopAll(done):
                self._done = done
                self._tenants, self._owners = self._roster.close()
                for key in self._tenants or self._owners:
                    self._roster.tell_key(key, Stop())
                self._finish_if_done()
            case Stopped(key):
                # Owners of lanes end after their tenants, whose actors would otherwise lose the loop under them.
                if key in self._tenants:
                    self._tenants.discard(key)
                    if not self._tenants:
                        for owner in self._owners:
                            self._roster.tell_key(owner, Stop())
                self._owners.discard(key)
                self._finish_if_done()
            case _:
                _LOG.debug("the root passes over %s", type(message).__name__)

    def _escalated(self, message: Escalated) -> None:
        key, reason, now = message.key, message.reason, self._clock()
        kind = self._roster.kind_of(key)
        _LOG.error("supervisor %s %s is past its budget: %s", *key, reason)
        budget = self._budgets.setdefault(key, RestartBudget(kind.limit_at_root))
        if not self._budget.spend(now):
            self._exit(f"too many supervisors failed, the last {kind.name} {key[1]}: {reason}")
        elif budget.spend(now):
            self._roster.replace(key, message.state)
        elif kind.ends_process:
            self._exit(f"{kind.name} {key[1]} failed again and again: {reason}")
        else:
            del self._budgets[key]  # an operator's resume begins anew
            self._roster.tell_key(key, GiveUp(reason))

    def _finish_if_done(self) -> None:
        if self._done is not None and not self._tenants and not self._owners:
            self._done.set_result(None)
            self.stop()

    def _exit(self, reason: str) -> None:
        if not self._is_exiting:
            self._is_exiting = True
            _LOG.critical("the process exits: %s", reason)
            call_outside("the end of the process", self._exit_process, reason)
