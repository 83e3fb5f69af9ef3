"""Many jobs on their way: the open ones are listed again and again, however many there are, until none of ours is left."""

import asyncio
from collections import Counter

from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Desk

FIRST_LOOK_S = 1.0
SLOWEST_LOOK_S = 10.0
SLOWER = 1.5
_AT_ONCE = 8


async def all_ended(desk: Desk, jobs: dict[str, Body], within_s: float) -> dict[str, Body]:
    """The jobs, by whatever they were given by, once all have ended or as they stand when the time is over.

    Raises Refused, Unavailable.
    """
    found = dict(jobs)
    waiting = {job["job_id"]: name for name, job in jobs.items() if job["state"] == "open"}
    begun, rest_s = desk.now(), FIRST_LOOK_S
    while waiting:
        listed = await desk.client.every("/api/v1/jobs", {"state": "open"})
        stages = {each["job_id"]: each for each in listed if each["job_id"] in waiting}
        for job_id, job in stages.items():
            found[waiting[job_id]] = job
        gone = [job_id for job_id in waiting if job_id not in stages]
        for job in await _looked_at(desk, gone):
            found[waiting[job["job_id"]]] = job
            if job["state"] != "open":
                del waiting[job["job_id"]]
        desk.paper.progress(_told(found))
        left_s = within_s - (desk.now() - begun)
        if not waiting or left_s <= 0:
            break
        rest_s = FIRST_LOOK_S if gone else min(rest_s * SLOWER, SLOWEST_LOOK_S)
        await desk.client.wait(min(rest_s, left_s))
    desk.paper.done()
    return found


async def _looked_at(desk: Desk, job_ids: list[str]) -> list[Body]:
    room = asyncio.Semaphore(_AT_ONCE)

    async def look(job_id: str) -> Body:
        async with room:
            return await desk.client.get(f"/api/v1/jobs/{in_path(job_id)}")

    return await asyncio.gather(*(look(each) for each in job_ids))


def _told(jobs: dict[str, Body]) -> str:
    counts = Counter(job["stage"] if job["state"] == "open" else job["state"] for job in jobs.values())
    return f"{len(jobs)} jobs: " + ", ".join(f"{count} {where}" for where, count in counts.most_common())
