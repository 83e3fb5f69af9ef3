"""Jobs and certificates through the API."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.core.world import World as CoreWorld
from tests.integration.admin_world import JOB, AdminWorld


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as world:
        yield world


async def active(world: AdminWorld) -> str:
    core = CoreWorld()
    certificate_id = core.to_active().certificate_id
    await world.adopt(core)
    return certificate_id


async def test_a_job_is_accepted_listed_and_told_with_its_timeline(world: AdminWorld) -> None:
    await world.register()
    made = await world.ask("POST", "/api/v1/jobs", JOB, role="operator")
    assert (made.status, made.body["state"], made.body["stage"]) == (202, "open", "held")
    assert made.headers["Location"] == f"/api/v1/jobs/{made.body['job_id']}"
    listed = await world.ask("GET", "/api/v1/jobs?state=open&stage=held&charger_id=CP-1&overdue=false")
    assert [job["job_id"] for job in listed.body["items"]] == [made.body["job_id"]]
    job = (await world.ask("GET", f"/api/v1/jobs/{made.body['job_id']}", role="viewer")).body
    assert job["timeline"][0]["event"] == "CertificateRequested"
    assert job["timeline"][0]["by"] == "operator:the-operator"


async def test_a_job_may_name_the_managed_identity_instead_of_the_charger(world: AdminWorld) -> None:
    identity = (await world.register()).body["managed_identity_id"]
    body = {key: value for key, value in JOB.items() if key != "charger_id"}
    made = await world.ask("POST", "/api/v1/jobs", body | {"managed_identity_id": identity})
    assert (made.status, made.body["charger_id"]) == (202, "CP-1")
    part = await world.ask("POST", "/api/v1/jobs", body | {"managed_identity_id": identity[:-1]})
    assert (part.status, part.body["code"]) == (404, "unknown-managed-identity")


@pytest.mark.parametrize("both", [True, False])
async def test_a_job_names_exactly_one_of_charger_and_identity(world: AdminWorld, both: bool) -> None:
    body = {key: value for key, value in JOB.items() if key != "charger_id"}
    if both:
        body = JOB | {"managed_identity_id": "x"}
    refused = await world.ask("POST", "/api/v1/jobs", body)
    assert refused.status == 422
    assert refused.fields == ["managed_identity_id" if both else "charger_id"]


async def test_the_same_request_again_opens_no_second_job(world: AdminWorld) -> None:
    await world.register()
    first = await world.ask("POST", "/api/v1/jobs", JOB, key="k1")
    again = await world.ask("POST", "/api/v1/jobs", JOB, key="k1")
    assert again.body["job_id"] == first.body["job_id"]
    assert len(world.store.jobs) == 1


async def test_a_lost_answer_is_given_to_the_repeat(world: AdminWorld) -> None:
    await world.register()
    world.door.lose = 1
    assert (await world.ask("POST", "/api/v1/jobs", JOB, key="k1")).status == 503
    found = await world.ask("POST", "/api/v1/jobs", JOB, key="k1")
    assert found.status == 202
    assert list(world.store.jobs) == [found.body["job_id"]]


async def test_a_cancelled_job_says_so_and_cannot_be_cancelled_twice(world: AdminWorld) -> None:
    await world.register()
    job_id = (await world.ask("POST", "/api/v1/jobs", JOB)).body["job_id"]
    path = f"/api/v1/jobs/{job_id}/cancel"
    gone = await world.ask("POST", path, {"reason": "wrong charger"}, role="operator")
    assert (gone.status, gone.body["state"]) == (200, "cancelled")
    again = await world.ask("POST", path, {"reason": "wrong charger"})
    assert (again.status, again.body["code"]) == (409, "job-ended")
    unknown = await world.ask("POST", "/api/v1/jobs/nope/cancel", {"reason": "x"})
    assert (unknown.status, unknown.body["code"]) == (404, "unknown-job")


async def test_a_key_from_days_ago_does_not_name_an_ended_job_anew(world: AdminWorld) -> None:
    await world.register()
    job_id = (await world.ask("POST", "/api/v1/jobs", JOB, key="k1")).body["job_id"]
    await world.ask("POST", f"/api/v1/jobs/{job_id}/cancel", {"reason": "later"})
    world.store.idempotency.clear()  # as the ledger does after 24 hours
    world.clock.at += timedelta(hours=25)
    refused = await world.ask("POST", "/api/v1/jobs", JOB, key="k1")
    assert (refused.status, refused.body["code"]) == (422, "idempotency-key-reused")
    assert refused.fields == ["Idempotency-Key"]


async def test_a_key_from_days_ago_still_finds_the_job_it_opened_while_that_is_open(
    world: AdminWorld,
) -> None:
    await world.register()
    first = await world.ask("POST", "/api/v1/jobs", JOB, key="k1")
    world.store.idempotency.clear()
    world.clock.at += timedelta(hours=25)
    again = await world.ask("POST", "/api/v1/jobs", JOB, key="k1")
    assert (again.status, again.body["job_id"]) == (202, first.body["job_id"])


async def test_an_action_the_ledger_does_not_know_is_refused(world: AdminWorld) -> None:
    await world.register()
    refused = await world.ask("POST", "/api/v1/jobs", JOB | {"action": "polish"})
    assert (refused.status, refused.fields) == (422, ["action"])
    refused = await world.ask("POST", "/api/v1/jobs", JOB | {"purpose": "coffee"})
    assert (refused.status, refused.body["code"], refused.fields) == (422, "unknown-purpose", ["purpose"])
    refused = await world.ask("POST", "/api/v1/jobs", JOB | {"action": "renew"})
    assert (refused.status, refused.body["code"]) == (409, "no-certificate")


async def test_an_operator_may_not_revoke_by_whichever_route(world: AdminWorld) -> None:
    certificate_id = await active(world)
    body = JOB | {"action": "revoke", "certificate_id": certificate_id}
    by_job = await world.ask("POST", "/api/v1/jobs", body, role="operator")
    path = f"/api/v1/certificates/{certificate_id}/revoke"
    by_certificate = await world.ask("POST", path, {"reason": "superseded"}, role="operator")
    assert (by_job.status, by_certificate.status) == (403, 403)
    assert world.door.asked == []


async def test_a_certificate_is_listed_without_and_shown_with_its_pem(world: AdminWorld) -> None:
    certificate_id = await active(world)
    listed = await world.ask("GET", "/api/v1/certificates?state=active&purpose=charging_station")
    (item,) = listed.body["items"]
    assert item["certificate_id"] == certificate_id
    assert "pem" not in item
    shown = (await world.ask("GET", f"/api/v1/certificates/{certificate_id}")).body
    assert shown["pem"].startswith("-----BEGIN CERTIFICATE-----")
    before = item["not_after"].replace("+", "%2B")
    assert (await world.ask("GET", f"/api/v1/certificates?expires_before={before}")).body["items"] == []
    assert (await world.ask("GET", "/api/v1/certificates/nope")).status == 404


async def test_a_revocation_is_a_job_that_tells_the_ca_reason_and_comment_apart(world: AdminWorld) -> None:
    certificate_id = await active(world)
    path = f"/api/v1/certificates/{certificate_id}/revoke"
    body = {"reason": "key_compromise", "comment": "stolen from the depot"}
    job = await world.ask("POST", path, body)
    assert (job.status, job.body["action"], job.body["stage"]) == (202, "revoke", "revoking")
    shown = (await world.ask("GET", f"/api/v1/certificates/{certificate_id}")).body
    assert shown["revocation_requested_at"] is not None
    event = next(
        event for events in world.store.events.values() for event in events if "Revocation" in event.event
    )
    assert '"key_compromise"' in event.payload
    assert "stolen from the depot" in event.payload
    again = await world.ask("POST", path, body)
    assert (again.status, again.body["job_id"]) == (202, job.body["job_id"])


async def test_a_replacement_asked_for_with_a_revocation_is_a_job_that_its_certificate_names(
    world: AdminWorld,
) -> None:
    certificate_id = await active(world)
    body = {"reason": "key_compromise", "replace": True, "delete": True}
    job = await world.ask("POST", f"/api/v1/certificates/{certificate_id}/revoke", body)
    assert (job.status, job.body["reason"]["code"]) == (202, "locks-out")
    shown = (await world.ask("GET", f"/api/v1/certificates/{certificate_id}")).body["revocation"]
    assert (shown["reason"], shown["job_id"]) == ("key_compromise", job.body["job_id"])
    assert shown["deletion_job_id"] is None
    replacement = await world.ask("GET", f"/api/v1/jobs/{shown['replacement_job_id']}")
    assert (replacement.status, replacement.body["action"]) == (200, "issue")


async def test_what_goes_with_a_revocation_goes_with_nothing_else(world: AdminWorld) -> None:
    await active(world)
    for name in ("replace", "delete"):
        reply = await world.ask("POST", "/api/v1/jobs", JOB | {"action": "renew", name: True})
        assert (reply.status, reply.body["errors"][0]["field"]) == (422, name)


async def test_a_deactivated_certificate_leaves_its_slot(world: AdminWorld) -> None:
    certificate_id = await active(world)
    path = f"/api/v1/certificates/{certificate_id}/deactivate"
    job = await world.ask("POST", path, {"reason": "decommissioned"}, role="operator")
    assert (job.status, job.body["action"]) == (202, "deactivate")
    shown = (await world.ask("GET", f"/api/v1/certificates/{certificate_id}")).body
    assert shown["state"] == "inactive"
    again = await world.ask("POST", path, {"reason": "decommissioned"})
    assert (again.status, again.body["code"]) == (409, "certificate-ended")
