"""Which of a charger's network slots is written and which one stays to fall back on.

Slots are numbered as the charger numbers them: its variable NetworkConfigurationPriority lists those in use, the most
wanted first. A slot in use is not to be written (B09.FR.21).
"""

USUAL = (2, 1, 3)
"""Tried in this order on a charger that has not said which slots it has."""
_MOST = 16


def slots_in(value: str | None) -> tuple[int, ...]:
    """The slots of a priority as the charger writes it; none if it cannot be read."""
    parts = (value or "").split(",")
    if len(parts) > _MOST or not all(part.strip().isdecimal() and len(part) < 9 for part in parts):
        return ()
    return tuple(dict.fromkeys(int(part) for part in parts))


def choose(
    priority: tuple[int, ...], known: tuple[int, ...], *, in_use: int, refused: tuple[int, ...]
) -> tuple[int, int]:
    """(old, new). `in_use` is the slot the charger is known to be connected with, 0 if nobody knows."""
    old = in_use if in_use and (not priority or in_use in priority) else priority[0] if priority else 1
    others = [slot for slot in (known or USUAL) if slot != old]
    untried = [slot for slot in others if slot not in refused] or others
    free = [slot for slot in untried if slot not in priority]
    ordered = [*free, *untried, *(slot for slot in USUAL if slot != old)]
    return old, ordered[0]
