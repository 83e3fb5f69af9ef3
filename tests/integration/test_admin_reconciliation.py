"""`/api/v1/reconciliations` over the real decisions: asked for, running, done, and the items found."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bfactors import evidence as v
from bfactors.command import CommandEnvelope, RegisterAuthority
from bfactors.event import ReconciliationItem
from bfactors.identity import FLEET
from tests.core import pki
from tests.core.world import ARN, evidence
from tests.integration.admin_world import BEGIN, AdminWorld

PATH = "/api/v1/reconciliations"


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as world:
        yield world


async def with_authority(world: AdminWorld) -> None:
    command = RegisterAuthority(
        purpose="charging_station",
        authority_arn=ARN,
        certificate_pem=pki.ca().pem,
        chain_pem="",
        signing_algorithm="SHA256WITHECDSA",
    )
    envelope = CommandEnvelope(command_id="a", actor="system:start", role="system", body=command)
    assert (await world.door.request(FLEET, envelope)).refusal is None


def found(number: int, kind: str = "unexplained") -> ReconciliationItem:
    return ReconciliationItem(
        kind=kind,
        serial_number=f"a{number}",
        external_ref=f"{ARN}/certificate/a{number}",
        certificate_id=None,
        charger_id="CP-1" if kind == "attached" else None,
        subject=f"CN=SN-{number}",
        not_after=BEGIN + timedelta(days=9),
        issued_at=BEGIN - timedelta(days=1),
    )


async def test_a_run_is_asked_for_shown_and_listed_with_what_it_found(world: AdminWorld) -> None:
    await with_authority(world)
    assert (await world.ask("GET", PATH)).body["items"] == []
    assert (await world.ask("GET", f"{PATH}/charging_station/items")).status == 404
    asked = await world.ask("POST", f"{PATH}/charging_station", {"reason": "restored"}, role="pki-admin")
    assert (asked.status, asked.body["state"], asked.body["authority_arn"]) == (202, "running", ARN)
    body = v.AuthorityCompared(
        purpose="charging_station",
        run_id=asked.body["run_id"],
        authority_arn=ARN,
        report_ref="r1",
        report_at=BEGIN,
        certificates=9,
        counts={"unexplained": 2, "attached": 1},
        items=(found(1), found(2), found(3, "attached")),
    )
    await world.door.tell(FLEET, evidence("", body, BEGIN))
    (shown,) = (await world.ask("GET", PATH, role="viewer")).body["items"]
    assert (shown["state"], shown["certificates"]) == ("done", 9)
    assert shown["counts"] == {"unexplained": 2, "attached": 1}
    first = await world.ask("GET", f"{PATH}/charging_station/items?limit=2", role="viewer")
    assert [item["kind"] for item in first.body["items"]] == ["attached", "unexplained"]
    assert first.body["items"][0]["charger_id"] == "CP-1"
    rest = await world.ask(
        "GET", f"{PATH}/charging_station/items?limit=2&cursor={first.body['next_cursor']}", role="viewer"
    )
    assert [item["serial_number"] for item in rest.body["items"]] == ["a2"]
    assert rest.body["next_cursor"] is None
    (of_ca,) = shown["authorities"]
    assert (of_ca["authority_arn"], of_ca["state"], of_ca["certificates"]) == (ARN, "done", 9)
    for item in (*first.body["items"], *rest.body["items"]):
        assert (item["authority_id"], item["authority_arn"]) == (of_ca["authority_id"], ARN)
        assert item["run_id"] == asked.body["run_id"]
    path = f"{PATH}/charging_station/items?authority_id="
    assert len((await world.ask("GET", path + of_ca["authority_id"])).body["items"]) == 3
    assert (await world.ask("GET", path + "0123456789abcdef")).body["items"] == []


async def test_a_run_that_failed_says_why(world: AdminWorld) -> None:
    await with_authority(world)
    asked = await world.ask("POST", f"{PATH}/charging_station", {"reason": "x"}, role="pki-admin")
    body = v.AuthorityNotCompared(
        purpose="charging_station",
        run_id=asked.body["run_id"],
        authority_arn=ARN,
        code="AccessDeniedException",
        message="denied",
    )
    await world.door.tell(FLEET, evidence("", body, BEGIN))
    (shown,) = (await world.ask("GET", PATH)).body["items"]
    assert shown["state"] == "failed"
    assert shown["reason"] == {"code": "AccessDeniedException", "message": "denied"}


async def test_only_a_purpose_with_a_ca_can_be_compared_and_only_by_a_pki_admin(world: AdminWorld) -> None:
    refused = await world.ask("POST", f"{PATH}/charging_station", {"reason": "x"}, role="pki-admin")
    assert (refused.status, refused.body["code"]) == (404, "no-issuing-authority")
    await with_authority(world)
    for role in ("operator", "auditor", "viewer", "firmware-admin"):
        denied = await world.ask("POST", f"{PATH}/charging_station", {"reason": "x"}, role=role)
        assert denied.status == 403
