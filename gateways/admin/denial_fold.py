"""Folding denied requests: the first of a kind is a fact of its own, a flood of them one fact now and then, with a count.

What was seen first is told after ten seconds; while it goes on, ever more seldom, at most every ten minutes. Strangers are told
apart by address, people we know by what they tried; past a bound they are counted together. So whoever sends wrong tokens, from
however many addresses, costs the ledger a bounded number of events and this process a bounded table. No clock, no I/O.
"""

from collections.abc import Iterator

import msgspec

from bfactors.evidence import AccessDenied

FIRST_S = 10.0
LONGEST_S = 600.0
STEP = 4.0
KINDS_MAX = 48
"""Strangers' addresses, and likewise known people's tries, that are told apart at a time."""
VARIOUS = "various"

Key = tuple[str, str, str]


class _Kind(msgspec.Struct):
    """One kind under way: the first of what is not told yet, and when to tell it. `wait_s`: the next time from then."""

    first: AccessDenied
    due_s: float
    wait_s: float


class DenialFold:
    """`denied` counts one; `due` takes out what is to be told by now."""

    def __init__(self) -> None:
        self._kinds: dict[Key, _Kind] = {}

    def __len__(self) -> int:
        return len(self._kinds)

    def denied(self, denial: AccessDenied, now_s: float) -> None:
        """Count one denied request."""
        key = self._key(denial)
        kind = self._kinds.get(key)
        if kind is None:
            if key[1] == VARIOUS:
                who = VARIOUS if denial.who else ""
                denial = msgspec.structs.replace(
                    denial, remote_address=VARIOUS, who=who, role="", claimed="", operation=VARIOUS
                )
            self._kinds[key] = _Kind(denial, now_s + FIRST_S, FIRST_S * STEP)
        elif kind.first.count == 0:
            kind.first = kind.first if key[1] == VARIOUS else denial
            kind.first = msgspec.structs.replace(kind.first, count=denial.count)
        else:
            kind.first = msgspec.structs.replace(kind.first, count=kind.first.count + denial.count)

    def _key(self, denial: AccessDenied) -> Key:
        known = bool(denial.who)
        key = (
            (denial.who, denial.operation, denial.code) if known else ("", denial.remote_address, denial.code)
        )
        alike = sum(bool(each[0]) is known for each in self._kinds)
        if key in self._kinds or alike < KINDS_MAX:
            return key
        return ("*" if known else "", VARIOUS, denial.code)

    def next_s(self) -> float | None:
        """When something is to be told, or forgotten."""
        return min((kind.due_s for kind in self._kinds.values()), default=None)

    def due(self, now_s: float) -> Iterator[AccessDenied]:
        """What is to be told by now. A kind of which nothing came since it was told last is forgotten."""
        for key, kind in list(self._kinds.items()):
            if kind.due_s > now_s:
                continue
            if kind.first.count == 0:
                del self._kinds[key]
                continue
            yield kind.first
            kind.first = msgspec.structs.replace(kind.first, count=0)
            kind.due_s = now_s + kind.wait_s
            kind.wait_s = min(kind.wait_s * STEP, LONGEST_S)

    def rest(self) -> Iterator[AccessDenied]:
        """Whatever has been counted and not told."""
        for kind in self._kinds.values():
            if kind.first.count:
                yield kind.first
        self._kinds.clear()
