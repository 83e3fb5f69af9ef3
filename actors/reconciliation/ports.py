"""What reconciling needs of the rest of the system, time and chance included."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bfactors.ports import (
    Auditor,
    CertificateAuthority,
    CertificateIndex,
    Clock,
    CommandDoor,
    EvidenceLog,
    Metrics,
)


@dataclass(frozen=True, kw_only=True)
class ReconciliationPorts:
    """`auditor` is None for a CA that offers no list of what it signed. `uniform(low, high)` is for jitter alone."""

    authority: CertificateAuthority
    auditor: Auditor | None
    index: CertificateIndex
    commands: CommandDoor
    evidence: EvidenceLog
    clock: Clock
    metrics: Metrics
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform
