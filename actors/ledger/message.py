"""What a ledger's actor is told, all of it by its own work and timers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from actors.ledger.commit import Committed, Memory
from actors.ledger.item import Item
from bfactors.charger.state import ChargerState
from bfactors.firmware.state import FirmwareCharger
from bfactors.ledger_row import EffectRow


@dataclass(frozen=True, slots=True)
class ClaimAgain:
    """It is time to try for the partition again."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The outcome of a try; without memory, another owner is alive."""

    memory: Memory | None
    timers: Sequence[tuple[str, datetime]] = ()
    effects: Sequence[EffectRow] = ()


@dataclass(frozen=True, slots=True)
class Arrived:
    """Facts or commands for a term."""

    term: int
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Done:
    """A commit stands."""

    term: int
    committed: Committed
    seconds: float


@dataclass(frozen=True, slots=True)
class NotDone:
    """A commit of these items ended in an error."""

    term: int
    items: Sequence[Item]
    error: BaseException


@dataclass(frozen=True, slots=True)
class Failed:
    """Something else of a term broke; term 0: a try for the partition did."""

    term: int
    error: BaseException
    during: str


@dataclass(frozen=True, slots=True)
class Scanned:
    """One page of the partition's chargers, as stored."""

    term: int
    states: Sequence[ChargerState]
    is_last: bool
    firmware: Sequence[tuple[FirmwareCharger, ChargerState]] = ()
    """Whose firmware work is outstanding."""
    concerned: frozenset[str] = frozenset()
    """Who has an older certificate to be recalled."""
    says_all: bool = True
    """The last owner may not have said their admission records."""


@dataclass(frozen=True, slots=True)
class Refusing:
    """Those on one page of the partition's chargers of whom an incident has something to refuse."""

    term: int
    charger_ids: Sequence[str]
    is_last: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """It is this partition's turn to look at some of its chargers."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A second has passed, more or less."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """The lease was renewed without a commit."""

    term: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A loop has done its work."""


Message = (
    ClaimAgain
    | Claimed
    | Arrived
    | Done
    | NotDone
    | Failed
    | Scanned
    | Refusing
    | Tick
    | Turn
    | Renewed
    | Ended
)
