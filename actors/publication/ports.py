"""What looking for revocations needs of the rest of the system, time and chance included."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bfactors.ports import (
    Clock,
    EvidenceLog,
    ForeignReader,
    IssuedSample,
    ListBoard,
    Metrics,
    RevocationReader,
)


@dataclass(frozen=True, kw_only=True)
class PublicationPorts:
    """`sample` tells which lists a CA makes while nothing is looked for. `uniform(low, high)` is for jitter alone."""

    reader: RevocationReader
    sample: IssuedSample
    board: ListBoard
    evidence: EvidenceLog
    clock: Clock
    metrics: Metrics
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform


@dataclass(frozen=True, kw_only=True)
class ForeignPorts:
    """What looking up others' certificates needs."""

    reader: ForeignReader
    evidence: EvidenceLog
    clock: Clock
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform
