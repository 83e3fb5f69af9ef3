"""One action for many chargers: shown first, done only with `--yes`, and safe to repeat.

Each charger's request has an Idempotency-Key made of the run's name and the charger. A run is named after its day and what it
is about, so the same command later that day changes nothing twice; `--run` names it, to go on another day or to mean it anew.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import orjson

from bfactors.errors import SettingsError, Unavailable
from deploy.ctl.client import Body, Refused
from deploy.ctl.command import Desk, Given, option
from deploy.ctl.crowd import all_ended
from deploy.ctl.follow import STILL_OPEN
from deploy.ctl.selection import Selection, selected

FOR_MANY = ("issue", "renew", "install-anchor", "migrate", "rotate-key")
AT_ONCE = 8
_AT_ONCE_MOST = 64
_SAMPLE = 5
_REFUSALS_SHOWN = 3

MANY = (
    option("--yes", action="store_true", help="many: do it; without it nothing is done"),
    option("--run", dest="run_name", metavar="NAME", help="many: go on with this run, or begin another"),
    option(
        "--at-once",
        absent=AT_ONCE,
        type=int,
        metavar="N",
        help=f"many: requests at a time (default: {AT_ONCE})",
    ),
)


@dataclass(slots=True)
class Run:
    """What was asked for so far, and what came of it."""

    name: str
    total: int
    jobs: dict[str, Body] = field(default_factory=dict)
    """By charger."""
    refused: dict[str, Refused] = field(default_factory=dict)
    stopped: str = ""
    """Why the rest was not asked for."""

    @property
    def asked(self) -> int:
        return len(self.jobs) + len(self.refused)

    def key(self, charger_id: str) -> str:
        """The request's Idempotency-Key, the same in every repeat of the run."""
        return f"ctl-{self.name}-{hashlib.sha256(charger_id.encode()).hexdigest()[:24]}"


async def order_many(desk: Desk, given: Given, body_of: Callable[[str], Body]) -> int:
    """Show what would happen; with `--yes` make it happen. Raises Refused, Unavailable, SettingsError."""
    if given.job_action not in FOR_MANY:
        raise SettingsError(f"{given.job_action} is for one charger at a time: --charger ID")
    if not 1 <= given.at_once <= _AT_ONCE_MOST:
        raise SettingsError(f"--at-once must be 1 to {_AT_ONCE_MOST}")
    example = body_of("")
    if desk.paper.is_live:
        desk.paper.progress("looking who is meant")
    selection = await selected(desk.client, given, example["purpose"])
    desk.paper.done()
    run = Run(run_name(desk, given, selection, example), len(selection.chargers) + len(selection.unknown))
    if run.total == 0:
        desk.paper.complain("nobody is meant: no charger fits all of what was given")
        return 2
    for charger_id in selection.unknown:
        run.refused[charger_id] = Refused(404, "unknown-charger", f"there is no charger {charger_id!r}")
    if not given.yes:
        return await _shown(desk, run, selection, example)
    try:
        await _ordered(desk, run, [each["charger_id"] for each in selection.chargers], body_of, given.at_once)
        if given.wait and not run.stopped:
            run.jobs = await all_ended(desk, run.jobs, given.within)
    except asyncio.CancelledError:
        run.stopped = run.stopped or "interrupted"
        _report(desk, run, example)
        raise
    return _report(desk, run, example, waited=given.wait)


def run_name(desk: Desk, given: Given, selection: Selection, example: Body) -> str:
    """The day and what it is about; the reason is not part of it."""
    if given.run_name is not None:
        if (
            not given.run_name.isascii()
            or not given.run_name.isprintable()
            or " " in given.run_name
            or len(given.run_name) > 100
        ):
            raise SettingsError("--run must be 1 to 100 visible ASCII characters")
        return str(given.run_name)
    about = {name: value for name, value in example.items() if name not in ("charger_id", "reason")}
    whom = selection.said | {"ids": list(selection.listed)} if selection.listed else selection.said
    text = orjson.dumps([about, whom], option=orjson.OPT_SORT_KEYS)
    return f"{desk.today()}-{hashlib.sha256(text).hexdigest()[:10]}"


# ---------------------------------------------------------------- before


async def _shown(desk: Desk, run: Run, selection: Selection, example: Body) -> int:
    """The dry run: how many, some of them, and what would happen."""
    open_jobs = await desk.client.every("/api/v1/jobs", {"state": "open", "purpose": example["purpose"]})
    working = {each["charger_id"] for each in open_jobs if each["action"] == example["action"]}
    outlook = Counter(_outlook(each, example, working) for each in selection.chargers)
    if selection.unknown:
        outlook["refused: no such charger"] = len(selection.unknown)
    ids = [each["charger_id"] for each in selection.chargers]
    desk.paper.document(
        {
            "dry_run": True,
            "run": run.name,
            "action": example["action"],
            "purpose": example["purpose"],
            "selected": selection.said,
            "chargers": len(ids),
            "unknown": list(selection.unknown),
            "outlook": dict(outlook),
            "charger_ids": ids,
        }
    )
    whom = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in selection.said.items())
    desk.paper.line(f"{example['action']} {example['purpose']}: {run.total} chargers ({whom})")
    desk.paper.table(("chargers", "what would happen"), [(str(n), text) for text, n in outlook.most_common()])
    more = f", and {len(ids) - _SAMPLE} more" if len(ids) > _SAMPLE else ""
    desk.paper.line(f"{', '.join(ids[:_SAMPLE]) or 'nobody'}{more}", "for example: ")
    desk.paper.line(f"nothing was done. The same command with --yes does it, as run {run.name}")
    return 0


