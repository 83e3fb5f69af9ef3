"""The operator's commands one by one: what they take, what they send, what they print, and how they end."""

from __future__ import annotations

import argparse
import io
import re
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bfactors.errors import SettingsError, Unavailable
from deploy.command import ctl as command
from deploy.ctl.charger_story import story
from deploy.ctl.command import Command, Given, filled
from deploy.ctl.connection import connection_of
from deploy.ctl.job import job_lines
from deploy.ctl.listing import Listing
from deploy.ctl.paper import Paper
from deploy.ctl.report import COLUMNS, LEAST_COLUMNS
from deploy.ctl.tool import COMMANDS, THINGS
from tests.integration.ctl_world import LOST, Api, Said, Time, options, run, serving, typed

JOB: dict[str, Any] = {
    "job_id": "job-0123456789abcdef0123456789",
    "charger_id": "CP-1",
    "purpose": "charging_station",
    "action": "renew",
    "state": "open",
    "stage": "awaiting-csr",
    "overdue": False,
    "waiting_for": "charger",
    "held_by": None,
    "reason": None,
    "certificate_id": None,
    "policy_version": 1,
    "created_at": "2026-03-01T12:00:00Z",
    "deadline_at": "2026-03-08T12:00:00Z",
    "timeline": [],
}
JOB_PATH = f"/api/v1/jobs/{JOB['job_id']}"
APPROVAL: dict[str, Any] = {
    "approval_id": "approval-1",
    "kind": "rollback",
    "charger_id": "CP-1",
    "state": "open",
    "content": {"target_profile": 2, "ends_at": "2026-04-01T00:00:00Z"},
    "content_hash": "ab" * 32,
    "author": "operator:anna",
    "reason": "modem",
    "requested_at": "2026-03-01T12:00:00Z",
    "expires_at": "2026-03-04T12:00:00Z",
    "decided_by": None,
    "decided_at": None,
    "decision_reason": None,
}
Ctl = Callable[..., Awaitable[Said]]


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
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("the-token\n")
    return path


@pytest.fixture
def ctl(url: str, passing: Time, token: Path) -> Ctl:
    return lambda *words: run(url, token, passing, *words)


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize("each", COMMANDS, ids=lambda each: f"{each.thing} {each.action}".strip())
def test_an_example_is_a_command_that_can_be_given(each: Command) -> None:
    assert filled(options(*shlex.split(each.example))).chosen is each


def test_every_command_is_of_a_thing_and_every_name_stands_for_one() -> None:
    names = [name for thing in THINGS for name in (thing.name, *thing.aliases)]
    assert len(names) == len(set(names))
    assert {command.thing for command in COMMANDS} == {thing.name for thing in THINGS}
    assert len({(each.thing, each.action) for each in COMMANDS}) == len(COMMANDS)


def test_help_at_every_level_fits_and_has_an_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    levels = [(), *((thing.name,) for thing in THINGS)]
    levels += [(each.thing, each.action) for each in COMMANDS if each.action]
    too_wide = []
    for words in levels:
        with pytest.raises(SystemExit, match="0"):
            options(*words, "--help")
        said = capsys.readouterr().out
        assert "for example:\n  run.py ctl " in said, words
        too_wide += [line for line in said.splitlines() if len(line) > COLUMNS]
    assert too_wide == []


def test_connection_options_are_taken_at_every_level() -> None:
    for words in (
        ("--json", "chargers", "list"),
        ("chargers", "--json", "list"),
        ("chargers", "list", "--json"),
    ):
        assert filled(options(*words)).json is True
    assert filled(options("chargers", "list")).json is False


def test_a_thing_alone_is_its_list_and_keeps_its_filters() -> None:
    given = filled(options("chargers", "--cohort", "pilot", "--no-connected"))
    assert (given.chosen.action, given.cohort, given.connected, given.site) == ("list", "pilot", False, None)
    between = filled(options("chargers", "--cohort", "pilot", "list", "--limit", "5"))
    assert (between.cohort, between.limit) == ("pilot", 5)


PAGE = (Path(__file__).parents[2] / "docs" / "ctl.md").read_text(encoding="utf-8")
SHOWN = [line.removeprefix("$ ctl ") for line in PAGE.splitlines() if line.startswith("$ ctl ")]


@pytest.mark.parametrize("line", SHOWN)
def test_what_the_page_shows_can_be_typed(line: str) -> None:
    assert options(*shlex.split(line)).chosen in COMMANDS


