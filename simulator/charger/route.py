"""Which slot and which credential the next connection is tried with (OCPP 2.0.1 B10, A02.FR.28)."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.charger.configuration import NetworkProfile
from simulator.charger.credential import ClientCredential
from simulator.charger.memory import ChargerMemory


@dataclass(frozen=True, slots=True)
class Way:
    """One way of connecting: with a client certificate in security profile 3, a password below, nothing in 0."""

    slot: int
    profile: NetworkProfile
    credential: ClientCredential | None = None
    password: str | None = field(default=None, repr=False)


def lacks(memory: ChargerMemory, security_profile: int) -> str | None:
    """What the charger has not got for this security profile, or None.

    Source: OCPP 2.0.1 A05.FR.02, A05.FR.03.
    """
    if security_profile >= 2 and not memory.trust.roots():
        return "no CSMSRootCertificate is installed"
    if security_profile == 3 and memory.newest_credential is None:
        return "no ChargingStationCertificate is installed"
    return None


def ways(
    memory: ChargerMemory, *, shuns_renewed: bool = False, keeps_old_password: bool = True
) -> tuple[Way, ...]:
    """All ways in the order of preference: slots by priority, what is new before what it replaces."""
    found: list[Way] = []
    passwords: tuple[str | None, ...] = (memory.pending_password, memory.basic_password)
    if memory.pending_password is not None and not keeps_old_password:
        passwords = (memory.pending_password,)
    for slot in memory.priority:
        profile = memory.network_profiles.get(slot)
        if profile is None or lacks(memory, profile.security_profile):
            continue
        if profile.security_profile == 0:
            found.append(Way(slot, profile))
            continue
        if profile.security_profile < 3:
            found.extend(Way(slot, profile, password=each) for each in passwords if each is not None)
            continue
        credentials = (memory.credential,) if shuns_renewed else (memory.renewed, memory.credential)
        found.extend(Way(slot, profile, credential) for credential in credentials if credential)
    return tuple(found)


class Route:
    """Where the charger stands in its list of ways; starts over after every success."""

    def __init__(self, attempts_each: int) -> None:
        self._attempts_each = attempts_each
        self._position = 0
        self._attempts = 0

    def choose(self, found: tuple[Way, ...]) -> Way:
        """The way to try now, out of a list that may have changed since the last time."""
        return found[self._position % len(found)]

    def start_over(self) -> None:
        """Begin with the first way again: after a success, a reset, a new certificate."""
        self._position = 0
        self._attempts = 0

    def failed(self, found: tuple[Way, ...], *, unreachable: bool) -> None:
        """Count a failure and go on to the next way once this one has had its attempts.

        A central system that could not be reached says nothing about a credential, so the charger
        then moves on only to a slot with another address.
        """
        self._attempts += 1
        if self._attempts < self._attempts_each:
            return
        here = self.choose(found)
        steps = range(1, len(found) + 1) if unreachable else (1,)
        for step in steps:
            way = found[(self._position + step) % len(found)]
            if not unreachable or way.profile.url != here.profile.url:
                self._position += step
                self._attempts = 0
                return
        self._attempts = 0
