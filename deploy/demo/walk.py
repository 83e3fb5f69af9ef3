"""The walk itself: enrol, connect, order certificates, watch, revoke one, and look whether everything came true."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deploy.demo.console import OperatorConsole
from deploy.demo.scene import Scene
from simulator.charger import ChargerState
from simulator.fleet import AdminClient, Fleet

POLL_S = 0.4
ENROLMENT_WITHIN_S = 180.0
CUT_WITHIN_S = 20.0
RETURN_WITHIN_S = 30.0

Show = Callable[["Progress"], None]


@dataclass(slots=True)
class Progress:
    """What is known of the fleet just now."""

    phase: str = "starting"
    chargers: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    elapsed_s: float = 0.0

    def stages(self) -> Counter[str]:
        """How many jobs stand where."""
        return Counter(_stage(job) for job in self.jobs if job["action"] == "issue")

    def job_of(self, charger_id: str) -> dict[str, Any] | None:
        """The newest issue job of a charger."""
        return next((j for j in self.jobs if j["charger_id"] == charger_id and j["action"] == "issue"), None)


def _stage(job: dict[str, Any]) -> str:
    if job["state"] == "succeeded":
        return "active"
    if job["state"] == "failed":
        return "refused"
    return "overdue" if job["overdue"] else str(job["stage"])


@dataclass(slots=True)
class Outcome:
    """What happened, for the expectations."""

    progress: Progress
    enrolled: int = 0
    seconds_to_active: float | None = None
    on_profile_3: list[dict[str, Any]] = field(default_factory=list)
    old_credential_works: bool = False
    seconds_to_cut: float | None = None
    returned_after_revocation: bool = False
    revoke_job: dict[str, Any] | None = None
    refused_reason: str | None = None
    overdue_reason: str | None = None


async def walk(scene: Scene, admin_url: str, token: str, show: Show) -> tuple[Outcome, Fleet]:
    """Lead the fleet from passwords to certificates. The fleet is left running; the caller stops it."""
    began = time.monotonic()
    progress = Progress()
    outcome = Outcome(progress)

    def phase(name: str) -> None:
        progress.phase = name
        progress.elapsed_s = time.monotonic() - began
        show(progress)

    phase("registering chargers")
    async with AdminClient(admin_url, token) as admin:
        roots = await admin.server_roots()
        enrolment = await admin.enrol(scene.plan, scene.plan.planned(), lambda: None)
        outcome.enrolled = len(enrolment.passwords)
        fleet = Fleet(
            [
                scene.plan.configuration(
                    each, password=enrolment.passwords[each.charger_id], csms_roots=roots
                )
                for each in scene.plan.planned()
                if each.charger_id in enrolment.passwords
            ]
        )
        await fleet.start()
        phase("ordering certificates")
        await admin.order("issue", list(enrolment.passwords), "demo")
    async with OperatorConsole(admin_url, token) as console:
        await _until_settled(console, scene, progress, phase)
        outcome.seconds_to_active = time.monotonic() - began
        outcome.on_profile_3 = [
            c for c in progress.chargers if c["session"] is not None and c["session"]["security_profile"] == 3
        ]
        _reasons(scene, progress, outcome)
        phase("the overdue charger reconnects with its old credential")
        outcome.old_credential_works = await _old_credential_works(fleet, scene.stays_away)
        phase("revoking one certificate")
        await _revoke(console, fleet, scene, outcome)
        await _look(console, scene, progress)
        phase("done")
    return outcome, fleet


async def _look(console: OperatorConsole, scene: Scene, progress: Progress) -> None:
    """Only this run's chargers: the data directory may hold those of earlier ones."""
    mine = scene.charger_ids
    progress.chargers = [c for c in await console.items("/api/v1/chargers") if c["charger_id"] in mine]
    progress.jobs = [j for j in await console.items("/api/v1/jobs") if j["charger_id"] in mine]


async def _until_settled(
    console: OperatorConsole, scene: Scene, progress: Progress, phase: Callable[[str], None]
) -> None:
    """Until everyone is active but the two that are not to be, or time is up."""
    deadline = time.monotonic() + ENROLMENT_WITHIN_S
    while time.monotonic() < deadline:
        await _look(console, scene, progress)
        phase("walking from profile 2 to profile 3")
        stages = progress.stages()
        if stages["active"] >= scene.expected_active and stages["overdue"] and stages["refused"]:
            return
        await asyncio.sleep(POLL_S)


def _reasons(scene: Scene, progress: Progress, outcome: Outcome) -> None:
    refused, overdue = progress.job_of(scene.wrong_subject), progress.job_of(scene.stays_away)
    if refused is not None and refused["state"] == "failed" and refused["reason"]:
        outcome.refused_reason = f"{refused['reason']['code']}: {refused['reason']['message']}"
    if overdue is not None and overdue["overdue"] and overdue["reason"]:
        outcome.overdue_reason = f"{overdue['reason']['code']}: {overdue['reason']['message']}"


async def _old_credential_works(fleet: Fleet, charger_id: str) -> bool:
    """Take the charger off the network and give it back: it must be admitted with its password."""
    charger = fleet.charger(charger_id)
    sessions = charger.snapshot().sessions
    charger.drop()
    charger.come_back()
    try:
        seen = await charger.wait_for(
            lambda snapshot: snapshot.sessions > sessions and snapshot.is_accepted, RETURN_WITHIN_S
        )
    except TimeoutError:
        return False
    return seen.security_profile == 2


async def _revoke(console: OperatorConsole, fleet: Fleet, scene: Scene, outcome: Outcome) -> None:
    body = await console.get(f"/api/v1/chargers/{scene.revoked}")
    current = next((s["current"] for s in body["slots"] if s["purpose"] == "charging_station"), None)
    if current is None:
        return
    charger = fleet.charger(scene.revoked)
    sessions = charger.snapshot().sessions
    asked = time.monotonic()
    job = await console.post(
        f"/api/v1/certificates/{current['certificate_id']}/revoke",
        {"reason": "key_compromise", "comment": "demo"},
        f"demo-revoke-{current['certificate_id']}",
    )
    try:
        await charger.wait_for(lambda snapshot: snapshot.state is not ChargerState.ACCEPTED, CUT_WITHIN_S)
        outcome.seconds_to_cut = time.monotonic() - asked
    except TimeoutError:
        return
    deadline = time.monotonic() + CUT_WITHIN_S
    while time.monotonic() < deadline:
        outcome.revoke_job = await console.get(f"/api/v1/jobs/{job['job_id']}")
        if outcome.revoke_job["state"] == "succeeded":
            break
        await asyncio.sleep(POLL_S)
    # the charger goes on trying; several refusals later it must still not be in
    try:
        await charger.wait_for(lambda snapshot: snapshot.sessions > sessions, 3.0)
        outcome.returned_after_revocation = True
    except TimeoutError:
        outcome.returned_after_revocation = False
