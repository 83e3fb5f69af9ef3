"""The operator's tool against an admin API that behaves as told: what is skipped, repeated, refused, learned and printed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bfactors.capability import Capabilities
from bfactors.errors import SettingsError, Unavailable
from deploy.ctl.client import AdminClient, Refused
from deploy.ctl.connection import checked_address, token_of
from deploy.ctl.family import FAMILIES
from deploy.ctl.qualification import has_passed, limits_of, record_facts, record_outcome, walked
from deploy.ctl.report import COLUMNS, Step, step_lines, table
from deploy.ctl.walk import Walk
from gateways.admin.family import CapabilitiesBody
from tests.integration.ctl_world import CHARGER, Api, Said, Time, run, serving


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def passing() -> Time:
    return Time()


@pytest.fixture
async def url(api: Api) -> AsyncIterator[str]:
    async with serving(api) as address:
        yield address


@pytest.fixture
async def client(url: str, passing: Time) -> AsyncIterator[AdminClient]:
    async with AdminClient(url, "the-token", wait=passing.wait, attempts=3) as made:
        yield made


@pytest.fixture
def walk(client: AdminClient, passing: Time) -> Walk:
    return Walk(client, CHARGER, "run", 10.0, passing.now)


async def steps(walk: Walk) -> dict[str, Step]:
    return {step.step: step async for step in walked(walk)}


# ---------------------------------------------------------------- the walk


async def test_what_the_server_does_not_offer_is_skipped_and_says_so(api: Api, walk: Walk) -> None:
    api.says("POST", "/api/v1/chargers/CP-1/logs", {"code": "method-not-allowed", "detail": "no"}, 405)
    found = await steps(walk)
    for name in ("key-rotation", "log-upload"):
        assert (found[name].outcome, found[name].detail) == ("skipped", "not offered by this server")


async def test_what_the_server_refuses_has_failed_with_its_reason(api: Api, walk: Walk) -> None:
    api.says("POST", "/api/v1/chargers/CP-1/logs", {"code": "logs-off", "detail": "no receiver"}, 409)
    api.says(
        "POST", "/api/v1/chargers/CP-1/authorization-key", {"code": "unknown-charger", "detail": "gone"}, 404
    )
    found = await steps(walk)
    assert (found["log-upload"].outcome, found["log-upload"].detail) == ("failed", "no receiver")
    assert (found["key-rotation"].outcome, found["key-rotation"].detail) == ("failed", "gone")


async def test_a_job_that_does_not_end_has_failed_after_its_time(api: Api, walk: Walk, passing: Time) -> None:
    api.job(state="open", stage="awaiting-csr", waiting_for="charger")
    found = await steps(walk)
    assert found["anchor-install"].detail == "still at awaiting-csr, waiting for charger"
    assert found["key-generation-and-csr"].outcome == "failed"
    assert found["certificate-install"].outcome == "skipped"
    assert found["mutual-tls-reconnect"].outcome == "skipped"
    assert passing.seconds == 20.0


async def test_a_certificate_that_the_session_does_not_show_is_no_reconnect(api: Api, walk: Walk) -> None:
    done = [{"event": "CSRValidated"}, {"event": "CertificateInstalled"}]
    api.job(certificate_id="c1", timeline=done)
    api.says("GET", "/api/v1/certificates/c1", {"pem": "none", "fingerprint_sha256": "aa"})
    found = await steps(walk)
    assert found["certificate-install"].outcome == "passed"
    assert found["mutual-tls-reconnect"].outcome == "failed"
    with_it = CHARGER | {"session": CHARGER["session"] | {"fingerprint_sha256": "aa"}}
    api.answers["GET", "/api/v1/chargers/CP-1"] = [(200, with_it)]
    assert (await steps(walk))["mutual-tls-reconnect"].outcome == "passed"


async def test_a_charger_that_has_left_fails_its_steps_and_the_walk_goes_on(api: Api, walk: Walk) -> None:
    api.answers["GET", "/api/v1/chargers/CP-1"] = [(200, CHARGER | {"session": None})]
    found = await steps(walk)
    assert {step.outcome for step in found.values()} == {"failed"}
    assert len(found) == 7


async def test_a_charger_on_profile_3_has_no_key_to_rotate(api: Api, walk: Walk) -> None:
    with_certificate = CHARGER | {"session": CHARGER["session"] | {"security_profile": 3}}
    api.answers["GET", "/api/v1/chargers/CP-1"] = [(200, with_certificate)]
    assert (await steps(walk))["key-rotation"].outcome == "skipped"
    assert api.sent("POST", "/api/v1/chargers/CP-1/authorization-key") == []


async def test_a_charger_that_holds_a_certificate_is_renewed(api: Api, walk: Walk) -> None:
    slot = {"purpose": "charging_station", "current": {"certificate_id": "c0"}}
    api.answers["GET", "/api/v1/chargers/CP-1"] = [(200, CHARGER | {"slots": [slot]})]
    api.job()
    await steps(walk)
    assert [job["action"] for job in api.sent("POST", "/api/v1/jobs")] == ["install-anchor", "renew"]


async def test_a_charger_that_cannot_list_is_remembered_as_such(api: Api, walk: Walk) -> None:
    path = "/api/v1/chargers/CP-1/ocpp/GetInstalledCertificateIds"
    api.says("POST", path, {"outcome": "error", "error": "NotSupported no such thing"})
    assert (await steps(walk))["anchor-listing"].outcome == "failed"
    assert walk.learned == {"cannot_list": True}


async def test_a_token_that_may_not_ends_the_walk(api: Api, walk: Walk) -> None:
    api.says("POST", "/api/v1/jobs", {"code": "forbidden", "detail": "not with this role"}, 403)
    with pytest.raises(Refused, match="not with this role"):
        await steps(walk)


async def test_every_request_of_a_walk_has_a_key_of_its_own(api: Api, walk: Walk) -> None:
    api.job()
    await steps(walk)
    keys = [key for method, _, _, key in api.asked if method == "POST"]
    assert len(keys) == len(set(keys)) > 4


# ---------------------------------------------------------------- what is learned


@pytest.mark.parametrize(
    ("answer", "limits"),
    [
        (
            {"configurationKey": [{"key": "CertificateStoreMaxLength", "value": "7"}]},
            {"trust_store_slots": 7},
        ),
        (
            {
                "getVariableResult": [
                    {
                        "variable": {"name": "maxcertificatechainsize"},
                        "attributeStatus": "Accepted",
                        "attributeValue": "10000",
                    }
                ]
            },
            {"max_chain_chars": 10000},
        ),
        (
            {
                "getVariableResult": [
                    {"variable": {"name": "MaxCertificateChainSize"}, "attributeStatus": "UnknownVariable"}
                ]
            },
            {},
        ),
        *(
            ({"configurationKey": [{"key": "CertificateStoreMaxLength", "value": value}]}, {})
            for value in ("", "0", "-1", "1e3", "٣", "9" * 500, "1000001", None, 5)
        ),
        ({"configurationKey": "x", "getVariableResult": [1, None]}, {}),
    ],
)
def test_only_plain_numbers_become_limits(answer: dict[str, Any], limits: dict[str, int]) -> None:
    assert limits_of(answer) == limits


async def test_what_was_said_of_a_family_before_stays(api: Api, walk: Walk) -> None:
    before = {"no_ping": True, "key_types": ["rsa-2048"], "max_chain_chars": 5}
    api.says("GET", "/api/v1/families/acme", {"capabilities": before, "note": "bulletin 7"})
    api.says("PUT", "/api/v1/families/acme", {})
    api.answers["GET", "/api/v1/chargers/CP-1"] = [(200, CHARGER | {"capabilities": {"cannot_delete": True}})]
    walk.learned = {"max_chain_chars": 9, "key_types": ["ec-secp256r1"]}
    changed = await record_facts(walk, "acme")
    (written,) = api.sent("PUT", "/api/v1/families/acme")
    assert written == {
        "capabilities": {
            "no_ping": True,
            "cannot_delete": True,
            "max_chain_chars": 9,
            "key_types": ["ec-secp256r1", "rsa-2048"],
        },
        "note": "bulletin 7",
    }
    assert set(changed) == {"cannot_delete", "max_chain_chars", "key_types"}


def test_what_the_api_shows_of_a_family_can_be_written_back() -> None:
    assert set(CapabilitiesBody.__struct_fields__) == set(Capabilities.__struct_fields__)


async def test_nothing_new_writes_nothing(api: Api, walk: Walk) -> None:
    assert await record_facts(walk, "acme") == {}
    assert api.sent("PUT", "/api/v1/families/acme") == []


async def test_the_report_is_recorded_as_it_was_told(api: Api, walk: Walk) -> None:
    path = "/api/v1/families/acme/qualification"
    api.says("POST", path, {})
    told = [Step(step="a", outcome="passed"), Step(step="b", outcome="failed", detail="why")]
    await record_outcome(walk, "acme", "1.2", told)
    (body,) = api.sent("POST", path)
    assert (body["passed"], body["firmware"], body["charger_id"]) == (False, "1.2", "CP-1")
    assert body["steps"][1] == {"step": "b", "outcome": "failed", "detail": "why"}


ESSENTIAL = (
    "anchor-install",
    "anchor-listing",
    "key-generation-and-csr",
    "certificate-install",
    "mutual-tls-reconnect",
)


def test_a_family_passes_when_nothing_failed_and_nothing_essential_was_skipped() -> None:
    passed = [Step(step=name, outcome="passed") for name in ESSENTIAL]
    assert has_passed(passed)
    assert has_passed([*passed, Step(step="fall-back", outcome="skipped")])
    assert not has_passed([*passed, Step(step="log-upload", outcome="failed")])
    assert not has_passed([])
    for index in range(len(passed)):
        assert not has_passed([*passed[:index], *passed[index + 1 :]]), "one was not tried"


# ---------------------------------------------------------------- the client


async def test_a_busy_server_is_asked_again_under_the_same_key(api: Api, client: AdminClient) -> None:
    api.says("POST", "/x", {"code": "away", "detail": "later"}, 503)
    api.says("POST", "/x", {"fine": True}, 202)
    assert await client.post("/x", {"a": 1}, "k1") == {"fine": True}
    assert api.asked == [("POST", "/x", {"a": 1}, "k1")] * 2


async def test_a_server_that_stays_busy_is_away(api: Api, client: AdminClient) -> None:
    api.says("GET", "/x", {"code": "away", "detail": "the owner is changing"}, 503)
    with pytest.raises(Unavailable, match="the owner is changing"):
        await client.get("/x")
    assert len(api.asked) == 3


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b""])
async def test_another_server_is_not_taken_for_the_api(api: Api, client: AdminClient, body: bytes) -> None:
    api.says("GET", "/x", body)
    with pytest.raises(Unavailable, match="right address"):
        await client.get("/x")


async def test_a_redirect_is_not_followed_with_the_token(api: Api, client: AdminClient) -> None:
    api.says("GET", "/x", {}, 302)
    with pytest.raises(Refused):
        await client.get("/x")
    assert [path for _, path, _, _ in api.asked] == ["/x"]


async def test_a_list_is_read_page_by_page_up_to_its_limit(api: Api, client: AdminClient) -> None:
    api.says("GET", "/api/v1/families", {"items": [{"n": 1}, {"n": 2}], "next_cursor": "c"})
    api.says("GET", "/api/v1/families", {"items": [{"n": 3}], "next_cursor": None})
    assert await FAMILIES.rows(client, {}, 10) == [{"n": 1}, {"n": 2}, {"n": 3}]
    api.answers["GET", "/api/v1/families"] = [(200, {"items": [{"n": 1}, {"n": 2}], "next_cursor": "c"})]
    assert len(await FAMILIES.rows(client, {}, 2)) == 2


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "ftp://localhost", "http://fleet.example", "http://10.0.0.1:9080", "http://", "http://[x"],
)
def test_an_address_that_is_none_or_would_show_the_token_is_refused(address: str) -> None:
    with pytest.raises(SettingsError):
        checked_address(address)


@pytest.mark.parametrize(
    "address", ["http://localhost:1", "http://127.0.0.1", "http://[::1]:9", "https://fleet.example"]
)
def test_loopback_and_https_are_taken(address: str) -> None:
    assert checked_address(address) == address


@pytest.mark.parametrize("content", ["", "  \n", "two words", "tökén"])
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    with pytest.raises(SettingsError):
        token_of(path)
    with pytest.raises(SettingsError):
        token_of(tmp_path / "none")


# ---------------------------------------------------------------- what is printed


def test_a_table_never_needs_more_than_80_columns() -> None:
    wide = ["x" * 200, "short", "y" * 90, "z\x1b[31m\n"]
    lines = table(["a", "b", "c", "d"], [wide, ["1", "2", "3", "4"]])
    assert max(len(line) for line in lines) <= COLUMNS
    assert all(line.isprintable() for line in lines)
    assert "~" in lines[1]


def test_a_step_never_needs_more_than_80_columns() -> None:
    lines = step_lines(Step(step="mutual-tls-reconnect", outcome="failed", detail="word " * 60 + "x" * 100))
    assert max(len(line) for line in lines) <= COLUMNS
    assert lines[0].startswith("failed   mutual-tls-reconnect")


@pytest.fixture
def ctl(url: str, passing: Time, tmp_path: Path) -> Callable[..., Awaitable[Said]]:
    token = tmp_path / "token"
    token.write_text("the-token\n")
    return lambda *words: run(url, token, passing, *words)


async def test_a_family_is_qualified_and_told_as_one_json_document(
    api: Api, ctl: Callable[..., Awaitable[Said]]
) -> None:
    api.says("POST", "/api/v1/families/acme/qualification", {"qualification": {"at": "2026-03-01T12:00:00Z"}})
    said = await ctl("family", "qualify", "--charger", "CP-1", "--family", "acme", "--json")
    report = said.body
    assert (said.status, report["passed"], report["firmware"]) == (1, False, "1.2")
    assert len(report["steps"]) == 7
    assert "skipped  key-rotation" in said.err


@pytest.mark.parametrize(("status", "code"), [(401, 2), (403, 2), (422, 2), (409, 1)])
async def test_what_the_api_refuses_is_one_line_and_a_status(
    api: Api, ctl: Callable[..., Awaitable[Said]], status: int, code: int
) -> None:
    api.says("GET", "/api/v1/chargers", {"code": "no", "detail": "because"}, status)
    said = await ctl("chargers")
    assert said.status == code
    assert said.err.startswith("run.py ctl: because")
