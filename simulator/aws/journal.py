"""Every call the peer received, for tests and the curious: no CSR, no key, no certificate body in it."""

from collections import Counter, deque
from collections.abc import Iterable

from msgspec import Struct


class JournalEntry(Struct, frozen=True, kw_only=True):
    """One call. `outcome` is `ok`, an AWS error code, or `ConnectionClosed`; `took_effect` tells whether the
    operation itself succeeded, even when its answer was lost or replaced by a fault."""

    at: str
    operation: str
    authority_arn: str | None
    token: str | None
    parameter_hash: str | None
    template: str | None
    certificate_arn: str | None
    caller: str | None
    request_id: str
    outcome: str
    took_effect: bool


class Journal:
    """The last calls in order, and counts of all calls since the start of the process."""

    def __init__(self, entries: int) -> None:
        self._entries: deque[JournalEntry] = deque(maxlen=entries)
        self._counts: Counter[tuple[str, str]] = Counter()

    def append(self, entry: JournalEntry) -> None:
        """Note a finished call."""
        self._entries.append(entry)
        self._counts[entry.operation, entry.outcome] += 1

    def entries(self, operation: str | None = None, token: str | None = None) -> list[JournalEntry]:
        """The calls kept, oldest first, of one operation or token if given."""
        kept: Iterable[JournalEntry] = self._entries
        if operation is not None:
            kept = (entry for entry in kept if entry.operation == operation)
        if token is not None:
            kept = (entry for entry in kept if entry.token == token)
        return list(kept)

    def counts(self) -> dict[str, dict[str, int]]:
        """Per operation, how often each outcome happened."""
        table: dict[str, dict[str, int]] = {}
        for (operation, outcome), number in self._counts.items():
            table.setdefault(operation, {})[outcome] = number
        return table
