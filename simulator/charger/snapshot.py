"""A charger seen from outside at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ChargerState(StrEnum):
    """Where a charger is in its life."""

    STOPPED = "stopped"
    AWAY = "away"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    PENDING = "pending"
    REJECTED = "rejected"
    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class ChargerSnapshot:
    """State and belongings; fingerprints are SHA-256, lower-case hex.

    `security_profile` is that of the last connection that worked, `session_fingerprint` the client
    certificate of the present connection, `connections` and `sessions` how many were opened and how many of them worked
    since the start, `errors` how often something went wrong; `last_errors` are the latest of them.
    """

    charger_id: str
    state: ChargerState
    security_profile: int
    slot: int | None
    session_fingerprint: str | None
    credential_fingerprint: str | None
    renewed_fingerprint: str | None
    awaits_certificate: bool
    root_fingerprints: tuple[str, ...]
    priority: tuple[int, ...]
    network_profiles: Mapping[int, int]
    connections: int
    sessions: int
    errors: int
    counters: Mapping[str, int]
    last_errors: tuple[str, ...]

    @property
    def is_accepted(self) -> bool:
        """Connected, booted and welcome."""
        return self.state is ChargerState.ACCEPTED

    @property
    def installed_fingerprints(self) -> tuple[str, ...]:
        """The client certificates in the charger, the proven one first."""
        return tuple(name for name in (self.credential_fingerprint, self.renewed_fingerprint) if name)