def test_the_page_shows_output_that_fits_and_names_every_thing() -> None:
    fenced = "".join(PAGE.split("```")[1::2])
    printed = [line for line in fenced.splitlines() if not line.startswith("$ ")]
    assert [line for line in printed if len(line) > COLUMNS] == []
    words = set(re.findall(r"[a-z]+(?:-[a-z]+)*", PAGE))
    assert [each.name for each in THINGS if not {each.name, *each.aliases} & words] == []


@pytest.mark.parametrize("thing", [each.thing for each in COMMANDS if each.action == "list"])
def test_a_list_may_be_called_by_its_name(thing: str) -> None:
    assert filled(options(thing, "list")).chosen is filled(options(thing)).chosen


def test_the_connection_may_come_from_the_environment(token: Path) -> None:
    environment = {"BF_CTL_ADMIN": "http://localhost:1", "BF_CTL_TOKEN_FILE": str(token)}
    assert connection_of(None, None, None, environment).base == "http://localhost:1"
    assert connection_of("http://localhost:2", None, None, environment).base == "http://localhost:2"
    with pytest.raises(SettingsError, match="BF_CTL_ADMIN"):
        connection_of(None, token, None, {})
    with pytest.raises(SettingsError, match="BF_CTL_TOKEN_FILE"):
        connection_of("http://localhost:1", None, None, {})
    with pytest.raises(SettingsError, match="in the clear"):
        connection_of(None, None, None, environment | {"BF_CTL_ADMIN": "http://fleet.example"})


# ---------------------------------------------------------------- what is printed


class Wide(dict[str, Any]):
    """A body whose every field is longer than a line, and would steer a terminal."""

    def __missing__(self, name: str) -> Any:
        if name in ("reason", "session", "pause", "qualification", "last_error", "missing"):
            return None
        if name in ("slots", "anchors", "states", "kinds", "cohorts", "modes", "capabilities", "counts"):
            return {} if name in ("counts", "capabilities") else []
        if name in ("waits_for", "set", "last_swept"):
            return Wide()
        if name == "external_ids":
            return {"vin": "x\x1b[31m\n" * 40}
        return 10**90 if name in ("count", "size") else "x\x1b[31m\n" * 40

    def get(self, name: str, default: Any = None) -> Any:
        return self[name]


def listings() -> dict[str, Listing]:
    import importlib
    import pkgutil

    import deploy.ctl

    found = {}
    for module in pkgutil.iter_modules(deploy.ctl.__path__):
        for name, value in vars(importlib.import_module(f"deploy.ctl.{module.name}")).items():
            if isinstance(value, Listing):
                found[f"{module.name}.{name}"] = value
    return found


@pytest.mark.parametrize("name", listings())
@pytest.mark.parametrize("columns", [LEAST_COLUMNS, COLUMNS, 200])
def test_no_list_is_wider_than_the_terminal(name: str, columns: int) -> None:
    listing = listings()[name]
    out = io.StringIO()
    paper = Paper(out, io.StringIO(), columns=columns, live=False, as_json=False)
    paper.table(listing.heads, [listing.cells(Wide()), listing.cells(Wide())], listing.whole)
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert max(len(line) for line in lines) <= columns
    assert all(line.isprintable() for line in lines)