def _outlook(charger: Body, example: Body, working: set[str]) -> str:
    if charger["charger_id"] in working:
        return "answered with the job that is open already"
    if example["action"] == "renew" and not _holds(charger, example["purpose"]):
        return "likely refused: no certificate to renew"
    if example["action"] == "migrate" and charger["security_profile"] == example.get("target_profile", 3):
        return "likely refused: on that profile already"
    return "ordered, begins now" if charger["session"] else "ordered, waits until the charger connects"


def _holds(charger: Body, purpose: str) -> bool:
    return any(slot["current"] for slot in charger["slots"] if slot["purpose"] == purpose)


# ---------------------------------------------------------------- doing it


async def _ordered(
    desk: Desk, run: Run, ids: Sequence[str], body_of: Callable[[str], Body], at_once: int
) -> None:
    """Ask for each, so many at a time; what would stop all the others stops the run."""
    waiting = iter(ids)

    async def work() -> None:
        for charger_id in waiting:
            if run.stopped:
                return
            try:
                run.jobs[charger_id] = await desk.client.post(
                    "/api/v1/jobs", body_of(charger_id), run.key(charger_id)
                )
            except Refused as refused:
                if refused.status == 401:
                    run.stopped = str(refused)
                    return
                run.refused[charger_id] = refused
            except Unavailable as problem:
                run.stopped = str(problem)
                return
            _progress(desk, run)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, len(ids))):
            group.create_task(work())
    desk.paper.done()


def _progress(desk: Desk, run: Run) -> None:
    """Every charger on a terminal, about twenty lines elsewhere."""
    if desk.paper.is_live or run.asked % max(1, run.total // 20) == 0:
        refused = f", {len(run.refused)} refused" if run.refused else ""
        desk.paper.progress(f"ordered {run.asked} of {run.total}{refused}")


# ---------------------------------------------------------------- after


def _report(desk: Desk, run: Run, example: Body, *, waited: bool = False) -> int:
    """Counts, refusals by reason, how to go on; the exit status.

    How jobs stand is told only after waiting for them: a repeat is answered as the first request was.
    """
    states = Counter(job["state"] for job in run.jobs.values() if waited)
    left = run.total - run.asked
    desk.paper.document(
        {
            "dry_run": False,
            "run": run.name,
            "action": example["action"],
            "purpose": example["purpose"],
            "chargers": run.total,
            "ordered": [
                {"charger_id": charger_id, "job_id": job["job_id"]}
                | ({"state": job["state"], "reason": job["reason"]} if waited else {})
                for charger_id, job in sorted(run.jobs.items())
            ],
            "refused": [
                {"charger_id": charger_id, "status": each.status, "code": each.code, "detail": str(each)}
                for charger_id, each in sorted(run.refused.items())
            ],
            "not_asked": left,
            "stopped": run.stopped or None,
        }
    )
    told = ", ".join(f"{count} {state}" for state, count in states.most_common())
    desk.paper.line(
        f"{example['action']}: {len(run.jobs)} of {run.total} ordered" + (f" ({told})" if told else "")
    )
    _say_failures(desk, run, waited=waited)
    if left or run.stopped:
        desk.paper.complain(
            f"stopped: {run.stopped}. {left} were not asked for; the same command with --run {run.name} goes on "
            "where it stopped"
        )
    if left or run.refused or states["failed"] or states["cancelled"]:
        return 1
    return STILL_OPEN if waited and states["open"] else 0


def _say_failures(desk: Desk, run: Run, *, waited: bool) -> None:
    reasons: dict[str, list[str]] = {}
    for charger_id, refused in sorted(run.refused.items()):
        reasons.setdefault(f"refused {refused.code or refused.status}", []).append(charger_id)
    for charger_id, job in sorted(run.jobs.items() if waited else ()):
        if job["state"] in ("failed", "cancelled"):
            code = (job["reason"] or {}).get("code", job["stage"])
            reasons.setdefault(f"{job['state']} {code}", []).append(charger_id)
    rows = [
        (
            str(len(ids)),
            reason,
            ", ".join(ids[:_REFUSALS_SHOWN]) + (", ..." if len(ids) > _REFUSALS_SHOWN else ""),
        )
        for reason, ids in sorted(reasons.items(), key=lambda each: -len(each[1]))
    ]
    if rows:
        desk.paper.table(("chargers", "why", "for example"), rows, frozenset({0, 1}))
