"""The hours of the day in which nothing is done that interrupts a charger: `05:00-08:30`, in UTC, also across midnight."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

_TIME = r"([01][0-9]|2[0-3]):([0-5][0-9])"
_WINDOW = re.compile(f"{_TIME}-{_TIME}")
_DAY_MINUTES = 24 * 60

Window = tuple[int, int]
"""Minutes of the day: from the first on, up to the second."""


def window_of(text: str) -> Window | None:
    """A window as it is written; None if it is none. One that ends where it begins is none."""
    found = _WINDOW.fullmatch(text)
    if found is None:
        return None
    begins, ends = (int(found[at]) * 60 + int(found[at + 1]) for at in (1, 3))
    return None if begins == ends else (begins, ends)


def problem(hours: Sequence[str]) -> str | None:
    """Why these cannot be blackout hours, or None."""
    windows = [window_of(text) for text in hours]
    if None in windows:
        return "must be windows such as 05:00-08:30 (UTC)"
    if windows and all(_covered(windows, minute) for minute in range(_DAY_MINUTES)):
        return "must leave some of the day free"
    return None


def ends_at(hours: Sequence[str], now: datetime) -> datetime | None:
    """When the blackout that lasts now ends, windows that adjoin taken together; None: there is none now."""
    windows = [window for text in hours if (window := window_of(text)) is not None]
    at = now.replace(second=0, microsecond=0)
    while (left := _left(windows, at)) > 0 and at - now < timedelta(days=1):
        at += timedelta(minutes=left)
    return at if at > now else None


def _left(windows: Sequence[Window], at: datetime) -> int:
    """How many minutes the longest window that holds this moment goes on."""
    minute = at.hour * 60 + at.minute
    return max(
        ((ends - minute) % _DAY_MINUTES for begins, ends in windows if _holds(begins, ends, minute)),
        default=0,
    )


def _covered(windows: Sequence[Window | None], minute: int) -> bool:
    return any(window is not None and _holds(*window, minute) for window in windows)


def _holds(begins: int, ends: int, minute: int) -> bool:
    return begins <= minute < ends if begins < ends else minute >= begins or minute < ends
