"""Everything the answers of a charger work with, whatever version they are given in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from simulator.charger.certificate_desk import CertificateDesk
from simulator.charger.configuration import ChargerConfiguration
from simulator.charger.fault import FaultScript
from simulator.charger.journal import Journal
from simulator.charger.log_desk import LogDesk
from simulator.charger.memory import ChargerMemory
from simulator.charger.settings import Settings


@dataclass(slots=True)
class Station:
    """One charger's belongings; `accepted` is whether its last BootNotification was."""

    configuration: ChargerConfiguration
    memory: ChargerMemory
    faults: FaultScript
    journal: Journal
    clock: Callable[[], datetime]
    settings: Settings
    certificates: CertificateDesk
    logs: LogDesk
    accepted: bool = False

    @classmethod
    def of(
        cls,
        configuration: ChargerConfiguration,
        memory: ChargerMemory,
        faults: FaultScript,
        journal: Journal,
        clock: Callable[[], datetime],
    ) -> Station:
        """A station with its desks."""
        return cls(
            configuration,
            memory,
            faults,
            journal,
            clock,
            Settings(configuration, memory, faults, journal),
            CertificateDesk(configuration, memory, faults, journal, clock),
            LogDesk(configuration, memory, faults, journal),
        )
