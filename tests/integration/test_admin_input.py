"""Everything a client can get wrong, and what it is told: always a problem document that names the field."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.integration.admin_world import CHARGER, JOB, AdminWorld

CHARGERS = "/api/v1/chargers"
JOBS = "/api/v1/jobs"


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as world:
        yield world


def without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


@pytest.mark.parametrize(
    ("path", "body", "field", "code"),
    [
        (CHARGERS, without(CHARGER, "serial_number"), "serial_number", "missing-field"),
        (CHARGERS, CHARGER | {"colour": "red"}, "colour", "unknown-field"),
        (CHARGERS, CHARGER | {"charger_id": ""}, "charger_id", "invalid-value"),
        (CHARGERS, CHARGER | {"charger_id": "x" * 49}, "charger_id", "invalid-value"),
        (CHARGERS, CHARGER | {"charger_id": "a/b"}, "charger_id", "invalid-value"),
        (CHARGERS, CHARGER | {"charger_id": "a\n"}, "charger_id", "invalid-value"),
        (CHARGERS, CHARGER | {"charger_id": "a\u200b"}, "charger_id", "invalid-value"),
        (CHARGERS, CHARGER | {"charger_id": 7}, "charger_id", "invalid-value"),
        (CHARGERS, CHARGER | {"serial_number": "x" * 26}, "serial_number", "invalid-value"),
        (CHARGERS, CHARGER | {"serial_number": "http://x"}, "serial_number", "invalid-value"),
        (CHARGERS, CHARGER | {"site": "x\x00y"}, "site", "invalid-value"),
        (CHARGERS, CHARGER | {"si\x00te": "x"}, "body", "invalid-value"),
        (CHARGERS, CHARGER | {"site": "two\nlines"}, "site", "invalid-value"),
        (CHARGERS, CHARGER | {"site": "trailing\n"}, "site", "invalid-value"),
        (CHARGERS, CHARGER | {"site": " "}, "site", "invalid-value"),
        (CHARGERS, CHARGER | {"cohort": "x" * 65}, "cohort", "invalid-value"),
        (CHARGERS, CHARGER | {"family": None}, "family", "invalid-value"),
        (CHARGERS, CHARGER | {"security_profile": "2"}, "security_profile", "invalid-value"),
        (CHARGERS, CHARGER | {"security_profile": True}, "security_profile", "invalid-value"),
        (CHARGERS, CHARGER | {"security_profile": 4}, "security_profile", "invalid-value"),
        (CHARGERS, CHARGER | {"target_security_profile": 1}, "target_security_profile", "invalid-value"),
        (CHARGERS, CHARGER | {"ocpp_versions": []}, "ocpp_versions", "invalid-value"),
        (CHARGERS, CHARGER | {"ocpp_versions": ["2.0.1", "1.5"]}, "ocpp_versions[1]", "invalid-value"),
        (CHARGERS, CHARGER | {"authorization_key": "short"}, "authorization_key", "invalid-value"),
        (CHARGERS, [], "body", "invalid-value"),
        (CHARGERS, None, "body", "invalid-value"),
        (JOBS, JOB | {"reason": "   "}, "reason", "invalid-value"),
        (JOBS, JOB | {"reason": "x" * 501}, "reason", "invalid-value"),
        (JOBS, JOB | {"action": "ISSUE"}, "action", "invalid-value"),
        (JOBS, JOB | {"revocation_reason": "unspecified"}, "revocation_reason", "invalid-value"),
    ],
)
async def test_a_body_that_cannot_be_used_is_refused_by_its_field(
    world: AdminWorld, path: str, body: Any, field: str, code: str
) -> None:
    refused = await world.ask("POST", path, raw=msgspec.json.encode(body))
    assert (refused.status, refused.fields, refused.body["code"]) == (422, [field], code)
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.body["type"].endswith(code)
    assert world.door.asked == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{}}",
        b"not json",
        b'{"reason": "\xff"}',
        b'{"reason": "\\ud800"}',
        b'{"reason": "\\ud800\\u0041"}',
        b'{"reason": NaN}',
        b'{"a":1e999}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 100 + b"1" + b"}" * 100,
    ],
)
async def test_what_is_not_json_is_malformed(world: AdminWorld, raw: bytes) -> None:
    refused = await world.ask("POST", JOBS, raw=raw)
    assert (refused.status, refused.body["code"]) == (400, "malformed-json")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/xml"]
)
async def test_a_body_of_another_type_is_not_read(world: AdminWorld, content_type: str) -> None:
    refused = await world.ask(
        "POST", JOBS, raw=msgspec.json.encode(JOB), headers={"Content-Type": content_type}
    )
    assert (refused.status, refused.body["code"]) == (415, "unsupported-media-type")


async def test_a_content_type_with_a_charset_is_json_too(world: AdminWorld) -> None:
    await world.register()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert (await world.ask("POST", JOBS, JOB, headers=headers)).status == 202


async def test_a_body_over_one_mebibyte_is_refused_by_its_size(world: AdminWorld) -> None:
    fits = b'{"reason": "' + b"x" * (1024 * 1024 - 14) + b'"}'
    assert len(fits) == 1024 * 1024
    assert (await world.ask("POST", JOBS, raw=fits)).status == 422
    refused = await world.ask("POST", JOBS, raw=fits + b" ")
    assert (refused.status, refused.body["code"]) == (413, "body-too-large")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/v1/chargers?charger=CP-1", "charger"),
        ("/api/v1/chargers?connected=yes", "connected"),
        ("/api/v1/chargers?connected=1", "connected"),
        ("/api/v1/chargers?limit=0", "limit"),
        ("/api/v1/chargers?limit=501", "limit"),
        ("/api/v1/chargers?limit=ten", "limit"),
        ("/api/v1/chargers?limit=5&limit=6", "limit"),
        ("/api/v1/chargers?site=a%00b", "site"),
        ("/api/v1/chargers?site=%ff", "site"),
        ("/api/v1/chargers?site=", "site"),
        ("/api/v1/chargers?cursor=!!", "cursor"),
        ("/api/v1/chargers?cursor=W10", "cursor"),
        ("/api/v1/jobs?state=opened", "state"),
        ("/api/v1/jobs?overdue=", "overdue"),
        ("/api/v1/certificates?expires_before=2026-01-01", "expires_before"),
        ("/api/v1/certificates?expires_before=2026-01-01T00:00:00", "expires_before"),
        ("/api/v1/certificates?expires_before=1.5", "expires_before"),
        ("/api/v1/certificates?fingerprint_sha256=xyz", "fingerprint_sha256"),
        ("/api/v1/policies/effective?charger_id=CP-1", "purpose"),
        ("/api/v1/policies/effective?charger_id=a%2Fb&purpose=charging_station", "charger_id"),
        ("/api/v1/audit?after=9999:1", "after"),
        ("/api/v1/chargers/CP-1?verbose=1", "verbose"),
    ],
)
async def test_a_parameter_that_cannot_be_used_is_refused_by_its_name(
    world: AdminWorld, path: str, field: str
) -> None:
    refused = await world.ask("GET", path)
    assert (refused.status, refused.fields) == (422, [field])


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v1",
        "/api/v1/coffee",
        "/api/v2/jobs",
        "/api/v1/jobs/",
        "/api/v1/chargers/a%00b",
        "/api/v1/chargers/a%2Fb",
        "/api/v1/chargers/%ff",
        "/api/v1/chargers/" + "x" * 49,
        "/api/v1/jobs/" + "x" * 300,
        "/api/v1/trust/coffee.pem",
        "/api/v1/trust/..%2f..%2fetc.pem",
    ],
)
async def test_what_does_not_exist_is_not_found(world: AdminWorld, path: str) -> None:
    reply = await world.ask("GET", path)
    assert reply.status == 404
    assert reply.headers["Content-Type"] == "application/problem+json"


async def test_a_wrong_method_is_told_the_right_ones(world: AdminWorld) -> None:
    reply = await world.ask("DELETE", CHARGERS)
    assert (reply.status, reply.body["code"]) == (405, "method-not-allowed")
    assert set(reply.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


async def test_a_head_request_is_answered_as_a_get_without_its_body(world: AdminWorld) -> None:
    reply = await world.ask("HEAD", "/healthz", role=None)
    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /api/v1/chargers?cursor=" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_what_is_not_http_gets_a_problem_too_and_nothing_repeated(
    world: AdminWorld, sent: bytes
) -> None:
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.server.port)
        writer.write(sent)
        answer = await reader.read()
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"400 Bad Request" in head
    assert b"application/problem+json" in head
    assert msgspec.json.decode(body)["code"] == "malformed-request"
    assert b"xxx" not in body


async def test_a_fault_of_ours_is_a_problem_without_details(
    world: AdminWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(world.reader, "charger", broken)
    reply = await world.ask("GET", "/api/v1/chargers/CP-1")
    assert (reply.status, reply.body["code"]) == (500, "internal-error")
    assert "secret detail" not in str(reply.body)
    assert "secret detail" in caplog.text
