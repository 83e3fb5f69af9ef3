"""The central system's own certificates through the API: what is shown where, and who another issuer would strand."""

from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest

from bfactors.server_certificate import NotPresented, Presented, described
from bfactors.x509 import parse_certificates
from gateways.admin.ports import ShownOnNode
from tests.core.x509_maker import Authority
from tests.integration.admin_world import BEGIN, AdminWorld
from tests.integration.test_admin_waiver import granted

PATH = "/api/v1/server-certificates"
NEW = Authority.root("New root", now=BEGIN)


def server_chain(root: Authority) -> str:
    return root.sub().leaf("localhost", usage="server", dns_name="localhost").chain_pem


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as made:
        yield made


async def test_what_every_node_shows_and_keeps_back_is_listed(world: AdminWorld) -> None:
    old, new = (
        described(parse_certificates(server_chain(root)), "settings") for root in (Authority.root("Old"), NEW)
    )
    kept_back = NotPresented(
        certificate=new, code="server-issuer-not-confirmed", message="3 of 4", since=BEGIN
    )
    world.shown = [
        ShownOnNode("n1", Presented(certificates=(old,), kept_back=(kept_back,))),
        ShownOnNode("n2", Presented(certificates=(old,))),
    ]
    items = (await world.ask("GET", PATH, role="viewer")).body["items"]
    assert sorted((item["node"], item["state"]) for item in items) == [
        ("n1", "kept-back"),
        ("n1", "presented"),
        ("n2", "presented"),
    ]
    waiting = next(item for item in items if item["state"] == "kept-back")
    assert waiting["reason"]["code"] == "server-issuer-not-confirmed"
    assert waiting["names"] == ["localhost"]
    first = (await world.ask("GET", f"{PATH}?limit=2")).body
    rest = (await world.ask("GET", f"{PATH}?limit=2&cursor={first['next_cursor']}")).body
    assert [len(first["items"]), len(rest["items"]), rest["next_cursor"]] == [2, 1, None]


async def test_the_forecast_turns_as_the_fleet_confirms(world: AdminWorld) -> None:
    """No bundle; a bundle nobody confirmed; a charger that confirmed; and one that did not."""
    world.shown = [
        ShownOnNode(
            "n1",
            Presented(
                certificates=(described(parse_certificates(server_chain(Authority.root("Old"))), "made"),)
            ),
        )
    ]
    body = {"chain_pem": server_chain(NEW)}
    empty = (await world.ask("POST", PATH + "/forecast", body)).body
    assert (empty["allowed"], empty["total"]) == (True, 0)

    await world.register()
    nowhere = (await world.ask("POST", PATH + "/forecast", body)).body
    assert (nowhere["allowed"], nowhere["reason"]["code"]) == (False, "server-issuer-in-no-bundle")

    made = await world.bundle([NEW.pair.pem])
    unconfirmed = (await world.ask("POST", PATH + "/forecast", body)).body
    assert unconfirmed["reason"]["code"] == "server-issuer-not-confirmed"
    assert unconfirmed["bundles"] == [made.body["bundle_id"]]
    assert unconfirmed["groups"] == [
        {"family": "acme-one", "cohort": "canary", "total": 1, "stranded": 1, "examples": ["CP-1"]}
    ]


async def test_a_fleet_that_confirmed_the_anchor_lets_the_switch_through(world: AdminWorld) -> None:
    shown = described(parse_certificates(server_chain(Authority.root("Old"))), "made")
    world.shown = [ShownOnNode("n1", Presented(certificates=(shown,)))]
    await world.register()
    older = (await world.bundle([NEW.pair.pem])).body["bundle_id"]
    await world.bundle([NEW.pair.pem, Authority.root("Another", now=BEGIN).pair.pem])
    row = world.store.chargers["CP-1"]
    held = {"purpose": "backend_server", "bundle_id": older, "rung": "listed", "confirmed_at": None}
    doc = msgspec.json.encode(msgspec.json.decode(row.doc) | {"trust_anchors": [held]})
    world.store.chargers["CP-1"] = msgspec.structs.replace(row, doc=doc)
    answer = (await world.ask("POST", PATH + "/forecast", {"chain_pem": server_chain(NEW)})).body
    assert (answer["allowed"], answer["total"], answer["stranded"]) == (True, 1, 0)
    assert len(answer["bundles"]) == 2  # an older bundle with the same root serves as well


async def test_what_is_waived_for_one_charger_counts_for_it_in_the_forecast_until_it_ends(
    world: AdminWorld,
) -> None:
    await world.register()
    await world.register(charger_id="CP-2", serial_number="SN-2")
    bundle_id = (await world.bundle([NEW.pair.pem])).body["bundle_id"]
    for charger_id in ("CP-1", "CP-2"):
        row = world.store.chargers[charger_id]
        held = {
            "purpose": "backend_server",
            "bundle_id": bundle_id,
            "rung": "accepted",
            "confirmed_at": None,
        }
        doc = msgspec.json.encode(msgspec.json.decode(row.doc) | {"trust_anchors": [held]})
        world.store.chargers[charger_id] = msgspec.structs.replace(row, doc=doc)
    body = {"chain_pem": server_chain(NEW)}
    assert (await world.ask("POST", PATH + "/forecast", body)).body["stranded"] == 2
    await granted(world, subject="charger:CP-2", rule="confirm_rung", value="accepted")
    (group,) = (await world.ask("POST", PATH + "/forecast", body)).body["groups"]
    assert (group["total"], group["stranded"], group["examples"]) == (2, 1, [])
    world.clock.at += timedelta(days=31)
    assert (await world.ask("POST", PATH + "/forecast", body)).body["stranded"] == 2


@pytest.mark.parametrize(
    "text", ["", "no pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
async def test_what_is_no_chain_is_refused_by_its_field(world: AdminWorld, text: str) -> None:
    reply = await world.ask("POST", PATH + "/forecast", {"chain_pem": text})
    assert (reply.status, reply.fields) == (422, ["chain_pem"])


async def test_no_answer_is_made_up_while_the_database_is_away(world: AdminWorld) -> None:
    world.reader.away = True
    reply = await world.ask("POST", PATH + "/forecast", {"chain_pem": server_chain(NEW)})
    assert reply.status == 503