def test_the_story_of_a_charger_in_every_trouble_fits_and_leaves_nothing_out() -> None:
    long = "w" * 100
    certificate = {
        "certificate_id": "c" * 32,
        "subject": f"CN={long}",
        "state": "active",
        "not_after": "2026-06-01T12:00:00Z",
    }
    row = {
        "sources": ["issued", "reported"],
        "fingerprint_sha256": "f" * 64,
        "certificate_id": None,
        "purpose": None,
        "use": "CSMSRootCertificate",
        "subject": f"CN={long}",
        "state": None,
        "differences": [{"code": "listed-after-deletion", "message": f"still there {long}"}],
    }
    job = JOB | {
        "reason": {"code": "pause", "message": "family paused"},
        "held_by": "family/acme",
        "overdue": True,
    }
    charger = {
        "charger_id": long,
        "managed_identity_id": "charger-1",
        "serial_number": "SN",
        "family": "acme",
        "site": "north",
        "cohort": "pilot",
        "security_profile": 2,
        "target_security_profile": 3,
        "session": None,
        "last_seen_at": "2026-03-01T12:00:00Z",
        "boot": {"vendor": "A", "model": "B", "firmware_version": None},
        "authorization_key": {
            "origin": "factory",
            "active_since": "2026-03-01T12:00:00Z",
            "pending_since": "2026-03-02T12:00:00Z",
            "weakness": "serial-number",
            "in_doubt": [{"generation": 2, "admit_until": "2026-04-01T12:00:00Z"}],
        },
        "slots": [{"purpose": "charging_station", "current": certificate, "next": None}],
        "reported_certificates": [row],
        "inventory": {"reported_at": "2026-03-01T12:00:00Z", "is_complete": True, "not_listed": []},
        "trust_anchors": [],
        "open_jobs": [job],
        "outstanding": [
            {"instruction": "obtain-csr", "since": "2026-03-01T12:00:00Z", "waiting_for": "connection"}
        ],
        "migration": {
            "state": "quarantine",
            "step": "reconnect",
            "reason": "away too long",
            "reason_code": "locked-out",
            "from_profile": 2,
            "to_profile": 3,
            "ended_at": None,
            "next_try_at": None,
            "prerequisites": [{"code": "charger-clock-wrong", "met": False, "message": "two days behind"}],
        },
        "paused_reason": "in the workshop",
        "decommissioned_at": "2026-05-01T12:00:00Z",
        "decommission_reason": "bay closed",
        "lockout": {
            "locked_out_at": "2026-06-01T12:00:00Z",
            "cause": "leaf-expired",
            "prevented_by": "a renewal",
        },
        "waivers": [
            {"waiver_id": "waiver-1", "rule": "validity_days", "ends_at": "2026-05-01", "reason": "old"}
        ],
        "expired_certificate_admission": {
            "until": "2026-04-01T12:00:00Z",
            "by": "anna",
            "reason": "was away",
        },
        "spoken_for_by": [{"controller_id": "lc-1"}],
        "security_events": [
            {
                "kind": "TamperDetectionActivated",
                "observed_at": "2026-03-01T12:00:00Z",
                "count": 7,
                "critical": True,
                "detail": long,
            }
        ]
        * 7,
        "capabilities": {"cannot_list": True, "max_chain_chars": 4000, "no_ping": False},
        "firmware_update": {"status": "Downloading", "at": "2026-03-01T12:00:00Z"},
    }
    family = {"qualification": {"passed": False, "at": "2026-02-01", "firmware": "1.2"}, "note": "bulletin 7"}
    lines = story(charger, family, COLUMNS)
    assert max(len(line) for line in lines) <= COLUMNS
    told = " ".join(" ".join(lines).split())
    for part in (
        *(
            "not connected; last seen 2026-03-01 12:00:00",
            "weak: serial-number",
            "in doubt",
            "another is pending",
        ),
        *("c" * 32, "! listed-after-deletion", "OVERDUE", "held by family/acme", "pause: family paused"),
        *(
            "obtain-csr since",
            "quarantine at reconnect",
            "locked-out: away too long",
            "! charger-clock-wrong",
        ),
        *(
            "paused: in the workshop",
            "let in with its expired",
            "spoken for by lc-1",
            "x7, critical",
            "and 2 more",
        ),
        *(
            "FAILED its qualification",
            "cannot_list, max_chain_chars 4000",
            "bulletin 7",
            "firmware update: Download",
        ),
    ):
        assert part in told, part


def test_a_timeline_fits_and_tells_what_people_need() -> None:
    detail = {"kind": "install-leaf", "outcome": "rejected", "detail": "y" * 90, "chargerId": "CP-1"}
    by = "ca:arn:aws:acm-pca:eu-central-1:1:certificate-authority/1"
    step = {"at": "2026-03-01T12:00:01Z", "event": "InstructionSettled", "by": by, "detail": detail}
    lines = job_lines(JOB | {"timeline": [step]}, COLUMNS)
    assert max(len(line) for line in lines) <= COLUMNS
    told = " ".join(" ".join(lines).split())
    assert "12:00:01 InstructionSettled install-leaf, rejected," in told
    assert "(ca)" in told
    assert "CP-1" not in told.split("InstructionSettled")[1]


# ---------------------------------------------------------------- a job and its end


def ordering(api: Api, *states: dict[str, Any]) -> None:
    api.says("POST", "/api/v1/jobs", JOB, 202)
    for state in states:
        api.says("GET", JOB_PATH, JOB | state)


ORDER = ("jobs", "open", "renew", "--charger", "CP-1", "--reason", "new key")


