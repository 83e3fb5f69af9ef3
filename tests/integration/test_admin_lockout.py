"""The lock-out forecast through the API: who could not connect any more, from when, why, and what prevents it."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from bfactors.server_certificate import NotPresented, Presented, described
from bfactors.x509 import parse_certificates
from gateways.admin.ports import ShownOnNode
from tests.core.world import World
from tests.core.x509_maker import Authority
from tests.integration.admin_world import AdminWorld
from tests.integration.test_admin_server_certificate import NEW, server_chain

PATH = "/api/v1/lockout-forecast"


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as made:
        yield made


async def test_a_charger_is_listed_with_its_date_its_cause_and_what_prevents_it(world: AdminWorld) -> None:
    core = World()
    certificate = core.to_active()
    await world.door.adopt(core)
    assert (await world.register(charger_id="CP-2", serial_number="SN-2")).status == 201
    seen = world.clock.at + timedelta(minutes=3)
    world.seen["CP-1"] = seen
    [item] = (await world.ask("GET", PATH, role="viewer")).body["items"]
    assert (item["charger_id"], item["cause"]) == ("CP-1", "certificate-expiry")
    assert item["certificate_id"] == certificate.certificate_id
    assert datetime.fromisoformat(item["locked_out_at"]) == certificate.not_after
    assert "renew" in item["prevented_by"]
    assert datetime.fromisoformat(item["last_seen_at"]) == seen
    page = (await world.ask("GET", "/api/v1/chargers/CP-1")).body["lockout"]
    assert page == {name: item[name] for name in ("locked_out_at", "cause", "certificate_id", "prevented_by")}
    assert (await world.ask("GET", "/api/v1/chargers/CP-2")).body["lockout"] is None


async def test_a_server_certificate_that_waits_locks_out_who_does_not_hold_its_anchor(
    world: AdminWorld,
) -> None:
    core = World()
    core.to_active()
    await world.door.adopt(core)
    counts = (await world.ask("GET", f"{PATH}/counts")).body
    assert (counts["trust_known"], counts["by_cause"]["server-issuer-change"]) == (False, 0)
    await world.register(charger_id="CP-2", serial_number="SN-2")
    old, new = (
        described(parse_certificates(server_chain(root)), "settings") for root in (Authority.root("Old"), NEW)
    )
    waiting = NotPresented(
        certificate=new, code="server-issuer-in-no-bundle", message="", since=world.clock.at
    )
    world.shown = [ShownOnNode("n1", Presented(certificates=(old,), kept_back=(waiting,)))]
    [item] = (await world.ask("GET", f"{PATH}?cause=server-issuer-change")).body["items"]
    assert item["charger_id"] == "CP-2", "it has a key, and confirmed nothing"
    assert datetime.fromisoformat(item["locked_out_at"]) == old.not_after
    page = (await world.ask("GET", "/api/v1/chargers/CP-2")).body["lockout"]
    assert page["cause"] == "server-issuer-change"
    counts = (await world.ask("GET", f"{PATH}/counts")).body
    assert counts["trust_known"]
    assert counts["total"] == 2
    assert counts["by_cause"]["server-issuer-change"] == 1
    assert sum(week["count"] for week in counts["weeks"]) + counts["never"] == 2


@pytest.mark.parametrize(
    "query", ["cause=bad-luck", "before=tomorrow", "connected=perhaps", "within=7d", "cursor=x"]
)
async def test_a_filter_that_means_nothing_is_refused(world: AdminWorld, query: str) -> None:
    assert (await world.ask("GET", f"{PATH}?{query}")).status == 422
