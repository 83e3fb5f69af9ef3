"""The kinds of supervisor. They differ in these values only, so there is one class and this table.

Delays before a child's restart: none for the first within its limit's period, then `restart_delay_s` doubling up
to `longest_delay_s`, so that a lost database is outlived rather than hammered.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from supervisors.restart_budget import RestartLimit


class LaneSharing(enum.Enum):
    OWN = "a lane of its own, always"
    WHILE_THEY_LAST = "a lane of its own while lanes are left, then the smallest one's of its kind"
    ROLLOUT = "the rollout lane, with all others of its kind"


@dataclass(frozen=True, slots=True)
class Kind:
    """What one kind of supervisor allows and what happens past it."""

    name: str
    sharing: LaneSharing
    child_limit: RestartLimit
    """Restarts of one child. Past it the child is given up, or the supervisor escalates."""
    gives_children_up: bool
    limit: RestartLimit
    """Restarts of all children and the lane together; past it the supervisor escalates to the root."""
    limit_at_root: RestartLimit
    """Replacements of the whole supervisor; past it the process exits, or only this supervisor is failed."""
    ends_process: bool
    restart_delay_s: float = 1.0
    longest_delay_s: float = 10.0
    listed: bool = True


FAMILY = Kind(
    "family",
    LaneSharing.WHILE_THEY_LAST,
    # One charger that crashes its actor on every message must not take its family along.
    child_limit=RestartLimit(3, 60.0),
    gives_children_up=True,
    limit=RestartLimit(30, 60.0),
    limit_at_root=RestartLimit(3, 600.0),
    ends_process=False,
)
COHORT = Kind(
    "cohort",
    LaneSharing.ROLLOUT,
    child_limit=RestartLimit(10, 120.0),
    gives_children_up=False,
    limit=RestartLimit(10, 120.0),
    limit_at_root=RestartLimit(3, 600.0),
    ends_process=False,
)
PURPOSE = Kind(
    "purpose",
    LaneSharing.OWN,
    child_limit=RestartLimit(10, 120.0),
    gives_children_up=False,
    limit=RestartLimit(20, 120.0),
    limit_at_root=RestartLimit(3, 600.0),
    ends_process=False,
)
SCHEME = Kind(
    "scheme",
    LaneSharing.OWN,
    child_limit=RestartLimit(5, 120.0),
    gives_children_up=True,
    limit=RestartLimit(20, 120.0),
    limit_at_root=RestartLimit(3, 600.0),
    ends_process=False,
)
LEDGER = Kind(
    "ledger",
    LaneSharing.OWN,
    # With the database away, 16 partitions fail together, again and again: minutes of that are to be outlived.
    child_limit=RestartLimit(20, 300.0),
    gives_children_up=False,
    limit=RestartLimit(320, 300.0),
    limit_at_root=RestartLimit(3, 1800.0),
    ends_process=True,
)
ROLLOUT_LANE = Kind(
    "rollout-lane",
    LaneSharing.OWN,
    child_limit=RestartLimit(0, 60.0),
    gives_children_up=False,
    limit=RestartLimit(3, 60.0),
    limit_at_root=RestartLimit(3, 600.0),
    ends_process=True,
    listed=False,
)

KINDS = {kind.name: kind for kind in (FAMILY, COHORT, PURPOSE, SCHEME, LEDGER)}
WHOLE_PROCESS_LIMIT = RestartLimit(10, 600.0)
"""Replacements of supervisors, all together; past it nothing in this process is trusted and it exits."""
