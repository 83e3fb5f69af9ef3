"""One order for many chargers: nothing without a yes, nothing twice, and every refusal told."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bfactors.errors import SettingsError
from tests.integration.ctl_world import LOST, TODAY, Answer, Api, Said, Time, run, serving

Ctl = Callable[..., Awaitable[Said]]


def charger(number: int) -> dict[str, Any]:
    return {
        "charger_id": f"CP-{number:04d}",
        "cohort": "pilot" if number % 2 else "late",
        "family": "acme",
        "site": "north",
        "security_profile": 3,
        "session": {"node": "a"} if number % 3 else None,
        "slots": [{"purpose": "charging_station", "current": {"state": "active"} if number % 5 else None}],
    }


class Fleet:
    """An admin API that remembers keys as the real one does: one key, one job, whatever becomes of the answer."""

    def __init__(self, api: Api, size: int) -> None:
        self.chargers = [charger(number) for number in range(1, size + 1)]
        self.jobs: dict[str, dict[str, Any]] = {}
        self.bodies: dict[str, Any] = {}
        self.lost: set[int] = set()
        """Which answers never arrive, by the order they are made in."""
        self.refuses: dict[str, Answer] = {}
        self.made = asyncio.Condition()
        self.at_once = 0
        self.most_at_once = 0
        self._answers = 0
        self.ends = "succeeded"
        api.does["GET", "/api/v1/chargers"] = self._list
        api.does["POST", "/api/v1/jobs"] = self._order
        api.does["GET", "/api/v1/jobs"] = self._open_jobs
        for each in self.chargers:
            api.says("GET", f"/api/v1/chargers/{each['charger_id']}", each)

    @property
    def ordered(self) -> Counter[str]:
        return Counter(job["charger_id"] for job in self.jobs.values())

    async def _list(self, request: web.Request, body: Any) -> Answer:
        wanted = {name: request.query[name] for name in ("cohort", "family", "site") if name in request.query}
        rows = [each for each in self.chargers if all(each[name] == text for name, text in wanted.items())]
        start, limit = int(request.query.get("cursor", 0)), int(request.query["limit"])
        assert limit <= 500
        more = str(start + limit) if len(rows) > start + limit else None
        return 200, {"items": rows[start : start + limit], "next_cursor": more}

    async def _open_jobs(self, request: web.Request, body: Any) -> Answer:
        rows = [job for job in self.jobs.values() if job["state"] == "open"]
        return 200, {"items": rows, "next_cursor": None}

    async def _order(self, request: web.Request, body: Any) -> Answer:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        self._answers += 1
        key = request.headers["Idempotency-Key"]
        if self.bodies.setdefault(key, body) != body:
            return 422, {"code": "idempotency-key-reused", "detail": "was used with another request"}
        if body["charger_id"] in self.refuses:
            return self.refuses[body["charger_id"]]
        if key not in self.jobs:
            self.jobs[key] = {
                "job_id": f"job-{len(self.jobs) + 1}",
                "charger_id": body["charger_id"],
                "action": body["action"],
                "state": "open",
                "stage": "awaiting-csr",
                "reason": None,
            }
        async with self.made:
            self.made.notify_all()
        return 202, LOST if self._answers in self.lost else dict(self.jobs[key])


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
def ctl(url: str, passing: Time, tmp_path: Path) -> Ctl:
    token = tmp_path / "token"
    token.write_text("the-token\n")
    return lambda *words: run(url, token, passing, *words)


RENEW = ("jobs", "open", "renew", "--cohort", "pilot", "--reason", "new CA")


async def test_without_a_yes_nothing_is_ordered_and_everything_is_told(api: Api, ctl: Ctl) -> None:
    fleet = Fleet(api, 20)
    said = await ctl(*RENEW)
    assert (said.status, fleet.jobs) == (0, {})
    assert {method for method, _, _, _ in api.asked} == {"GET"}
    assert "renew charging_station: 10 chargers (cohort pilot)" in said.out
    assert "2         likely refused: no certificate to renew" in said.out
    assert "ordered, waits until the charger connects" in said.out
    assert "--yes" in said.out
    told = (await ctl(*RENEW, "--json")).body
    assert (told["dry_run"], told["chargers"], len(told["charger_ids"])) == (True, 10, 10)
    assert sum(told["outlook"].values()) == 10


async def test_with_a_yes_each_is_ordered_once_and_no_more_at_a_time_than_said(api: Api, ctl: Ctl) -> None:
    fleet = Fleet(api, 1200)
    said = await ctl(*RENEW, "--yes", "--at-once", "3")
    assert said.status == 0
    assert fleet.ordered == {each["charger_id"]: 1 for each in fleet.chargers if each["cohort"] == "pilot"}
    assert fleet.most_at_once <= 3
    assert "600 of 600 ordered" in said.out
    assert len(said.err.splitlines()) <= 25, "progress is told, and not for each of them"


@pytest.mark.parametrize("stop_after", [1, 2, 7, 29, 30])
async def test_an_interrupted_run_that_is_repeated_orders_nothing_twice(
    api: Api, ctl: Ctl, stop_after: int, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet(api, 60)
    fleet.lost = {3, stop_after}
    going = asyncio.ensure_future(ctl(*RENEW, "--yes"))
    async with fleet.made:
        await fleet.made.wait_for(lambda: len(fleet.jobs) >= stop_after)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    before = dict(fleet.jobs)
    said = await ctl(*RENEW, "--yes")
    assert said.status == 0
    assert set(fleet.ordered.values()) == {1}
    assert len(fleet.ordered) == 30
    assert before.items() <= fleet.jobs.items()


async def test_the_same_command_later_that_day_changes_nothing(api: Api, ctl: Ctl) -> None:
    fleet = Fleet(api, 20)
    await ctl(*RENEW, "--yes")
    for job in fleet.jobs.values():
        job["state"] = "succeeded"
    again = await ctl(*RENEW, "--yes")
    assert (again.status, len(fleet.jobs)) == (0, 10)
    other_words = await ctl(*RENEW[:-1], "said otherwise", "--yes")
    assert (other_words.status, len(fleet.jobs)) == (1, 10)
    assert "idempotency-key-reused" in other_words.out
    meant_anew = await ctl(*RENEW, "--yes", "--run", "second")
    assert (meant_anew.status, len(fleet.jobs)) == (0, 20)


async def test_a_run_is_named_after_its_day_and_what_it_is_about(api: Api, ctl: Ctl, tmp_path: Path) -> None:
    Fleet(api, 20)
    ids = tmp_path / "ids"
    names = set()
    for words in (
        RENEW,
        ("jobs", "open", "issue", *RENEW[3:]),
        ("jobs", "open", "renew", "--family", "acme", "--reason", "x"),
        ("jobs", "open", "renew", "--cohort", "pilot", "--site", "north", "--reason", "x"),
        ("jobs", "open", "migrate", "--target-profile", "2", *RENEW[3:]),
        ("jobs", "open", "migrate", "--target-profile", "3", *RENEW[3:]),
    ):
        names.add((await ctl(*words, "--json")).body["run"])
    for content in ("CP-0001\n", "CP-0002\n"):
        ids.write_text(content)
        told = (await ctl("jobs", "open", "renew", "--from-file", str(ids), "--reason", "x", "--json")).body
        names.add(told["run"])
    assert len(names) == 8
    assert {name[: len(TODAY)] for name in names} == {TODAY}


async def test_refusals_are_told_by_reason_and_the_status_says_so(api: Api, ctl: Ctl) -> None:
    fleet = Fleet(api, 20)
    fleet.refuses = {
        "CP-0001": (409, {"code": "family-paused", "detail": "the family is paused"}),
        "CP-0003": (409, {"code": "family-paused", "detail": "the family is paused"}),
        "CP-0005": (422, {"code": "no-certificate", "detail": "nothing to renew"}),
    }
    said = await ctl(*RENEW, "--yes", "--json")
    assert said.status == 1
    assert Counter(each["code"] for each in said.body["refused"]) == {"family-paused": 2, "no-certificate": 1}
    assert (len(said.body["ordered"]), said.body["not_asked"]) == (7, 0)
    shown = await ctl(*RENEW, "--yes")
    assert "2         refused family-paused   CP-0001, CP-0003" in shown.out


async def test_a_token_that_ends_stops_the_run_and_says_how_to_go_on(api: Api, ctl: Ctl) -> None:
    fleet = Fleet(api, 60)
    fleet.refuses = {"CP-0011": (401, {"code": "unauthorized", "detail": "the token is revoked"})}
    said = await ctl(*RENEW, "--yes", "--at-once", "1", "--json")
    assert said.status == 1
    assert (len(said.body["ordered"]), said.body["not_asked"]) == (5, 25)
    assert said.body["stopped"] == "the token is revoked"
    assert f"--run {said.body['run']}" in " ".join(said.err.split())


async def test_a_server_that_goes_away_stops_the_run(api: Api, ctl: Ctl) -> None:
    fleet = Fleet(api, 60)
    fleet.refuses = {"CP-0011": (503, {"code": "unavailable", "detail": "no owner"})}
    said = await ctl(*RENEW, "--yes", "--at-once", "1", "--json")
    assert (said.status, len(said.body["ordered"]), said.body["not_asked"]) == (1, 5, 25)
    fleet.refuses = {}
    assert (await ctl(*RENEW, "--yes")).status == 0
    assert set(fleet.ordered.values()) == {1}


async def test_a_busy_moment_is_waited_out(api: Api, ctl: Ctl, passing: Time) -> None:
    fleet = Fleet(api, 4)
    api.headers = {"Retry-After": "4"}
    busy = iter(((503, {"detail": "changing"}),))

    async def once(request: web.Request, body: Any) -> Answer:
        return next(busy, None) or await fleet._order(request, body)

    api.does["POST", "/api/v1/jobs"] = once
    said = await ctl(*RENEW, "--yes", "--at-once", "1")
    assert (said.status, passing.seconds, len(fleet.jobs)) == (0, 4.0, 2)


async def test_a_file_names_them_and_what_nobody_knows_is_told(api: Api, ctl: Ctl, tmp_path: Path) -> None:
    fleet = Fleet(api, 20)
    ids = tmp_path / "ids"
    ids.write_text("# pilot depot\nCP-0001\n\n  CP-0002 \nCP-0001\nnobody\n")
    words = ("jobs", "open", "renew", "--from-file", str(ids), "--reason", "x")
    told = (await ctl(*words, "--json")).body
    assert (told["charger_ids"], told["unknown"]) == (["CP-0001", "CP-0002"], ["nobody"])
    said = await ctl(*words, "--yes")
    assert (said.status, fleet.ordered) == (1, {"CP-0001": 1, "CP-0002": 1})
    assert "refused unknown-charger" in said.out
    narrowed = (await ctl(*words, "--cohort", "late", "--json")).body
    assert narrowed["charger_ids"] == ["CP-0002"]


async def test_an_end_of_certificates_narrows_down(api: Api, ctl: Ctl) -> None:
    Fleet(api, 20)
    rows = [{"charger_id": "CP-0001"}, {"charger_id": "CP-0002"}]
    api.says("GET", "/api/v1/certificates", {"items": rows, "next_cursor": None})
    said = await ctl(*RENEW, "--expires-before", "2026-04-01T00:00:00Z", "--json")
    assert said.body["charger_ids"] == ["CP-0001"]


async def test_waiting_for_many_tells_how_far_they_are_and_what_failed(
    api: Api, ctl: Ctl, passing: Time
) -> None:
    fleet = Fleet(api, 8)

    async def look(request: web.Request, body: Any) -> Answer:
        for job in list(fleet.jobs.values())[:2]:
            api.says("GET", f"/api/v1/jobs/{job['job_id']}", job)
            if job["charger_id"] == "CP-0001":
                job |= {"state": "failed", "reason": {"code": "csr-refused", "message": "weak"}}
            else:
                job |= {"state": "succeeded", "stage": "done"}
        return await fleet._open_jobs(request, body)

    api.does["GET", "/api/v1/jobs"] = look
    said = await ctl(*RENEW, "--yes", "--wait", "--within", "30", "--json")
    assert said.status == 1
    states = Counter(each["state"] for each in said.body["ordered"])
    assert states == {"failed": 1, "succeeded": 1, "open": 2}
    assert passing.seconds == 30.0
    assert "4 jobs: " in said.err


async def test_some_that_are_still_open_when_the_time_is_over_are_status_3(api: Api, ctl: Ctl) -> None:
    Fleet(api, 8)
    said = await ctl(*RENEW, "--yes", "--wait", "--within", "30")
    assert (said.status, "4 open" in said.out) == (3, True)


@pytest.mark.parametrize(
    "words",
    [
        ("jobs", "open", "revoke", "--cohort", "pilot", "--reason", "x", "--yes"),
        ("jobs", "open", "delete", "--family", "acme", "--reason", "x", "--yes"),
        ("jobs", "open", "deactivate", "--site", "north", "--reason", "x", "--yes"),
        (*RENEW, "--charger", "CP-0001", "--yes"),
        (*RENEW, "--yes", "--at-once", "0"),
        (*RENEW, "--yes", "--at-once", "65"),
        (*RENEW, "--yes", "--run", "two words"),
        ("jobs", "open", "renew", "--reason", "x", "--yes"),
        ("jobs", "open", "renew", "--from-file", "/nowhere", "--reason", "x", "--yes"),
    ],
)
async def test_what_must_not_be_done_to_many_orders_nothing(
    api: Api, ctl: Ctl, words: tuple[str, ...]
) -> None:
    fleet = Fleet(api, 20)
    with pytest.raises(SettingsError):
        await ctl(*words)
    assert fleet.jobs == {}


async def test_nobody_is_status_2(api: Api, ctl: Ctl) -> None:
    Fleet(api, 20)
    said = await ctl("jobs", "open", "renew", "--cohort", "none", "--reason", "x", "--yes")
    assert (said.status, "nobody is meant" in said.err) == (2, True)


async def test_the_report_of_a_large_run_is_one_document(api: Api, ctl: Ctl) -> None:
    Fleet(api, 100)
    said = await ctl(*RENEW, "--yes", "--json")
    assert json.loads(said.out)["run"].startswith(TODAY)
