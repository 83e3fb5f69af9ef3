"""Asking for logs through the API: one address for one request, what is known of it, and the file itself."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from bfactors import evidence as v
from bfactors.identity import partition_of
from gateways.admin.ports import MadeTicket
from tests.core.world import evidence
from tests.integration.admin_world import AdminWorld, Reply

PATH = "/api/v1/chargers/CP-1/logs"
BODY = {"log": "security", "reason": "looking"}
UPLOADED = v.LogUploaded(
    request_id=1001,
    sha256="ef" * 32,
    size_bytes=5,
    stored_name="stored-1",
    file_name="secc.log",
    remote_address="192.0.2.1",
)


class Desk:
    """Addresses by secret id, and one stored log."""

    def __init__(self, world: AdminWorld) -> None:
        self._world = world
        self.made: dict[str, MadeTicket] = {}
        self.kept = True

    async def ticket(self, secret_id: str, charger_id: str) -> MadeTicket:
        number = len(self.made) + 1
        expires_at = self._world.clock.now() + timedelta(days=1)
        made = MadeTicket(
            ticket_hash=f"{number:064x}",
            credential_hash=f"{number:064x}",
            max_bytes=1000,
            expires_at=expires_at,
        )
        return self.made.setdefault(secret_id, made)

    async def send(self, request: web.Request, stored_name: str) -> web.StreamResponse | None:
        if not self.kept:
            return None
        return web.Response(body=b"hello", headers={"Content-Disposition": f"attachment; x={stored_name}"})


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    made = AdminWorld()
    made.logs = Desk(made)
    async with made.served():
        await made.register()
        yield made


async def ask(world: AdminWorld, body: dict[str, Any] | None = None, **more: Any) -> Reply:
    return await world.ask("POST", PATH, BODY | (body or {}), **more)


async def tell(world: AdminWorld, body: v.EvidenceBody) -> None:
    await world.door.tell(partition_of("CP-1"), evidence("CP-1", body, world.clock.now()))


async def test_asking_for_a_log_opens_a_job_that_waits_for_the_charger(world: AdminWorld) -> None:
    reply = await ask(world, {"oldest": "2026-03-01T08:00:00+02:00"})
    assert (reply.status, reply.body["action"], reply.body["state"]) == (202, "collect-log", "open")
    assert reply.headers["Location"] == f"/api/v1/jobs/{reply.body['job_id']}"
    (log,) = (await world.ask("GET", "/api/v1/logs?charger_id=CP-1")).body["items"]
    assert (log["state"], log["log"], log["job_id"]) == ("requested", "security", reply.body["job_id"])
    assert log["oldest"] == "2026-03-01T06:00:00.000Z"
    assert "hash" not in str(log)


async def test_the_same_request_again_makes_no_second_address(world: AdminWorld) -> None:
    first = await ask(world, key="once")
    again = await ask(world, key="once")
    assert again.body == first.body
    assert isinstance(world.logs, Desk)
    assert len(world.logs.made) == 1
    assert len(world.store.logs) == 1


async def test_a_request_whose_commit_was_in_doubt_goes_on_with_the_address_it_sealed(
    world: AdminWorld,
) -> None:
    world.door.away = True
    assert (await ask(world, key="once")).status == 503
    world.door.away = False
    assert (await ask(world, key="once")).status == 202
    assert isinstance(world.logs, Desk)
    (made,) = world.logs.made.values()
    (row,) = world.store.logs.values()
    assert row.ticket_hash == made.ticket_hash


async def test_a_log_that_arrived_is_shown_and_handed_out_as_a_file(world: AdminWorld) -> None:
    job_id = (await ask(world)).body["job_id"]
    (log,) = (await world.ask("GET", "/api/v1/logs")).body["items"]
    path = f"/api/v1/logs/{log['log_id']}"
    assert (await world.ask("GET", f"{path}/content")).status == 409
    await tell(world, UPLOADED)
    job = (await world.ask("GET", f"/api/v1/jobs/{job_id}")).body
    assert (job["state"], job["reason"]) == ("succeeded", None)
    assert [step["event"] for step in job["timeline"]][-2:] == ["LogStored", "CertificateJobSucceeded"]
    shown = (await world.ask("GET", path, role="auditor")).body
    assert (shown["state"], shown["sha256"], shown["size_bytes"]) == ("stored", "ef" * 32, 5)
    content = await world.ask("GET", f"{path}/content", role="auditor")
    assert (content.status, content.body) == (200, b"hello")
    assert content.headers["Content-Disposition"].startswith("attachment")


async def test_a_log_past_its_retention_is_gone_and_what_is_known_of_it_stays(world: AdminWorld) -> None:
    await ask(world)
    await tell(world, UPLOADED)
    assert isinstance(world.logs, Desk)
    world.logs.kept = False
    (log,) = (await world.ask("GET", "/api/v1/logs?state=stored")).body["items"]
    reply = await world.ask("GET", f"/api/v1/logs/{log['log_id']}/content")
    assert (reply.status, reply.body["code"]) == (410, "log-expired")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"log": "everything"}, "log"),
        ({"latest": "2026-01-01T00:00:00Z", "oldest": "2026-01-02T00:00:00Z"}, "latest"),
        ({"oldest": "2026-01-02T00:00:00"}, "oldest"),
        ({"reason": ""}, "reason"),
        ({"url": "ftp://somewhere"}, "url"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(
    world: AdminWorld, body: dict[str, Any], named: str
) -> None:
    reply = await ask(world, body)
    assert reply.status in (400, 422)
    assert named in str(reply.body)
    assert not world.store.logs


async def test_an_unknown_charger_or_log_is_unknown(world: AdminWorld) -> None:
    assert (await world.ask("POST", "/api/v1/chargers/CP-9/logs", BODY)).status == 404
    assert (await world.ask("GET", "/api/v1/logs/none")).status == 404
    assert (await world.ask("GET", "/api/v1/logs/none/content")).status == 404
    assert isinstance(world.logs, Desk)
    assert world.logs.made == {}


async def test_without_a_receiver_no_log_is_asked_for() -> None:
    async with AdminWorld().served() as world:
        await world.register()
        reply = await world.ask("POST", PATH, BODY)
        assert (reply.status, reply.body["code"]) == (409, "no-log-receiver")


async def test_security_events_show_both_times_their_weight_and_their_count(world: AdminWorld) -> None:
    for number in range(25):
        report = v.SecurityEventReported(
            session_id="s1",
            event_type="TamperDetectionActivated",
            charger_time=f"2020-01-01T00:00:{number:02d}Z",
            tech_info="door",
        )
        await tell(world, report)
        world.clock.at += timedelta(seconds=1)
    items = (await world.ask("GET", "/api/v1/security-events?limit=100")).body["items"]
    assert len(items) == 21
    flood = next(item for item in items if item["count"] > 1)
    assert (flood["count"], flood["critical"], flood["job_id"]) == (5, True, None)
    assert flood["last_observed_at"] > flood["observed_at"]
    assert items[0]["charger_time"] == "2020-01-01T00:00:00Z"
    charger = (await world.ask("GET", "/api/v1/chargers/CP-1")).body
    assert charger["security_events"][0]["count"] == 5
    await tell(world, v.FirmwareStatusReported(session_id="s1", status="Installed", request_id=3))
    charger = (await world.ask("GET", "/api/v1/chargers/CP-1")).body
    assert (charger["firmware_update"]["status"], charger["firmware_update"]["request_id"]) == (
        "Installed",
        3,
    )
