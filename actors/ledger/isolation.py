"""Finding the item that keeps a batch from being committed, and doing without it.

A batch that cannot be written is committed one by one. An item that alone cannot be written either is decided on once
more, on fresh state (another partition may have taken its serial number); after that a fact is quarantined, a command
refused.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from actors.ledger.item import Asked, Fact, Item, Rang
from actors.ledger.term import Term, answer, ask_again
from bfactors.command import CommandAnswer
from bfactors.errors import Overtaken
from bfactors.refusal import Refusal

_LOG = logging.getLogger(__name__)


def set_aside(term: Term, items: Sequence[Item], error: BaseException) -> bool:
    """Arrange what follows an error that wrote nothing. False: not even a quarantine could be recorded."""
    told = f"{type(error).__name__}: {error}"
    if len(items) > 1 or term.failures == 0:
        _LOG.info("%d items are committed one by one: %s", len(items), told)
        term.failures = 0 if len(items) > 1 else 1
        term.put_back(items)
        return True
    (item,) = items
    match item:
        case Fact(fault=None):
            _LOG.error("the fact at position %d is quarantined: %s", item.position, told)
            term.put_back([replace(item, fault=told)])
            return True
        case Fact():
            return False
        case Asked() if isinstance(error, Overtaken):
            ask_again(items)
        case Asked():
            _LOG.error("command %s cannot be recorded: %s", item.envelope.command_id, told)
            message = f"the ledger could not record it: {type(error).__name__}"
            answer(item, CommandAnswer(refusal=Refusal("cannot-be-recorded", message, status=500)))
        case Rang():
            _LOG.error("a charger's deadline cannot be looked at: %s", told)
        case _:
            assert_never(item)
    term.failures = 0
    return True
