"""What supervisors and the root tell each other. All frozen, so that they may cross threads."""

from __future__ import annotations

from dataclasses import dataclass

from supervisors.child import ChildSpec
from supervisors.guarded_actor import Tell
from supervisors.lane import Lane
from supervisors.status import Standing

Key = tuple[str, str]
"""A supervisor's kind and name."""


@dataclass(frozen=True, slots=True)
class Open:
    """The first message: what there is to supervise and how it stands; a predecessor's, after a replacement."""

    children: tuple[ChildSpec, ...] = ()
    standing: Standing = Standing.RUNNING
    reason: str | None = None
    restarts: int = 0
    generation: int = 1
    cause: str | None = None
    """Why there was a replacement; None for the first of its name."""


@dataclass(frozen=True, slots=True)
class StartChild:
    spec: ChildSpec


@dataclass(frozen=True, slots=True)
class StopChild:
    name: str


@dataclass(frozen=True, slots=True)
class Stand:
    """An operator's pause, resume or drain, with its reason."""

    standing: Standing
    reason: str | None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: look at the lane, do what was put off."""


@dataclass(frozen=True, slots=True)
class AddTenant:
    """Lend this supervisor's lane to another, `tell`."""

    key: Key
    tell: Tell


@dataclass(frozen=True, slots=True)
class LaneReady:
    """The lane a tenant works on from now."""

    lane: Lane


@dataclass(frozen=True, slots=True)
class Retire:
    """A successor has taken over: pass it what came in meanwhile, and end."""

    successor: Tell


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No successor: end the children and stay, failed, until an operator resumes."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End in order: children, lane, self."""


@dataclass(frozen=True, slots=True)
class LaneEnded:
    """The thread of a closed lane is gone."""

    lane: Lane


@dataclass(frozen=True, slots=True)
class Escalated:
    """To the root: past its budget, or failed itself; its children are ended. A successor opens with `state`."""

    key: Key
    reason: str
    state: Open


@dataclass(frozen=True, slots=True)
class Stopped:
    """To the root: ended in order."""

    key: Key
