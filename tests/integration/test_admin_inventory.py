"""A charger's inventory through the API: what it lists side by side with what we know, and what may be deleted of it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bfactors.certificate_hash import HashData, ReportedCertificate
from tests.core import pki
from tests.core.world import World as CoreWorld
from tests.integration.admin_world import AdminWorld

SPARE = HashData("SHA256", "ab" * 32, "cd" * 32, "0f")
DELETE = {"charger_id": "CP-1", "purpose": "backend_server", "action": "delete", "reason": "old root"}
REF = {
    "algorithm": "SHA256",
    "issuer_name_hash": "ab" * 32,
    "issuer_key_hash": "cd" * 32,
    "serial_number": "0F",
}


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as world:
        anchors = [pki.ca().root_pem, pki.ca("Server").root_pem]
        made = await world.ask(
            "POST", "/api/v1/trust-anchor-bundles", {"purpose": "backend_server", "anchors": anchors}
        )
        assert made.status == 201
        core = CoreWorld()
        core.connect()
        core.wait(days=31)
        listed = [anchor.hash_data[0] for anchor in core.facts.bundles["backend_server"].anchors]
        core.carry_out(
            listed=tuple(ReportedCertificate("CSMSRootCertificate", one) for one in (*listed, SPARE))
        )
        await world.adopt(core)
        yield world


async def shown(world: AdminWorld) -> dict[str, Any]:
    return dict((await world.ask("GET", "/api/v1/chargers/CP-1", role="viewer")).body)


async def test_every_account_of_a_certificate_is_shown_side_by_side(world: AdminWorld) -> None:
    charger = await shown(world)
    first, second, stray = charger["reported_certificates"]
    for one in (first, second):
        assert (one["sources"], one["match"], one["differences"]) == (["issued", "reported"], "exact", [])
        assert one["purpose"] == "backend_server"
    assert stray["hash_data"]["issuer_key_hash"] == "cd" * 32
    assert (stray["sources"], stray["fingerprint_sha256"]) == (["reported"], None)
    assert [one["code"] for one in stray["differences"]] == ["unknown-on-charger", "foreign-root"]
    assert charger["inventory"]["is_complete"] is True


async def test_a_strange_root_is_deleted_by_a_job_named_by_its_hash_data(world: AdminWorld) -> None:
    made = await world.ask("POST", "/api/v1/jobs", DELETE | {"reported_ref": REF}, role="pki-admin")
    assert (made.status, made.body["action"], made.body["stage"]) == (202, "delete", "deleting")
    assert made.body["waiting_for"] == "charger"
    listed = await world.ask("GET", "/api/v1/jobs?stage=deleting")
    assert [job["job_id"] for job in listed.body["items"]] == [made.body["job_id"]]


async def test_an_anchor_in_force_is_not_deleted(world: AdminWorld) -> None:
    anchor = (await shown(world))["reported_certificates"][0]["fingerprint_sha256"]
    refused = await world.ask("POST", "/api/v1/jobs", DELETE | {"fingerprint_sha256": anchor.upper()})
    assert (refused.status, refused.body["code"]) == (409, "anchor-of-live-session")


async def test_what_is_not_listed_is_unknown(world: AdminWorld) -> None:
    refused = await world.ask(
        "POST", "/api/v1/jobs", DELETE | {"reported_ref": REF | {"serial_number": "11"}}
    )
    assert (refused.status, refused.body["code"]) == (404, "unknown-hash-data")


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, "reported_ref"),
        ({"reported_ref": REF, "fingerprint_sha256": "ab" * 32}, "reported_ref"),
        ({"action": "renew", "reported_ref": REF}, "reported_ref"),
        ({"action": "issue", "fingerprint_sha256": "ab" * 32}, "fingerprint_sha256"),
        ({"reported_ref": REF | {"algorithm": "MD5"}}, "reported_ref.algorithm"),
    ],
)
async def test_a_deletion_names_one_thing_and_other_jobs_none(
    world: AdminWorld, fields: dict[str, Any], wrong: str
) -> None:
    refused = await world.ask("POST", "/api/v1/jobs", DELETE | fields)
    assert refused.status == 422
    assert refused.fields == [wrong]


@pytest.mark.parametrize("action", ["delete", "install-anchor"])
async def test_what_chargers_trust_is_changed_by_pki_admins_alone(world: AdminWorld, action: str) -> None:
    body = DELETE | {"action": action} | ({"reported_ref": REF} if action == "delete" else {})
    assert (await world.ask("POST", "/api/v1/jobs", body, role="operator")).status == 403


async def test_anchors_are_installed_by_a_job(world: AdminWorld) -> None:
    made = await world.ask("POST", "/api/v1/jobs", DELETE | {"action": "install-anchor"})
    assert (made.status, made.body["action"]) == (202, "install-anchor")
