"""A commit as one SQL statement: the lease's move and whatever parts of `commit.sql` have rows, as one WITH query.

One statement is a transaction of its own: one round trip, no BEGIN and COMMIT, and nothing of it stays behind on a
connection that is lost. Parts are taken in groups that tend to change together, so that a connection prepares at most
sixteen statements instead of one for every combination of tables; a part of a taken group without rows costs "[]".
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from persistence.commit_rows import Argument
from persistence.query import queries

GROUPS: tuple[tuple[str, ...], ...] = (
    (
        "events",
        "aggregates",
        "inbox",
        "chargers",
        "jobs",
        "instructions",
        "timers",
        "cleared_timers",
    ),
    ("certificates", "effects", "settled_effects", "key_owners"),
    ("identities", "identity_holders", "erased_identifiers"),
    ("security_events", "idempotency", "quarantine", "logs", "migrations", "authorization_keys", "approvals"),
)
"""Every part but the lease. Their order never varies: two commits that want the same keys take them in one order."""

_GROUP_SETS = tuple(frozenset(group) for group in GROUPS)
_KEYS_ONLY = frozenset({"inbox", "settled_effects", "cleared_timers", "erased_identifiers"})
_PARTS = queries("commit")
_PARAMETER = re.compile(r"\$(\d+)")


def commit_statement(lease: tuple[Any, ...], rows: Mapping[str, Argument]) -> tuple[str, list[Any]]:
    """The text and its arguments; `rows` holds the argument of each part that has rows. No row back means fenced."""
    taken = tuple([number for number, group in enumerate(_GROUP_SETS) if not group.isdisjoint(rows)])
    text, parts = _composed(taken)
    return text, [*lease, *[rows.get(name, nothing) for name, nothing in parts]]


@cache
def _composed(taken: tuple[int, ...]) -> tuple[str, tuple[tuple[str, Argument], ...]]:
    """The statement of some groups; each of its parts' names, and what to say when that part has no rows."""
    names = [name for number in taken for name in GROUPS[number]]
    first = 1 + max(int(found) for found in _PARAMETER.findall(_PARTS["lease"]))
    parts = [f"lease AS (\n{_PARTS['lease']}\n)"]
    parts += [
        f"{name} AS (\n{_PARTS[name].replace('$1', f'${number}')}\n)"
        for number, name in enumerate(names, first)
    ]
    text = "WITH " + ",\n".join(parts) + "\n" + _PARTS["outcome"]
    return text, tuple((name, [] if name in _KEYS_ONLY else "[]") for name in names)