async def test_an_order_is_sent_once_and_told(api: Api, ctl: Ctl) -> None:
    ordering(api)
    said = await ctl(*ORDER)
    assert (said.status, said.lines) == (
        0,
        ["renew of CP-1: awaiting-csr; waits for charger", JOB["job_id"]],
    )
    (sent,) = api.sent("POST", "/api/v1/jobs")
    assert sent == {
        "charger_id": "CP-1",
        "purpose": "charging_station",
        "action": "renew",
        "reason": "new key",
    }


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ({"state": "succeeded", "stage": "done"}, 0),
        ({"state": "failed", "stage": "installing", "reason": {"code": "rejected", "message": "no room"}}, 1),
        ({"state": "cancelled", "stage": "issuing"}, 1),
    ],
)
async def test_waiting_tells_each_stage_and_ends_as_the_job_does(
    api: Api, ctl: Ctl, end: dict[str, Any], status: int
) -> None:
    held = {"stage": "held", "held_by": "family/acme", "waiting_for": None}
    ordering(api, {}, held, held, end)
    said = await ctl(*ORDER, "--wait", "--json")
    assert (said.status, said.body["state"]) == (status, end["state"])
    assert said.err.splitlines() == [
        "renew of CP-1: awaiting-csr; waits for charger",
        "renew of CP-1: held; held by family/acme",
    ]


async def test_waiting_ends_with_its_time_and_says_why_the_job_is_open(
    api: Api, ctl: Ctl, passing: Time
) -> None:
    ordering(api, {})
    said = await ctl(*ORDER, "--wait", "--within", "60")
    assert (said.status, passing.seconds) == (3, 60.0)
    assert "awaiting-csr; waits for charger" in said.out
    looks = len([path for _, path, _, _ in api.asked if path == JOB_PATH])
    assert 12 <= looks <= 20, "looked at ever more slowly, never slower than every 5 s"


async def test_a_lost_answer_is_asked_for_again_under_the_same_key(api: Api, ctl: Ctl) -> None:
    api.says("POST", "/api/v1/jobs", LOST)
    api.says("POST", "/api/v1/jobs", JOB, 202)
    said = await ctl(*ORDER)
    keys = [key for method, _, _, key in api.asked if method == "POST"]
    assert (said.status, len(keys), len(set(keys))) == (0, 2, 1)
    assert "trying again" in said.err


async def test_a_key_of_ones_own_is_sent_as_it_is(api: Api, ctl: Ctl) -> None:
    ordering(api)
    await ctl(*ORDER, "--key", "my-key")
    assert api.asked[-1][3] == "my-key"


@pytest.mark.parametrize(("header", "rest_s"), [("7", 7.0), ("9999", 30.0), ("0", 1.0), ("soon", 1.0)])
async def test_a_busy_server_is_left_alone_as_long_as_it_asks(
    api: Api, ctl: Ctl, passing: Time, header: str, rest_s: float
) -> None:
    api.headers = {"Retry-After": header}
    api.says("GET", "/api/v1/jobs", {"code": "unavailable", "detail": "no owner"}, 503)
    api.says("GET", "/api/v1/jobs", {"items": [], "next_cursor": None})
    said = await ctl("jobs")
    assert (said.status, passing.seconds) == (0, rest_s)
    assert "no owner; trying again" in said.err


async def test_an_api_that_stays_busy_is_away_and_the_status_says_so(api: Api, ctl: Ctl) -> None:
    api.says("GET", "/api/v1/jobs", {"code": "unavailable", "detail": "no owner"}, 503)
    with pytest.raises(Unavailable, match="no owner"):
        await ctl("jobs")


# ---------------------------------------------------------------- what people are told


async def test_a_token_that_is_not_known_is_named_by_its_file(api: Api, ctl: Ctl, token: Path) -> None:
    api.says("GET", "/api/v1/jobs", {"code": "unauthorized", "detail": "the token is unknown"}, 401)
    said = await ctl("jobs")
    assert said.status == 2
    assert token.name in said.err


async def test_fields_at_fault_are_named(api: Api, ctl: Ctl) -> None:
    errors = [{"field": "purpose", "message": "there is no such purpose"}]
    api.says("POST", "/api/v1/jobs", {"code": "invalid", "detail": "refused", "errors": errors}, 422)
    said = await ctl(*ORDER)
    assert (said.status, "purpose: there is no such purpose" in said.err) == (2, True)


