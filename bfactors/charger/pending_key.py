"""An AuthorizationKey on its way to a charger, or of which nobody knows whether the charger took it."""

from datetime import datetime

import msgspec

ROTATE_KEY = "rotate-key"
"""The action of jobs that bring a charger a new AuthorizationKey."""


class PendingKey(msgspec.Struct, frozen=True, kw_only=True):
    """One generation beside the active one. Its verifiers, once there are any, stand among the charger's `keys`.

    wanted ──minted──► prepared: admitted ──order opened──► offered: may be in use ──► accepted ──seen in a session──► active
                              └── the charger refused, or was never told: withdrawn        └── its job ended: doubted
    """

    generation: int
    job_id: str
    """Also the id its secret is sealed under, for as long as the job is open."""
    origin: str
    trigger: str
    requested_at: datetime
    weakness: str | None = None
    prepared_at: datetime | None = None
    prepared_revision: int = 0
    """The admission record of this revision, or a later one, knows it."""
    offered_session: str | None = None
    """The session that was live when the charger was first to be told; from then on it may be in use."""
    offered_at: datetime | None = None
    accepted_at: datetime | None = None
    needs_reboot: bool = False
    """The charger said that it takes effect with a reboot, and none has been seen yet."""
    nudged_at: datetime | None = None
    """When its socket was to be closed, so that it comes back with the new key."""
    doubted_at: datetime | None = None
    admit_until: datetime | None = None
    """Of a doubted one: withdrawn then, or once another key has been seen since, whichever is later."""
    is_outlived: bool = False
    """Since it is doubted, a session has shown another key: it is not all that the charger has."""

    @property
    def may_be_in_use(self) -> bool:
        """Withdrawn now, it might be the only key the charger knows."""
        return self.offered_at is not None
