"""Many chargers on one event loop, switched on and off, lost and found together."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from simulator.charger import Charger, ChargerConfiguration, ChargerMemory, ChargerState


@dataclass(frozen=True, slots=True)
class FleetCount:
    """The fleet in numbers; `by_profile` counts accepted chargers by the profile they are connected with."""

    chargers: int
    accepted: int
    by_profile: Mapping[int, int]
    by_state: Mapping[str, int]
    certificates: int
    sessions: int
    errors: int

    def words(self) -> str:
        """One line for a person."""
        profiles = "  ".join(
            f"profile {profile}: {self.by_profile[profile]}" for profile in sorted(self.by_profile)
        )
        return (
            f"accepted {self.accepted}/{self.chargers}  {profiles or 'no profile yet'}  "
            f"certificates {self.certificates}  sessions {self.sessions}  errors {self.errors}"
        )

    def as_json(self) -> dict[str, Any]:
        """For the summary that a script reads."""
        return {
            "chargers": self.chargers,
            "accepted": self.accepted,
            "by_profile": {str(profile): count for profile, count in sorted(self.by_profile.items())},
            "by_state": dict(sorted(self.by_state.items())),
            "certificates": self.certificates,
            "sessions": self.sessions,
            "errors": self.errors,
        }


class Fleet:
    """The chargers of these configurations; at most `connects_at_once` of them connect at a time.

    `memories` continues earlier lives, by charger id, as `dump_memory` gave them.
    """

    def __init__(
        self,
        configurations: Iterable[ChargerConfiguration],
        *,
        connects_at_once: int = 16,
        seed: int = 1,
        memories: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        gate = asyncio.Semaphore(connects_at_once)
        chance = random.Random(seed)
        dumped = memories or {}
        self._chargers = {
            configuration.charger_id: Charger(
                configuration,
                memory=ChargerMemory.load(dumped[configuration.charger_id], configuration)
                if configuration.charger_id in dumped
                else None,
                chance=chance.random,
                connecting=gate,
            )
            for configuration in configurations
        }

    @property
    def chargers(self) -> tuple[Charger, ...]:
        """All chargers in order."""
        return tuple(self._chargers.values())

    def charger(self, charger_id: str) -> Charger:
        """One charger.

        Raises: KeyError.
        """
        return self._chargers[charger_id]

    async def start(self) -> None:
        """Switch all on; they connect as the gate lets them."""
        for charger in self.chargers:
            await charger.start()

    async def stop(self) -> None:
        """Switch all off, closing open connections in good order.

        Raises: whatever ended a charger's life before; a defect of the simulator.
        """
        async with asyncio.TaskGroup() as tasks:
            for charger in self.chargers:
                tasks.create_task(charger.stop())

    def drop_all(self) -> None:
        """The depot loses its network: every connection vanishes at once."""
        for charger in self.chargers:
            charger.drop()

    def return_all(self) -> None:
        """The depot has its network again."""
        for charger in self.chargers:
            charger.come_back()

    def count(self) -> FleetCount:
        """The fleet in numbers, now."""
        states: Counter[str] = Counter()
        profiles: Counter[int] = Counter()
        certificates = sessions = errors = 0
        for charger in self.chargers:
            seen = charger.snapshot()
            states[seen.state.value] += 1
            if seen.state is ChargerState.ACCEPTED:
                profiles[seen.security_profile] += 1
            certificates += seen.credential_fingerprint is not None
            sessions += seen.sessions
            errors += seen.errors
        return FleetCount(
            len(self._chargers),
            states[ChargerState.ACCEPTED],
            profiles,
            states,
            certificates,
            sessions,
            errors,
        )

    def dump_memories(self) -> dict[str, dict[str, Any]]:
        """Every charger's memory by id, private keys included."""
        return {charger_id: charger.dump_memory() for charger_id, charger in self._chargers.items()}
