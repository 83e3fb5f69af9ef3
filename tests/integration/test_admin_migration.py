"""Migrations through the API: ordered, followed, released, listed."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from bfactors.admission import KeyVerifier
from bfactors.instruction import Reboot
from tests.core.world import World as CoreWorld
from tests.integration.admin_world import JOB, AdminWorld

WEEK = timedelta(days=7)
PATH = "/api/v1/chargers/CP-1/migration"


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as made:
        yield made


def in_quarantine() -> CoreWorld:
    """A charger that was reset and not seen again."""
    core = CoreWorld()
    core.to_installed()
    assert isinstance(core.to_reset()[-1], Reboot)
    session = core.charger.session
    assert session is not None
    core.lose_session()
    core.wait(hours=7)
    return core


async def migration(world: AdminWorld) -> Any:
    return (await world.ask("GET", "/api/v1/chargers/CP-1")).body["migration"]


async def test_a_migration_is_ordered_and_shows_what_it_waits_for(world: AdminWorld) -> None:
    await world.register(target_security_profile=2)
    assert await migration(world) is None
    ordered = await world.ask("POST", PATH, {"target_profile": 3, "reason": "now"})
    assert ordered.status == 202
    assert (ordered.body["action"], ordered.body["state"]) == ("migrate", "open")
    shown = await migration(world)
    assert (shown["state"], shown["step"], shown["target_profile"]) == ("pending", "prerequisites", 3)
    unmet = {one["code"] for one in shown["prerequisites"] if not one["met"]}
    assert (
        unmet == set(shown["missing"]) >= {"trust-anchor-not-confirmed", "client-certificate-not-installed"}
    )
    charger = (await world.ask("GET", "/api/v1/chargers/CP-1")).body
    assert charger["target_security_profile"] == 3


async def test_the_same_order_again_is_the_case_under_way_and_another_profile_a_conflict(
    world: AdminWorld,
) -> None:
    await world.register(security_profile=1)
    first = await world.ask("POST", PATH, {"target_profile": 3})
    again = await world.ask("POST", "/api/v1/jobs", JOB | {"action": "migrate"})
    assert again.status == 202
    assert again.body["job_id"] == first.body["job_id"]
    other = await world.ask("POST", PATH, {"target_profile": 2})
    assert (other.status, other.body["code"]) == (409, "migration-under-way")


@pytest.mark.parametrize(
    ("profile", "code"), [(2, "profile-in-use"), (1, "profile-lowered"), (4, None), (0, None)]
)
async def test_what_leads_nowhere_is_refused(world: AdminWorld, profile: int, code: str | None) -> None:
    await world.register()
    reply = await world.ask("POST", PATH, {"target_profile": profile})
    assert reply.status == (409 if code else 422)
    assert code is None or reply.body["code"] == code


async def test_an_order_for_jobs_names_the_right_purpose_and_target(world: AdminWorld) -> None:
    await world.register()
    wrong = await world.ask("POST", "/api/v1/jobs", JOB | {"action": "migrate", "purpose": "backend_server"})
    assert wrong.status == 422
    mixed = await world.ask("POST", "/api/v1/jobs", JOB | {"target_profile": 3})
    assert mixed.status == 422


async def test_a_cancelled_migration_is_given_up_and_can_be_ordered_again(world: AdminWorld) -> None:
    await world.register()
    job_id = (await world.ask("POST", PATH, {"target_profile": 3})).body["job_id"]
    assert (await world.ask("POST", f"/api/v1/jobs/{job_id}/cancel", {"reason": "later"})).status == 200
    assert (await migration(world))["state"] == "cancelled"
    assert (await world.ask("POST", PATH, {"target_profile": 3})).body["job_id"] != job_id


@pytest.mark.parametrize(("action", "state"), [("retry", "pending"), ("end", "cancelled")])
async def test_a_quarantine_is_listed_and_released_by_hand(
    world: AdminWorld, action: str, state: str
) -> None:
    await world.adopt(in_quarantine())
    (listed,) = (await world.ask("GET", "/api/v1/migrations?state=quarantine")).body["items"]
    assert (listed["charger_id"], listed["reason_code"]) == ("CP-1", "locked-out")
    refused = await world.ask("POST", PATH, {"target_profile": 3})
    assert refused.body["code"] == "migration-in-quarantine"
    body = {"reason": "somebody went there", "action": action}
    assert (await world.ask("POST", f"{PATH}/release", body, role="operator")).status == 403
    assert (await world.ask("POST", f"{PATH}/release", body)).status == 200
    assert (await migration(world))["state"] == state
    twice = await world.ask("POST", f"{PATH}/release", body)
    assert (twice.status, twice.body["code"]) == (409, "not-in-quarantine")


async def test_the_list_is_cut_into_pages_and_narrowed(world: AdminWorld) -> None:
    for number in range(3):
        charger_id = f"CP-{number}"
        await world.register(charger_id=charger_id, serial_number=f"SN-{number}", cohort=f"c{number % 2}")
        await world.ask("POST", f"/api/v1/chargers/{charger_id}/migration", {"target_profile": 3})
    first = (await world.ask("GET", "/api/v1/migrations?limit=2")).body
    rest = (await world.ask("GET", f"/api/v1/migrations?limit=2&cursor={first['next_cursor']}")).body
    assert [one["charger_id"] for one in first["items"] + rest["items"]] == ["CP-2", "CP-1", "CP-0"]
    assert rest["next_cursor"] is None
    narrowed = (await world.ask("GET", "/api/v1/migrations?cohort=c1&family=acme-one&state=pending")).body
    assert [one["charger_id"] for one in narrowed["items"]] == ["CP-1"]


# ---------------------------------------------------------------- back to profile 2


def on_profile_3() -> CoreWorld:
    core = CoreWorld(key=KEY, key_origin="generated")
    core.to_active()
    return core


KEY = KeyVerifier(1, "p", "ab" * 32, "active")


async def asked_back(world: AdminWorld) -> Any:
    """A way back is asked for by an operator; its approval."""
    await world.adopt(on_profile_3())
    body = {"target_profile": 2, "reason": "CA down", "ends_at": (world.clock.at + WEEK).isoformat()}
    asked = await world.ask("POST", PATH, body, role="operator")
    assert (asked.status, asked.body["stage"]) == (202, "awaiting-approval")
    (approval,) = (await world.ask("GET", "/api/v1/approvals?state=open")).body["items"]
    assert (approval["kind"], approval["author"]) == ("rollback", "operator:the-operator")
    return approval


async def test_a_way_back_needs_an_end_within_the_policy(world: AdminWorld) -> None:
    await world.adopt(on_profile_3())
    none = await world.ask("POST", PATH, {"target_profile": 2})
    assert (none.status, none.body["code"]) == (422, "end-missing")
    late = {"target_profile": 2, "ends_at": (world.clock.at + 9 * WEEK).isoformat()}
    assert (await world.ask("POST", PATH, late)).body["code"] == "end-out-of-range"


async def test_a_way_back_opens_when_somebody_else_approves_what_they_read(world: AdminWorld) -> None:
    approval = await asked_back(world)
    path = f"/api/v1/approvals/{approval['approval_id']}"
    wrong = await world.ask("POST", f"{path}/approve", {"content_hash": "0" * 64, "reason": "ok"})
    assert (wrong.status, wrong.body["code"]) == (409, "content-changed")
    body = {"content_hash": approval["content_hash"], "reason": "seen"}
    assert (await world.ask("POST", f"{path}/approve", body, role="operator")).status == 403
    given = await world.ask("POST", f"{path}/approve", body)
    assert (given.status, given.body["state"]) == (200, "approved")
    assert given.body["decided_by"] == "operator:the-pki-admin"
    shown = await migration(world)
    assert (shown["state"], shown["step"], shown["approval_id"]) == (
        "rollback",
        "open",
        approval["approval_id"],
    )
    again = await world.ask("POST", f"{path}/reject", body)
    assert (again.status, again.body["code"]) == (409, "approval-ended")
    assert (await world.ask("GET", path)).body["decision_reason"] == "seen"


async def test_an_approval_is_never_given_by_its_author(world: AdminWorld) -> None:
    await world.adopt(on_profile_3())
    body = {"target_profile": 2, "reason": "CA down", "ends_at": (world.clock.at + WEEK).isoformat()}
    await world.ask("POST", PATH, body)
    (approval,) = (await world.ask("GET", "/api/v1/approvals")).body["items"]
    own = {"content_hash": approval["content_hash"], "reason": "mine"}
    path = f"/api/v1/approvals/{approval['approval_id']}"
    for verdict in ("approve", "reject"):
        refused = await world.ask("POST", f"{path}/{verdict}", own)
        assert (refused.status, refused.body["code"]) == (403, "own-approval")
    assert (await world.ask("GET", path)).body["state"] == "open"
    assert (await world.ask("GET", "/api/v1/approvals/none")).status == 404
