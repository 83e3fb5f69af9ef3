"""How what a charger reports of itself changes its state: security events, counted in windows."""

import hashlib
from datetime import datetime, timedelta

from msgspec.structs import replace

from bfactors import event as e
from bfactors.charger.state import ChargerState, RecentSecurityEvent, SecurityWindow

WINDOW = timedelta(hours=1)
ENTRIES_PER_WINDOW = 20
"""As many events of one kind have entries of their own; what follows within the window is one entry with a count."""
KINDS_COUNTED = 16
_RECENT = 5
_KNOWN = 64


def reported(state: ChargerState, event: e.SecurityEventRecorded, now: datetime) -> ChargerState:
    """The state after a security event."""
    window = _counted(window_of(state, event.kind, now), event, now)
    windows = {kind: other for kind, other in state.security_windows.items() if is_open(other, now)}
    return replace(
        state,
        security_windows={**windows, event.kind: window},
        security_events=_with_latest(state.security_events, window, event, now),
        security_known=_with_known(state.security_known, event),
    )


def told_before(state: ChargerState, kind: str, charger_time: str, detail: str) -> bool:
    """Whether the charger has told this very event already: it repeats what it is not sure we have (A04.FR.02)."""
    return _digest(kind, charger_time, detail) in state.security_known


def _with_known(known: tuple[str, ...], event: e.SecurityEventRecorded) -> tuple[str, ...]:
    if event.charger_time is None or event.count > 1:
        return known
    return (*known, _digest(event.kind, event.charger_time, event.detail))[-_KNOWN:]


def _digest(kind: str, charger_time: str, detail: str) -> str:
    return hashlib.sha256("\x1f".join((kind, charger_time, detail)).encode()).hexdigest()[:16]


def is_open(window: SecurityWindow, now: datetime) -> bool:
    """Whether it still counts."""
    return now - window.began_at < WINDOW


def window_of(state: ChargerState, kind: str, now: datetime) -> SecurityWindow:
    """The window in which an event of that kind is counted now; a new one where there is none."""
    window = state.security_windows.get(kind)
    if window is not None and is_open(window, now):
        return window
    return SecurityWindow(began_at=now, entries=0)


def _counted(window: SecurityWindow, event: e.SecurityEventRecorded, now: datetime) -> SecurityWindow:
    if event.row_id is None:
        return replace(window, entries=window.entries + 1)
    return replace(
        window,
        row_id=event.row_id,
        folded=window.folded + event.count,
        first_at=window.first_at or now,
    )


def _with_latest(
    recent: tuple[RecentSecurityEvent, ...],
    window: SecurityWindow,
    event: e.SecurityEventRecorded,
    now: datetime,
) -> tuple[RecentSecurityEvent, ...]:
    """The latest few; a flood is one of them."""
    latest = RecentSecurityEvent(
        kind=event.kind,
        detail=event.detail,
        charger_time=event.charger_time,
        observed_at=now,
        critical=event.critical,
        count=event.count if event.row_id is None else window.folded,
        job_id=event.job_id,
        row_id=event.row_id,
    )
    if event.row_id is not None:
        recent = tuple(other for other in recent if other.row_id != event.row_id)
    return (*recent, latest)[-_RECENT:]
