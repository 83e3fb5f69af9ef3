"""A job on its way: ordered, looked at again and again with growing pauses, and told about until it ends."""

import uuid

from deploy.ctl.charger_story import waits
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Desk, Given, option

FIRST_LOOK_S = 0.5
SLOWEST_LOOK_S = 5.0
SLOWER = 1.5
WITHIN_S = 600.0
STILL_OPEN = 3
"""The exit status when the time to wait was over first."""

REASON = option("--reason", required=True, metavar="TEXT", help="why, for the audit trail")
KEY = option(
    "--key", metavar="KEY", help="Idempotency-Key: the same command under the same key changes nothing twice"
)
WAITING = (
    option("--wait", action="store_true", help="follow the job until it ends"),
    option("--within", absent=WITHIN_S, type=float, metavar="S", help="wait so long at most (default: 600)"),
    KEY,
)


def key_of(given: Given) -> str:
    """The request's Idempotency-Key: what was given, or one of its own."""
    return given.key or f"ctl-{uuid.uuid4().hex}"


async def order(desk: Desk, given: Given, path: str, body: Body) -> int:
    """POST what answers with a job; tell of it, and follow it if asked to. Raises Refused, Unavailable."""
    return await told(desk, given, await desk.client.post(path, body, key_of(given)))


async def told(desk: Desk, given: Given, job: Body) -> int:
    """A job that was ordered: how it stands, or how it ended. The exit status says the same."""
    if given.wait:
        job |= await ended(desk, job, given.within)  # what was shown once is in the first answer only
    desk.paper.document(job)
    desk.paper.line(standing(job))
    desk.paper.line(job["job_id"])
    if not given.wait:
        return 0
    return {"succeeded": 0, "open": STILL_OPEN}.get(job["state"], 1)


async def ended(desk: Desk, job: Body, within_s: float) -> Body:
    """The job once it has ended, or as it stands when the time is over. Raises Refused, Unavailable."""
    begun, rest_s, shown = desk.now(), FIRST_LOOK_S, ""
    path = f"/api/v1/jobs/{in_path(job['job_id'])}"
    while job["state"] == "open":
        now_s = desk.now() - begun
        if standing(job) != shown:
            shown, rest_s = standing(job), FIRST_LOOK_S
        desk.paper.progress(f"{_clock(now_s)}  {shown}" if desk.paper.is_live else shown)
        if now_s >= within_s:
            break
        await desk.client.wait(min(rest_s, within_s - now_s))
        rest_s = min(rest_s * SLOWER, SLOWEST_LOOK_S)
        job = await desk.client.get(path)
    desk.paper.done()
    return job


def standing(job: Body) -> str:
    """Where a job stands, and why."""
    what = f"{job['action']} of {job['charger_id']}"
    overdue = ", overdue" if job["overdue"] else ""
    if job["state"] == "open":
        return f"{what}: {job['stage']}{overdue}; {waits(job)}"
    why = f"; {waits(job)}" if job["reason"] else ""
    return f"{what}: {job['state']}{why}"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
