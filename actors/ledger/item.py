"""What reaches a partition's ledger: facts in stream order, commands, and its own timers."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from bfactors.command import CommandAnswer, CommandEnvelope
from bfactors.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Fact:
    """One message of the evidence stream. `evidence` is None where the bytes could not be read as one.

    `fault` is set once it has kept a commit from succeeding twice: then it is quarantined, not decided on.
    """

    position: int
    evidence: Evidence | None
    raw: bytes = b""
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A command whose sender waits on `answer`."""

    envelope: CommandEnvelope
    answer: asyncio.Future[CommandAnswer]


@dataclass(frozen=True, slots=True)
class Rang:
    """A charger's deadline has passed (or its facts changed and it must be looked at again)."""

    charger_id: str
    due_at: datetime


Item = Fact | Asked | Rang