def test_an_address_where_nobody_listens_is_named(
    token: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.ctl.client.RETRY_S", 0.0)
    words = ("jobs", "--admin", "http://127.0.0.1:1", "--token-file", str(token))
    given: Given = options(*words)
    assert given.run(given) == 1
    said = capsys.readouterr().err
    assert "http://127.0.0.1:1" in said
    assert "connection refused" in said


def test_what_is_missing_of_the_connection_is_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BF_CTL_ADMIN", raising=False)
    given = options("jobs")
    assert given.run(given) == 2
    assert "--admin" in capsys.readouterr().err


# ---------------------------------------------------------------- approvals


def approving(api: Api) -> None:
    api.says("GET", "/api/v1/approvals/approval-1", APPROVAL)
    decided = APPROVAL | {"state": "approved", "decided_by": "operator:ben"}
    api.says("POST", "/api/v1/approvals/approval-1/approve", decided)


APPROVE = ("approvals", "approve", "approval-1", "--reason", "checked")


@pytest.mark.parametrize("answer", [None, "", "abab", "cd" * 32, "yes"])
async def test_without_the_hash_of_what_was_shown_nothing_is_approved(
    api: Api, url: str, token: Path, passing: Time, answer: str | None
) -> None:
    approving(api)
    said = await typed(url, token, passing, answer, *APPROVE)
    assert said.status == 2
    assert "target_profile: 2" in said.out
    assert APPROVAL["content_hash"] in "".join(said.err.split())
    assert api.sent("POST", "/api/v1/approvals/approval-1/approve") == []


async def test_the_typed_hash_approves_exactly_what_was_shown(
    api: Api, url: str, token: Path, passing: Time
) -> None:
    approving(api)
    said = await typed(url, token, passing, "AB" * 6, *APPROVE)
    assert said.status == 0
    (sent,) = api.sent("POST", "/api/v1/approvals/approval-1/approve")
    assert sent == {"content_hash": APPROVAL["content_hash"], "reason": "checked"}


async def test_a_script_gives_the_hash_it_read_whatever_is_shown_now(api: Api, ctl: Ctl) -> None:
    approving(api)
    await ctl(*APPROVE, "--content-hash", "cd" * 32)
    assert api.sent("POST", "/api/v1/approvals/approval-1/approve")[0]["content_hash"] == "cd" * 32


# ---------------------------------------------------------------- events and files


def event(position: int, charger_id: str = "CP-1") -> bytes:
    body = (
        f'{{"recorded_at":"2026-03-01T12:00:0{position}Z","event":"SessionOpened","charger_id":"{charger_id}",'
        f'"actor":"node:a"}}'
    )
    return f"id: {position}\nevent: SessionOpened\ndata: {body}\n\n".encode()


async def test_a_stream_that_ends_is_taken_up_where_it_ended(api: Api, ctl: Ctl) -> None:
    api.says("GET", "/api/v1/events", b"retry: 2000\n\n" + event(1) + event(2, "other"))
    api.says("GET", "/api/v1/events", {"code": "unavailable", "detail": "changing"}, 503)
    api.says("GET", "/api/v1/events", event(3))
    said = await ctl("events", "--follow", "--charger-id", "CP-1", "--count", "2", "--json")
    assert said.status == 0
    assert [line.count("CP-1") for line in said.out.splitlines()] == [1, 1]
    assert api.last_ids == ["", "2", "2"]


async def test_an_older_position_than_the_stream_reaches_is_told(api: Api, ctl: Ctl) -> None:
    api.says("GET", "/api/v1/events", {"code": "event-too-old", "detail": "read the audit trail"}, 410)
    said = await ctl("audit", "tail")
    assert (said.status, "audit trail" in said.err) == (1, True)


async def test_a_log_never_takes_the_place_of_a_file(api: Api, ctl: Ctl, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    api.says("GET", "/api/v1/logs/l1/content", b"content")
    assert (await ctl("logs", "save", "l1", str(path))).status == 0
    assert path.read_bytes() == b"content"
    with pytest.raises(SettingsError, match="exists"):
        await ctl("logs", "save", "l1", str(path))


async def test_a_log_that_is_refused_leaves_no_file(api: Api, ctl: Ctl, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    api.says(
        "GET", "/api/v1/logs/l1/content", {"code": "log-not-here", "detail": "the log is requested"}, 409
    )
    said = await ctl("logs", "save", "l1", str(path))
    assert (said.status, path.exists()) == (1, False)


@pytest.mark.parametrize("text", ["{", "[1]", "3", "@/nowhere"])
async def test_a_payload_that_is_no_object_is_not_sent(api: Api, ctl: Ctl, text: str) -> None:
    with pytest.raises(SettingsError, match="payload"):
        await ctl("call", "CP-1", "Reset", "--payload", text)
    assert api.asked == []


def test_what_is_not_a_command_is_argparse_s_to_refuse() -> None:
    with pytest.raises(SystemExit, match="2"):
        options("certificates", "revoke", "c1")
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["ctl", "jobs", "open", "explode", "--charger", "CP-1", "--reason", "x"])
