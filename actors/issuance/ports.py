"""What issuing needs of the rest of the system, time and chance included."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bfactors.ports import CertificateAuthority, Clock, EvidenceLog, Metrics, Revoker


@dataclass(frozen=True, kw_only=True)
class IssuancePorts:
    """`revoker` is None for a CA that cannot take certificates back. `uniform(low, high)` is for jitter alone."""

    authority: CertificateAuthority
    revoker: Revoker | None
    evidence: EvidenceLog
    clock: Clock
    metrics: Metrics
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform
