"""Many certificates made to go by one command: shown first, done only with a yes, held for a second person."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.ctl_world import LOST, Api, Said, Time, run, serving

Ctl = Callable[..., Awaitable[Said]]
PATH = "/api/v1/incidents"
FORECAST = "/api/v1/incident-forecast"
SHARE = {
    "family": "ampere-hub",
    "cohort": "pilot",
    "state": "active",
    "certificates": 12,
    "connected": 9,
    "locked_out": 4,
}
FOUND: dict[str, Any] = {
    "certificates": 12,
    "connected": 9,
    "locked_out": 4,
    "ca_calls": 12,
    "ca_seconds": 1.2,
    "cost_usd": 0.0,
    "shares": [SHARE],
}
INCIDENT: dict[str, Any] = {
    "incident_id": "incident-1",
    "name": "weak keys",
    "reason": "bulletin 12",
    "mode": "replace",
    "revocation_reason": "superseded",
    "selector": {"purpose": "charging_station", "families": ["ampere-hub", "volt-one"]},
    "percent": 5,
    "expected": 12,
    "author": "operator:anna",
    "approver": "operator:ben",
    "opened_at": "2026-03-01T12:00:00Z",
    "agreed": 14,
    "came_later": 3,
    "state": "running",
    "ended_at": None,
    "end_reason": None,
    "is_lifted": False,
    "counts": {"waiting": 10, "revoked": 2},
}
HELD = {
    "approval_id": "approval-1",
    "content_hash": "ab" * 32,
    "expires_at": "2026-03-04T12:00:00Z",
    "state": "open",
}
SELECTED = ("--mode", "revoke", "--family", "ampere-hub", "--family", "volt-one", "--issued-before", "T")
OPEN = ("incidents", "open", "--name", "weak keys", *SELECTED, "--reason", "bulletin 12")
SELECTOR = {"purpose": "charging_station", "families": ["ampere-hub", "volt-one"], "issued_before": "T"}


@pytest.fixture
def api() -> Api:
    made = Api()
    made.says("POST", FORECAST, FOUND)
    made.says("GET", f"{PATH}/incident-1", INCIDENT)
    return made


@pytest.fixture
def passing() -> Time:
    return Time()


@pytest.fixture
async def url(api: Api) -> AsyncIterator[str]:
    async with serving(api) as address:
        yield address


@pytest.fixture
def ctl(url: str, passing: Time, tmp_path: Path) -> Ctl:
    token = tmp_path / "token"
    token.write_text("the-token\n")
    return lambda *words: run(url, token, passing, *words)


async def test_a_forecast_says_who_would_be_locked_out_and_sends_what_was_chosen(api: Api, ctl: Ctl) -> None:
    said = await ctl("incidents", "forecast", *SELECTED)
    assert said.status == 0
    assert api.sent("POST", FORECAST) == [{"selector": SELECTOR, "mode": "revoke"}]
    for part in ("12 certificates", "LOCKED OUT: 4", "12 calls, 1.2 seconds", "ampere-hub"):
        assert part in said.out, part
    assert "USD" not in said.out
    assert (await ctl("incidents", "forecast", *SELECTED, "--json")).body == FOUND


async def test_a_replacement_locks_nobody_out_and_has_a_price(api: Api, ctl: Ctl) -> None:
    api.answers["POST", FORECAST] = [(200, FOUND | {"locked_out": 0, "cost_usd": 9.0})]
    said = await ctl("incidents", "forecast", "--mode", "replace", "--cohort", "pilot")
    assert "9.00 USD" in said.out
    assert "locked out" not in said.out.lower()


async def test_every_criterion_reaches_the_api_by_its_name(api: Api, ctl: Ctl) -> None:
    words = ("--purpose", "p", "--site", "s", "--cohort", "c", "--issuing-ca", "arn:x", "--spki-sha256", "f0")
    words += ("--certificate", "1", "--certificate", "2", "--issued-from", "T0", "--issued-before", "T1")
    await ctl("incidents", "forecast", "--mode", "replace", *words)
    (sent,) = api.sent("POST", FORECAST)
    assert sent["selector"] == {
        "purpose": "p",
        "sites": ["s"],
        "cohorts": ["c"],
        "issuing_ca_ids": ["arn:x"],
        "spki_sha256": ["f0"],
        "certificate_ids": ["1", "2"],
        "issued_from": "T0",
        "issued_before": "T1",
    }


async def test_an_incident_is_shown_and_not_opened_without_a_yes(api: Api, ctl: Ctl) -> None:
    said = await ctl(*OPEN)
    assert (said.status, api.sent("POST", PATH)) == (0, [])
    assert "LOCKED OUT: 4" in said.out
    assert "--yes" in said.out
    body = (await ctl(*OPEN, "--json")).body
    assert (body["dry_run"], body["forecast"], body["request"]["selector"]) == (True, FOUND, SELECTOR)


async def test_with_a_yes_it_is_opened_once_though_the_answer_was_lost(api: Api, ctl: Ctl) -> None:
    api.says("POST", PATH, LOST)
    api.says("POST", PATH, INCIDENT, 201)
    said = await ctl(*OPEN, "--yes", "--percent", "5", "--revocation-reason", "key_compromise")
    keys = {key for method, path, _, key in api.asked if (method, path) == ("POST", PATH)}
    assert (said.status, len(api.sent("POST", PATH)), len(keys), "" in keys) == (0, 2, 1, False)
    assert api.sent("POST", PATH)[0] == {
        "name": "weak keys",
        "reason": "bulletin 12",
        "mode": "revoke",
        "revocation_reason": "key_compromise",
        "percent": 5,
        "selector": SELECTOR,
    }
    assert "LOCKED OUT: 4" in said.out
    assert "incident-1" in said.out


async def test_an_incident_that_needs_a_second_person_has_the_status_3(api: Api, ctl: Ctl) -> None:
    api.says("POST", PATH, HELD, 202)
    said = await ctl(*OPEN, "--yes")
    assert said.status == 3
    assert "approvals approve approval-1" in said.out
    held = await ctl(*OPEN, "--yes", "--json")
    assert (held.status, held.body["approval_id"]) == (3, "approval-1")


async def test_an_incident_tells_who_agreed_and_how_far_it_has_come(ctl: Ctl) -> None:
    said = await ctl("incidents", "show", "incident-1")
    told = " ".join(said.out.split())
    for part in (
        "the turn of 5% of the chargers",
        "agreed to by operator:ben",
        "families ampere-hub, volt-one",
        "12 expected, 14 when it was agreed to; revoked 2, waiting 10",
        "came later 3 of them",
    ):
        assert part in told, part


async def test_one_that_nobody_had_to_agree_to_tells_nothing_of_it(api: Api, ctl: Ctl) -> None:
    api.says("GET", f"{PATH}/alone", INCIDENT | {"agreed": None, "came_later": 0, "approver": None})
    said = await ctl("incidents", "show", "alone")
    assert "12 expected; revoked 2" in " ".join(said.out.split())
    assert "agreed to" not in said.out
    assert "later" not in said.out


async def test_an_approval_of_one_shows_what_it_reaches_now(api: Api, ctl: Ctl) -> None:
    approval = HELD | {
        "kind": "incident",
        "charger_id": None,
        "subject": "weak keys",
        "author": "operator:anna",
        "requested_at": "2026-03-01T12:00:00Z",
        "reason": "bulletin 12",
        "content": {"expected": 12},
        "decided_by": None,
        "selection": {
            "at": "2026-03-01T13:00:00Z",
            "certificates": 15,
            "connected": 9,
            "families": [{"family": "ampere-hub", "certificates": 15}],
            "issuing_cas": [
                {"issuing_ca_id": "", "certificates": 1},
                {"issuing_ca_id": "arn:x", "certificates": 14},
            ],
        },
    }
    api.says("GET", "/api/v1/approvals/approval-1", approval)
    said = await ctl("approvals", "show", "approval-1")
    told = " ".join(said.out.split())
    assert "reaches now 15 certificates at 2026-03-01 13:00:00; the chargers of 9 are connected" in told
    for part in ("family ampere-hub: 15", "CA arn:x: 14", "CA -: 1"):
        assert part in told, part


async def test_its_targets_are_listed_by_their_state(api: Api, ctl: Ctl) -> None:
    target = {
        "certificate_id": "c" * 32,
        "charger_id": "CP-1",
        "connected": False,
        "certificate_state": "active",
        "state": "waiting",
        "came_later": False,
        "not_after": "2026-06-01T12:00:00Z",
    }
    api.says("GET", f"{PATH}/incident-1/targets", {"items": [target], "next_cursor": None})
    said = await ctl("incidents", "targets", "incident-1", "--state", "waiting")
    assert "c" * 32 in said.out
    assert "CP-1     waiting, away  2026-06-01" in said.out
    api.answers["GET", f"{PATH}/incident-1/targets"] = [
        (200, {"items": [target | {"came_later": True}], "next_cursor": None})
    ]
    later = await ctl("incidents", "targets", "incident-1", "--state", "waiting")
    assert "waiting, away, later  2026" in later.out
    assert api.queries[-1]["state"] == "waiting"


@pytest.mark.parametrize(
    ("action", "words", "more"),
    [
        ("advance", ("--percent", "50"), {"percent": 50}),
        ("pause", (), {}),
        ("resume", (), {}),
        ("end", (), {"lift": False}),
        ("end", ("--lift",), {"lift": True}),
    ],
)
async def test_a_step_is_shown_first_and_taken_with_a_yes(
    api: Api, ctl: Ctl, action: str, words: tuple[str, ...], more: dict[str, Any]
) -> None:
    path = f"{PATH}/incident-1/{action}"
    api.says("POST", path, INCIDENT | {"state": "paused"})
    step = ("incidents", action, "incident-1", *words, "--reason", "x")
    shown = await ctl(*step)
    assert (shown.status, api.sent("POST", path)) == (0, [])
    assert f"does it: {action}" in shown.out
    assert (await ctl(*step, "--json")).body["request"] == {"reason": "x"} | more
    done = await ctl(*step, "--yes")
    assert (done.status, api.sent("POST", path)) == (0, [{"reason": "x"} | more])
    assert "paused" in done.out


async def test_a_revocation_may_bring_another_certificate_and_delete_the_old_one(api: Api, ctl: Ctl) -> None:
    path = "/api/v1/certificates/c1/revoke"
    api.job(path, overdue=False, action="revoke", charger_id="CP-1")
    words = ("certificates", "revoke", "c1", "--reason", "superseded")
    await ctl(*words)
    await ctl(*words, "--replace", "--delete")
    plain = {"reason": "superseded", "comment": ""}
    assert api.sent("POST", path) == [plain, plain | {"replace": True, "delete": True}]


async def test_a_certificate_has_the_four_moments_of_its_revocation_and_its_jobs(api: Api, ctl: Ctl) -> None:
    revocation = {
        "requested_at": "2026-03-01T12:00:00Z",
        "refused_at_edge_at": "2026-03-01T12:00:01Z",
        "ca_revoked_at": "2026-03-01T12:00:02Z",
        "published_at": None,
        "replacement_job_id": "job-other",
        "deletion_job_id": "job-gone",
        "unpublished": {"code": "list-not-read", "message": "not yet"},
    }
    text = ("certificate_id", "purpose", "variant", "charger_id", "subject", "issuer", "serial_number")
    text += ("fingerprint_sha256", "not_before", "not_after", "authority", "external_ref", "mode")
    found = dict.fromkeys(text, "x") | {
        "state": "revoked",
        "stale": False,
        "evidence": [],
        "revocation": revocation,
        "revocation_requested_at": "2026-03-01T12:00:00Z",
    }
    api.says("GET", "/api/v1/certificates/c1", found)
    told = [" ".join(line.split()) for line in (await ctl("certificates", "show", "c1")).lines]
    for line in (
        "to revoke 2026-03-01 12:00:00",
        "refused 2026-03-01 12:00:01",
        "at the CA 2026-03-01 12:00:02",
        "published not yet",
        "replacement job-other",
        "deletion job-gone",
        "why list-not-read: not yet",
    ):
        assert line in told, line
