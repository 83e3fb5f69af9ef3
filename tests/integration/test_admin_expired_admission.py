"""Letting one charger in with its own expired certificate, through the API."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.integration.admin_world import AdminWorld

PATH = "/api/v1/chargers/CP-1/expired-certificate-admission"


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as made:
        await made.register(security_profile=3)
        yield made


async def test_it_is_given_with_an_end_shown_recorded_and_taken_back(world: AdminWorld) -> None:
    until = (world.clock.now() + timedelta(days=7)).isoformat()
    reply = await world.ask("POST", PATH, {"until": until, "reason": "was in the workshop"})
    assert reply.status == 200
    shown = (await world.ask("GET", "/api/v1/chargers/CP-1")).body["expired_certificate_admission"]
    assert shown["reason"] == "was in the workshop"
    assert shown["by"].startswith("operator:")
    reply = await world.ask("POST", PATH, {"until": None, "reason": "scrapped"})
    assert reply.body["expired_certificate_admission"] is None
    assert (await world.ask("POST", PATH, {"until": None, "reason": "again"})).status == 409
    rows = (await world.ask("GET", "/api/v1/audit?event=ExpiredCertificateAdmitted")).body["items"]
    assert [row["payload"]["reason"] for row in rows] == ["was in the workshop"]
    rows = (await world.ask("GET", "/api/v1/audit?event=ExpiredCertificateAdmissionEnded")).body["items"]
    assert [row["payload"]["cause"] for row in rows] == ["withdrawn"]


@pytest.mark.parametrize(
    ("ahead", "reason"), [(timedelta(days=-1), "x"), (timedelta(days=31), "x"), (timedelta(days=1), "")]
)
async def test_what_has_no_near_end_or_no_reason_is_refused(
    world: AdminWorld, ahead: timedelta, reason: str
) -> None:
    until = (world.clock.now() + ahead).isoformat()
    assert (await world.ask("POST", PATH, {"until": until, "reason": reason})).status == 422


async def test_an_end_must_be_named(world: AdminWorld) -> None:
    assert (await world.ask("POST", PATH, {"reason": "x"})).status == 422
