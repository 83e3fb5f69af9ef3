"""`NotificationStore` in memory: passes the same contract as the one in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from bfactors.errors import Fenced
from bfactors.notice import NotifierLease, Telling

Key = tuple[str, str]


class FakeNotifications:
    """Time stands still for its leases until `lapse` is called."""

    def __init__(self) -> None:
        self.owner = ""
        self.epoch = 0
        self.position: int | None = None
        self.pending: dict[Key, Telling] = {}
        self.next_at: dict[Key, datetime] = {}
        self.states: dict[Key, str] = {}
        self.errors: dict[Key, str | None] = {}
        self.settled_at: dict[Key, datetime] = {}
        self._is_held = False

    def lapse(self) -> None:
        """Whoever holds it has not been heard of for too long."""
        self._is_held = False

    async def hold(self, owner: str, lease_time: timedelta) -> NotifierLease | None:
        if self._is_held and self.owner != owner:
            return None
        if not self._is_held:
            self.epoch += 1
        self.owner, self._is_held = owner, True
        return NotifierLease(owner, self.epoch, self.position)

    async def release(self, lease: NotifierLease) -> None:
        if (lease.owner, lease.epoch) == (self.owner, self.epoch):
            self._is_held = False

    async def take(self, lease: NotifierLease, position: int, tellings: Sequence[Telling]) -> None:
        if (lease.owner, lease.epoch) != (self.owner, self.epoch):
            raise Fenced("another core goes through the events now")
        self.position = position
        for telling in tellings:
            key = _key(telling)
            if key not in self.states:
                self.states[key] = "pending"
                self.pending[key] = telling
                self.next_at[key] = telling.created_at

    async def due(self, now: datetime, limit: int) -> Sequence[Telling]:
        keys = sorted((at, key) for key, at in self.next_at.items() if key in self.pending and at <= now)
        return [self.pending[key] for _, key in keys[:limit]]

    async def settled(self, telling: Telling, state: str, at: datetime, error: str | None = None) -> None:
        key = _key(telling)
        if self.pending.pop(key, None) is not None:
            self.states[key], self.errors[key], self.settled_at[key] = state, error, at

    async def failed(self, telling: Telling, next_at: datetime, error: str) -> None:
        key = _key(telling)
        if key in self.pending:
            self.pending[key] = replace(self.pending[key], attempts=self.pending[key].attempts + 1)
            self.next_at[key], self.errors[key] = next_at, error


def _key(telling: Telling) -> Key:
    return telling.notice.notice_id, telling.subscription_id
