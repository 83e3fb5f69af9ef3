"""One charger on the qualification walk: what is known of it, and how its jobs are waited for."""

from collections.abc import Callable
from typing import Any

from deploy.ctl.client import AdminClient, Body, Refused, in_path
from deploy.ctl.report import DETAIL_MAX_CHARS, Step

LOOK_EVERY_S = 1.0
"""The tool is a client like any other: it looks again, for nobody tells it."""
REASON = "family qualification"


class Walk:
    """The charger, the API, and what was learned on the way. `run_id` makes every request of this walk its own."""

    def __init__(
        self, client: AdminClient, charger: Body, run_id: str, within_s: float, now: Callable[[], float]
    ) -> None:
        self.client = client
        self.charger = charger
        self.charger_id: str = charger["charger_id"]
        self.version: str = charger["session"]["ocpp_version"]
        self.learned: dict[str, Any] = {}
        self._run_id = run_id
        self._within_s = within_s
        self._now = now
        self._posts = 0

    @property
    def path(self) -> str:
        return f"/api/v1/chargers/{in_path(self.charger_id)}"

    async def look(self) -> Body:
        """The charger as it stands now. Raises Refused, Unavailable."""
        self.charger = await self.client.get(self.path)
        return self.charger

    async def post(self, path: str, body: Body) -> Body:
        """Raises Refused, Unavailable."""
        self._posts += 1
        return await self.client.post(path, body, f"qualify-{self._run_id}-{self._posts}")

    async def call(self, action: str, payload: Body) -> Body:
        """One OCPP call by hand: how it ended. Raises Refused, Unavailable."""
        return await self.post(f"{self.path}/ocpp/{action}", payload)

    async def connected(self) -> bool:
        """Whether the charger is there within the time a step has. Raises Refused, Unavailable."""

        async def is_there() -> bool:
            return (await self.look())["session"] is not None

        deadline = self._now() + self._within_s
        while not await is_there():
            if self._now() >= deadline:
                return False
            await self.client.wait(LOOK_EVERY_S)
        return True

    async def ended(self, job_id: str) -> Body:
        """The job once it has ended or its time is up. Raises Refused, Unavailable."""
        deadline = self._now() + self._within_s
        while True:
            job = await self.client.get(f"/api/v1/jobs/{in_path(job_id)}")
            if job["state"] != "open" or self._now() >= deadline:
                return job
            await self.client.wait(LOOK_EVERY_S)

    async def job_step(self, name: str, path: str, body: Body) -> Step:
        """A step that is one job. Raises Unavailable."""
        try:
            job = await self.ended((await self.post(path, body))["job_id"])
        except Refused as refused:
            return unoffered(name, refused)
        if job["state"] == "succeeded":
            return Step(step=name, outcome="passed")
        return Step(step=name, outcome="failed", detail=why(job))


def unoffered(name: str, refused: Refused) -> Step:
    """A step the server does not have is skipped; one it has and refused has failed. Raises Refused where all would be."""
    if refused.is_about_the_token:
        raise refused
    if refused.is_not_offered:
        return Step(step=name, outcome="skipped", detail="not offered by this server")
    return Step(step=name, outcome="failed", detail=f"{refused}"[:DETAIL_MAX_CHARS])


def why(job: Body) -> str:
    """Why a job did not succeed, for people."""
    reason = job["reason"]
    if reason is not None:
        text = f"{job['state']} at {job['stage']}: {reason['code']}: {reason['message']}"
    elif job["state"] == "open":
        text = f"still at {job['stage']}, waiting for {job['waiting_for'] or 'its turn'}"
    else:
        text = f"{job['state']} at {job['stage']}"
    return text[:DETAIL_MAX_CHARS]
