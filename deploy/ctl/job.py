"""Jobs: the list, and one with its timeline."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from deploy.ctl import cell
from deploy.ctl.charger_story import waits
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, Thing, option, word
from deploy.ctl.listing import Listing, listing_command
from deploy.ctl.report import wrapped

THING = Thing("jobs", "list, show, open and cancel certificate jobs", ("job",))
_SAID = (
    *("action", "rule", "kind", "outcome", "stage", "reason", "detail", "template", "evidenceType"),
    *("reasonCode", "reasonMessage", "heldBy", "notAfter", "state", "step"),
)
"""What of an event's detail is for people, in this order; the rest is in --json."""

JOBS = Listing(
    "/api/v1/jobs",
    ("job", "charger", "action", "stage", "why"),
    lambda body: (
        body["job_id"],
        cell.text(body["charger_id"]),
        body["action"],
        body["stage"] if body["state"] == "open" else body["state"],
        _why(body),
    ),
    frozenset({0, 1}),
)


def _why(job: Body) -> str:
    code = (job["reason"] or {}).get("code")
    told = code or job.get("held_by") or job["waiting_for"] or ""
    return f"overdue {told}".strip() if job["overdue"] else cell.text(told)


async def _show(desk: Desk, given: Given) -> int:
    job = await desk.client.get(f"/api/v1/jobs/{in_path(given.job)}")
    desk.paper.document(job)
    desk.paper.say(job_lines(job, desk.paper.columns))
    return 0


def job_lines(job: Body, columns: int) -> list[str]:
    """How a job stands, why, and how it came there."""
    lines: list[str] = []
    for label, text in _facts(job):
        lines += wrapped(f"{label:<14}", text, columns)
    shown_day = ""
    for step in job["timeline"]:
        day = cell.day(step["at"])
        if day != shown_day:
            lines += ["", day]
            shown_day = day
        head = f"{cell.second(step['at'])[11:]}  {step['event']:<28} "
        lines += wrapped(head, _step(step["detail"], step["by"]), columns)
    return lines


def _facts(job: Body) -> Iterator[tuple[str, str]]:
    yield "job", job["job_id"]
    yield "what", f"{job['action']} {job['purpose']} of {cell.text(job['charger_id'])}"
    yield "state", f"{job['state']} at {job['stage']}" + (", OVERDUE" if job["overdue"] else "")
    if job["state"] == "open" or job["reason"]:
        yield "why", waits(job)
    if job["certificate_id"]:
        yield "certificate", job["certificate_id"]
    due = f", next step due {cell.second(job['due_at'])}" if job.get("due_at") else ""
    yield (
        "time",
        f"since {cell.second(job['created_at'])}, overdue after {cell.minute(job['deadline_at'])}{due}",
    )
    yield "policy", f"version {job['policy_version']}"


def _step(detail: Mapping[str, Any], by: str) -> str:
    body = detail.get("body")
    values = dict(detail) | ({"kind": body["kind"]} if isinstance(body, dict) and "kind" in body else {})
    said: list[str] = []
    for name in _SAID:
        value = values.get(name)
        if isinstance(value, str) and value and value.lower() not in said:
            said.append(value)
    return f"{', '.join(said)} ({by.partition(':arn:')[0]})" if said else f"({by.partition(':arn:')[0]})"


COMMANDS = (
    listing_command(
        "jobs",
        JOBS,
        (
            option("--state", choices=("open", "succeeded", "failed", "cancelled")),
            option("--stage", metavar="STAGE", help="as in docs/concepts.md"),
            option("--purpose", metavar="NAME"),
            option("--charger-id", metavar="ID"),
            option(
                "--overdue",
                action=argparse.BooleanOptionalAction,
                help="only those; --no-overdue: only others",
            ),
        ),
        says="list jobs, newest first",
        example="jobs list --state open --overdue",
    ),
    Command(
        thing="jobs",
        action="show",
        help="show one job, why it stands where it stands, and its timeline",
        example="jobs show JOB_ID",
        run=_show,
        arguments=(word("job", help="its id"),),
    ),
)
