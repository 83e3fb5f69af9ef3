"""One time of owning a partition: everything that is dropped when it ends."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from actors.ledger.announcement import Announcer
from actors.ledger.checkpoint import Checkpointer
from actors.ledger.commit import Memory
from actors.ledger.item import Asked, Item, Rang
from actors.ledger.outgoing_event import EventPublisher
from actors.ledger.timer import Timers
from bfactors.charger.state import ChargerState
from bfactors.command import CommandAnswer

LOOKLESS_COMMITS = 3
"""In a row, while chargers wait to be looked at."""
REFUSALS_AT_ONCE = 10
"""With each commit, whatever else is in it and whoever's turn it is to look."""


@dataclass(slots=True)
class Term:
    """`in_hand` are the items of the commit under way; `singly` how many of the next are to be committed alone."""

    number: int
    memory: Memory
    announcer: Announcer
    publisher: EventPublisher
    checkpointer: Checkpointer
    pending: deque[Item] = field(default_factory=deque)
    looks: dict[str, datetime] = field(default_factory=dict)
    """Chargers that are to be looked at, and since when: a few with each commit, behind what came from outside."""
    refusals: dict[str, datetime] = field(default_factory=dict)
    """Chargers of whom an incident has something to refuse: in no turns, or it would be refused late."""
    commits_without: int = 0
    """Commits since the last one that looked at any of them."""
    looks_room: asyncio.Event = field(default_factory=asyncio.Event)
    refusals_room: asyncio.Event = field(default_factory=asyncio.Event)
    page_taken: asyncio.Event = field(default_factory=asyncio.Event)
    in_hand: Sequence[Item] = ()
    is_looking: bool = False
    """The commit in hand has used this partition's turn to look."""
    singly: int = 0
    failures: int = 0
    """How often the item in hand, alone, could not be committed."""
    timers: Timers = field(default_factory=Timers)
    open_jobs: set[str] = field(default_factory=set)
    effects: set[str] = field(default_factory=set)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    is_renewing: bool = False
    renewed_at: float = 0.0
    is_scanning: bool = False
    scan_again: bool = False
    is_refusing: bool = False
    refuse_again: bool = False
    has_announced: bool = False
    """Every admission record was said once: from then on only what changes is."""
    room: asyncio.Event = field(default_factory=asyncio.Event)

    def next_items(self, limit: int, looks: int) -> list[Item]:
        """What the next commit is made of: what came, in its order; then refusals; then some that are to be looked at."""
        if self.singly and self.pending:
            self.singly -= 1
            return [self.pending.popleft()]
        items = [self.pending.popleft() for _ in range(min(limit, len(self.pending)))]
        self.commits_without = 0 if looks else self.commits_without + 1
        for waiting, most in ((self.refusals, REFUSALS_AT_ONCE), (self.looks, looks)):
            for charger_id in list(islice(waiting, most)):
                items.append(Rang(charger_id, waiting.pop(charger_id)))
        return items

    @property
    def has_time_to_look(self) -> bool:
        """What came is committed alone, so that it waits for no look but the one in hand; of a few commits one looks all the
        same, or under load nobody ever would.
        """
        return bool(self.looks) and (not self.pending or self.commits_without >= LOOKLESS_COMMITS)

    def look_at(self, charger_id: str, now: datetime) -> None:
        """Have a charger looked at, once however often it is asked for."""
        self.looks.setdefault(charger_id, now)

    def put_back(self, items: Sequence[Item]) -> None:
        """These come first again, each in a commit of its own."""
        self.pending.extendleft(reversed(items))
        self.singly += len(items)

    def note_jobs(self, state: ChargerState) -> None:
        """Remember who has open jobs: a change of facts concerns them."""
        if state.jobs:
            self.open_jobs.add(state.charger_id)
        else:
            self.open_jobs.discard(state.charger_id)

    def end(self) -> None:
        """Stop its loops and ask everyone who still waits for an answer to come again."""
        for task in self.tasks:
            task.cancel()
        ask_again(self.in_hand)
        ask_again(self.pending)


def ask_again(items: Sequence[Item] | deque[Item]) -> None:
    """Answer commands whose outcome is not known, or that were not looked at: repeated, they do no harm."""
    for item in items:
        answer(item, CommandAnswer(retry=True))


def answer(item: Item, given: CommandAnswer) -> None:
    """Answer a command whose sender still waits."""
    if isinstance(item, Asked) and not item.answer.done():
        item.answer.set_result(given)
