"""Why a renewal that is due has not happened yet, in words for people. Pure: from the rows, nothing is decided by it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from bfactors.fleet.state import SupervisorPause

Code = Literal[
    "turn", "resting", "paused", "blackout", "offline", "ca", "charger", "reconnect", "operator", "held"
]


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """`code` is stable; `message` is for people."""

    code: Code
    message: str


_BY_WAITED_FOR: Mapping[str, tuple[Code, str]] = {
    "ca": ("ca", "the CA has its order"),
    "reconciliation": ("ca", "the CA's records are searched for what it may have signed"),
    "reconnect": ("reconnect", "the certificate is installed; the charger has not come back with it"),
    "charger": ("charger", "the charger has yet to answer"),
    "evidence": ("charger", "the charger has yet to answer"),
    "connection": ("offline", "the charger is away"),
    "operator": ("operator", "somebody must look"),
}


def waiting(row: Mapping[str, Any], pauses: Mapping[str, SupervisorPause], now: datetime) -> Waiting:
    """`row`: one of the reader's renewals. What an operator can end is named before what only time ends."""
    job = row["job"]
    if job is None:
        return _without_job(row, pauses, now)
    reason = job["reason"] or {}
    held_by = str(job["held_by"] or "")
    said = reason.get("message") or ""
    kind = held_by.partition("/")[0]
    if kind == "blackout":
        return Waiting(code="blackout", message=said or f"until {held_by.partition('/')[2]} UTC")
    if kind in ("family", "cohort", "purpose", "charger"):
        return Waiting(code="paused", message=f"{held_by} is paused: {said}")
    if not row["connected"] and job["waiting_for"] not in ("ca", "reconciliation"):
        return Waiting(code="offline", message="the charger is away" + (f"; {said}" if said else ""))
    if held_by:
        return Waiting(code="held", message=f"{held_by}: {said}")
    code, words = _BY_WAITED_FOR.get(job["waiting_for"] or "", ("charger", f"its job is {job['stage']}"))
    return Waiting(code=code, message=said or words)


def _without_job(row: Mapping[str, Any], pauses: Mapping[str, SupervisorPause], now: datetime) -> Waiting:
    if row["paused_reason"] is not None:
        return Waiting(code="paused", message=f"the charger is paused: {row['paused_reason']}")
    for key in (f"family/{row['family']}", f"cohort/{row['cohort']}", f"purpose/{row['purpose']}"):
        if key in pauses:
            return Waiting(code="paused", message=f"{key} is paused: {pauses[key].reason}")
    again = row["renew_again_at"]
    if again is not None and datetime.fromisoformat(again) > now:
        return Waiting(
            code="resting", message=f"the last renewal came to nothing; the next begins {again[:16]} UTC"
        )
    return Waiting(
        code="turn", message="its turn has not come: renewals start at the pace the CA's budget allows"
    )
