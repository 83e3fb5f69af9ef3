"""What a supervisor says of itself, without being asked."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Standing(enum.Enum):
    """The last word of an operator wins; `failed` is the root's word and only a resume takes it back."""

    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SupervisorStatus:
    """One row of `GET /api/v1/supervisors`; `restarts` counts children, lanes and the supervisor itself."""

    kind: str
    name: str
    state: Standing
    children: int
    restarts: int
    reason: str | None
