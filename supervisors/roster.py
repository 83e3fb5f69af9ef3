"""Which supervisors there are, which lane each works on, and how they are reached from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from supervisors.base import Charter, Supervisor
from supervisors.guarded_actor import Tell, tell_to
from supervisors.kinds import ROLLOUT_LANE, Kind, LaneSharing
from supervisors.message import AddTenant, Key, Open, Retire, Stand
from supervisors.status import Standing

CharterFor = Callable[[Kind, str, bool], Charter]
"""(kind, name, whether it owns a lane)."""


@dataclass(slots=True)
class Entry:
    kind: Kind
    name: str
    tell: Tell
    host: Key | None
    tenants: list[Key] = field(default_factory=list)


class Roster:
    """Makes supervisors on demand and replaces them. The lock is held for moments, never while something waits;
    it also orders messages: whatever was told to a supervisor before its replacement reaches the successor."""

    def __init__(self, charter_for: CharterFor, *, max_lanes: int, children_of: Callable[[Key], int]) -> None:
        self._charter_for = charter_for
        self._max_lanes = max_lanes
        self._children_of = children_of
        self._entries: dict[Key, Entry] = {}
        self._stands: dict[Key, Stand] = {}
        self._closed = False
        self._lock = threading.RLock()

    def tell(self, kind: Kind, name: str, message: object) -> bool:
        """Tell a supervisor, made now if need be; False once the roster is closed."""
        with self._lock:
            entry = self._entry(kind, name)
            return entry is not None and entry.tell(message)

    def tell_all(self, message: object) -> None:
        with self._lock:
            for entry in self._entries.values():
                entry.tell(message)

    def stand(self, kind: Kind, name: str, stand: Stand) -> None:
        """Pause, resume or drain; remembered for a supervisor that does not exist yet, without making it."""
        with self._lock:
            key = (kind.name, name)
            if stand.standing is Standing.RUNNING:
                self._stands.pop(key, None)
            else:
                self._stands[key] = stand
            if key in self._entries:
                self._entries[key].tell(stand)

    @property
    def stands(self) -> dict[Key, Stand]:
        """Who is not simply running by an operator's word."""
        with self._lock:
            return dict(self._stands)

    def replace(self, key: Key, state: Open) -> None:
        """Put a new supervisor, on a new lane if it owns one, in the place of one that escalated."""
        with self._lock:
            entry = self._entries[key]
            predecessor = entry.tell
            entry.tell = self._start(entry.kind, entry.name, entry.host, state)
            for tenant in entry.tenants:
                entry.tell(AddTenant(tenant, self._entries[tenant].tell))
            predecessor(Retire(entry.tell))

    def close(self) -> tuple[set[Key], set[Key]]:
        """Make no more supervisors; answers the tenants and the owners of lanes."""
        with self._lock:
            self._closed = True
            tenants = {key for key, entry in self._entries.items() if entry.host is not None}
            return tenants, self._entries.keys() - tenants

    def tell_key(self, key: Key, message: object) -> bool:
        """Tell a supervisor that exists."""
        with self._lock:
            return self._entries[key].tell(message)

    def kind_of(self, key: Key) -> Kind:
        with self._lock:
            return self._entries[key].kind

    def _entry(self, kind: Kind, name: str) -> Entry | None:
        key = (kind.name, name)
        entry = self._entries.get(key)
        if entry is not None or self._closed:
            return entry
        host = self._host_for(kind)
        stand = self._stands.get(key, Stand(Standing.RUNNING, None))
        tell = self._start(kind, name, host, Open(standing=stand.standing, reason=stand.reason))
        entry = self._entries[key] = Entry(kind, name, tell, host)
        return entry

    def _start(self, kind: Kind, name: str, host: Key | None, state: Open) -> Tell:
        tell = tell_to(Supervisor.start(self._charter_for(kind, name, host is None)))
        tell(state)
        if host is not None:
            lender = self._entries[host]
            key = (kind.name, name)
            if key not in lender.tenants:
                lender.tenants.append(key)
            lender.tell(AddTenant(key, tell))
        return tell

    def _host_for(self, kind: Kind) -> Key | None:
        """Whose lane a new supervisor works on; None for one of its own."""
        match kind.sharing:
            case LaneSharing.OWN:
                return None
            case LaneSharing.ROLLOUT:
                self._entry(ROLLOUT_LANE, "rollout")
                return (ROLLOUT_LANE.name, "rollout")
            case LaneSharing.WHILE_THEY_LAST:
                owners = [(key, entry) for key, entry in self._entries.items() if entry.host is None]
                lenders = [(key, entry) for key, entry in owners if entry.kind is kind]
                if len(owners) < self._max_lanes or not lenders:
                    return None
                return min(lenders, key=lambda item: self._load(*item))[0]

    def _load(self, key: Key, entry: Entry) -> tuple[int, int]:
        # A published count lags behind: without the floor a burst of new families would all choose one lane.
        children = sum(max(1, self._children_of(each)) for each in (key, *entry.tenants))
        return children, len(entry.tenants)
